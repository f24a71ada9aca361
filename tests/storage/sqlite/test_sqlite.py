"""`SQLiteStorage` in real files: the promises of every storage, and what is in the file."""

from __future__ import annotations

import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from support.sqlite_files import begun, count, counters, trace
from support.storages import FrozenClockSuite
from telesession import PickleCodec
from telesession.storage import sqlite, sqlite_records
from telesession.storage.sqlite import SQLiteStorage
from telesession.testing.storage_suite import try_hold
from telesession.testing.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freezegun.api import FrozenDateTimeFactory


class TestASQLiteFile(FrozenClockSuite):
    """A file keeps every promise of a storage."""

    @pytest.fixture
    def storage(self, clock: FrozenDateTimeFactory, path: Path) -> Iterator[SQLiteStorage]:
        with SQLiteStorage(path) as storage:
            yield storage


def test_a_touch_in_the_last_moment_brings_the_record_back(
    storage: SQLiteStorage, clock: FrozenDateTimeFactory
) -> None:
    """What is touched while it lives stays, also if it is removed before the touch is written."""
    storage.set("key", b"payload", 10)
    with storage.hold("key") as held:
        assert held.touch(20) is True
        clock.tick(10)
        assert 1 == storage.purge()

    assert b"payload" == storage.get("key")


@given(payload=st.binary())
@example(b'{"fields":{}}')
@example("\0é🦊".encode())
@example(b"\xff\xfe")
@example(b"\xed\xa0\x80")
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_any_bytes_come_back(
    storage: SQLiteStorage, admin: sqlite3.Connection, payload: bytes
) -> None:
    """Payloads are TEXT where they are UTF-8, else BLOB, and byte-identical when they come back."""
    storage.set("key", payload)
    try:
        payload.decode()
        expected = "text"
    except UnicodeDecodeError:
        expected = "blob"

    (kind,) = admin.execute("SELECT typeof(payload) FROM sessions").fetchone()
    assert (expected, payload) == (kind, storage.get("key"))


ODD = st.integers(0, sys.maxunicode).map(chr)
ANY_TEXT = st.text(st.one_of(st.sampled_from("ab%_*\0\uffff\ud800\udfff\U00010000"), ODD))


@given(keys=st.sets(ANY_TEXT, max_size=20), prefix=ANY_TEXT)
@example({"a", "a\0", "a\U0010ffff", "a\U0010ffffb", "b", "a\ud800"}, "a")
@example({"\ud800", "\ud800\udc00", "\U00010000"}, "\ud800")
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_any_string_is_a_key_and_a_prefix(
    storage: SQLiteStorage, keys: set[str], prefix: str
) -> None:
    """Keys and prefixes are taken literally, be they wildcards or halves of surrogate pairs."""
    for key in list(storage.keys()):
        storage.delete(key)
    for key in keys:
        storage.set(key, key.encode("utf-8", "surrogatepass"))

    assert sorted(keys) == sorted(storage.keys())
    assert sorted(k for k in keys if k.startswith(prefix)) == sorted(storage.keys(prefix))
    assert {k: k.encode("utf-8", "surrogatepass") for k in keys} == {
        k: storage.get(k) for k in keys
    }
    assert {"held"} >= {try_hold(storage, key) for key in keys}


def test_half_of_a_surrogate_pair_in_a_key_is_no_damage(
    storage: SQLiteStorage, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that is no Unicode text is listed once, and nothing is logged about it."""
    for key in ("a", "a\ud800", "b"):
        storage.set(key, b"payload")

    assert ["a", "b", "a\ud800"] == list(storage.keys())
    assert [] == caplog.messages


def test_keys_come_in_pages_without_payloads(
    storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keys` asks for no more than a page at a time, for no payload, and writers go on."""
    monkeypatch.setattr(sqlite_records, "_PAGE", 3)
    for number in range(10):
        storage.set(f"key {number}", b"payload")
    keys = storage.keys("key")
    seen = [next(keys)]
    statements = trace(storage, "reader")

    seen.extend(next(keys) for _ in range(4))
    in_thread(storage.delete, "key 8")
    in_thread(storage.set, "key 77", b"payload")
    pages = len(statements)
    seen.extend(keys)

    assert [f"key {n}" for n in (0, 1, 2, 3, 4, 5, 6, 7, 77, 9)] == seen
    assert 1 == pages
    assert not any("payload" in statement for statement in statements)


# Lifetimes.


def test_expired_records_are_removed_as_others_are_written(
    storage: SQLiteStorage, admin: sqlite3.Connection, clock: FrozenDateTimeFactory
) -> None:
    """Expired records leave the file with the writes of others, at most a small batch with each."""
    few = sqlite_records._FEW
    for number in range(2 * few + 1):
        storage.set(f"brief {number}", b"payload", 10)
    storage.set("long", b"payload", 100)
    clock.tick(10)
    sizes = []
    for _ in range(3):
        count(storage)
        sizes.append(admin.execute("SELECT count(*) FROM sessions").fetchone()[0])

    assert [few + 1 + 2, 1 + 2, 2] == sizes


def test_expired_records_of_other_processes_are_removed_as_well(
    storage: SQLiteStorage, other: SQLiteStorage, clock: FrozenDateTimeFactory
) -> None:
    """What another process has stored and left behind is noticed within a minute of writing."""
    storage.set("mine", b"payload")
    other.set("brief", b"payload", 10)
    clock.tick(60)
    storage.set("mine", b"payload")

    assert 0 == storage.purge()


def test_purge_removes_all_expired_records_and_counts_them(
    storage: SQLiteStorage, clock: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`purge` removes what has expired at once, in batches, and returns how many there were."""
    monkeypatch.setattr(sqlite_records, "_MANY", 4)
    for number in range(10):
        storage.set(f"brief {number}", b"payload", 10)
    storage.set("long", b"payload", 11)
    clock.tick(10)
    statements = trace(storage)

    assert [10, 0] == [storage.purge(), storage.purge()]
    # Three batches and one that is empty, and what each call gives back to the disk.
    assert 4 + 2 == begun(statements)
    assert ["long"] == list(storage.keys())


def test_what_expires_is_found_by_an_index(admin: sqlite3.Connection) -> None:
    """Removing expired records does not read those that are not."""
    plan = admin.execute("EXPLAIN QUERY PLAN SELECT key FROM sessions WHERE expires <= 1 LIMIT 1")
    assert "sessions_by_expires" in plan.fetchall()[0][-1]


# The file.


def test_the_documented_query_works(path: Path) -> None:
    """The query of the module's documentation gives the average of a field."""
    query = (sqlite.__doc__ or "").partition("    SELECT")
    text = query[1] + query[2].partition(";")[0]
    with SQLiteStorage(path) as storage:
        for user in range(3):
            for _ in range(user + 1):
                count(storage, user)
        storage.set("expired", b'{"fields":{"counter":1000}}', 0)
        with closing(sqlite3.connect(path)) as admin:
            assert [(2.0,)] == admin.execute(text).fetchall()


def test_the_manual_documents_the_same(admin: sqlite3.Connection) -> None:
    """The manual has the query of the module, and a row for each column of the sessions."""
    manual = (Path(__file__).parents[3] / "docs" / "storages.md").read_text()
    query = (sqlite.__doc__ or "").partition("    SELECT")[2].partition(";")[0].split()
    columns = [row[1] for row in admin.execute("PRAGMA table_info(sessions)")]
    table = manual.partition("| column of `sessions` |")[2].partition("\n\n")[0]

    assert " ".join(query) in " ".join(manual.split())
    assert columns == re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_the_documented_columns_are_there(admin: sqlite3.Connection) -> None:
    """The tables are those that the module documents."""
    tables = {
        table: [row[1] for row in admin.execute(f"PRAGMA table_info({table})")]
        for (table,) in admin.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    assert {"sessions": ["key", "expires", "payload"]} == tables
    assert all(name in (sqlite.__doc__ or "") for name in [*tables, *tables["sessions"]])


def test_pickles_are_kept_as_blobs(path: Path) -> None:
    """A codec whose payloads are no text works as well."""
    with SQLiteStorage(path, PickleCodec()) as storage:
        count(storage)
        count(storage)
        assert {"counter": 2} == counters(storage).peek(42)


def test_nothing_is_left_open_between_calls(
    storage: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """Neither reading nor an unfinished `keys` keeps SQLite from emptying its log."""
    count(storage)
    storage.get("42")
    keys = storage.keys()
    next(keys)

    assert (0, 0, 0) == admin.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert [] == list(keys)


def test_a_path_is_that_of_the_moment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path stays what it was when the program goes to another folder."""
    monkeypatch.chdir(path.parent)
    with SQLiteStorage(path.name) as storage:
        monkeypatch.chdir("/")
        count(storage)

    with SQLiteStorage(path) as storage:
        assert {"counter": 1} == counters(storage).peek(42)
    assert f"<SQLiteStorage in {path}>" == repr(storage)


@pytest.mark.parametrize(("setting", "number"), [("NORMAL", 1), ("FULL", 2)])
def test_synchronous_is_as_asked_for(path: Path, setting: Any, number: int) -> None:
    """Connections are in WAL mode, and as safe against power cuts as asked for."""
    with SQLiteStorage(path, synchronous=setting) as storage:
        cursor = storage.database.connections.cursors["writer"]
        actual = [
            cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]

    assert [b"wal", number] == actual


@pytest.mark.parametrize("method", ["keys", "rows"])
def test_a_walk_keeps_its_storage_open(method: str, tmp_path: Path) -> None:
    """A storage without another reference lives until the walk over its records ends."""
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        storage.set("1", b"{}")

    walk = getattr(SQLiteStorage(tmp_path / "bot.db"), method)()

    assert 1 == len(list(walk))
