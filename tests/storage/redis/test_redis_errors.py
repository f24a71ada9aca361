"""The reasons and the remedies that a server's errors get."""

from __future__ import annotations

import pickle
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis

from support.counts import handle, update
from support.redis_storages import SECRET, failure, hasty, make_storage
from support.servers import Cluster, RedisWire, Server
from telesession import StorageError
from telesession.storage.redis import RedisStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory


SCRIPT = "Error running script (call to f_5a): @user_script:7: @user_script: 7: "
# The words of Redis 6.2 and Valkey 9, and the reason and the remedy for them.
ERRORS: dict[str, tuple[str, str]] = {
    "OOM command not allowed when used memory > 'maxmemory'.": ("out of memory", "maxmemory"),
    f"ERR {SCRIPT}-OOM command not allowed when used memory > 'maxmemory'.": (
        "out of memory",
        "maxmemory",
    ),
    "READONLY You can't write against a read only replica. script: on @user_script:1.": (
        "is a replica",
        "to its primary",
    ),
    f"ERR {SCRIPT}-READONLY You can't write against a read only replica.": (
        "is a replica",
        "to its primary",
    ),
    "WRONGTYPE Operation against a key holding the wrong kind of value": (
        "something else by this name",
        "another prefix",
    ),
    "NOPERM User joe has no permissions to run the 'get' command": ("forbids", "ACL SETUSER"),
    "NOPERM No permissions to access a key": ("forbids", "ACL SETUSER"),
    "ERR ACL failure in script: No permissions to access a key script: on @user_script:1.": (
        "forbids",
        "ACL SETUSER",
    ),
    f"ERR {SCRIPT}The user executing the script can't run this command or subcommand": (
        "forbids",
        "ACL SETUSER",
    ),
    "LOADING Valkey is loading the dataset in memory": ("loading its data", "has finished"),
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": (
        "lost its primary",
        "INFO replication",
    ),
    "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist": (
        "cannot save its data",
        "free its disk",
    ),
    f"ERR {SCRIPT}-MISCONF Redis is configured to save RDB snapshots, but it is not able": (
        "cannot save its data",
        "free its disk",
    ),
    "MISCONF Errors writing to the AOF file: No space left on device": (
        "cannot save its data",
        "free its disk",
    ),
    "NOREPLICAS Not enough good replicas to write.": ("min-replicas-to-write", "INFO replication"),
    f"ERR {SCRIPT}-NOREPLICAS Not enough good replicas to write.": (
        "min-replicas-to-write",
        "INFO replication",
    ),
    "BUSY Valkey is busy running a script. You can only call SCRIPT KILL.": (
        "another script",
        "SCRIPT KILL",
    ),
    "MOVED 15495 127.0.0.1:7000": ("part of a cluster", "redis.RedisCluster"),
    "ASK 15495 127.0.0.1:7000": ("part of a cluster", "redis.RedisCluster"),
    "CLUSTERDOWN Hash slot not served": ("part of a cluster", "redis.RedisCluster"),
    "CLUSTERDOWN The cluster is down": ("part of a cluster", "redis.RedisCluster"),
    "CROSSSLOT Keys in request don't hash to the same slot": ("a proxy", "the server itself"),
    "TRYAGAIN Multiple keys request during rehashing of slot": ("is moving", "has finished"),
    "UNBLOCKED force unblock from blocking operation, instance state changed": (
        "ended the wait",
        "retry",
    ),
    "NOAUTH Authentication required.": ("asks for a password", "add the password"),
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO": (
        "asks for a password",
        "add the password",
    ),
    "WRONGPASS invalid username-password pair or user is disabled.": (
        "does not accept the user or the password",
        "correct them",
    ),
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?": ("has no password", "leave it out"),
    "DENIED Running in protected mode because protected mode is enabled": (
        "in protected mode",
        "a password",
    ),
    "NOPROTO unsupported protocol version": ("version of the protocol", "protocol=2"),
    "ERR DB index is out of range": ("no database of this number", "databases"),
    "ERR SELECT is not allowed in cluster mode": ("part of a cluster", "redis.RedisCluster"),
    "ERR max number of clients reached": ("as many clients as it takes", "maxclients"),
    f"ERR unknown command 'GET', with args beginning with: '{SECRET}' ": (
        "does not know a command",
        "use Redis 6.2",
    ),
    f"ERR {SCRIPT}Unknown Redis command called from Lua script": (
        "does not know a command",
        "use Redis 6.2",
    ),
    "ERR Unknown command called from script script: on @user_script:1.": (
        "does not know a command",
        "use Redis 6.2",
    ),
    "ERR syntax error": ("an option of a command", "use Redis 6.2"),
    "ERR something new": ("redis-py raised ResponseError", "see __cause__"),
}


class Refusal:
    """A server that answers each command with the same line."""

    def __init__(self, line: str) -> None:
        self._line = line.encode() + b"\r\n"
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}?protocol=2"

    def close(self) -> None:
        # Closed alone, it would go on to wait for one more connection.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._refuse, args=(connection,), daemon=True).start()

    def _refuse(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as commands:
            while head := commands.readline():
                for _ in range(int(head[1:])):
                    commands.read(int(commands.readline()[1:]) + 2)
                connection.sendall(self._line)


@contextmanager
def refused(line: str) -> Iterator[RedisStorage]:
    with closing(Refusal(line)) as server, RedisStorage(server.url) as storage:
        storage.server.pauses = ()
        yield storage


@pytest.mark.parametrize(("words", "expected"), ERRORS.items(), ids=ERRORS)
@pytest.mark.parametrize("call", ["get", "hold"])
def test_each_error_of_a_server_has_its_reason_and_one_remedy(
    words: str, expected: tuple[str, str], call: str
) -> None:
    """The reason and the remedy fit the code, in a script too, and quote nothing of the server."""
    with refused(f"-{words}") as storage:
        error = failure(lambda storage: use_call(storage, call), storage)

    reason, remedy = expected
    assert reason in error.reason
    assert remedy in error.remedy
    assert None is error.outcome
    assert SECRET not in f"{error}{error.__cause__}{error.__cause__.__context__}"
    assert SECRET not in f"{error.__context__}"


def use_call(storage: RedisStorage, call: str) -> object:
    if call == "get":
        return storage.get("42")
    with storage.hold("42"):
        return None


def test_another_kind_of_server_is_named(wire: RedisWire) -> None:
    """An answer that is no answer of Redis says that the address is wrong."""
    with refused("HTTP/1.1 400 Bad Request") as storage:
        error = failure(lambda storage: storage.get("42"), storage)

    assert "another kind of server" in error.reason


def test_a_cluster_has_reasons_of_its_own(cluster: Cluster) -> None:
    """To a `RedisCluster`, a slot that no node serves is no reason to pass a `RedisCluster`."""
    with closing(cluster.client()) as client:
        storage = RedisStorage(client)
        storage.server.pauses = ()
        answer = redis.exceptions.ClusterDownError("Hash slot not served")
        client.execute_command = refusing(answer)
        error = failure(lambda storage: storage.get("42"), storage)

    assert "does not serve all its slots" in error.reason
    assert "CLUSTER INFO" in error.remedy


def refusing(error: Exception) -> Callable[..., Any]:
    def execute_command(*_args: object, **_options: object) -> Any:
        raise error

    return execute_command


def test_a_plain_client_of_a_cluster_is_told_to_pass_another(cluster: Cluster) -> None:
    """A node of a real cluster sends MOVED, and the error says `RedisCluster`."""
    with ExitStack() as exits:
        storages = [exits.enter_context(RedisStorage(node.url)) for node in cluster.nodes]
        reasons = {outcome_of(storage) for storage in storages}

    assert {"held", "pass a redis.RedisCluster"} == reasons


def outcome_of(storage: RedisStorage) -> str:
    try:
        with storage.hold("42"):
            return "held"
    except StorageError as error:
        return error.remedy


def test_a_database_that_is_not_there_is_named(server: Server) -> None:
    """A real server refuses a number of a database that it has not."""
    with RedisStorage(f"{server.url}/9999") as storage:
        error = failure(lambda storage: storage.get("42"), storage)

    assert "no database of this number" in error.reason


# Outcomes.


def test_a_write_without_an_answer_has_an_unknown_outcome(
    wire: RedisWire, storage: RedisStorage
) -> None:
    """If all answers to a commit are lost, the error says so, also after pickling."""

    def work(session: Any) -> None:
        session.n += 1
        wire.lose_replies(2)

    with hasty(make_storage(wire)) as wired:
        update(wired)
        error = failure(lambda wired: handle(wired, work), wired)
    copy = pickle.loads(pickle.dumps(error))

    assert "unknown" == error.outcome == copy.outcome
    assert "the outcome is unknown" in str(copy)
    assert 3 == update(storage, lock_timeout=0)


@pytest.mark.parametrize(
    "call",
    [
        lambda storage: storage.set("42", b"payload"),
        lambda storage: storage.delete("42"),
        lambda storage: storage.touch("42", 60),
    ],
    ids=["set", "delete", "touch"],
)
def test_a_write_without_a_lock_may_have_an_unknown_outcome_too(
    wire: RedisWire, call: Callable[[RedisStorage], object]
) -> None:
    """`set`, `delete` and `touch` say it as well. Reading changes nothing."""
    with hasty(make_storage(wire)) as wired:
        wired.get("42")
        wire.lose_replies(2)
        written = failure(call, wired)
        wire.lose_replies(2)
        read = failure(lambda wired: wired.get("42"), wired)

    assert ("unknown", None) == (written.outcome, read.outcome)


def test_a_commit_that_was_never_sent_has_a_known_outcome() -> None:
    """If no connection can be made, the server has not executed the commit."""
    with Server() as server, hasty(make_storage(server)) as storage:

        def work(session: Any) -> None:
            session.n += 1
            server.stop()
            storage.server.owner.connections.drop_idle()

        error = failure(lambda storage: handle(storage, work), storage)

    assert None is error.outcome
    assert "cannot be reached" in error.reason


def test_a_lock_that_was_lost_in_a_long_silence_leaves_the_outcome_unknown(
    storage: RedisStorage, clock: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After half a minute the mark of a commit is gone, so a lost lock proves nothing."""

    def lose(*_args: object) -> int:
        clock.tick(31)
        return 1

    def work(session: Any) -> None:
        session.n += 1
        monkeypatch.setattr(storage.server, "run_commit", lose)

    error = failure(lambda storage: handle(storage, work), storage)

    assert "unknown" == error.outcome
    assert "its lock was lost" in error.reason


def test_a_client_that_was_passed_may_have_sent_it_before(server: Server) -> None:
    """A client with retries of its own hides its first attempt, so the outcome is unknown."""
    with server.client() as client, ExitStack() as exits:
        storage = hasty(RedisStorage(client))

        def work(session: Any) -> None:
            session.n += 1
            refuse = refusing(redis.ConnectionError("Error 111 connecting to nowhere."))
            patch = exits.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(storage.server.owner.connections, "ask", refuse)
            patch.setattr(client, "execute_command", refuse)

        error = failure(lambda storage: handle(storage, work), storage)

    assert "unknown" == error.outcome
