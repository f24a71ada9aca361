"""Servers that refuse, hang, restart, are full, or have something else by the same name."""

from __future__ import annotations

import itertools
import pickle
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis
from redis.cache import CacheConfig

from support.clocks import DAY
from support.counts import count, handle, update
from support.redis_storages import (
    CALLS,
    SECRET,
    brief_client,
    failure,
    hasty,
    hurried,
    locks,
    make_storage,
    read_patiently,
    use,
)
from support.servers import Monitor, Server
from support.threads import began
from telesession import LockLostError, Storage, StorageError
from telesession.storage.redis import RedisStorage
from telesession.testing.storage_suite import try_hold
from telesession.testing.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def failures(url: str) -> list[StorageError]:
    """What every call comes to at a server, all at the same time, each with its own storage."""
    calls = [lambda call=call: failure(call, RedisStorage(url)) for call in CALLS.values()]
    return in_threads(calls)


def test_a_server_that_refuses_is_an_error_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client made from a URL gives up within two seconds where nobody listens."""
    pauses: list[float] = []
    monkeypatch.setattr("telesession.storage.redis_server.time.sleep", pauses.append)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        seen = failures(f"redis://127.0.0.1:{nobody.getsockname()[1]}")

    assert {redis.ConnectionError} == {type(error.__cause__) for error in seen}
    assert 0 < sum(pauses) < 2 * len(seen)


def test_a_server_that_hangs_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client made from a URL gives up within ten seconds where nobody answers."""
    pauses: list[float] = []
    monkeypatch.setattr("telesession.storage.redis_server.time.sleep", pauses.append)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        seen = failures(f"{url}?socket_timeout=0.01")
        attempts = number_of_connections(silent)
    with RedisStorage(url) as storage:
        by_default = storage.server.client.get_connection_kwargs()["socket_timeout"]

    assert {redis.TimeoutError} == {type(error.__cause__) for error in seen}
    assert 0 < sum(pauses) + attempts * by_default < 10 * len(seen)


def number_of_connections(listener: socket.socket) -> int:
    """How many connections nobody has accepted yet."""
    listener.setblocking(False)
    for number in itertools.count():
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return number
    raise AssertionError


def test_a_server_that_hangs_in_the_middle_does_not_break_a_record(
    server: Server, storage: RedisStorage
) -> None:
    """An update whose commit got no answer has happened or not; the next one goes on from there."""
    update(storage)
    with brief_client(server.client) as brief, ExitStack() as freezing:

        def work(session: Any) -> None:
            session.n += 1
            freezing.enter_context(server.frozen())
            freezing.enter_context(hurried(storage, brief))

        with pytest.raises(StorageError):
            handle(storage, work)
        with pytest.raises(StorageError):
            storage.get("42")
    after = update(storage, lock_timeout=0)
    assert after in (2, 3)
    assert after == count(storage)


def test_a_waiter_whose_server_dies_gets_an_error() -> None:
    """Neither waiting nor holding outlives the server; the next update works with its successor."""
    with ExitStack() as exits:
        server = exits.enter_context(Server())
        storage, other = (exits.enter_context(hasty(make_storage(server))) for _ in range(2))

        def work(held: Any) -> Any:
            with Monitor(server) as monitor, began(failure, read_patiently, other) as waiter:
                monitor.next("BLPOP")
                held.set(b"payload")
                server.stop()
            waiters.append(waiter)

        waiters: list[Any] = []
        with pytest.raises(StorageError):
            use(storage, work)
        error = waiters[0].result()
        assert ("lock", "42") == (error.action, error.key)
        server.start()
        assert [1, 2] == [update(other), update(storage)]


def test_a_restart_between_load_and_commit_is_a_lost_lock() -> None:
    """A server that came back without the lock gets nothing of what was read before."""
    with Server() as server, make_storage(server) as storage:

        def work(session: Any) -> None:
            session.n += 1
            server.restart()

        update(storage)
        with pytest.raises(LockLostError):
            handle(storage, work)
        assert [] == list(storage.keys())
        assert 1 == update(storage)
        server.restart()
        assert 1 == update(storage)


def test_a_server_that_forgets_its_scripts_is_told_again(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """`NOSCRIPT` costs a round trip and nothing else, at the lock and at the commit."""

    def work(session: Any) -> None:
        session.n += 1
        admin.script_flush()

    for _ in range(3):
        admin.script_flush()
        handle(storage, work)

    assert 3 == count(storage)


@contextmanager
def out_of_memory(server: Server) -> Iterator[str]:
    with server.configured(maxmemory_policy="noeviction", maxmemory=1):
        yield "maxmemory"


@contextmanager
def read_only(server: Server) -> Iterator[str]:
    with server.client() as admin:
        admin.replicaof("127.0.0.1", "1")
        try:
            yield "replica"
        finally:
            admin.replicaof("NO", "ONE")


@contextmanager
def without_permission(server: Server) -> Iterator[str]:
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-set")
        try:
            yield "forbids"
        finally:
            admin.execute_command("ACL", "SETUSER", "default", "+set")


@contextmanager
def too_few_replicas(server: Server) -> Iterator[str]:
    with server.configured(min_replicas_to_write=1):
        yield "min-replicas-to-write"


OBSTACLES = [out_of_memory, read_only, without_permission, too_few_replicas]


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_refused_update_changes_nothing(
    server: Server,
    storage: RedisStorage,
    admin: redis.Redis,
    obstacle: Callable[[Server], Any],
) -> None:
    """A server that takes no writes is a `StorageError` with the reason, at the lock already."""
    update(storage)
    payload = storage.get("42")
    with obstacle(server) as reason:
        with pytest.raises(StorageError, match=f"could not lock .*'42'.*{reason}") as caught:
            update(storage)
        with pytest.raises(StorageError, match=f"could not write .*'42'.*{reason}"):
            storage.set("42", SECRET.encode())
        assert payload == storage.get("42")

    assert isinstance(caught.value.__cause__, redis.RedisError)
    assert 2 == update(storage, lock_timeout=0)


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_refused_commit_changes_nothing(
    server: Server, storage: RedisStorage, obstacle: Callable[[Server], Any]
) -> None:
    """A server that takes no more writes when the handler returns keeps the record as it was."""
    update(hasty(storage))
    payload = storage.get("42")
    with ExitStack() as obstacles:

        def work(session: Any) -> None:
            session.text = SECRET
            obstacles.enter_context(obstacle(server))

        with pytest.raises(StorageError, match=r"could not write .*'42'") as caught:
            handle(storage, work)
        assert payload == storage.get("42")

    assert caught.value.outcome is None
    assert SECRET not in f"{caught.value}{caught.value.__cause__}"
    assert 2 == update(storage, lock_timeout=0)


def test_a_commit_for_which_there_is_no_memory_unlocks(
    server: Server, storage: RedisStorage, other: RedisStorage
) -> None:
    """A server that is full can still unlock: other processes need not wait for the lease."""
    with ExitStack() as obstacles:

        def work(held: Any) -> None:
            held.set(b"payload")
            obstacles.enter_context(out_of_memory(server))

        with pytest.raises(StorageError):
            use(storage, work)

    assert "held" == try_hold(other, "42")


def test_a_touch_needs_no_memory(
    server: Server, storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """A server that is full still renews the lifetime of what was only read, or takes it away."""
    for key in "abc":
        storage.set(key, b"payload", DAY if key == "a" else None)
    for key, lifetime in {"a": 9.5 * DAY, "b": 9.5 * DAY, "c": None}.items():
        with ExitStack() as obstacles, storage.hold(key) as held:
            held.touch(lifetime)
            obstacles.enter_context(out_of_memory(server))

    assert [9, 9, -1] == [admin.ttl(f"telesession:{key}") // DAY for key in "abc"]
    assert ["held"] * 3 == [try_hold(other, key) for key in "abc"]


def test_a_touch_may_take_the_lifetime_away(storage: RedisStorage, admin: redis.Redis) -> None:
    """What is touched with no lifetime is kept for ever."""
    storage.set("42", b"payload", DAY)
    use(storage, lambda held: held.touch(None))

    assert (b"payload", -1) == (storage.get("42"), admin.ttl("telesession:42"))


def test_a_client_that_caches_is_told_of_changes(
    server: Server, storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client with a cache of its own reads what others have written since."""
    # redis-py has a cache for nothing but Redis 7.4 and later; what it does is the same.
    proxy = redis.connection.CacheProxyConnection
    monkeypatch.setattr(proxy, "connect", lambda self: self._conn.connect())
    with server.client(protocol=3, cache_config=CacheConfig()) as client:
        caching, seen = RedisStorage(client), []
        for payload in (b"1", b"2"):
            storage.set("42", payload)
            # Before it answers this, the server has told whoever caches what was changed.
            storage.now()
            seen.extend(caching.get("42") for _ in range(2))

    assert [b"1", b"1", b"2", b"2"] == seen


OF_A_RECORD = ("get", "set", "has", "get_record", "delete", "touch", "hold", "update")


@pytest.mark.parametrize("call", [CALLS[name] for name in OF_A_RECORD])
def test_what_is_no_record_is_left_alone(
    storage: RedisStorage, admin: redis.Redis, call: Callable[[Storage], object]
) -> None:
    """A key that has a list in it is neither a new session nor overwritten nor locked."""
    admin.rpush("telesession:42", SECRET)
    error = failure(call, storage)

    assert "telesession" not in str(error)
    assert "something else by this name" in str(error)
    assert [b"telesession:42"] == admin.keys()
    assert [SECRET.encode()] == admin.lrange("telesession:42", 0, -1)


def test_a_failed_update_does_not_disturb_others(storage: RedisStorage, admin: redis.Redis) -> None:
    """An update that the storage failed leaves no lock behind, here or on the server."""
    admin.rpush("telesession:42", "something else")
    for _ in range(3):
        failure(update, storage)
    admin.delete("telesession:42")

    assert [0, []] == [len(storage.process_state.locks), locks(admin)]
    assert 1 == update(storage, lock_timeout=0)


def test_a_save_that_failed_is_not_written_later(storage: RedisStorage, server: Server) -> None:
    """A `flush` that the server refused is forgotten: only what is noted after it counts."""
    storage.set("42", b"old")
    with storage.hold("42") as held:
        held.set(b"refused")
        with out_of_memory(server), pytest.raises(StorageError):
            held.flush()

    assert b"old" == storage.get("42")


def test_errors_survive_pickling(storage: RedisStorage, admin: redis.Redis) -> None:
    """A `StorageError` of a server carries its data as attributes, in another process too."""
    admin.rpush("telesession:42", "something else")
    error = failure(CALLS["get"], storage)
    copy = pickle.loads(pickle.dumps(error))

    assert ("read", "42", str(error)) == (copy.action, copy.key, str(copy))


def test_a_client_without_a_free_connection_is_an_error(server: Server) -> None:
    """Each waiting thread has a connection; a pool that is too small says so."""
    with server.client(max_connections=1) as client:
        storage = RedisStorage(client)
        with client.monitor(), pytest.raises(StorageError, match="max_connections"):
            storage.get("42")
        assert storage.get("42") is None
