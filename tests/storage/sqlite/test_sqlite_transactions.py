"""Transactions of `SQLiteStorage`: how many there are, and who waits for whose."""

from __future__ import annotations

import os
import re
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.servers import wait_until
from support.sqlite_files import begun, count, counters, trace
from support.threads import began
from telesession import LockTimeoutError, StorageError, forget, ttl
from telesession.storage import sqlite_database
from telesession.storage.sqlite import SQLiteStorage
from telesession.testing.storage_suite import try_hold
from telesession.testing.threads import in_thread, in_threads

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory


def test_an_update_is_one_read_and_one_write_transaction(
    storage: SQLiteStorage, clock: FrozenDateTimeFactory
) -> None:
    """An update that changes its session reads once and writes once, on one connection."""
    count(storage)
    statements = trace(storage)
    storage.database.connections.disconnect("reader")

    count(storage)

    # A statement alone is a transaction.
    assert ["SELECT", "INSERT"] == [statement.split()[0] for statement in statements]
    assert ["writer"] == list(storage.database.connections.cursors)


def log_of(path: Path) -> bytes:
    return path.with_name("bot.db-wal").read_bytes()


@pytest.mark.parametrize("fails", [False, True], ids=["returns", "raises"])
def test_a_handler_that_only_reads_writes_nothing(
    storage: SQLiteStorage, path: Path, fails: bool
) -> None:
    """A handler that changes nothing, or raises, begins no transaction, and the log stays as is."""
    count(storage)
    statements, log = trace(storage), log_of(path)

    with suppress(ZeroDivisionError), counters(storage).open(42) as session:
        assert 1 == session.counter
        if fails:
            session.counter = 1 / 0

    assert (["SELECT"], log) == ([text.split()[0] for text in statements], log_of(path))


def test_a_handler_that_writes_makes_the_log_grow(storage: SQLiteStorage, path: Path) -> None:
    """The control: an update that changes its session is in the log."""
    count(storage)
    log = log_of(path)
    count(storage)

    assert log != log_of(path)


CHANGES: dict[str, Callable[[Any], object]] = {
    "a field": lambda session: session.update(counter=2),
    "a field with a lifetime": lambda session: session.update(code=ttl("1234", 300)),
    "all fields": lambda session: session.clear(),
    "nothing more": forget,
}


@pytest.mark.parametrize("is_stored", [False, True], ids=["new", "stored"])
@pytest.mark.parametrize("lifetime", [None, 60], ids=["for-ever", "lifetime"])
@pytest.mark.parametrize("change", list(CHANGES.values()), ids=list(CHANGES))
def test_no_change_takes_more_than_one_write_transaction(
    storage: SQLiteStorage,
    clock: FrozenDateTimeFactory,
    change: Callable[[Any], object],
    lifetime: float | None,
    is_stored: bool,
) -> None:
    """Each change of a session, and the removal of expired ones, is one transaction."""
    for number in range(100):
        storage.set(f"brief {number}", b"payload", 10)
    if is_stored:
        count(storage)
    clock.tick(10)
    statements = trace(storage)
    with counters(storage, lifetime=lifetime).open(42) as session:
        change(session)

    has_to_write = is_stored or change not in (CHANGES["all fields"], CHANGES["nothing more"])
    assert int(has_to_write) == begun(statements)
    assert int(has_to_write) == len(
        [text for text in statements if text.split()[0] in ("INSERT", "DELETE") and "'42'" in text]
    )


def test_reading_renews_a_lifetime_in_one_transaction(storage: SQLiteStorage) -> None:
    """A handler that only reads a session with a lifetime writes the new deadline alone."""
    count(storage, lifetime=60)
    statements = trace(storage)

    with counters(storage, lifetime=60).open(42) as session:
        assert 1 == session.counter

    kinds = [" ".join(statement.split()[:2]) for statement in statements]
    assert ["SELECT payload,", "BEGIN IMMEDIATE", "UPDATE sessions", "COMMIT"] == kinds


def test_reading_does_not_wait_for_a_thread_that_writes(
    storage: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """A handler that only reads goes on while a write of another thread waits for the database."""
    count(storage)
    admin.execute("BEGIN IMMEDIATE")
    with began(storage.set, "key", b"payload"):
        wait_until(lambda: len(storage.database.connections.turns))
        with storage.hold("42", PATIENCE) as held:
            payload = held.get()
        admin.execute("COMMIT")

    assert b"counter" in (payload or b"")


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
    turns, statements = storage.database.connections.turns, trace(storage)
    admin.execute("BEGIN IMMEDIATE")
    with ExitStack() as writing:
        for number, key in enumerate(keys):
            writing.enter_context(began(storage.set, key, b"payload"))
            # The first has its turn, and the others wait for it.
            wait_until(lambda n=number: len(turns) + len(turns.queues.get("writer", ())) == n + 1)
        admin.execute("COMMIT")

    assert keys == re.findall(r"INSERT INTO sessions VALUES \('(key \d)'", "".join(statements))


def test_a_thread_does_not_wait_for_others_for_ever(
    storage: SQLiteStorage, admin: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that queues behind one that waits for a locked database gives up in time, too."""
    admin.execute("BEGIN IMMEDIATE")
    with began(storage.set, "key", b"payload"):
        wait_until(lambda: len(storage.database.connections.turns))
        monkeypatch.setattr(sqlite_database, "PATIENCE", 0.01)
        with pytest.raises(StorageError, match="other threads") as caught:
            count(storage)
        admin.execute("COMMIT")

    assert (LockTimeoutError, "42") == (type(caught.value.__cause__), caught.value.key)
    assert [True, "held"] == [storage.has("key"), try_hold(storage, "42")]


def test_threads_that_end_leave_nothing_open(storage: SQLiteStorage) -> None:
    """A thousand short threads use no more files than the first."""
    in_thread(count, storage)
    in_thread(storage.get, "42")
    before = descriptors(Path(storage.database.path).parent)
    for number in range(1000):
        if number % 10:
            thread = threading.Thread(target=storage.get, args=("42",))
        else:
            thread = threading.Thread(target=count, args=(storage,))
        thread.start()
        thread.join(PATIENCE)

    assert before == descriptors(Path(storage.database.path).parent)
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
    """A forgotten storage leaves no open connection, and no file but its own and its locks."""
    storage = SQLiteStorage(path)
    count(storage)
    del storage

    assert [path.name, f"{path.name}-lock"] == sorted(os.listdir(path.parent))
