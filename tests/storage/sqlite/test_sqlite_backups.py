"""Backups of a SQLite file, how they are restored, and files of an older version."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from support.sqlite_files import count, counters
from telesession import StorageError
from telesession.storage import sqlite_backup, sqlite_database
from telesession.storage.sqlite import SQLiteStorage
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """The path of a backup that is not there yet."""
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "monday.db"


def fill(storage: SQLiteStorage, payload: bytes = b"payload") -> None:
    for number in range(100):
        storage.set(f"{number}", payload)


def records(path: Path) -> dict[str, bytes | None]:
    """What a bot finds that starts with a file."""
    with SQLiteStorage(path) as storage:
        return {key: storage.get(key) for key in list(storage.keys())}


def restore(backup: Path, path: Path) -> None:
    """As the manual says."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, path)


# Backups.


def test_a_backup_is_complete_while_the_bot_runs(
    storage: SQLiteStorage, backup: Path, path: Path
) -> None:
    """A backup of a running bot is one file with all its sessions, and restores them."""
    fill(storage)
    storage.backup(backup)
    storage.set("later", b"payload")
    files = os.listdir(backup.parent)
    storage.close()
    restore(backup, path)

    assert ["monday.db"] == files
    assert {f"{number}": b"payload" for number in range(100)} == records(path)


def test_a_copy_of_a_running_bot_s_file_is_not(
    storage: SQLiteStorage, backup: Path, path: Path
) -> None:
    """The control: `cp` of the file alone has none of the sessions that are still in the log."""
    fill(storage)
    shutil.copy(path, backup)

    assert {} == records(backup)


def test_updates_go_on_during_a_backup(
    storage: SQLiteStorage, backup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updates are written while a backup is made, which is of the moment when it began."""
    monkeypatch.setattr(sqlite_database, "_PAGES", 1)
    fill(storage, b"x" * 3000)
    steps: list[int] = []

    class Watched(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, **options: Any) -> None:
            def step(_status: int, remaining: int, _total: int) -> None:
                steps.append(remaining)
                storage.set(f"{len(steps)}", b"meanwhile")

            super().backup(target, progress=step, **options)

    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **options: connect(*args, factory=Watched, **options)
    )
    storage.backup(backup)

    assert len(steps) > 50
    assert sorted(steps, reverse=True) == steps
    assert {b"x" * 3000} == {*records(backup).values()}
    assert b"meanwhile" == storage.get("1")


def test_a_backup_replaces_the_one_before(storage: SQLiteStorage, backup: Path) -> None:
    """A backup may be made to the same path every day."""
    storage.set("42", b"old")
    storage.backup(backup)
    storage.set("42", b"new")
    storage.backup(str(backup))

    assert {"42": b"new"} == records(backup)


def test_a_backup_is_for_its_owner_alone(storage: SQLiteStorage, backup: Path) -> None:
    """A backup is a file that only its owner may read."""
    storage.backup(backup)

    assert 0o600 == backup.stat().st_mode & 0o777


def make_text(path: Path) -> None:
    path.write_text("no database")


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as admin:
        admin.execute("CREATE TABLE users (id)")


def make_bot(path: Path) -> None:
    with SQLiteStorage(path) as storage:
        storage.set("42", b"another bot")


def make_restored(path: Path) -> None:
    """A backup with which a bot was started."""
    with SQLiteStorage(path.with_name("origin.db")) as storage:
        storage.backup(path)
    make_bot(path)


def make_log(path: Path) -> None:
    path.with_name(path.name + "-wal").write_bytes(b"log")


@pytest.mark.parametrize("make", [make_text, make_database, make_bot, make_restored, make_log])
def test_a_backup_overwrites_nothing_else(storage: SQLiteStorage, backup: Path, make: Any) -> None:
    """A file that is not a backup is left alone: `StorageError` says so."""
    make(backup)
    before = {file: (backup.parent / file).read_bytes() for file in os.listdir(backup.parent)}
    with pytest.raises(StorageError, match="no backup") as caught:
        storage.backup(backup)

    assert ("back up", None) == (caught.value.action, caught.value.key)
    assert before == {
        file: (backup.parent / file).read_bytes() for file in os.listdir(backup.parent)
    }


def test_a_backup_does_not_overwrite_its_own_database(storage: SQLiteStorage, path: Path) -> None:
    """The database itself is no place for its backup, not even by a link."""
    fill(storage)
    link = path.with_name("link.db")
    link.symlink_to(path)
    for target in (path, link):
        with pytest.raises(StorageError, match="no backup"):
            storage.backup(target)
    count(storage, 1000)

    assert 101 == len(list(storage.keys()))


@pytest.mark.parametrize("fault", ["folder", "full"])
def test_a_backup_that_fails_leaves_the_one_before(
    storage: SQLiteStorage, backup: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """A backup that cannot be written: `StorageError`, the earlier one whole, and no remains."""
    storage.set("42", b"old")
    storage.backup(backup)
    target = backup.parent / "missing" / "monday.db" if fault == "folder" else backup
    if fault == "full":

        def fail(path: str) -> None:
            raise OSError(28, "No space left on device", path)

        monkeypatch.setattr(sqlite_backup, "_write_to_disk", fail)
    with pytest.raises(StorageError, match="cannot be written"):
        storage.backup(target)

    assert ["monday.db"] == os.listdir(backup.parent)
    assert {"42": b"old"} == records(backup)


def test_a_backup_beside_a_foreign_log_is_refused(
    storage: SQLiteStorage, backup: Path, path: Path
) -> None:
    """A backup that is put beside the log of another database is not opened with it."""
    storage.set("42", b"old")
    storage.backup(backup)
    fill(storage)
    log = path.with_name("bot.db-wal").read_bytes()
    storage.close()
    shutil.copy(backup, path)
    path.with_name("bot.db-wal").write_bytes(log)
    with pytest.raises(StorageError, match="beside the log"):
        SQLiteStorage(path)
    restore(backup, path)

    assert {"42": b"old"} == records(path)


def test_several_processes_may_start_with_a_backup(
    storage: SQLiteStorage, backup: Path, path: Path
) -> None:
    """A restored backup is an ordinary database as soon as the first process has opened it."""
    storage.set("42", b"old")
    storage.backup(backup)
    storage.close()
    restore(backup, path)
    with SQLiteStorage(path) as first:
        first.set("43", b"new")
        seen = records(path)

    assert {"42": b"old", "43": b"new"} == seen


def test_a_backup_of_a_replaced_file_is_refused(
    storage: SQLiteStorage, backup: Path, path: Path
) -> None:
    """A database that is not at its path any more is not backed up as if it were."""
    path.rename(path.with_name("moved.db"))
    with pytest.raises(StorageError, match="moved, deleted or replaced"):
        storage.backup(backup)

    assert not backup.exists()


# Files of version 1.

FORMER = """
PRAGMA journal_mode = WAL;
CREATE TABLE sessions (key TEXT PRIMARY KEY NOT NULL, expires REAL, payload TEXT NOT NULL);
CREATE INDEX sessions_by_expires ON sessions (expires) WHERE expires IS NOT NULL;
CREATE TABLE locks (
    key TEXT PRIMARY KEY NOT NULL, token TEXT NOT NULL, taken REAL NOT NULL, expires REAL NOT NULL,
    successor TEXT
) WITHOUT ROWID;
PRAGMA application_id = 2115919445;
PRAGMA user_version = 1;
INSERT INTO sessions VALUES ('42', NULL, '{"fields":{"counter":1}}');
INSERT INTO sessions VALUES (x'eda080', 4000000000.0, x'ff');
"""


@pytest.fixture
def former(path: Path) -> sqlite3.Connection:
    """A process of the version before, by the statements of its transactions."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(FORMER)
    return connection


def lock_as_before(former: sqlite3.Connection) -> None:
    former.execute("BEGIN IMMEDIATE")
    former.execute("INSERT OR IGNORE INTO locks VALUES ('42', 'token', 1, 9e9, NULL)")
    former.execute("SELECT CAST(payload AS BLOB), expires FROM sessions WHERE key = '42'")
    former.execute("COMMIT")


def commit_as_before(former: sqlite3.Connection) -> None:
    former.execute("BEGIN IMMEDIATE")
    try:
        former.execute("DELETE FROM locks WHERE key = '42' AND token = 'token'")
        former.execute("INSERT OR REPLACE INTO sessions VALUES ('42', NULL, 'of the former')")
        former.execute("COMMIT")
    except sqlite3.Error:
        former.execute("ROLLBACK")
        raise


def test_a_file_of_version_1_is_taken_over(former: sqlite3.Connection, path: Path) -> None:
    """A file of the version before keeps its records, and has no lock rows any more."""
    former.close()
    with SQLiteStorage(path) as storage:
        count(storage)
        assert {"counter": 2} == counters(storage).peek(42)
        assert b"\xff" == storage.get("\ud800")
    with closing(sqlite3.connect(path)) as admin:
        tables = admin.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        (sql,) = admin.execute("SELECT sql FROM sqlite_master WHERE name = 'sessions'").fetchone()
        version = admin.execute("PRAGMA user_version").fetchone()

    assert ([("sessions",)], (2,)) == (tables, version)
    assert "WITHOUT ROWID" in sql


def test_a_process_of_version_1_never_has_a_session_of_the_new_one(
    former: sqlite3.Connection, path: Path
) -> None:
    """A running process of the version before writes nothing after the file was taken over."""
    lock_as_before(former)
    with SQLiteStorage(path) as storage:
        with storage.hold("42") as held:
            taken = try_hold(storage, "another"), held.get()
            for work in (commit_as_before, lock_as_before):
                with pytest.raises(sqlite3.OperationalError, match="no such table"):
                    work(former)
                if former.in_transaction:
                    former.execute("ROLLBACK")
            held.set(b"of the new one")

        assert ("held", b'{"fields":{"counter":1}}') == taken
        assert b"of the new one" == storage.get("42")
    former.close()


def test_a_takeover_is_one_transaction(
    former: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A takeover that fails in the middle leaves the file of version 1 as it was."""
    former.execute("CREATE TABLE former (key)")
    with pytest.raises(StorageError):
        SQLiteStorage(path)
    lock_as_before(former)
    commit_as_before(former)

    assert (1,) == former.execute("PRAGMA user_version").fetchone()
    former.close()
