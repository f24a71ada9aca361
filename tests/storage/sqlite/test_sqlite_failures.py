"""What can go wrong with a SQLite file, and what is refused from the start."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.processes import run
from support.servers import wait_until
from support.sqlite_files import SECRET, count, counters
from support.threads import began
from telesession import Storage, StorageError
from telesession.storage import sqlite_database
from telesession.storage.sqlite import SQLiteStorage
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_text(storage: Storage, text: str) -> None:
    with counters(storage).open(42) as session:
        session.text = text


# What can go wrong with the file.

CALLS: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("42"),
    "set": lambda storage: storage.set("42", b"new"),
    "has": lambda storage: storage.has("42"),
    "get_record": lambda storage: storage.get_record("42"),
    "ping": lambda storage: storage.ping(),
    "delete": lambda storage: storage.delete("42"),
    "touch": lambda storage: storage.touch("42", 60),
    "keys": lambda storage: list(storage.keys("4")),
    "hold": lambda storage: storage.hold("42").__enter__(),
    "purge": lambda storage: storage.purge(),  # type: ignore[attr-defined]
}

with_each_call = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))


@with_each_call
def test_a_closed_storage_says_so(
    storage: SQLiteStorage, call: Callable[[Storage], object]
) -> None:
    """A closed storage raises `StorageError`, whatever is asked of it."""
    storage.close()
    with pytest.raises(StorageError, match="the storage is closed"):
        call(storage)


def expect_reason(path: Path, reason: str) -> StorageError:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StorageError, match=reason) as caught:
        SQLiteStorage(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert before == (path.read_bytes() if path.is_file() else None)
    return caught.value


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    """A file that is no database: `StorageError` says so, and the file stays as it is."""
    path.write_bytes(SECRET.encode() * 1000)
    assert SECRET not in str(expect_reason(path, "no SQLite database"))


def test_a_missing_folder_is_not_made(path: Path) -> None:
    """A path in a folder that does not exist: `StorageError` says so."""
    expect_reason(path.parent / "missing" / "bot.db", "folder must exist")


def test_the_path_of_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder in the place of the database: `ValueError` gives the path of a file in it."""
    with pytest.raises(ValueError, match="has the path of a folder") as raised:
        SQLiteStorage(tmp_path)

    assert str(tmp_path / "bot.db") in str(raised.value)


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE users (id)", "PRAGMA user_version = 7", "PRAGMA application_id = 7"],
)
def test_a_database_of_another_program_is_left_alone(path: Path, statement: str) -> None:
    """A database that others use: `StorageError` says so, and it gets no tables of ours."""
    with closing(sqlite3.connect(path)) as admin:
        admin.execute(statement)
    expect_reason(path, "database of another program")


def test_another_version_of_the_tables_is_left_alone(path: Path) -> None:
    """A file of a later telesession: `StorageError` names both versions; the records stay."""
    with SQLiteStorage(path) as storage:
        storage.set("42", b"old")
    with closing(sqlite3.connect(path)) as admin:
        admin.execute("PRAGMA user_version = 3")
    expect_reason(path, r"version 3 .* knows version 2")


def test_a_file_system_without_shared_memory_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite cannot do WAL: `StorageError` says so."""

    class WithoutWal(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("= WAL", "= DELETE"), *args)

    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **options: connect(*args, factory=WithoutWal, **options)
    )
    with pytest.raises(StorageError, match="local disk"):
        SQLiteStorage(path)


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_a_file_that_may_only_be_read(is_new: bool) -> None:
    """A read-only file: `StorageError` says so; the old record is whole."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bot.db")
        if not is_new:
            with SQLiteStorage(path) as storage:
                storage.set("42", b"old")
            path.chmod(0o444)
        Path(folder).chmod(0o555)
        outcome = run("without_rights", path.name, cwd=Path(folder))
        Path(folder).chmod(0o755)
        if not is_new:
            path.chmod(0o644)
            with SQLiteStorage(path) as storage:
                assert b"old" == storage.get("42")

    assert "OperationalError" == outcome["cause"]
    reason = "cannot be opened" if is_new else "may only be read|cannot be opened"
    assert any(part in outcome["error"] for part in reason.split("|"))


def test_a_disk_that_takes_no_more(path: Path) -> None:
    """A file that cannot grow: `StorageError`, the old record whole, and then it goes on."""
    outcome = run("on_a_full_disk", path)

    assert "see whether it is full" in outcome["error"]
    assert ("OperationalError", "old") == (outcome["of a session"], outcome["kept"])
    assert {"counter": 0, "text": "written"} == outcome["then"]


def test_a_full_database(storage: SQLiteStorage, admin: sqlite3.Connection) -> None:
    """A full database: `StorageError` says so, the old record is whole, the session free."""
    count(storage)
    (pages,) = admin.execute("PRAGMA page_count").fetchone()
    storage.database.connections.cursors["writer"].execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StorageError, match="disk is full") as caught:
        with_text(storage, SECRET * 10_000)

    assert ("write", "42") == (caught.value.action, caught.value.key)
    assert SECRET not in str(caught.value)
    assert {"counter": 1} == counters(storage).peek(42)
    count(storage)
    assert {"counter": 2} == counters(storage).peek(42)


def test_a_payload_that_is_too_large(storage: SQLiteStorage) -> None:
    """A record beyond SQLite's limit: `StorageError` says so, and the old one is whole."""
    storage.set("42", b"old")
    connection = storage.database.connections.cursors["writer"].connection
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)

    with pytest.raises(StorageError, match="larger than SQLite allows"):
        storage.set("42", b"x" * 10_001)

    assert b"old" == storage.get("42")


def test_a_damaged_file(path: Path) -> None:
    """A damaged file: `StorageError` says so, and is never a new user."""
    with SQLiteStorage(path) as storage:
        for number in range(200):
            storage.set(f"{number}", b"payload" * 50)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))

    with SQLiteStorage(path) as storage, pytest.raises(StorageError, match="damaged") as caught:
        count(storage)
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)


def test_a_locked_database(
    storage: SQLiteStorage, admin: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that another program keeps locked: `StorageError` in time, and reading works."""
    count(storage)
    monkeypatch.setattr(sqlite_database, "PATIENCE", 0.05)
    admin.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="another program keeps") as caught:
        count(storage)
    during = counters(storage).peek(42)
    admin.execute("ROLLBACK")
    count(storage)

    assert ("write", "42") == (caught.value.action, caught.value.key)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert [{"counter": 1}, {"counter": 2}] == [during, counters(storage).peek(42)]


def test_a_short_lock_of_the_database_is_waited_for(
    storage: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """Another program's transaction delays an update, and nothing more."""
    admin.execute("BEGIN IMMEDIATE")
    with began(count, storage):
        wait_until(lambda: len(storage.database.connections.turns))
        admin.execute("COMMIT")

    assert {"counter": 1} == counters(storage).peek(42)


def test_an_error_in_a_transaction_undoes_it(storage: SQLiteStorage) -> None:
    """What is interrupted in the middle of a transaction has written nothing."""
    storage.set("42", b"old")

    def interrupt(cursor: sqlite3.Cursor) -> None:
        cursor.execute("DELETE FROM sessions")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.database.write("write", "42", interrupt)

    assert [b"old", "held"] == [storage.get("42"), try_hold(storage, "42")]


# Options.


@pytest.mark.parametrize("path", ["", ":memory:", "file:bot.db", "file::memory:", "a\0b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    """What cannot be shared by connections, or means something else: `ValueError` with advice."""
    with pytest.raises(ValueError, match=r"MemoryStorage|path of a file"):
        SQLiteStorage(path)


@pytest.mark.parametrize(
    ("args", "options", "error", "hint"),
    [
        ((7,), {}, TypeError, "path"),
        ((b"bot.db",), {}, TypeError, "path"),
        ((None,), {}, TypeError, "path"),
        (("bot.db",), {"lease": 30}, TypeError, "lease"),
        (("bot.db",), {"synchronous": "OFF"}, ValueError, "synchronous"),
        (("bot.db",), {"synchronous": 1}, ValueError, "synchronous"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_at_once(
    args: Any, options: Any, error: type[Exception], hint: str, empty_folder: Path
) -> None:
    """Wrong options raise at construction, name the option, and make no file."""
    with pytest.raises(error, match=hint):
        SQLiteStorage(*args, **options)

    assert [] == os.listdir(empty_folder)
