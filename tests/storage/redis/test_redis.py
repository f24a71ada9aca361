"""`RedisStorage` on real servers: the promises of every storage, its keys and its clock."""

from __future__ import annotations

import itertools
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import DAY
from support.counts import count, handle, update
from support.servers import (
    FrozenRedisStorage,
    Monitor,
    Server,
    ServerClock,
    patient_url,
    wait_until,
)
from support.storages import FrozenClockSuite, ServerClockSuite
from telesession import Sessions, Storage, ttl, ttl_left
from telesession.storage.redis import RedisStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis
    from freezegun.api import FrozenDateTimeFactory


# The contract of every storage.


LONG = [pytest.param(way, marks=pytest.mark.long) for way in ("decode_responses", "resp2")]


@pytest.fixture(scope="module", params=["url", "cluster", *LONG])
def clients(request: pytest.FixtureRequest) -> Iterator[tuple[Any, list[redis.Redis]]]:
    """What leads to a server, and a client of each of its nodes."""
    kind = "running_cluster" if request.param == "cluster" else "running_server"
    target: Any = request.getfixturevalue(kind)
    options = {"decode_responses": request.param != "url", "protocol": 3}
    if request.param == "resp2":
        options["protocol"] = 2
    with ExitStack() as closing:
        servers = target.nodes if request.param == "cluster" else [target]
        nodes = [closing.enter_context(server.client()) for server in servers]
        way = patient_url(target) if request.param == "url" else target.client(**options)
        if request.param != "url":
            closing.callback(way.close)
        yield way, nodes


class TestServersAndClusters(ServerClockSuite):
    """Every promise of a storage holds on a server, whatever client leads to it."""

    margin = 1e-6

    @pytest.fixture
    def storage(self, clients: tuple[Any, list[redis.Redis]]) -> Iterator[Storage]:
        way, nodes = clients
        for node in nodes:
            node.flushall()
        self.clock = ServerClock(*nodes)
        with RedisStorage(way) as storage:
            yield storage

    def tick(self, seconds: float) -> None:
        self.clock.tick(seconds)


class TestAServerWhoseTimeStandsStill(FrozenClockSuite):
    """Tests that stop the time of a server do so without breaking a promise."""

    @pytest.fixture
    def storage(self, frozen_storage: FrozenRedisStorage) -> Storage:
        return frozen_storage


@pytest.mark.parametrize("call", ["set", "touch"])
def test_a_lifetime_of_nothing_deletes_in_a_hold(storage: RedisStorage, call: str) -> None:
    """In a hold too, a record with a lifetime of 0 s is not there."""
    storage.set("42", b"old")
    with storage.hold("42") as held:
        getattr(held, call)(*[b"new"] * (call == "set"), 0)
        assert held.get() is None

    assert storage.get("42") is None


def test_a_lifetime_may_be_as_long_as_a_float(storage: RedisStorage, admin: redis.Redis) -> None:
    """A lifetime that a server could not count is as long as it can."""
    storage.set("42", b"payload", 1e300)
    with storage.hold("43") as held:
        held.set(b"payload", 1e300)

    assert [True, True] == [admin.pttl(f"telesession:{key}") > 1e15 for key in (42, 43)]


def test_a_record_may_expire_while_it_is_held(
    frozen_storage: FrozenRedisStorage, clock: FrozenDateTimeFactory
) -> None:
    """A holder notices, without asking, that the record which it has read is no more."""
    frozen_storage.set("42", b"payload", 10)
    with frozen_storage.hold("42") as held:
        assert b"payload" == held.get()
        clock.tick(10)
        assert [None, False, False] == [held.get(), held.touch(60), held.delete()]


def test_a_handler_may_take_longer_than_its_session_lives(
    frozen_storage: FrozenRedisStorage, clock: FrozenDateTimeFactory
) -> None:
    """A session lives from its last use, and that is when the handler returns."""
    assert 1 == update(frozen_storage, lifetime=10)
    handle(frozen_storage, lambda session: clock.tick(10), lifetime=60)
    seen = []
    for seconds in (59, 1):
        clock.tick(seconds)
        seen.append(count(frozen_storage))

    assert [1, None] == seen


def test_a_server_ends_a_lifetime_by_itself(storage: RedisStorage) -> None:
    """What has a lifetime is gone when the server's own time has come, however it got it."""
    storage.set("set", b"payload", 0.01)
    storage.set("touched", b"payload", 60)
    storage.touch("touched", 0.01)
    for key in ("set in a hold", "touched in a hold"):
        with storage.hold(key) as held:
            held.set(b"payload", 0.01 if key.startswith("set") else 60)
            if key.startswith("touched"):
                held.flush()
                held.touch(0.01)
    wait_until(lambda: [] == list(storage.keys()))

    keys = ("set", "touched", "set in a hold", "touched in a hold")
    assert [None] * 4 == [storage.get(key) for key in keys]


def test_keys_asks_step_by_step(storage: RedisStorage, server: Server, admin: redis.Redis) -> None:
    """`keys` lets the server look at some of its keys, and at more when those are used up."""
    names = {f"telesession:{number}": b"" for number in range(12_000)}
    admin.mset({**names, "elsewhere": b"", "{telesession:42}:lock": b"token"})
    with Monitor(server) as monitor:
        keys = storage.keys()
        assert [] == monitor.so_far()
        first = next(keys)
        assert ["SCAN"] == monitor.so_far()
        rest = list(keys)
        assert set(monitor.so_far()) == {"SCAN"}

    assert sorted(map(str, range(12_000))) == sorted([first, *rest])


def test_keys_asks_in_pages_of_five_thousand(storage: RedisStorage, server: Server) -> None:
    """The listing of a small server is one round trip, and that of a large one is few."""
    with Monitor(server) as monitor:
        assert [] == list(storage.keys())
        assert monitor.next("SCAN").endswith(" COUNT 5000")


def test_keys_gives_each_key_once(storage: RedisStorage, admin: redis.Redis) -> None:
    """A server that rearranges its table while it is asked repeats itself; `keys` does not."""
    stored = {f"{number}" for number in range(30_000)}
    admin.mset({f"telesession:{key}": b"" for key in stored})
    keys = storage.keys()
    seen = list(itertools.islice(keys, 400))
    admin.delete(*(f"telesession:{key}" for key in stored - set(seen)))
    seen.extend(keys)

    assert len(seen) == len(set(seen))


def test_keys_remembers_the_latest_keys_only(
    storage: RedisStorage, admin: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys that are remembered are replaced again and again, and no key is left out."""
    monkeypatch.setattr("telesession.storage.redis._PAGE", 10)
    monkeypatch.setattr("telesession.storage.redis._REMEMBERED", 20)
    admin.mset({f"telesession:{number}": b"" for number in range(1_000)})

    assert sorted(map(str, range(1_000))) == sorted(storage.keys())


def test_an_ordinary_key_is_easy_to_find(storage: RedisStorage, admin: redis.Redis) -> None:
    """The record of key 42 is `telesession:42`, for whoever looks with another program."""
    storage.set("42", b"payload")
    with RedisStorage(admin, prefix="bot 2:") as second:
        second.set("42", b"another")

    assert [b"bot 2:42", b"telesession:42"] == sorted(admin.keys())
    assert (["42"], ["42"]) == (list(storage.keys()), list(second.keys()))


def test_hosts_whose_clocks_differ_agree_on_a_field(
    storage: RedisStorage, other: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lifetime of a field counts on the server's clock, wherever it is set and read."""
    wall_clock = time.time
    left = []
    monkeypatch.setattr(time, "time", lambda: wall_clock() - 6000)
    with Sessions(storage=storage).open("42") as session:
        session.code = ttl("1234", 3000)
    for offset in (6000, 0, -6000):
        monkeypatch.setattr(time, "time", lambda offset=offset: wall_clock() + offset)
        with Sessions(storage=other).open("42") as session:
            session.seen = offset
            left.append(ttl_left(session, "code"))
        assert {"code": "1234", "seen": offset} == Sessions(storage=storage).peek("42")

    assert [True] * 3 == [2000 < seconds <= 3000 for seconds in left]


def test_a_hold_asks_for_the_time_once(storage: RedisStorage, server: Server) -> None:
    """The clock of a hold is the server's at the lock, and goes on from there."""
    before = storage.now()
    with Monitor(server) as monitor, storage.hold("42") as held:
        times = [held.now() for _ in range(3)]
        assert ["EVALSHA"] == monitor.so_far()

    seen = [before, *times, storage.now()]
    assert sorted(seen) == seen


def test_a_lifetime_is_the_expiry_of_the_key(storage: RedisStorage, admin: redis.Redis) -> None:
    """A session's lifetime is the server's to end, counted anew by every handler."""
    seen = []
    for lifetime in (1.5 * DAY, 15.5 * DAY, None):
        update(storage, lifetime=lifetime)
        seen.append(admin.ttl("telesession:42") // DAY)
    with Sessions(storage=storage, lifetime=150.5 * DAY).open("42") as session:
        assert 3 == session.n
    seen.append(admin.ttl("telesession:42") // DAY)

    assert [1, 15, -1, 150] == seen
