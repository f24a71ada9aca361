"""Units of `PostgresStorage`: several sessions in one transaction, and their connections."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.counts import count, update
from support.postgres_backends import backends
from support.postgres_storages import make_pool
from support.threads import began, in_threads
from telesession import (
    LockTimeoutError,
    PostgresStorage,
    Session,
    Sessions,
    Storage,
    StorageError,
    save,
    session_key,
)
from telesession.storage import postgres_transaction
from telesession.storage.postgres_connections import Connections
from telesession.storage.postgres_hold import PostgresHold
from telesession.storage.postgres_statements import Query, Statement
from telesession.testing import FaultyStorage
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.postgres import PostgresServer
    from support.threads import Waits


def counting(storage: Storage, **options: Any) -> Sessions[Session]:
    return Sessions(initial=lambda: {"n": 0}, storage=storage, **options)


def count_in_two(storage: PostgresStorage, other: PostgresStorage) -> list[str]:
    """Count in a session, and try to do so in another one that another process has."""
    sessions = counting(storage, lock_timeout=0.02)
    seen = []
    with other.hold("b"), sessions.open("a") as session:
        session.n += 1
        with pytest.raises(LockTimeoutError), sessions.open("b"):
            pass
        seen.append(try_hold(other, "a"))
        with sessions.open("c") as third:
            third.n += 1
    return [*seen, try_hold(other, "a"), try_hold(other, "b")]


def test_a_time_out_keeps_the_sessions_before(
    storage: PostgresStorage, other: PostgresStorage
) -> None:
    """A handler that catches it still has the locks from before, and its work is saved."""
    seen = count_in_two(storage, other)

    assert ["busy", "held", "held"] == seen
    assert [1, None, 1] == [count(storage, key) for key in "abc"]


def test_control_without_savepoints_a_time_out_loses_the_unit(
    storage: PostgresStorage, other: PostgresStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server aborts the transaction, frees its locks and takes nothing more."""
    nothing = Statement(Query.rare("SELECT 1"))
    for name in ("SAVEPOINT", "RELEASE"):
        monkeypatch.setattr(postgres_transaction, name, nothing)
    monkeypatch.setattr(postgres_transaction, "UNDO", (nothing,))
    with pytest.raises(StorageError, match="InFailedSqlTransaction"):
        count_in_two(storage, other)

    assert [None] * 3 == [count(storage, key) for key in "abc"]


def test_sessions_of_a_unit_are_written_together(
    storage: PostgresStorage, other: PostgresStorage
) -> None:
    """Another process sees none of three sessions until the unit ends, and then all of them."""
    sessions = counting(storage)
    with sessions.open("a") as first:
        first.n += 1
        with sessions.open("b", "c") as rest:
            for session in rest:
                session.n += 1
        during = [count(other, key) for key in "abc"]

    assert ([None] * 3, [1] * 3) == (during, [count(other, key) for key in "abc"])


def test_a_save_is_seen_at_once_and_keeps_the_locks(
    storage: PostgresStorage, other: PostgresStorage
) -> None:
    """It writes one session on a second connection; the unit keeps all its locks."""
    sessions = counting(storage)
    with sessions.open("a", "b") as (first, second):
        first.n = second.n = 1
        save(first)
        during = count(other, "a"), count(other, "b"), try_hold(other, "a"), try_hold(other, "b")
        first.n = 2

    assert (1, None, "busy", "busy") == during
    assert [2, 1] == [count(other, key) for key in "ab"]


def test_an_independent_block_is_a_transaction_of_its_own(
    storage: PostgresStorage, other: PostgresStorage
) -> None:
    """Its session is written and free when it ends, while the outer one is still open."""
    sessions, seen = counting(storage), []

    def handle() -> None:
        with sessions.open("a") as outer:
            outer.n += 1
            with sessions.open("b", independent=True) as inner:
                inner.n += 1
            seen.extend([count(other, "b"), try_hold(other, "b"), try_hold(other, "a")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle()

    assert [1, "held", "busy"] == seen
    assert [None, 1] == [count(other, key) for key in "ab"]


# The connections of a pool.


def save_in_a_handler(session: Session, sessions: Sessions[Session]) -> None:
    save(session)


def open_independently(session: Session, sessions: Sessions[Session]) -> None:
    with sessions.open(f"{session_key(session)} too", independent=True):
        pass


@pytest.mark.parametrize("work", [save_in_a_handler, open_independently])
@pytest.mark.parametrize("size", [1, 2])
def test_handlers_do_not_wait_for_themselves(
    postgres: PostgresServer, work: Callable[..., None], size: int
) -> None:
    """If each handler with a connection needs one more, the last to ask gets an error at once."""
    meeting = threading.Barrier(size, timeout=PATIENCE)

    def handle(key: str) -> str:
        with sessions.open(key) as session:
            session.n += 1
            meeting.wait()
            work(session, sessions)
        return "done"

    def outcome(key: str) -> str:
        try:
            return handle(key)
        except StorageError as error:
            return str(error)

    with make_pool(postgres, max_size=size) as pool, PostgresStorage(pool) as storage:
        sessions = counting(storage)
        sessions.peek("another")
        outcomes = in_threads([partial(outcome, str(number)) for number in range(size)])
        error = next(each for each in outcomes if each != "done")

        assert ["done"] * (size - 1) == sorted(each for each in outcomes if each == "done")
        assert f"all {size} connections of the pool belong to handlers" in error
        assert "give the pool more connections" in error
        assert 1 == update(storage)


def test_waiting_threads_have_no_connection(postgres: PostgresServer, waits: Waits) -> None:
    """Of four handlers of one session, the one that has it has a connection."""
    with make_pool(postgres) as pool, PostgresStorage(pool) as storage, ExitStack() as exits:
        update(storage)
        holding = exits.enter_context(ExitStack())
        holding.enter_context(storage.hold("42"))
        for _ in range(3):
            exits.enter_context(began(update, storage))
            waits.next()
        busy = sum(state != "idle" for state in backends(postgres).values())
        holding.close()
        exits.pop_all().close()

        assert (1, 4) == (busy, count(storage))


def test_a_faulty_storage_keeps_a_unit_in_one_transaction(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """In front of the storage, it adds sessions to the transaction of the first one."""
    sessions = counting(FaultyStorage(storage))
    with sessions.open("a", "b", "c") as opened:
        for session in opened:
            session.n += 1
        busy = sum(state != "idle" for state in backends(postgres).values())

    assert (1, [1] * 3) == (busy, [count(storage, key) for key in "abc"])


def test_no_connection_is_used_outside_handlers(postgres: PostgresServer) -> None:
    """After handlers that return, raise and time out, all connections are free and idle."""
    with make_pool(postgres) as pool, PostgresStorage(pool) as storage:
        sessions = counting(storage, lock_timeout=0)
        with sessions.open("a", "b") as (session, _):
            save(session)
            with pytest.raises(ZeroDivisionError), sessions.open("c", independent=True):
                raise ZeroDivisionError
        list(storage.keys())
        stats = pool.get_stats()

        assert stats["pool_size"] == stats["pool_available"]
        assert {"idle"} == set(backends(postgres).values())


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Connections, "_link"),
        (postgres_transaction, "failure_in"),
        (postgres_transaction, "row_in"),
        (PostgresHold, "_loaded"),
    ],
    ids=["the connection", "the answer", "the row", "the record"],
)
def test_an_interrupted_lock_is_free(
    place: Any,
    name: str,
    postgres: PostgresServer,
    other: PostgresStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A KeyboardInterrupt at any step of taking a lock leaves the lock and the connection free."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with make_pool(postgres, max_size=1) as pool, PostgresStorage(pool) as storage:
        storage.get("42")
        with monkeypatch.context() as patch:
            patch.setattr(place, name, interrupt)
            with pytest.raises(KeyboardInterrupt), storage.hold("42"):
                pass

        assert ["held", 1] == [try_hold(other, "42"), update(storage)]
