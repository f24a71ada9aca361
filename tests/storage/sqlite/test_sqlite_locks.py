"""Locks of sessions in a file: among processes, threads and storages, and until when they last."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import support.clocks
import support.sqlite_files
from support.clocks import PATIENCE
from support.processes import run
from support.servers import wait_until
from support.sqlite_files import count, counters, holder, open_apart
from support.threads import began
from telesession import LockTimeoutError, StorageError, save
from telesession.storage import sqlite_locks, waits
from telesession.storage.sqlite import SQLiteStorage
from telesession.storage.watched_files import WatchedFiles
from telesession.testing.storage_suite import try_hold
from telesession.testing.threads import in_thread

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory


def test_processes_may_make_the_file_at_the_same_time(path: Path) -> None:
    """However many processes open a file that does not exist yet, all of them work."""
    outcome = run("first_open", path, 8)

    with SQLiteStorage(path) as storage:
        assert [f"key {number}" for number in range(8)] == list(storage.keys())
    assert [0] * 8 == outcome["exit codes"]


# Until when a lock lasts.


def go_on(process: subprocess.Popen[str]) -> dict[str, str]:
    """Let a process leave its block, and return what it says then."""
    printed, _ = process.communicate("\n", timeout=PATIENCE)
    outcome: dict[str, str] = json.loads(printed)
    return outcome


def test_a_session_of_another_process_is_busy(storage: SQLiteStorage, path: Path) -> None:
    """What another process holds is busy here until it has written, and then up to date."""
    with holder(path) as process:
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
    """A lock ends with its process, however it ends, also before its parent has looked."""
    with holder(path) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert "held" == try_hold(storage, "42")


def test_a_stopped_process_keeps_its_session(storage: SQLiteStorage, path: Path) -> None:
    """A process that is stopped has its session when it goes on, and writes it."""
    with holder(path) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        busy = try_hold(storage, "42")
        process.send_signal(signal.SIGCONT)
        outcome = go_on(process)

    assert ("busy", {"outcome": "written"}) == (busy, outcome)
    assert b"written by the other process" == storage.get("42")


def test_a_closed_storage_keeps_its_locks_until_their_handlers_end(
    storage: SQLiteStorage, other: SQLiteStorage
) -> None:
    """A handler whose storage was closed cannot write, and has its session until it ends."""
    with pytest.raises(StorageError, match="closed"), storage.hold("42") as held:  # noqa: PT012
        held.set(b"new")
        storage.close()
        busy = try_hold(other, "42")

    assert ("busy", "held", None) == (busy, try_hold(other, "42"), other.get("42"))


def test_save_in_the_middle_keeps_the_session(storage: SQLiteStorage, other: SQLiteStorage) -> None:
    """What `save` wrote is seen by other processes; the session stays locked until the end."""
    with counters(storage).open(42) as session:
        session.counter = 1
        save(session)
        seen = counters(other).peek(42), try_hold(other, "42")
        session.counter = 2

    assert ({"counter": 1}, "busy") == seen
    assert {"counter": 2} == counters(other).peek(42)


# The lock file.


def test_a_process_whose_lock_file_was_deleted_writes_nothing(
    storage: SQLiteStorage, path: Path
) -> None:
    """Of two processes in one session, which a deleted lock file lets in, only one writes."""
    with holder(path) as process:
        path.with_name("bot.db-lock").unlink()
        with storage.hold("42", 0) as held:
            held.set(b"written meanwhile")
        outcome = go_on(process)

    assert ("refused", "42") == (outcome["outcome"], outcome["key"])
    assert "lock file was deleted" in outcome["error"]
    assert b"written meanwhile" == storage.get("42")


@pytest.mark.parametrize("change", ["deleted", "replaced", "moved"])
def test_the_lock_file_of_the_moment_is_used(
    storage: SQLiteStorage,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    """A lock file that was deleted, replaced or moved between updates lets no two processes in."""
    monkeypatch.setattr(sqlite_locks, "_FRESH", 0.0)
    count(storage)
    lock_file = path.with_name("bot.db-lock")
    lock_file.rename(path.with_name("former"))
    if change == "replaced":
        lock_file.touch()
    elif change == "deleted":
        path.with_name("former").unlink()
    with open_apart(path) as other, other.hold("42"):
        busy = try_hold(storage, "42")
    count(storage)

    assert ("busy", {"counter": 2}) == (busy, counters(storage).peek(42))


def test_without_a_comparison_a_new_lock_file_lets_a_process_in(
    storage: SQLiteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a process that does not look at the lock file has a session of another one."""
    count(storage)
    monkeypatch.setattr(WatchedFiles, "find_replaced", lambda *_: None)
    path.with_name("bot.db-lock").unlink()
    with open_apart(path) as other, other.hold("42"):
        assert "held" == try_hold(storage, "42")


def test_the_lock_file_is_beside_the_file_that_a_link_leads_to(path: Path, tmp_path: Path) -> None:
    """Storages of one file exclude each other, whatever path leads to it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    link, linked_folder = folder / "link.db", tmp_path / "linked"
    link.symlink_to(path)
    linked_folder.symlink_to(tmp_path)
    with (
        SQLiteStorage(path) as storage,
        SQLiteStorage(link) as linked,
        SQLiteStorage(linked_folder / "bot.db") as through,
        storage.hold("42"),
    ):
        busy = [try_hold(linked, "42"), try_hold(through, "42")]

    assert (["busy", "busy"], ["link.db"]) == (busy, os.listdir(folder))


def test_a_lock_file_that_cannot_be_used_is_an_error(storage: SQLiteStorage, path: Path) -> None:
    """A lock file that cannot be opened: `StorageError` that names it, and no session."""
    path.with_name("bot.db-lock").mkdir()
    with pytest.raises(StorageError, match=r"bot\.db-lock: .*local disk") as caught:
        count(storage)

    assert ("lock", "42") == (caught.value.action, caught.value.key)
    assert storage.get("42") is None


def test_the_lock_file_stays(path: Path) -> None:
    """A storage that is closed leaves its lock file, because others may have it open."""
    with SQLiteStorage(path) as storage:
        count(storage)

    assert ["bot.db", "bot.db-lock"] == sorted(os.listdir(path.parent))


# Keys and storages that share a lock.


def test_keys_with_the_same_lock_are_different_sessions(
    storage: SQLiteStorage, other: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys whose hashes collide may be used in one handler; each is busy until it is left."""
    monkeypatch.setattr(sqlite_locks, "start_of", lambda _: 0)
    with storage.hold("42") as held:
        held.set(b"one")
        with storage.hold("43") as inner:
            inner.set(b"two")
            in_process = [in_thread(try_hold, storage, key) for key in ("42", "43", "44")]
        among_processes = [try_hold(other, key) for key in ("42", "43", "44")]

    assert ["busy", "busy", "held"] == in_process
    assert ["busy", "busy", "busy"] == among_processes
    assert [b"one", b"two", "held"] == [other.get("42"), other.get("43"), try_hold(other, "42")]


def test_locks_of_different_keys_are_apart() -> None:
    """The locks of a hundred thousand keys neither collide nor overlap."""
    starts = {sqlite_locks.start_of(str(number)) for number in range(100_000)}

    assert (100_000, {0}) == (len(starts), {start % 32 for start in starts})
    assert 0 <= min(starts) <= max(starts) < 2**62


def test_storages_of_one_process_exclude_each_other(storage: SQLiteStorage, path: Path) -> None:
    """Two storages of one file are as one: their threads wait in one queue, and none is let in."""
    order = []
    with SQLiteStorage(path) as second:

        def wait() -> None:
            with second.hold("42", PATIENCE):
                order.append("second")

        with ExitStack() as waiting:
            with storage.hold("42"):
                busy = try_hold(second, "42")
                waiting.enter_context(began(wait))
                wait_until(lambda: second.process_state.locks.queues.get("42"))
            with storage.hold("42", PATIENCE):
                order.append("storage")

    assert ("busy", ["second", "storage"]) == (busy, order)


# Waits.


@pytest.mark.parametrize("seconds", [0.1, 0.5])
def test_a_wait_is_over_with_its_time_out(
    storage: SQLiteStorage,
    other: SQLiteStorage,
    clock: FrozenDateTimeFactory,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    """The wait for threads and the one for processes have one time-out together."""
    pauses: list[float] = []
    still = SimpleNamespace(monotonic=support.clocks.monotonic, sleep=pauses.append)
    monkeypatch.setattr(waits, "time", still)

    def wait() -> None:
        with pytest.raises(LockTimeoutError), storage.hold("42", 1000):
            pass

    with other.hold("42"):
        try_hold(storage, "42")
        locks = storage.process_state.locks
        locks.acquire("42")
        with began(wait) as waiter:
            wait_until(lambda: locks.queues.get("42"))
            clock.tick(1000 - seconds)
            locks.release("42")
            waiter.result(PATIENCE)

    assert pytest.approx(seconds, abs=1e-3) == sum(pauses)
    assert "held" == try_hold(storage, "42")


def test_an_interrupted_wait_leaves_nothing(
    storage: SQLiteStorage, other: SQLiteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the wait for another process goes on as it is; the session is free afterwards."""

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with storage.hold("42"):
        monkeypatch.setattr(waits, "time", SimpleNamespace(monotonic=float, sleep=interrupt))
        with pytest.raises(KeyboardInterrupt), other.hold("42"):
            pass

    assert ["held", "held"] == [try_hold(other, "42"), try_hold(storage, "42")]


@pytest.mark.parametrize(
    "processes",
    [pytest.param(2, marks=pytest.mark.long), 3, pytest.param(8, marks=pytest.mark.long)],
)
def test_processes_that_loop_wait_for_a_few_turns_of_the_others(path: Path, processes: int) -> None:
    """The longest wait for a session that all processes use all the time is three rounds."""
    outcome = run("take_turns", path, processes, 0.03)

    assert [0] * processes == outcome["exit codes"]
    # A busy machine lets a handler take longer than it wants to.
    assert 0.03 <= outcome["longest hold"]
    assert outcome["longest wait"] <= 3 * processes * outcome["longest hold"]
