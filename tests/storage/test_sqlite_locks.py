"""Locks of sessions in a file, which processes take, lease, hand over and lose."""

from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import time
from contextlib import ExitStack, closing
from datetime import timedelta
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import support.clocks
import support.sqlite_files
from support.clocks import DAY, PATIENCE
from support.processes import run
from support.servers import wait_until
from support.sqlite_files import UNKNOWN, count, counters, dead_process, holder, lock_by_hand, locks
from support.threads import began
from telesession import LockLostError, LockTimeoutError, StorageError, save
from telesession.storage import sqlite_database, sqlite_hold
from telesession.storage.sqlite import SQLiteStorage
from telesession.testing.storage_suite import in_thread, try_hold

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from telesession.locks import LockTable

path = support.sqlite_files.path
storage = support.sqlite_files.storage
other = support.sqlite_files.other
admin = support.sqlite_files.admin


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
    storage: SQLiteStorage, admin: sqlite3.Connection, path: Path
) -> None:
    """A handler that lost its lease gets `LockLostError`; what the next one wrote stays."""
    # Its lease is long, so that it is not frozen in the middle of a renewal.
    with holder(path, DAY) as process:
        process.send_signal(signal.SIGSTOP)
        admin.execute("UPDATE locks SET expires = taken")
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


def test_a_lock_of_unknown_origin_ends_with_its_lease(
    storage: SQLiteStorage, admin: sqlite3.Connection, clock: FrozenDateTimeFactory
) -> None:
    """Where nobody can tell whether a holder lives, its session is free when its lease is over."""
    lock_by_hand(admin, UNKNOWN, time.monotonic(), time.monotonic() + 30)
    seen = []
    for seconds in (30 - support.clocks.MICROSECOND, support.clocks.MICROSECOND):
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
    storage: SQLiteStorage,
    other: SQLiteStorage,
    admin: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Processes take turns: who releases a session and wants it again comes after who waited."""
    # Who comes next may take any time to look.
    monkeypatch.setattr(sqlite_hold, "_RESERVATION", DAY)
    storage._lease = DAY
    order = []

    def wait() -> None:
        with other.hold("42", PATIENCE):
            order.append("other")

    with ExitStack() as waiting:
        with storage.hold("42"):
            waiting.enter_context(began(wait))
            wait_until(lambda: admin.execute("SELECT successor FROM locks").fetchone()[0])
        with storage.hold("42", PATIENCE):
            order.append("storage")

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
    storage: SQLiteStorage, admin: sqlite3.Connection, clock: FrozenDateTimeFactory
) -> None:
    """A session that was handed over to who never comes is free a second later."""
    with storage.hold("42"):
        admin.execute("UPDATE locks SET successor = ?", (f"{UNKNOWN}/x/0",))
    (taken, expires) = admin.execute("SELECT taken, expires FROM locks").fetchone()

    assert "busy" == try_hold(storage, "42")
    assert 1 == pytest.approx(expires - taken)
    clock.tick(1)
    assert "held" == try_hold(storage, "42")


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
    storage: SQLiteStorage, other: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has waited long has the session 10 ms after it was released, and sooner if not."""
    pauses: SimpleQueue[float] = SimpleQueue()
    ends: SimpleQueue[None] = SimpleQueue()

    def pause(seconds: float) -> None:
        pauses.put(seconds)
        ends.get(timeout=PATIENCE)

    watched = SimpleNamespace(monotonic=time.monotonic, sleep=pause)
    monkeypatch.setattr(sqlite_database, "time", watched)
    with ExitStack() as holding:
        holding.enter_context(storage.hold("42"))
        with began(lambda: other.hold("42", PATIENCE).__enter__()):
            while (longest := pauses.get(timeout=PATIENCE)) < 0.01:
                ends.put(None)
            holding.close()
            ends.put(None)

    assert (0.01, True) == (longest, pauses.empty())
    assert "busy" == try_hold(storage, "42")


@pytest.mark.parametrize("seconds", [0.1, 0.5])
def test_nobody_waits_longer_than_the_time_out(
    storage: SQLiteStorage,
    admin: sqlite3.Connection,
    clock: FrozenDateTimeFactory,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    """A busy session, threads that wait as well, a locked database: the time-out has all of it."""
    pauses: list[float] = []
    still = SimpleNamespace(monotonic=support.clocks.monotonic, sleep=pauses.append)
    monkeypatch.setattr(sqlite_database, "time", still)

    def wait(error: type[Exception], key: int) -> float:
        """The seconds that are spent with pauses, of what is left when threads have gone."""
        pauses.clear()
        with pytest.raises(error):
            count(storage, key, lock_timeout=1000)
        return sum(pauses)

    def wait_in(queue: LockTable, name: str, error: type[Exception], key: int) -> float:
        queue.acquire(name)
        with began(wait, error, key) as waiter:
            wait_until(lambda: queue._waiters[name])
            clock.tick(1000 - seconds)
            queue.release(name)
        return waiter.result()

    lock_by_hand(admin, UNKNOWN, time.monotonic(), time.monotonic() + DAY)
    behind_a_session = wait_in(storage._locks, "42", LockTimeoutError, 42)
    admin.execute("BEGIN IMMEDIATE")
    behind_a_database = [
        wait_in(storage._locks, "0", StorageError, 0),
        wait_in(storage._database._turns, "writer", StorageError, 0),
    ]
    admin.execute("ROLLBACK")

    # A transaction of another program has a moment to end, however little is left.
    at_least = [max(seconds, sqlite_database.GRACE), seconds]
    assert pytest.approx(at_least, abs=1e-3) == behind_a_database
    assert pytest.approx(seconds, abs=1e-3) == behind_a_session
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
