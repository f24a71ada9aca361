"""What telebot's storage on a Redis server has written, brought over from there."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from telebot.storage import StateRedisStorage

from support.bots import (
    OLDER_STATES,
    STATE_PLACES,
    fill_states,
    read_older_states,
    read_states,
    state_record,
)
from support.clocks import PATIENCE
from support.servers import Monitor, Server, patient_url
from support.values import told_by
from telesession import (
    MemoryStorage,
    RedisStorage,
    SessionError,
    SessionStateStorage,
    import_telebot_redis,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """A client of the empty server."""
    with server.client() as client:
        yield client


@pytest.fixture(params=[False, True], ids=["bytes", "decode_responses"])
def reader(request: pytest.FixtureRequest, server: Server) -> Iterator[redis.Redis]:
    """A client to import with, either way."""
    with server.client(decode_responses=request.param) as client:
        yield client


@pytest.fixture
def theirs(client: redis.Redis) -> StateRedisStorage:
    """telebot's storage on the empty server."""
    return StateRedisStorage(connection_pool=client.connection_pool)


OLDER = {
    -100: {"1": state_record(a=1), "2": state_record(a=2), "3": state_record()},
    42: {"42": state_record(a=4)},
    7: {},
}


def write_older(client: redis.Redis, prefix: str = "telebot_") -> None:
    """What telebot 4.22.0 keeps on a server."""
    for chat, users in OLDER.items():
        client.set(f"{prefix}{chat}", json.dumps(users))


class Vanishing(redis.Redis):
    """A client of a server on which what was listed is deleted at once."""

    def scan_iter(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        names = list(super().scan_iter(*arguments, **options))
        self.delete(*names)
        return iter(names)


class TestRedisServer:
    def test_what_telebot_wrote_is_what_is_read(
        self, theirs: StateRedisStorage, reader: redis.Redis, json_memory: MemoryStorage
    ) -> None:
        """Every state on the server is there, with its data, with replies decoded or not."""
        fill_states(theirs)
        assert len(STATE_PLACES) == import_telebot_redis(reader, json_memory)
        assert read_states(theirs) == read_states(SessionStateStorage(json_memory))
        assert 0 == import_telebot_redis(reader, json_memory)

    def test_the_new_storage_may_be_on_the_same_server(
        self, theirs: StateRedisStorage, reader: redis.Redis, server: Server
    ) -> None:
        """Records that go to the server that they come from do not get in each other's way."""
        fill_states(theirs)
        write_older(reader)
        with RedisStorage(patient_url(server)) as storage:
            counts = [import_telebot_redis(reader, storage, bot_id=1) for _ in range(2)]
            assert [len(STATE_PLACES) + 3, 0] == counts
            assert read_states(theirs) == read_states(SessionStateStorage(storage))

    def test_the_older_format_is_read(self, client: redis.Redis, reader: redis.Redis) -> None:
        """Of what telebot 4.22.0 left, all users of every chat are there, for the bot that asks."""
        write_older(client)
        storage = MemoryStorage()
        assert 4 == import_telebot_redis(reader, storage, bot_id=1)
        assert OLDER_STATES == read_older_states(storage)

    def test_telebots_own_migration_loses_users(
        self, client: redis.Redis, theirs: StateRedisStorage
    ) -> None:
        """A control: telebot brings over the first user of a chat and deletes the others."""
        client.set("telebot_-100", json.dumps(OLDER[-100]))
        theirs.migrate_format(bot_id=1)
        found = [theirs.get_state(-100, user, bot_id=1) for user in (1, 2, 3)]
        assert (["here", None, None], [b"telebot:1:-100:1"]) == (found, client.keys())

    def test_the_older_format_needs_the_bot(
        self, client: redis.Redis, theirs: StateRedisStorage, json_memory: MemoryStorage
    ) -> None:
        """Where records do not say whose they are, nothing is imported without the bot's id."""
        fill_states(theirs)
        write_older(client)
        with pytest.raises(ValueError, match=r"pass bot_id=, the number before the colon"):
            import_telebot_redis(client, json_memory)
        assert [] == list(json_memory.keys())

    def test_of_both_formats_the_newer_counts(
        self, client: redis.Redis, theirs: StateRedisStorage, json_memory: MemoryStorage
    ) -> None:
        """Where the server has a record in both formats, the newer one is imported."""
        write_older(client)
        theirs.set_state(-100, 1, "there", bot_id=1)
        assert 4 == import_telebot_redis(client, json_memory, bot_id=1)
        states = SessionStateStorage(json_memory)
        found = [states.get_state(-100, user, bot_id=1) for user in (1, 2)]
        assert ["there", "here"] == found

    @pytest.mark.parametrize("prefix", ["my.bot", "b[o]t*?\\", "a:b", "telebot_"])
    def test_other_settings_are_understood(
        self, prefix: str, client: redis.Redis, reader: redis.Redis, json_memory: MemoryStorage
    ) -> None:
        """Records of other prefixes and separators are read with them, and with nothing else."""
        pool = client.connection_pool
        theirs = StateRedisStorage(connection_pool=pool, prefix=prefix, separator="/")
        fill_states(theirs)
        fill_states(StateRedisStorage(connection_pool=pool, prefix="botx", separator="/"))
        write_older(client, prefix)
        options = {"prefix": prefix, "separator": "/", "older_prefix": prefix}
        assert len(STATE_PLACES) + 3 == import_telebot_redis(
            reader, json_memory, bot_id=1, **options
        )
        assert read_states(theirs) == read_states(SessionStateStorage(json_memory))

    def test_what_is_not_telebots_is_not_read(
        self, client: redis.Redis, theirs: StateRedisStorage, json_memory: MemoryStorage
    ) -> None:
        """Keys that telebot would not name so are left alone, whatever they are."""
        fill_states(theirs, STATE_PLACES[:2])
        for name in ("telebot:lock", "telebot:1:42:x", "telebot_cache", "telebot_1_2", "telebot"):
            client.set(name, "something")
        client.set(b"telebot:\xff", "something")
        client.hset("telebot:5:5", "other", "field")
        assert 2 == import_telebot_redis(client, json_memory)

    def test_data_without_a_state_comes(
        self, theirs: StateRedisStorage, json_memory: MemoryStorage
    ) -> None:
        """A record without a state, which telebot makes of a reset, has none afterwards either."""
        theirs.reset_data(42, 42, bot_id=1)
        theirs.save(-100, 42, {"a": 1}, bot_id=1)
        assert 2 == import_telebot_redis(theirs.redis, json_memory)
        assert read_states(theirs, STATE_PLACES[:2]) == read_states(
            SessionStateStorage(json_memory), STATE_PLACES[:2]
        )

    def test_what_goes_in_between_is_gone(
        self, client: redis.Redis, server: Server, json_memory: MemoryStorage
    ) -> None:
        """Records that are deleted after they were listed are not imported."""
        fill_states(StateRedisStorage(connection_pool=client.connection_pool))
        write_older(client)
        with Vanishing(port=server.port, socket_timeout=PATIENCE) as vanishing:
            assert 0 == import_telebot_redis(vanishing, json_memory, bot_id=1)

    def test_the_server_is_only_read(self, json_memory: MemoryStorage) -> None:
        """An import sends nothing but `SCAN`, `HGETALL` and `GET`, and leaves all as it was."""
        # A server of its own: on that of all tests there may be somebody who is not done yet.
        with Server() as server, server.client() as client:
            fill_states(StateRedisStorage(connection_pool=client.connection_pool))
            write_older(client)
            before = {name: client.dump(name) for name in client.scan_iter()}
            with Monitor(server) as monitor:
                import_telebot_redis(client, json_memory, bot_id=1)
                commands = set(monitor.so_far())
            after = {name: client.dump(name) for name in client.scan_iter()}
        assert ({"SCAN", "HGETALL", "GET"}, before) == (commands, after)

    def test_more_than_a_page_of_records_comes(
        self, client: redis.Redis, json_memory: MemoryStorage
    ) -> None:
        """A server with more records than it gives at once is read to the end."""
        users = {str(number): state_record() for number in range(3)}
        client.mset({f"telebot_{chat}": json.dumps(users) for chat in range(700)})
        assert 2100 == import_telebot_redis(client, MemoryStorage(), bot_id=1)

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        [
            ("telebot:1:42:42", {"state": "x", "data": '{"secret'}, "is no JSON text"),
            ("telebot:1:42:42", {"state": "x", "data": '["secret"]'}, "it has no state with its"),
            ("telebot:1:42:42", "secret", "'telebot:1:42:42' raised ResponseError"),
            ("telebot_42", {"secret": "x"}, "'telebot_42' raised ResponseError"),
            ("telebot_42", '{"secret', "'telebot_42' is no JSON text"),
            ("telebot_42", '["secret"]', "record 42 is no chat with its users"),
            ("telebot_42", '{"42": "secret"}', "of chat 42, user 42 it has no state"),
        ],
    )
    def test_what_is_damaged_is_named(
        self, name: str, value: Any, reason: str, client: redis.Redis, json_memory: MemoryStorage
    ) -> None:
        """Something else by a name of telebot's is an error that shows no value."""
        if isinstance(value, dict):
            client.hset(name, mapping=value)
        else:
            client.set(name, value)
        with pytest.raises(SessionError, match=reason) as raised:
            import_telebot_redis(client, json_memory, bot_id=1)
        assert (False, []) == ("secret" in told_by(raised.value), list(json_memory.keys()))
        # A JSONDecodeError has the whole text in an attribute.
        assert not isinstance(raised.value.__context__, json.JSONDecodeError)

    def test_a_server_that_is_gone_is_named(self, json_memory: MemoryStorage) -> None:
        """A server that cannot be reached is an error with the client's as its cause."""
        with socket.socket() as gone:
            # Bound, so that no other server gets the port, and not listening.
            gone.bind(("127.0.0.1", 0))
            client = redis.Redis(port=gone.getsockname()[1], retry=Retry(NoBackoff(), 0))
            with client, pytest.raises(SessionError, match="list of its keys raised") as raised:
                import_telebot_redis(client, json_memory)
        assert redis.ConnectionError is type(raised.value.__cause__)

    def test_redis_is_not_imported(self) -> None:
        """The importers work without the package redis, as long as nobody has a client."""
        program = (
            "import sys; sys.modules['redis'] = None; from telesession import import_telebot_redis;"
            "print([name for name in sys.modules if name.startswith('redis.')])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE,
        )
        assert ("[]\n", "", 0) == (done.stdout, done.stderr, done.returncode)
