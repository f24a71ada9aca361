"""A SQLite file that others move, delete, replace, read or damage while the bot runs."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.sqlite_files import count, counters, each_file
from telesession import StorageError
from telesession.storage import sqlite_database, sqlite_locks
from telesession.storage.sqlite import SQLiteStorage
from telesession.storage.watched_files import WatchedFiles
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory


def delete_all(path: Path) -> None:
    """As `rm bot.db*` and `git clean` do."""
    for file in each_file(path):
        file.unlink()


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def replace(path: Path) -> None:
    """As a restore by `mv` does."""
    with SQLiteStorage(path.with_name("another.db")) as another:
        another.set("42", b'{"fields":{"counter":1000}}')
    path.with_name("another.db").rename(path)


def move_folder(path: Path) -> None:
    """As a redeploy does."""
    path.parent.rename(path.parent.with_name("former"))
    path.parent.mkdir()
    with SQLiteStorage(path) as another:
        another.set("42", b'{"fields":{"counter":1000}}')


def use(path: Path) -> None:
    """The control: other files come and go beside it, and other programs read and write it."""
    path.with_name("bot.db.txt").touch()
    path.with_name("bot.db.txt").unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE sessions SET expires = NULL")
        other.commit()


CHANGES = [delete_all, delete, move, replace, move_folder]
with_each_change = pytest.mark.parametrize(
    "change", CHANGES, ids=[change.__name__ for change in CHANGES]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "bot.db"


@with_each_change
def test_no_update_goes_into_a_file_that_is_not_at_its_path(
    storage: SQLiteStorage, path: Path, change: Callable[[Path], None]
) -> None:
    """A database that was moved, deleted or replaced: each update is refused until a restart."""
    count(storage)
    change(path)
    at_path = path.read_bytes() if path.exists() else None
    for _ in range(3):
        with pytest.raises(StorageError, match="moved, deleted or replaced") as caught:
            count(storage)
    with pytest.raises(StorageError, match="start the bot again"):
        storage.set("43", b"payload")
    with pytest.raises(StorageError, match="start the bot again"):
        counters(storage).peek(42)
    storage.close()

    assert "42" == caught.value.key
    assert at_path == (path.read_bytes() if path.exists() else None)
    with SQLiteStorage(path) as restarted:
        assert "held" == try_hold(restarted, "43")


@with_each_change
def test_ping_tells_that_a_file_is_not_at_its_path(
    storage: SQLiteStorage, path: Path, change: Callable[[Path], None]
) -> None:
    """`ping` is a `StorageError` after the database was moved, deleted or replaced."""
    storage.ping()
    change(path)
    with pytest.raises(StorageError, match=r"could not reach the database.*start the bot again"):
        storage.ping()


@with_each_change
def test_no_handler_begins_in_a_file_that_is_not_at_its_path(
    storage: SQLiteStorage, path: Path, change: Callable[[Path], None]
) -> None:
    """The very first handler is refused as well, and makes no lock file for nothing."""
    change(path)
    files = each_file(path)
    with pytest.raises(StorageError, match="moved, deleted or replaced"):
        count(storage)

    assert files == each_file(path)


@with_each_change
def test_a_handler_that_runs_meanwhile_writes_nothing(
    storage: SQLiteStorage, path: Path, change: Callable[[Path], None]
) -> None:
    """A handler whose database goes while it runs gets an error, not an acknowledgement."""
    count(storage)

    def handle() -> None:
        with counters(storage).open(42) as session:
            session.counter = 7
            change(path)

    with pytest.raises(StorageError, match="moved, deleted or replaced"):
        handle()


def test_a_file_that_others_use_is_written(storage: SQLiteStorage, path: Path) -> None:
    """The control: whatever else happens in the folder and the file, updates are written."""
    for _ in range(3):
        count(storage)
        use(path)

    count(storage)
    assert {"counter": 4} == counters(storage).peek(42)


def test_without_the_comparison_updates_go_into_a_deleted_file(
    storage: SQLiteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: SQLite itself acknowledges an update of a file that was deleted."""
    count(storage)
    assert {"counter": 1} == counters(storage).peek(42)
    monkeypatch.setattr(WatchedFiles, "find_replaced", lambda *_: None)
    delete_all(path)
    count(storage)

    assert {"counter": 2} == counters(storage).peek(42)
    assert [] == [file.name for file in each_file(path) if file.name != "bot.db-lock"]


def test_a_link_that_leads_elsewhere_is_noticed(path: Path) -> None:
    """A link to the database that a redeploy points to another one: no update is written."""
    link = path.with_name("current.db")
    with SQLiteStorage(path.with_name("next.db")):
        link.symlink_to(path.with_name("next.db"))
    link.unlink()
    link.symlink_to(path)
    with SQLiteStorage(link) as storage:
        count(storage)
        link.unlink()
        link.symlink_to(path.with_name("next.db"))
        with pytest.raises(StorageError, match="moved, deleted or replaced"):
            count(storage)


def test_a_replaced_file_is_never_opened(storage: SQLiteStorage, path: Path) -> None:
    """A connection that is made later, as after a fork, does not lead to another database."""
    count(storage)
    storage.database.connections.disconnect("reader")
    replace(path)

    with pytest.raises(StorageError, match="moved, deleted or replaced"):
        list(storage.keys())


def test_a_deleted_file_is_not_made_anew(storage: SQLiteStorage, path: Path) -> None:
    """A connection that is made later does not make a new database, in which nobody is known."""
    count(storage)
    storage.database.connections._before_fork()
    storage.database.connections._after_fork()
    delete_all(path)

    with pytest.raises(StorageError, match="moved, deleted or replaced"):
        count(storage)
    assert not path.exists()


# The log.


def lose_log(path: Path) -> None:
    """As another program does that finds no lock on the database."""
    path.with_name("bot.db-wal").unlink()
    path.with_name("bot.db-shm").unlink()


def test_a_lost_log_is_an_error_once(storage: SQLiteStorage, path: Path) -> None:
    """A log that was deleted: the next update is refused, and then the storage connects anew."""
    count(storage)
    count(storage)
    lose_log(path)
    with pytest.raises(StorageError, match=r"log \(-wal\) was deleted.*SQLiteStorage.backup"):
        count(storage)
    counted = counters(storage).peek(42)
    count(storage)
    (after,) = [counters(storage).peek(42)]
    storage.close()

    with SQLiteStorage(path) as restarted:
        assert after == counters(restarted).peek(42)
    assert 1 == after["counter"] - (counted or {"counter": 0})["counter"]


def test_connecting_anew_writes_nothing_of_a_lost_log(storage: SQLiteStorage, path: Path) -> None:
    """A lost log is not copied over what others have written since, and deletes no new log."""
    for number in range(50):
        storage.set(f"{number}", b"old" * 100)
    lose_log(path)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert b"written\n" == process.stdout.readline()
        with pytest.raises(StorageError, match="log"):
            storage.set("0", b"of the former log")
        log = path.with_name("bot.db-wal").stat()
        seen = [storage.get(f"{number}") for number in range(50)]
        storage.set("0", b"newest")
        process.communicate(timeout=PATIENCE)

    assert [b"new" * 200] * 50 == seen
    assert log.st_ino == path.with_name("bot.db-wal").stat().st_ino
    with closing(sqlite3.connect(path)) as admin:
        assert [("ok",)] == admin.execute("PRAGMA integrity_check").fetchall()


PROGRAM = """
import sys
from telesession import SQLiteStorage
storage = SQLiteStorage(sys.argv[1])
for number in range(50):
    storage.set(f"{number}", b"new" * 200)
sys.stdout.write("written\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def test_a_bot_that_reads_its_own_file_loses_no_update(storage: SQLiteStorage, path: Path) -> None:
    """A bot that opens and closes its database file is told so, and every update is kept."""
    for number in range(10):
        if number == 5:
            path.read_bytes()
            query(path)
            with pytest.raises(StorageError, match="opens and closes its own database file"):
                count(storage)
        count(storage)
    storage.close()

    with SQLiteStorage(path) as restarted:
        assert {"counter": 10} == counters(restarted).peek(42)


def test_without_the_comparison_a_bot_that_reads_its_own_file_loses_updates(
    storage: SQLiteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: SQLite acknowledges updates that are gone after the end of the process."""
    monkeypatch.setattr(WatchedFiles, "find_replaced", lambda *_: None)
    count(storage)
    path.read_bytes()
    query(path)
    count(storage)

    assert [(1,)] == query(path)


def query(path: Path) -> list[tuple[int]]:
    """What another program sees, such as the `sqlite3` shell."""
    code = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1]);"
        "print(connection.execute('SELECT payload FROM sessions').fetchall()[0][0]);"
        "connection.close()"
    )
    printed = subprocess.check_output([sys.executable, "-S", "-c", code, path], text=True)
    return [(int(printed.rpartition(":")[2].strip("}\n")),)]


@pytest.mark.parametrize("fresh", [0.0, 10.0], ids=["at the lock", "at the write"])
def test_all_storages_of_a_process_leave_a_lost_log(
    storage: SQLiteStorage, path: Path, monkeypatch: pytest.MonkeyPatch, fresh: float
) -> None:
    """After a lost log no connection of the process keeps SQLite's index of the former one."""
    monkeypatch.setattr(sqlite_locks, "_FRESH", fresh)
    with SQLiteStorage(path) as second:
        count(storage)
        count(second)
        lose_log(path)
        with pytest.raises(StorageError, match="log"):
            count(storage)
        count(second)
        count(storage)
        assert counters(storage).peek(42) == counters(second).peek(42)
    with closing(sqlite3.connect(path)) as admin:
        assert [("ok",)] == admin.execute("PRAGMA integrity_check").fetchall()


# The cost of looking.


def test_a_folder_that_does_not_change_is_looked_at_once_for_an_update(
    storage: SQLiteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files themselves are looked at when something in their folder has changed."""
    looked: list[str] = []
    monkeypatch.setattr(sqlite_locks, "_FRESH", 0.0)
    count(storage)
    files = storage.database.files
    monkeypatch.setattr("telesession.storage.watched_files._GRANULARITY", -float("inf"))
    count(storage)
    identity_of = sqlite_database.identity_of
    monkeypatch.setattr(
        "telesession.storage.watched_files.identity_of",
        lambda path: [looked.append(path), identity_of(path)][1],
    )
    count(storage)
    unchanged = list(looked)
    path.with_name("another").touch()
    count(storage)

    assert [] == unchanged
    assert {*files._identities} == {*looked}


# New files.


def test_new_files_are_of_their_owner_alone(path: Path) -> None:
    """The database and the files beside it can be read and written by their owner only."""
    umask = os.umask(0o022)
    try:
        with SQLiteStorage(path) as storage:
            count(storage)
            modes = {file.name: file.stat().st_mode & 0o777 for file in each_file(path)}
    finally:
        os.umask(umask)

    names = ["bot.db", "bot.db-lock", "bot.db-shm", "bot.db-wal"]
    assert dict.fromkeys(names, 0o600) == modes


def test_a_file_that_was_there_keeps_its_mode(path: Path) -> None:
    """A database that a group may use stays so, and its lock file is for the same group."""
    SQLiteStorage(path).close()
    path.chmod(0o660)
    with SQLiteStorage(path) as storage:
        count(storage)

    assert [0o660, 0o660] == [
        path.with_name(name).stat().st_mode & 0o777 for name in ("bot.db", "bot.db-lock")
    ]


# What is deleted is gone.


def stored_bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in each_file(path) if file.suffix != ".db-shm")


class Careless(sqlite3.Connection):
    """A connection of a SQLite that leaves what is deleted in the file, as most builds do."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execute("PRAGMA secure_delete = OFF")


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a SQLite, whatever this machine has."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **options: connect(*args, factory=Careless, **options)
    )


@pytest.mark.parametrize("size", [20, 3000, 50_000])
def test_a_deleted_record_is_in_no_file(
    careless: None, storage: SQLiteStorage, path: Path, size: int
) -> None:
    """After `purge`, neither the database nor its log has what was deleted or replaced before."""
    storage.set("43", b"payload")
    storage.set("42", b"hunter2 " * (size // 8))
    there = b"hunter2" in stored_bytes(path)
    storage.set("42", b"short")
    storage.set("42", b"hunter2 " * (size // 8))
    storage.delete("42")
    storage.purge()

    assert (True, False) == (there, b"hunter2" in stored_bytes(path))


def test_purge_returns_pages_to_the_disk(
    storage: SQLiteStorage, path: Path, admin: sqlite3.Connection, clock: FrozenDateTimeFactory
) -> None:
    """A file whose sessions have expired is small after `purge`, and its log is empty."""
    for number in range(100):
        storage.set(f"{number}", b"x" * 10_000, 10)
    admin.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    large = path.stat().st_size
    clock.tick(10)
    storage.purge()

    assert large > 1_000_000
    assert path.stat().st_size < 100_000
    assert 0 == path.with_name("bot.db-wal").stat().st_size


def test_purge_leaves_the_log_to_a_program_that_reads_it(
    storage: SQLiteStorage, admin: sqlite3.Connection, clock: FrozenDateTimeFactory
) -> None:
    """`purge` removes what has expired also while another program reads."""
    storage.set("brief", b"payload", 10)
    clock.tick(10)
    admin.execute("BEGIN")
    admin.execute("SELECT * FROM sessions").fetchall()

    assert 1 == storage.purge()
    admin.execute("COMMIT")
    assert [(0,)] == admin.execute("SELECT count(*) FROM sessions").fetchall()


def test_a_large_record_leaves_no_large_log(storage: SQLiteStorage, path: Path) -> None:
    """The log of a large session is cut with one of the next updates."""
    storage.set("42", b"x" * 20_000_000)
    large = path.with_name("bot.db-wal").stat().st_size
    for number in range(3):
        storage.set("43", b"%d" % number)

    assert large > 20_000_000
    assert path.with_name("bot.db-wal").stat().st_size <= 4 * 2**20


# Writes that SQLite refuses.

TRIGGERS = {
    "abort": "SELECT RAISE(ABORT, 'no')",
    "fail": "SELECT RAISE(FAIL, 'no')",
    "rollback": "SELECT RAISE(ROLLBACK, 'no')",
    "constraint": "INSERT INTO sessions VALUES (NULL, NULL, NULL)",
}


@pytest.mark.parametrize("trigger", list(TRIGGERS.values()), ids=list(TRIGGERS))
def test_a_refused_write_holds_up_nobody(
    storage: SQLiteStorage,
    admin: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    trigger: str,
) -> None:
    """A write that a trigger or a constraint refuses is rolled back; others write at once."""
    count(storage)
    admin.execute(
        f"CREATE TRIGGER refuse BEFORE UPDATE ON sessions WHEN NEW.key = '42' BEGIN {trigger}; END"
    )
    monkeypatch.setattr(sqlite_database, "PATIENCE", 0.0)
    with pytest.raises(StorageError, match="refused it") as caught:
        count(storage)
    with pytest.raises(StorageError, match="refused it"):
        storage.set("42", b"payload")
    storage.set("43", b"payload")
    admin.execute("INSERT INTO sessions VALUES ('44', NULL, 'payload')")

    assert ("write", "42") == (caught.value.action, caught.value.key)
    assert [{"counter": 1}, b"payload"] == [counters(storage).peek(42), storage.get("44")]


# Damaged rows.


@pytest.fixture
def damaged(
    storage: SQLiteStorage, admin: sqlite3.Connection, request: pytest.FixtureRequest
) -> SQLiteStorage:
    """A storage of three records, of which that of session 42 is damaged."""
    for key in ("41", "42", "43"):
        storage.set(key, b'{"fields":{"counter":1}}')
    (sql,) = admin.execute("SELECT sql FROM sqlite_master WHERE name = 'sessions'").fetchone()
    admin.execute("PRAGMA writable_schema = ON")
    loose = sql.replace("expires REAL", "expires").replace("payload TEXT NOT NULL", "payload")
    admin.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'sessions'", (loose,))
    admin.execute("PRAGMA writable_schema = RESET")
    admin.execute(request.param)
    admin.execute("PRAGMA writable_schema = ON")
    admin.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'sessions'", (sql,))
    admin.execute("PRAGMA writable_schema = RESET")
    return storage


COLUMNS = ["expires = 'soon'", "expires = x'00'", "payload = 7", "payload = 1.5", "payload = NULL"]
with_each_damage = pytest.mark.parametrize(
    "damaged",
    [f"UPDATE sessions SET {column} WHERE key = '42'" for column in COLUMNS],
    indirect=True,
    ids=COLUMNS,
)


@with_each_damage
def test_a_damaged_row_is_an_error_that_names_its_key(damaged: SQLiteStorage) -> None:
    """A row whose values are of other types: `StorageError` for its session, and for no other."""
    calls: list[Callable[[], object]] = [
        lambda: count(damaged),
        lambda: counters(damaged).peek(42),
        lambda: damaged.has("42"),
        lambda: damaged.touch("42", 60),
        lambda: count(damaged, lifetime=60),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="damaged") as caught:
            call()
        assert "42" == caught.value.key
    count(damaged, 41)

    assert [{"counter": 2}, {"counter": 1}] == [counters(damaged).peek(key) for key in (41, 43)]
    assert ["41", "42", "43"] == list(damaged.keys())
    assert (0, "held") == (damaged.purge(), try_hold(damaged, "42"))


@with_each_damage
@pytest.mark.parametrize("way", ["storage", "sessions", "write"])
def test_a_damaged_row_can_be_deleted_and_replaced(damaged: SQLiteStorage, way: str) -> None:
    """A damaged record is deleted like any other, or written anew."""
    if way == "write":
        damaged.set("42", b'{"fields":{"counter":5}}')
    else:
        assert damaged.delete("42") if way == "storage" else counters(damaged).delete(42)
    count(damaged)

    assert {"counter": 6 if way == "write" else 1} == counters(damaged).peek(42)


@pytest.mark.parametrize(
    "damaged", ["UPDATE sessions SET key = CAST(x'34fe' AS TEXT) WHERE key = '42'"], indirect=True
)
def test_a_damaged_key_hides_no_other(
    damaged: SQLiteStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that is no Unicode any more is logged, and the other keys are listed."""
    assert ["41", "43"] == list(damaged.keys())
    assert ["34fe"] == [record.args[1] for record in caplog.records if record.args]


def test_a_flipped_bit_in_an_index_deletes_no_session(
    storage: SQLiteStorage, admin: sqlite3.Connection, path: Path
) -> None:
    """A session that only the index calls expired stays: the row itself decides."""
    storage.set("42", b"payload", 10_000)
    storage.close()
    (expires,) = admin.execute("SELECT expires FROM sessions").fetchone()
    (page,) = admin.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'sessions_by_expires'"
    ).fetchone()
    admin.close()
    replace_in_page(path, page, struct.pack(">d", expires), struct.pack(">d", 1.0))

    with SQLiteStorage(path) as restarted:
        assert (0, b"payload") == (restarted.purge(), restarted.get("42"))


def replace_in_page(path: Path, page: int, old: bytes, new: bytes) -> None:
    """Damage a page of a database."""
    content = bytearray(path.read_bytes())
    start = content.index(old, (page - 1) * 4096, page * 4096)
    content[start : start + len(old)] = new
    path.write_bytes(content)


def test_one_key_cannot_have_two_rows(admin: sqlite3.Connection) -> None:
    """The table is its own index, so no damaged index can hide a row of a key from a write."""
    indexes = admin.execute("PRAGMA index_list(sessions)").fetchall()
    (sql,) = admin.execute("SELECT sql FROM sqlite_master WHERE name = 'sessions'").fetchone()

    assert "WITHOUT ROWID" in sql
    assert {"sessions_by_expires", "sqlite_autoindex_sessions_1"} == {row[1] for row in indexes}
    with pytest.raises(sqlite3.OperationalError, match="rowid"):
        admin.execute("SELECT rowid FROM sessions")
