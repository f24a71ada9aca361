"""`SQLiteStorage` in real files: what threads and processes share, and what cannot break it."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import clocks
import pytest
from clocks import PATIENCE
from hypothesis import HealthCheck, example, given, settings, strategies as st
from storage_processes import command_line, run
from test_storage import FrozenClockSuite

from telesession import (
    LockLostError,
    LockTimeoutError,
    PickleCodec,
    Sessions,
    Storage,
    StorageError,
    forget,
    save,
    ttl,
)
from telesession.storage import liveness, sqlite, sqlite_database
from telesession.storage.sqlite import SQLiteStorage
from telesession.testing.storage_suite import (
    in_thread,
    in_threads,
    threads_run_until_they_wait,
    try_hold,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

SECRET = "hunter2"

clock = clocks.clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as storage:
        yield storage


@pytest.fixture
def other(storage: SQLiteStorage, path: Path) -> Iterator[SQLiteStorage]:
    """What another process has: connections and a lock table of its own."""
    with SQLiteStorage(path) as other:
        yield other


@pytest.fixture
def admin(storage: SQLiteStorage, path: Path) -> Iterator[sqlite3.Connection]:
    """What the `sqlite3` command line has."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)) as connection:
        yield connection


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def holder(path: Path, lease: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds session 42."""
    with subprocess.Popen(
        command_line("hold", path, lease), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert "held\n" == process.stdout.readline()
            yield process
        finally:
            process.kill()


@contextmanager
def began(target: Callable[..., Any], *args: Any) -> Iterator[threading.Thread]:
    """A call that goes on in a thread while the block runs, and returns after it."""
    thread = threading.Thread(target=target, args=args)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(PATIENCE)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def counters(storage: Storage, **options: Any) -> Sessions[Any]:
    return Sessions(initial=lambda: {"counter": 0}, storage=storage, **options)


def count(storage: Storage, key: int = 42, **options: Any) -> None:
    """What a handler does."""
    with counters(storage, **options).open(key) as session:
        session.counter += 1


def with_text(storage: Storage, text: str) -> None:
    with counters(storage).open(42) as session:
        session.text = text


def locks(admin: sqlite3.Connection) -> list[Any]:
    return admin.execute("SELECT key FROM locks").fetchall()


def lock_by_hand(
    admin: sqlite3.Connection, process: str, taken: float, expires: float, key: str = "42"
) -> None:
    """Leave a lock as if a process had it."""
    row = (key, f"{process}/another storage/0", taken, expires)
    admin.execute("INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?, NULL)", row)


def trace(storage: SQLiteStorage, name: str = "writer") -> list[str]:
    """The statements that a connection of a storage runs from now on."""
    statements: list[str] = []
    storage._database._cursors[name].connection.set_trace_callback(statements.append)
    return statements


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
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
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
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
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


def test_keys_come_in_pages_without_payloads(
    storage: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`keys` asks for no more than a page at a time, for no payload, and writers go on."""
    monkeypatch.setattr(sqlite, "_PAGE", 3)
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
    few = sqlite._FEW
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
    monkeypatch.setattr(sqlite, "_MANY", 4)
    for number in range(10):
        storage.set(f"brief {number}", b"payload", 10)
    storage.set("long", b"payload", 11)
    clock.tick(10)
    statements = trace(storage)

    assert [10, 0] == [storage.purge(), storage.purge()]
    assert 4 == begun(statements)
    assert ["long"] == list(storage.keys())


def test_what_expires_is_found_by_an_index(admin: sqlite3.Connection) -> None:
    """Removing expired records does not read those that are not."""
    plan = admin.execute("EXPLAIN QUERY PLAN SELECT rowid FROM sessions WHERE expires <= 1 LIMIT 1")
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


def test_the_readme_documents_the_same(admin: sqlite3.Connection) -> None:
    """The README has the query of the module, and a row for each column of the sessions."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    query = (sqlite.__doc__ or "").partition("    SELECT")[2].partition(";")[0].split()
    columns = [row[1] for row in admin.execute("PRAGMA table_info(sessions)")]
    table = readme.partition("| column of `sessions` |")[2].partition("\n\n")[0]

    assert " ".join(query) in " ".join(readme.split())
    assert columns == re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_the_documented_columns_are_there(admin: sqlite3.Connection) -> None:
    """The tables are those that the module documents."""
    tables = {
        table: [row[1] for row in admin.execute(f"PRAGMA table_info({table})")]
        for (table,) in admin.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    columns = ["key", "token", "taken", "expires", "successor"]
    assert {"sessions": ["key", "expires", "payload"], "locks": columns} == tables
    assert all(name in (sqlite.__doc__ or "") for name in [*tables, *columns, "payload"])


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
        cursor = storage._database._cursors["writer"]
        actual = [
            cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]

    assert ["wal", number] == actual


# Threads of one process.


def begun(statements: list[str]) -> int:
    """How many transactions that write are among statements."""
    return statements.count("BEGIN IMMEDIATE")


def test_an_update_takes_two_write_transactions(
    storage: SQLiteStorage, admin: sqlite3.Connection
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
    threads = [threading.Thread(target=storage.set, args=(key, b"payload")) for key in keys]
    admin.execute("BEGIN IMMEDIATE")
    with threads_run_until_they_wait():
        for thread in threads:
            thread.start()
        wait_until(lambda: len(storage._database._turns._waiters["writer"] or ()) == 7)
        admin.execute("COMMIT")
        for thread in threads:
            thread.join(PATIENCE)

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
    before = len(os.listdir("/dev/fd"))
    for number in range(1000):
        if number % 10:
            thread = threading.Thread(target=storage.get, args=("42",))
        else:
            thread = threading.Thread(target=count, args=(storage,))
        thread.start()
        thread.join(PATIENCE)

    assert before == len(os.listdir("/dev/fd"))
    assert {"counter": 101} == counters(storage).peek(42)


def test_a_storage_that_nobody_closes_is_closed_with_its_last_reference(path: Path) -> None:
    """A forgotten storage leaves neither open connections nor files beside its own."""
    storage = SQLiteStorage(path)
    count(storage)
    del storage

    assert [path.name] == os.listdir(path.parent)


# Locks among processes.


def test_processes_may_make_the_file_at_the_same_time(path: Path) -> None:
    """However many processes open a file that does not exist yet, all of them work."""
    outcome = run("first_open", path, 8)

    with SQLiteStorage(path) as storage:
        assert [f"key {number}" for number in range(8)] == list(storage.keys())
    assert [0] * 8 == outcome["exit codes"]


def test_a_session_of_another_process_is_busy(storage: SQLiteStorage, path: Path) -> None:
    """What another process holds is busy here until it has written, and then up to date."""
    with holder(path, 30) as process:
        busy = try_hold(storage, "42"), try_hold(storage, "another")
        with pytest.raises(LockTimeoutError) as caught, storage.hold("42", 0.05):
            pass
        process.stdin.write("\n")
        process.stdin.flush()
        with storage.hold("42", PATIENCE) as held:
            payload = held.get()

    assert ("busy", "held") == busy
    assert ("42", 0.05) == (caught.value.key, caught.value.seconds)
    assert b"written by the other process" == payload


def test_what_a_killed_process_held_is_free_at_once(storage: SQLiteStorage, path: Path) -> None:
    """A holder that was killed is recognised, long before its lease is over."""
    with holder(path, 3600) as process:
        process.kill()
        process.wait(PATIENCE)
        assert "held" == try_hold(storage, "42")


def test_a_killed_process_that_nobody_waited_for_is_dead(
    storage: SQLiteStorage, path: Path
) -> None:
    """A zombie holds nothing, though the system still lists it."""
    with holder(path, 3600) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert "held" == try_hold(storage, "42")


def test_a_frozen_process_loses_its_session_and_writes_nothing(
    storage: SQLiteStorage, path: Path
) -> None:
    """A handler that lost its lease gets `LockLostError`; what the next one wrote stays."""
    with holder(path, 0.3) as process:
        process.send_signal(signal.SIGSTOP)
        with storage.hold("42", PATIENCE) as held:
            held.set(b"written meanwhile")
        process.send_signal(signal.SIGCONT)
        process.stdin.write("\n")
        process.stdin.flush()
        outcome = json.loads(process.stdout.read())

    assert {"outcome": "lost", "key": "42"} == outcome
    assert b"written meanwhile" == storage.get("42")


def test_a_lease_is_renewed_while_the_handler_runs(path: Path, admin: sqlite3.Connection) -> None:
    """A handler may take longer than the lease; a thread renews it meanwhile, without a read."""
    with SQLiteStorage(path, lease=timedelta(seconds=0.3)) as storage, storage.hold("42"):
        ends = set()

        def has_been_renewed() -> bool:
            ends.update(admin.execute("SELECT expires FROM locks").fetchall())
            return len(ends) >= 5

        wait_until(has_been_renewed)
        assert [("42",)] == locks(admin)


UNKNOWN = "0-1-0"


def test_a_lock_of_unknown_origin_ends_with_its_lease(
    storage: SQLiteStorage, admin: sqlite3.Connection, clock: FrozenDateTimeFactory
) -> None:
    """Where nobody can tell whether a holder lives, its session is free when its lease is over."""
    lock_by_hand(admin, UNKNOWN, time.monotonic(), time.monotonic() + 30)
    seen = []
    for seconds in (30 - clocks.MICROSECOND, clocks.MICROSECOND):
        clock.tick(seconds)
        seen.append(try_hold(storage, "42"))

    assert ["busy", "held"] == seen


@pytest.mark.parametrize(
    ("options", "seconds"), [({}, 30), ({"lease": 7}, 7), ({"lease": timedelta(minutes=1)}, 60)]
)
def test_a_lease_is_half_a_minute_or_as_asked_for(
    path: Path, options: dict[str, Any], seconds: float
) -> None:
    """A lock says when it ends, should its holder be gone by then."""
    with (
        SQLiteStorage(path, **options) as storage,
        closing(sqlite3.connect(path)) as admin,
        storage.hold("42"),
    ):
        (taken, expires) = admin.execute("SELECT taken, expires FROM locks").fetchone()

    assert pytest.approx(seconds) == expires - taken


@pytest.mark.parametrize(
    ("taken", "expires"), [(-60, -30), (math.inf, math.inf), (3600, 3630)], ids=str
)
def test_a_lock_that_cannot_be_now_is_free(
    storage: SQLiteStorage, admin: sqlite3.Connection, taken: float, expires: float
) -> None:
    """A lease that is over, or from before the machine was started, locks nothing."""
    now = time.monotonic()
    lock_by_hand(admin, UNKNOWN, now + taken, now + expires)

    assert "held" == try_hold(storage, "42")


def test_a_successor_goes_before_who_wants_it_again(
    storage: SQLiteStorage, other: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """Processes take turns: who releases a session and wants it again comes after who waited."""
    order = []

    def wait() -> None:
        with other.hold("42", PATIENCE):
            order.append("other")

    with storage.hold("42"):
        thread = threading.Thread(target=wait)
        thread.start()
        wait_until(lambda: admin.execute("SELECT successor FROM locks").fetchone()[0])
    with storage.hold("42", PATIENCE):
        order.append("storage")
    thread.join(PATIENCE)

    assert ["other", "storage"] == order
    assert [] == locks(admin)


def test_who_gives_up_is_nobody_s_successor(
    storage: SQLiteStorage, other: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """After a wait that ended with its time-out, the session is free as soon as it is released."""
    with storage.hold("42"):
        with pytest.raises(LockTimeoutError), other.hold("42", 0.01):
            pass
        successors = admin.execute("SELECT successor FROM locks").fetchall()

    assert [(None,)] == successors
    assert [] == locks(admin)


def test_a_dead_successor_is_replaced(
    storage: SQLiteStorage, other: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """A waiter whose process has ended stands in nobody's way."""
    with storage.hold("42"):
        admin.execute("UPDATE locks SET successor = ?", (f"{dead_process()}/x/0",))
        with began(lambda: other.hold("42", PATIENCE).__enter__()):
            me = other._me
            wait_until(
                lambda: admin.execute("SELECT successor FROM locks").fetchone()[0].startswith(me)
            )
            admin.execute("DELETE FROM locks")

    assert "busy" == try_hold(storage, "42")


def test_a_reservation_that_nobody_uses_ends(
    storage: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """A session that was handed over to who never comes is free a second later."""
    with storage.hold("42"):
        admin.execute("UPDATE locks SET successor = ?", (f"{UNKNOWN}/x/0",))
    (taken, expires) = admin.execute("SELECT taken, expires FROM locks").fetchone()

    assert "busy" == try_hold(storage, "42")
    assert 1 == pytest.approx(expires - taken)


def test_pauses_grow_to_the_longest_and_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait looks often at first, then every 10 ms, and takes as long as it may."""
    pauses: list[float] = []
    still = SimpleNamespace(monotonic=lambda: 0.0, sleep=pauses.append)
    monkeypatch.setattr(sqlite_database, "time", still)
    wait = sqlite_database.Wait(1, 0.01)
    while wait.pause():
        pass

    assert (0.0005, 0.01) == (pauses[0], max(pauses))
    assert sorted(pauses[:-1]) == pauses[:-1]
    assert 1 == pytest.approx(sum(pauses))


def test_a_hand_over_between_processes_is_prompt(
    storage: SQLiteStorage,
    other: SQLiteStorage,
    admin: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of those who have waited long have the session 50 ms after it was released."""
    delays: list[float] = []
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    def wait() -> None:
        with other.hold("42", PATIENCE):
            delays.append(time.monotonic() - released)

    watched = SimpleNamespace(monotonic=time.monotonic, sleep=pause)
    monkeypatch.setattr(sqlite_database, "time", watched)
    for _ in range(15):
        pauses.clear()
        with storage.hold("42"):
            thread = threading.Thread(target=wait)
            thread.start()
            wait_until(lambda: 0.01 in pauses)
            released = time.monotonic()
        thread.join(PATIENCE)

    assert statistics.median(delays) < 0.05


@pytest.mark.parametrize("seconds", [0.1, 0.5])
def test_nobody_waits_longer_than_the_time_out(
    storage: SQLiteStorage, path: Path, admin: sqlite3.Connection, seconds: float
) -> None:
    """A busy session, threads that wait as well, a locked database: the time-out has all of it."""

    def wait(key: int) -> tuple[type[Exception], bool]:
        begun = time.monotonic()
        with pytest.raises((LockTimeoutError, StorageError)) as caught:
            count(storage, key, lock_timeout=seconds)
        return caught.type, seconds <= time.monotonic() - begun < seconds + 1

    with holder(path, 3600):
        behind_a_session = in_threads([partial(wait, 42)] * 3)
    admin.execute("BEGIN IMMEDIATE")
    behind_a_database = in_threads([partial(wait, key) for key in range(3)])
    admin.execute("ROLLBACK")

    assert [(LockTimeoutError, True)] * 3 == behind_a_session
    assert [(StorageError, True)] * 3 == behind_a_database
    assert "held" == try_hold(storage, "0")


@pytest.mark.parametrize("write", ["set", "delete", "touch", "flush"])
def test_a_lost_lock_writes_nothing(
    storage: SQLiteStorage, admin: sqlite3.Connection, write: str
) -> None:
    """Whatever a handler wanted to write when its lock was lost: `LockLostError`, and nothing."""
    storage.set("42", b"old")
    calls: dict[str, Callable[[Any], object]] = {
        "set": lambda held: held.set(b"new"),
        "delete": lambda held: held.delete(),
        "touch": lambda held: held.touch(0),
        "flush": lambda held: (held.set(b"new"), held.flush()),
    }
    with pytest.raises(LockLostError) as caught, storage.hold("42") as held:  # noqa: PT012
        admin.execute("DELETE FROM locks")
        calls[write](held)

    assert ("42", b"old") == (caught.value.key, storage.get("42"))
    assert "held" == try_hold(storage, "42")


def test_a_lost_lock_of_a_reader_is_no_error(
    storage: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """A handler that has nothing to write loses nothing with its lock."""
    count(storage)
    with counters(storage).open(42) as session:
        admin.execute("DELETE FROM locks")
        assert 1 == session.counter


def test_save_in_the_middle_keeps_the_session(storage: SQLiteStorage, other: SQLiteStorage) -> None:
    """What `save` wrote is seen by other processes; the session stays locked until the end."""
    with counters(storage).open(42) as session:
        session.counter = 1
        save(session)
        seen = counters(other).peek(42), try_hold(other, "42")
        session.counter = 2

    assert ({"counter": 1}, "busy") == seen
    assert {"counter": 2} == counters(other).peek(42)


def test_an_interrupted_wait_leaves_nothing(
    storage: SQLiteStorage,
    other: SQLiteStorage,
    admin: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in the wait for another process goes on as it is, and leaves no successor."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with storage.hold("42"):
        monkeypatch.setattr(sqlite_database.Wait, "pause", interrupt)
        with pytest.raises(KeyboardInterrupt), other.hold("42"):
            pass
        assert [(None,)] == admin.execute("SELECT successor FROM locks").fetchall()

    assert "held" == in_thread(try_hold, other, "42")


def test_a_forked_process_connects_anew(path: Path) -> None:
    """A storage may be used on both sides of a fork, also if a key is held meanwhile."""
    assert {"exit codes": [0, 0], "counter": 4} == run("in_a_forked_child", path)


@contextmanager
def forked(work: Callable[[], None]) -> Iterator[None]:
    """A fork of this process, which does something and ends."""
    with warnings.catch_warnings():
        # Later Pythons warn of forks where threads run; this is about what happens then.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    yield
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_does_not_disturb_those_who_do_not_fork(storage: SQLiteStorage) -> None:
    """Both sides of a fork go on, also with storages that nobody uses any more."""
    SQLiteStorage(storage._database.path).set("42", b"old")
    with forked(lambda: storage.set("child", b"payload")):
        storage.set("parent", b"payload")

    assert ["42", "child", "parent"] == list(storage.keys())


def test_a_fork_does_not_wait_for_a_transaction_for_ever(
    storage: SQLiteStorage, admin: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that was forked while a thread was in a transaction leaves its connection alone."""
    monkeypatch.setattr(sqlite_database, "_FAREWELL", 0.01)
    admin.execute("BEGIN IMMEDIATE")
    with began(storage.set, "parent", b"payload"):
        wait_until(lambda: len(storage._database._turns))
        cursor = storage._database._cursors["writer"]
        storage._database._before_fork()
        is_open = storage._database._cursors == {"writer": cursor}
        storage._database._after_fork()
        admin.execute("COMMIT")
    storage._database._in_forked_child()
    storage.set("child", b"payload")

    assert is_open
    assert cursor is not storage._database._cursors["writer"]
    assert ["child", "parent"] == list(storage.keys())
    cursor.connection.close()


# Which process has ended.


def dead_process() -> str:
    """The identity of a process that has ended."""
    code = "from telesession.storage.liveness import identity; print(identity())"
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def parts_of_identity() -> tuple[int, int, int]:
    namespace, pid, start = map(int, liveness.identity().split("-"))
    return namespace, pid, start


def test_a_process_that_ended_is_known_to_have_ended() -> None:
    """The living are not taken for dead, nor the dead for living."""
    assert [False, True] == [liveness.has_ended(p) for p in (liveness.identity(), dead_process())]


def test_the_number_of_a_process_may_be_used_again() -> None:
    """Another process with the number of one that ended does not hold what that one held."""
    namespace, pid, start = parts_of_identity()
    assert liveness.has_ended(f"{namespace}-{pid}-{start - 1}")


def test_processes_of_another_container_are_not_judged() -> None:
    """The numbers of other containers mean nothing here."""
    namespace, _, start = parts_of_identity()
    assert not liveness.has_ended(f"{namespace + 1}-{2**22 + 1}-{start}")


def test_where_the_system_does_not_tell_nobody_is_dead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without /proc, or with one that hides what others run, only the certainly dead are dead."""
    namespace, pid, start = parts_of_identity()
    dead = dead_process()
    hiding = tmp_path / "hiding"
    (hiding / "self/ns").mkdir(parents=True)
    (hiding / "self/ns/pid").touch()
    namespace = (hiding / "self/ns/pid").stat().st_ino
    monkeypatch.setattr(liveness, "_PROC", hiding)
    hidden = liveness.has_ended(f"{namespace}-{pid}-{start}")
    gone = liveness.has_ended(f"{namespace}-{dead.split('-')[1]}-{start}")
    (hiding / f"{pid}").mkdir()
    (hiding / f"{pid}/stat").mkdir()
    unreadable = liveness.has_ended(f"{namespace}-{pid}-{start}")
    monkeypatch.setattr(liveness, "_PROC", tmp_path / "none")

    assert [False, True, False] == [hidden, gone, unreadable]
    assert (False, f"0-{pid}-0") == (liveness.has_ended(dead), liveness.identity())


# What can go wrong with the file.

CALLS: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("42"),
    "set": lambda storage: storage.set("42", b"new"),
    "has": lambda storage: storage.has("42"),
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


def test_closing_gives_back_what_is_held(storage: SQLiteStorage, other: SQLiteStorage) -> None:
    """What a storage held when it was closed is free for others, and its handler cannot write."""
    with pytest.raises(StorageError, match="closed"), storage.hold("42") as held:  # noqa: PT012
        held.set(b"new")
        storage.close()
        free = try_hold(other, "42")

    assert ("held", None) == (free, other.get("42"))


def test_closing_a_locked_database_is_no_error(
    storage: SQLiteStorage, admin: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`close` does not fail because it cannot give back what is held."""
    with pytest.raises(StorageError, match="closed"), storage.hold("42") as held:  # noqa: PT012
        held.set(b"new")
        admin.execute("PRAGMA user_version = 2")
        storage._database._disconnect("writer")
        storage.close()

    assert [("42",)] == locks(admin)


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


def test_a_folder_is_no_file(path: Path) -> None:
    """The path of a folder: `StorageError` says that it cannot be opened."""
    expect_reason(path.parent, "cannot be opened")


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
        admin.execute("PRAGMA user_version = 2")
    expect_reason(path, r"version 2 .* knows version 1")


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
    storage._database._cursors["writer"].execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StorageError, match="disk is full") as caught:
        with_text(storage, SECRET * 10_000)

    assert ("write", "42") == (caught.value.action, caught.value.key)
    assert SECRET not in str(caught.value)
    assert [] == locks(admin)
    assert {"counter": 1} == counters(storage).peek(42)
    count(storage)
    assert {"counter": 2} == counters(storage).peek(42)


def test_a_payload_that_is_too_large(storage: SQLiteStorage) -> None:
    """A record beyond SQLite's limit: `StorageError` says so, and the old one is whole."""
    storage.set("42", b"old")
    connection = storage._database._cursors["writer"].connection
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


@pytest.mark.parametrize("timeout", [0, 0.1])
def test_a_locked_database(
    storage: SQLiteStorage, admin: sqlite3.Connection, timeout: float
) -> None:
    """A database that another program keeps locked: `StorageError` in time, and reading works."""
    count(storage)
    admin.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="another program keeps") as caught:
        count(storage, lock_timeout=timeout)
    during = counters(storage).peek(42)
    admin.execute("ROLLBACK")
    count(storage)

    assert ("lock", "42") == (caught.value.action, caught.value.key)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    assert [{"counter": 1}, {"counter": 2}] == [during, counters(storage).peek(42)]


def test_a_short_lock_of_the_database_is_waited_for(
    storage: SQLiteStorage, admin: sqlite3.Connection
) -> None:
    """Another program's transaction delays an update, and nothing more."""
    admin.execute("BEGIN IMMEDIATE")
    with began(count, storage):
        wait_until(lambda: len(storage._database._turns))
        admin.execute("COMMIT")

    assert {"counter": 1} == counters(storage).peek(42)


def test_an_error_in_a_transaction_undoes_it(storage: SQLiteStorage) -> None:
    """What is interrupted in the middle of a transaction has written nothing."""
    storage.set("42", b"old")

    def interrupt(cursor: sqlite3.Cursor) -> None:
        cursor.execute("DELETE FROM sessions")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage._database.write("write", "42", interrupt)

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
        (("bot.db",), {"lease": 0}, ValueError, "lease"),
        (("bot.db",), {"lease": -1}, ValueError, "lease"),
        (("bot.db",), {"lease": math.nan}, ValueError, "lease"),
        (("bot.db",), {"lease": math.inf}, ValueError, "lease"),
        (("bot.db",), {"lease": "30"}, TypeError, "lease"),
        (("bot.db",), {"lease": True}, TypeError, "lease"),
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
