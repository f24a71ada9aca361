"""Locks on bytes of a file: how a process counts them, waits for them and takes turns."""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from contextlib import closing, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from support.clocks import PATIENCE
from support.processes import run_program
from support.servers import wait_until
from support.threads import began
from telesession.storage import file_locks, places, waits
from telesession.storage.byte_locks import lock_bytes, unlock_bytes
from telesession.storage.file_locks import LockFile, open_lock_file
from telesession.storage.places import PLACES, WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = 7 * WIDTH


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "bot.db-lock")


@pytest.fixture
def make_process(path: str) -> Callable[[], LockFile]:
    """Makes what another process has: a descriptor of its own, and a table of its own."""
    return lambda: LockFile(os.open(path, os.O_RDWR | os.O_CREAT))


def is_free(file: LockFile, start: int = START) -> bool:
    """Whether a process gets a lock at once."""
    is_taken = file.acquire("other", start, 0)
    if is_taken:
        file.release("other", start)
    return is_taken


def places_seen_by(file: LockFile) -> set[int]:
    """The bytes of a lock that other processes have; looking at them disturbs nobody."""
    taken = set()
    for place in range(PLACES + 1):
        question = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, START + place, 1, 0)
        answer = fcntl.fcntl(file._descriptor, fcntl.F_OFD_GETLK, question)
        if struct.unpack("hhqqi0q", answer)[0] != fcntl.F_UNLCK:
            taken.add(place)
    return taken


# One descriptor has each byte once.


def test_a_lock_excludes_other_processes_until_its_release(
    make_process: Callable[[], LockFile],
) -> None:
    """A lock of one process is busy for another one, and free after its release."""
    one, other = make_process(), make_process()
    seen = [one.acquire("42", START), is_free(other), is_free(other, START + WIDTH)]
    one.release("42", START)

    assert [True, False, True, True] == [*seen, is_free(other)]


def test_a_lock_has_as_many_holders_as_have_taken_it(make_process: Callable[[], LockFile]) -> None:
    """A process that takes a lock twice has it until it was released twice."""
    one, other = make_process(), make_process()
    one.acquire("42", START)
    one.acquire("43", START)
    one.release("42", START)
    seen = is_free(other)
    one.release("43", START)

    assert [False, True] == [seen, is_free(other)]


def test_the_kernel_does_not_count(make_process: Callable[[], LockFile]) -> None:
    """The control: of two locks of one descriptor, one unlock frees both."""
    one, other = make_process(), make_process()
    locked = [lock_bytes(one._descriptor, START, 1) for _ in range(2)]
    unlock_bytes(one._descriptor, START, 1)

    assert [True, True, True] == [*locked, lock_bytes(other._descriptor, START, 1)]


def test_a_process_has_one_object_for_each_file(path: str, tmp_path: Path) -> None:
    """All paths of a file lead to one object, while somebody has it, and others to others."""
    link, another = str(tmp_path / "link"), str(tmp_path / "another")
    first = open_lock_file(path)
    os.symlink(path, link)

    assert [True, True, False] == [
        first is open_lock_file(found) for found in (path, link, another)
    ]


def test_a_file_is_closed_with_its_last_reference(path: str) -> None:
    """A process keeps no descriptor of a file whose locks nobody uses."""
    file = open_lock_file(path)
    descriptor = file._descriptor
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_closing_another_descriptor_keeps_the_locks(
    path: str, make_process: Callable[[], LockFile]
) -> None:
    """A program that reads the lock file frees nothing."""
    one, other = make_process(), make_process()
    one.acquire("42", START)
    with closing(os.fdopen(os.open(path, os.O_RDWR))) as file:
        file.read()

    assert not is_free(other)


def test_threads_of_a_process_join_a_lock_that_it_waits_for(
    make_process: Callable[[], LockFile],
) -> None:
    """Of the threads that wait for one lock one has a place; all have the lock afterwards."""
    one, other = make_process(), make_process()
    one.acquire("42", START)
    with began(other.acquire, "42", START) as first, began(other.acquire, "43", START) as second:
        wait_until(lambda: 1 in places_seen_by(one))
        seen_places = places_seen_by(one)
        one.release("42", START)
        assert [True, True] == [first.result(PATIENCE), second.result(PATIENCE)]
    other.release("42", START)
    seen = is_free(one)
    other.release("43", START)

    assert [{1}, False, True] == [seen_places, seen, is_free(one)]


def test_a_new_file_has_the_mode_that_was_asked_for(path: str) -> None:
    """A lock file may be used by those who may use the database, whatever the umask is."""
    umask = os.umask(0o077)
    try:
        file = open_lock_file(path, 0o660)
    finally:
        os.umask(umask)

    assert 0o660 == os.fstat(file._descriptor).st_mode & 0o777


POSIX = """
import importlib, os, sys
from telesession.storage import byte_locks, file_locks, places
sys.platform = "darwin"
for module in (byte_locks, places, file_locks):
    importlib.reload(module)
from telesession.storage.file_locks import open_lock_file
from telesession.storage.places import WIDTH

def look():
    # A child of a fork closes what it inherits, and opens the file anew.
    if not os.fork():
        os._exit(10 + open_lock_file(sys.argv[1]).acquire("42", WIDTH, 0))
    return os.waitstatus_to_exitcode(os.wait()[1]) - 10

file = open_lock_file(sys.argv[1])
seen = [file.acquire("42", WIDTH), file.acquire("43", WIDTH), look()]
file.release("42", WIDTH)
seen.append(look())
file.release("43", WIDTH)
print(*map(int, [*seen, look()]))
"""


def test_other_posix_systems_lock_by_process(path: str) -> None:
    """Without locks of open files, those of processes do the same, with the same count."""
    code, printed, complaints = run_program([sys.executable, "-c", POSIX, path])

    assert (0, "1 1 0 0 1\n", "") == (code, printed, complaints)


def test_pauses_grow_to_the_longest_and_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait looks often at first, then every so often, and takes as long as it may."""
    pauses: list[float] = []
    still = SimpleNamespace(monotonic=float, sleep=pauses.append)
    monkeypatch.setattr(waits, "time", still)
    wait = waits.Wait(1)
    while wait.pause(0.01):
        pass

    assert (0.0005, 0.01) == (pauses[0], max(pauses))
    assert sorted(pauses[:-1]) == pauses[:-1]
    assert pytest.approx(1) == sum(pauses)


def test_a_step_that_took_a_moment_is_followed_by_short_pauses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Processes whose handlers are short hand a session over in less than the longest pause."""
    pauses: list[float] = []
    still = SimpleNamespace(monotonic=float, sleep=pauses.append)
    monkeypatch.setattr(waits, "time", still)
    wait = waits.Wait(10)
    for _ in range(3):
        wait.pause(0.02)
    wait.come_nearer()
    wait.pause(0.02)
    for _ in range(9):
        wait.pause(0.02)
    wait.come_nearer()
    wait.pause(0.02)

    assert [0.0005, 0.001, 0.002, 0.00175] == pytest.approx(pauses[:4])
    assert 0.02 == pauses[-1]


# Taking turns.


def test_a_process_that_waits_comes_before_one_that_wants_it_again(
    make_process: Callable[[], LockFile],
) -> None:
    """A process that releases a lock does not get it again before one that waits."""
    one, other = make_process(), make_process()
    one.acquire("42", START)
    with began(other.acquire, "42", START, PATIENCE) as waiter:
        wait_until(lambda: 1 in places_seen_by(one))
        one.release("42", START)
        again = is_free(one)
        assert waiter.result(PATIENCE)

    assert not again


def test_without_places_a_process_overtakes_one_that_waits(
    make_process: Callable[[], LockFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: where only the first byte is locked, the process that asks again has it."""
    monkeypatch.setattr(file_locks, "PLACES", 0)
    monkeypatch.setattr(places, "PLACES", 0)
    monkeypatch.setattr(places, "_OUTSIDE", 1)
    one, other = make_process(), make_process()
    one.acquire("42", START)
    overtaken = []

    def take_again(_: float) -> None:
        one.release("42", START)
        overtaken.append(one.acquire("42", START, 0))

    monkeypatch.setattr(waits, "time", SimpleNamespace(monotonic=float, sleep=take_again))

    assert (False, {True}) == (other.acquire("42", START, 0.1), set(overtaken))


def test_processes_get_a_lock_in_the_order_of_their_arrival(
    make_process: Callable[[], LockFile],
) -> None:
    """Each process that waits has the place behind those that came before, and moves on."""
    holder = make_process()
    holder.acquire("42", START)
    order: list[int] = []
    processes = [make_process() for _ in range(5)]

    def take(number: int) -> None:
        assert processes[number].acquire("42", START, PATIENCE)
        order.append(number)
        processes[number].release("42", START)

    waiting = [began(take, number) for number in range(5)]
    for number, waiter in enumerate(waiting):
        waiter.__enter__()
        # While a process moves on, it has more places for a moment.
        wait_until(lambda n=number: set(range(1, n + 2)) == places_seen_by(holder))
    holder.release("42", START)
    for waiter in waiting:
        waiter.__exit__(None, None, None)

    assert [0, 1, 2, 3, 4] == order
    assert set() == places_seen_by(holder)


def test_more_processes_than_places_wait_as_well(make_process: Callable[[], LockFile]) -> None:
    """A process that finds no place waits for the last one, and gets the lock in the end."""
    holder, waiting, late = make_process(), make_process(), make_process()
    holder.acquire("42", START)
    lock_bytes(waiting._descriptor, START + 1, PLACES)
    with began(late.acquire, "42", START, PATIENCE) as waiter:
        wait_until(lambda: START in late._queued_starts)
        unlock_bytes(waiting._descriptor, START + 1, PLACES)
        wait_until(lambda: 1 in places_seen_by(holder))
        seen_places = places_seen_by(holder)
        holder.release("42", START)
        assert waiter.result(PATIENCE)

    assert {1} == seen_places


def test_a_process_that_gives_up_leaves_its_place(make_process: Callable[[], LockFile]) -> None:
    """After a wait that ended with its time-out, or with Ctrl-C, the lock is as before."""
    one, other = make_process(), make_process()
    one.acquire("42", START)
    outcome = other.acquire("42", START, 0.001)
    seen_places = places_seen_by(one)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(waits, "time", SimpleNamespace(monotonic=float, sleep=interrupt))
        other.acquire("42", START, PATIENCE)
    one.release("42", START)

    assert [False, set(), set(), True] == [
        outcome,
        seen_places,
        places_seen_by(one),
        is_free(other),
    ]


def test_a_stopped_process_holds_up_nobody_for_long(make_process: Callable[[], LockFile]) -> None:
    """A process that waits behind one that does not move looks past it, within about a second."""
    stopped, other = make_process(), make_process()
    lock_bytes(stopped._descriptor, START + 1, 1)
    slept: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        still = SimpleNamespace(monotonic=float, sleep=slept.append)
        patch.setattr(waits, "time", still)
        taken = other.acquire("42", START, PATIENCE)

    assert (True, {1}) == (taken, places_seen_by(other))
    assert 0.5 < sum(slept) < 1.5


@pytest.mark.parametrize("moves", [0, 27], ids=["alone", "in a queue"])
def test_a_process_that_waits_makes_few_system_calls(
    make_process: Callable[[], LockFile], monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    """Attempts and pauses of a wait are at most 200 in a second, also if the queue moves on."""
    holder, before, waiting = make_process(), make_process(), make_process()
    holder.acquire("42", START)
    if moves:
        lock_bytes(before._descriptor, START + 1, PLACES)
    calls: list[str] = []
    seconds = 0.0

    def count(function: Callable[..., object], name: str) -> Callable[..., object]:
        def call(*args: object) -> object:
            calls.append(name)
            return function(*args)

        return call

    def sleep(pause: float) -> None:
        nonlocal seconds
        calls.append("sleep")
        seconds += pause
        if moves:
            free = PLACES - int(seconds * moves) % PLACES
            unlock_bytes(before._descriptor, START + free, 1)

    for module in (file_locks, waits):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=float, sleep=sleep))
    for module in (file_locks, places):
        monkeypatch.setattr(module, "lock_bytes", count(lock_bytes, "lock"))
        monkeypatch.setattr(module, "unlock_bytes", count(unlock_bytes, "unlock"))

    assert waiting.acquire("42", START, 1.0) is False
    assert pytest.approx(1) == seconds
    assert len(calls) <= 200
