"""Transactions of `SQLiteStorage`: how many there are, and who waits for whose."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import support.sqlite_files
from support.clocks import PATIENCE
from support.servers import wait_until
from support.sqlite_files import begun, count, counters, locks, trace
from support.threads import began
from telesession import LockTimeoutError, StorageError, forget, ttl
from telesession.storage.sqlite import SQLiteStorage
from telesession.testing.storage_suite import in_thread, in_threads, try_hold

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory

path = support.sqlite_files.path
storage = support.sqlite_files.storage
admin = support.sqlite_files.admin


def test_an_update_takes_two_write_transactions(
    storage: SQLiteStorage, admin: sqlite3.Connection, clock: FrozenDateTimeFactory
) -> None:
    """An update that changes its session takes two transactions that write, and no other call."""
    count(storage)
    statements = trace(storage)
    storage._database._disconnect("reader")

    count(storage)

    kinds = [statement.split()[0] for statement in statements]
    expected = ["BEGIN", "INSERT", "SELECT", "COMMIT", "BEGIN", "DELETE", "INSERT", "COMMIT"]
    assert expected == kinds
    assert ["writer"] == list(storage._database._cursors)
    assert [] == locks(admin)


CHANGES: dict[str, Callable[[Any], object]] = {
    "a field": lambda session: session.update(counter=2),
    "a field with a lifetime": lambda session: session.update(code=ttl("1234", 300)),
    "all fields": lambda session: session.clear(),
    "nothing more": forget,
}


@pytest.mark.parametrize("is_stored", [False, True], ids=["new", "stored"])
@pytest.mark.parametrize("lifetime", [None, 60], ids=["for-ever", "lifetime"])
@pytest.mark.parametrize("change", list(CHANGES.values()), ids=list(CHANGES))
def test_no_change_takes_more_than_two_write_transactions(
    storage: SQLiteStorage,
    clock: FrozenDateTimeFactory,
    change: Callable[[Any], object],
    lifetime: float | None,
    is_stored: bool,
) -> None:
    """Whatever an update changes, and whoever expires meanwhile, two transactions are enough."""
    for number in range(100):
        storage.set(f"brief {number}", b"payload", 10)
    if is_stored:
        count(storage)
    clock.tick(10)
    statements = trace(storage)
    with counters(storage, lifetime=lifetime).open(42) as session:
        change(session)

    assert 2 == begun(statements)


def test_a_handler_that_raises_takes_two_write_transactions(storage: SQLiteStorage) -> None:
    """A rollback is nothing but an unlock without a write."""
    statements = trace(storage)
    with pytest.raises(ZeroDivisionError), counters(storage).open(42) as session:
        raise ZeroDivisionError(session.update(counter=2))

    assert (2, False) == (begun(statements), storage.has("42"))


@pytest.mark.parametrize("lifetime", [None, 60])
def test_reading_takes_two_transactions_as_well(
    storage: SQLiteStorage, lifetime: float | None
) -> None:
    """A handler that only reads locks and unlocks; its lifetime slides on the way."""
    count(storage, lifetime=lifetime)
    statements = trace(storage)

    with counters(storage, lifetime=lifetime).open(42) as session:
        assert 1 == session.counter

    assert [2, lifetime is not None] == [
        begun(statements),
        any(statement.startswith("UPDATE sessions SET expires") for statement in statements),
    ]


def test_no_increment_of_threads_is_lost(storage: SQLiteStorage) -> None:
    """Handlers of many threads never hold the same session at once."""
    in_threads([lambda: [count(storage, number % 3) for number in range(30)]] * 8)
    sessions = counters(storage)
    assert [{"counter": 80}] * 3 == [sessions.peek(key) for key in range(3)]


def test_writers_take_turns_in_the_order_of_their_arrival(
    storage: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """Threads write in the order in which they asked, also after a wait for another program."""
    keys = [f"key {number}" for number in range(8)]
    turns = storage._database._turns
    admin.execute("BEGIN IMMEDIATE")
    with ExitStack() as writing:
        for number, key in enumerate(keys):
            writing.enter_context(began(storage.set, key, b"payload"))
            # The first has its turn, and the others wait for it.
            wait_until(lambda n=number: len(turns) and len(turns._waiters["writer"] or ()) == n)
        admin.execute("COMMIT")

    assert keys == [key for (key,) in admin.execute("SELECT key FROM sessions ORDER BY rowid")]


def test_a_thread_does_not_wait_for_others_for_ever(
    storage: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """Who queues behind a thread that waits for a locked database gives up in time, too."""
    admin.execute("BEGIN IMMEDIATE")
    with began(storage.set, "key", b"payload"):
        wait_until(lambda: len(storage._database._turns))
        with pytest.raises(StorageError, match="other threads") as caught, storage.hold("42", 0):
            pass
        admin.execute("COMMIT")

    assert (LockTimeoutError, "42") == (type(caught.value.__cause__), caught.value.key)
    assert [True, "held"] == [storage.has("key"), try_hold(storage, "42")]


def test_threads_that_end_leave_nothing_open(storage: SQLiteStorage) -> None:
    """A thousand short threads use no more files than the first."""
    in_thread(count, storage)
    in_thread(storage.get, "42")
    before = descriptors(Path(storage._database.path).parent)
    for number in range(1000):
        if number % 10:
            thread = threading.Thread(target=storage.get, args=("42",))
        else:
            thread = threading.Thread(target=count, args=(storage,))
        thread.start()
        thread.join(PATIENCE)

    assert before == descriptors(Path(storage._database.path).parent)
    assert {"counter": 101} == counters(storage).peek(42)


def descriptors(folder: Path) -> int:
    """How many of what this process has open are the files of a folder."""
    files = [file.stat() for file in folder.iterdir()]
    number = 0
    for descriptor in os.listdir("/dev/fd"):
        # One of them was that of the list itself.
        with suppress(OSError):
            number += any(os.path.samestat(os.fstat(int(descriptor)), file) for file in files)
    return number


def test_a_storage_that_nobody_closes_is_closed_with_its_last_reference(path: Path) -> None:
    """A forgotten storage leaves neither open connections nor files beside its own."""
    storage = SQLiteStorage(path)
    count(storage)
    del storage

    assert [path.name] == os.listdir(path.parent)
