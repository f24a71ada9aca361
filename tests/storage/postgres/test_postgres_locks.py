"""Locks of `PostgresStorage` among processes: order, time-outs and circles."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.counts import count, update
from support.postgres_backends import wait_for_waiting
from support.postgres_storages import TABLE, failure, make_storage
from support.threads import began, in_threads
from telesession import (
    DeadlockError,
    LockTimeoutError,
    PostgresStorage,
    SessionError,
    Sessions,
)
from telesession.storage.postgres_table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

    from support.postgres import PostgresServer


@pytest.mark.parametrize("timeout", [0, 0.001, 0.025])
def test_a_wait_for_another_process_ends_with_its_timeout(
    storage: PostgresStorage, other: PostgresStorage, timeout: float
) -> None:
    """The error has the key and the seconds, and says that another process has the session."""
    with (
        other.hold("42"),
        pytest.raises(LockTimeoutError, match="another process") as caught,
        storage.hold("42", timeout),
    ):
        pass

    assert (LockTimeoutError, "42", timeout) == (
        type(caught.value),
        caught.value.key,
        caught.value.seconds,
    )
    assert 1 == update(storage, lock_timeout=0)


@pytest.mark.parametrize("timeout", [None, PATIENCE, 1e9])
def test_a_wait_may_be_as_long_as_it_has_to(
    postgres: PostgresServer, storage: PostgresStorage, other: PostgresStorage, timeout: float
) -> None:
    """A waiter with enough time gets the session when the other process has left."""
    with ExitStack() as holding:
        holding.enter_context(other.hold("42"))
        with began(partial(update, storage, lock_timeout=timeout)):
            wait_for_waiting(postgres)
            holding.close()

    assert 1 == count(storage)


def test_the_time_out_is_that_of_the_transaction(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """A connection has its own `lock_timeout` again after the handler, and has none behind it."""
    with storage.hold("42", 3) as held:
        during = _ask(held.transaction._link.connection, "SHOW lock_timeout")
    link = storage.process_state.connections.take(None)
    after = _ask(link.connection, "SHOW lock_timeout")
    storage.process_state.connections.give_back(link)

    # The rest of the three seconds.
    assert during.endswith("ms") or during == "3s"
    assert "0" == after


def _ask(connection: Connection[Any], query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def test_processes_get_a_session_in_the_order_of_their_arrival(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """The queue of the server is first come, first served."""
    order: list[int] = []

    def take(waiter: PostgresStorage, number: int) -> None:
        with waiter.hold("42", PATIENCE):
            order.append(number)

    with ExitStack() as exits:
        waiters = [exits.enter_context(make_storage(postgres)) for _ in range(6)]
        with ExitStack() as calls, storage.hold("42"):
            for number, waiter in enumerate(waiters):
                waiter.ping()
                calls.enter_context(began(take, waiter, number))
                wait_for_waiting(postgres, number + 1)
            ending = calls.pop_all()
        ending.close()

    assert list(range(6)) == order


def test_keys_of_two_tables_are_two_sessions(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """A lock belongs to a key and a table, and is the same by each name of the table."""
    with (
        make_storage(postgres, table="Bot 2") as elsewhere,
        make_storage(postgres, table=f"public.{TABLE}") as same,
        storage.hold("42"),
    ):
        seen = update(elsewhere, lock_timeout=0)
        with pytest.raises(LockTimeoutError):
            update(same, lock_timeout=0)

    assert 1 == seen


def test_a_lock_is_a_hash_of_64_bits() -> None:
    """Different keys have different locks, and the number of a lock is the same everywhere."""
    table = Table("public", TABLE)
    numbers = {table.lock_id(f"{number}") for number in range(100_000)}

    assert 100_000 == len(numbers)
    assert [True, True] == [-(2**63) <= min(numbers), max(numbers) < 2**63]
    # Two versions of a bot that run side by side share sessions.
    assert 2457828204323245558 == table.lock_id("42")


@pytest.fixture
def brisk(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that looks for circles after a moment, and not after a second."""
    with postgres.configured(deadlock_timeout="10ms"):
        yield postgres


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("is_caught", [False, True], ids=["raised", "caught"])
def test_a_circle_of_processes_ends_in_one_of_them(
    brisk: PostgresServer, size: int, is_caught: bool
) -> None:
    """
    The server finds the circle: one handler gets a `DeadlockError`, and the others go on.

    A handler that catches it still has the session from before.
    """
    meeting = threading.Barrier(size, timeout=PATIENCE)
    errors: dict[int, SessionError] = {}

    def handle(number: int, storage: PostgresStorage) -> None:
        sessions: Sessions[Any] = Sessions(
            initial=lambda: {"n": 0}, storage=storage, lock_timeout=None
        )
        with sessions.open(number) as session:
            session.n += 1
            meeting.wait()
            try:
                with sessions.open((number + 1) % size) as second:
                    second.n += 10
            except SessionError as error:
                errors[number] = error
                if not is_caught:
                    raise

    def try_to_handle(number: int, storage: PostgresStorage) -> None:
        with suppress(DeadlockError):
            handle(number, storage)

    with ExitStack() as exits:
        storages = [exits.enter_context(make_storage(brisk)) for _ in range(size)]
        storages[0].get("42")
        in_threads([partial(try_to_handle, *each) for each in enumerate(storages)])
        counted = sum(count(storages[0], str(number)) or 0 for number in range(size))

    ((number, error),) = errors.items()
    second = str((number + 1) % size)
    assert (DeadlockError, second, (second, str(number))) == (type(error), error.key, error.keys)
    assert 11 * (size - 1) + is_caught == counted


def test_a_row_that_others_have_locked_is_an_error(
    storage: PostgresStorage, admin: Connection[Any]
) -> None:
    """A commit waits for another program as long as for a lock, and then writes nothing."""
    update(storage)
    with admin.transaction():
        admin.execute(f"SELECT FROM {TABLE} FOR UPDATE")
        error = failure(partial(update, lock_timeout=0.02), storage)

    assert "another transaction has locked the table or the row (LockNotAvailable)" in str(error)
    assert ("42", None, 1, 2) == (error.key, error.outcome, count(storage), update(storage))
