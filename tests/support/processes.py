"""Processes that share sessions, and other programs in processes of their own."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import Barrier
from pathlib import Path
from typing import Any, Self

from support.addresses import kind_of, open_leased
from support.settling import wait_for_joined_threads
from telesession import (
    LockLostError,
    LockTimeoutError,
    Session,
    SessionError,
    Sessions,
    StorageError,
    save,
    ttl,
)
from telesession.storage import sqlite_connections
from telesession.storage.base import Hold, Storage
from telesession.storage.file_locks import LockFile
from telesession.storage.sqlite import SQLiteStorage
from telesession.storage.sqlite_locks import start_of

# As in support.clocks, whose imports take longer than a process needs for its work.
PATIENCE = 30
# Seconds that a program may take on a busy machine.
TIME_LIMIT = 300


def run_program(command: list[str], cwd: Path | None = None) -> tuple[int, str, str]:
    """
    The exit code of a program, what it printed, and its complaints.

    If it takes too long it is killed, with every process that it has forked.
    """
    process = start_program(command, cwd)
    printed, complaints = finish_program(process)
    return process.returncode, printed, complaints


# The records of the log that a busy machine, and programs that lock in any order, have.
_WAITS = re.compile(r"^(?:a handler waits for session|deadlock: ).*\n", re.MULTILINE)


def start_program(command: list[str], cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a program as the leader of a session, so that `kill_program` finds what it forks."""
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish_program(process: subprocess.Popen[str]) -> tuple[str, str]:
    """
    Wait for the end of a program, and return what it printed and its complaints.

    Long waits for sessions and deadlocks, which are logged, are no complaints.
    """
    try:
        printed, complaints = process.communicate(timeout=TIME_LIMIT)
        return printed, _WAITS.sub("", complaints)
    except BaseException:
        kill_program(process)
        raise


def kill_program(process: subprocess.Popen[str]) -> None:
    """End a program that still runs, with every process that it has forked."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@contextmanager
def watched(process: subprocess.Popen[str]) -> Iterator[None]:
    """A process that is killed in the end, or when who reads from it has lost all patience."""
    watch = threading.Timer(2 * PATIENCE, process.kill)
    watch.daemon = True
    watch.start()
    try:
        with process:
            try:
                yield
            finally:
                process.kill()
    finally:
        watch.cancel()


class Script:
    """
    Another Python, which runs some code and is talked to by lines. It says `"ready"` first.

    Args:
        code: The code.
        args: Its arguments, after the first.
    """

    def __init__(self, code: str, *args: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._exits = ExitStack()

    def read(self) -> str:
        return self._process.stdout.readline().strip()

    def write(self, line: str = "go") -> None:
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

    def __enter__(self) -> Self:
        self._exits.enter_context(watched(self._process))
        assert "ready" == self.read()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


KEYS = 5
TESTS = Path(__file__).parents[1]
# Not run by its path: then Python would look for modules in `support`, and not beside it.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from support.processes import main
main()
"""


class LocksAlone:
    """The control: a storage whose locks are those of one process."""

    def hold(self, key: str, timeout: float | None = None) -> Any:
        return Hold(self, key, timeout)

    # The commit of a storage with locks asks its own holds for them.
    hold_beside = Storage.hold_beside
    commit = Storage.commit
    add_once = Storage.add_once


def open_storage(place: str, kind: str = "exclusive", **options: Any) -> Storage:
    """
    A storage of its own for each process.

    Args:
        place: The path of a file, or the URL of a server.
        kind: `"alone"` for the control.
        options: Of the storage.
    """
    storage_class = kind_of(place)
    if kind == "alone":
        storage_class = type("LocksAlone", (LocksAlone, storage_class), {})
    return storage_class(place, **options)


def run(command: str, *args: object, cwd: Path | None = None) -> Any:
    """What a command of this module says, run in a process of its own."""
    code, printed, complaints = run_program(command_line(command, *args), cwd)
    assert (0, "") == (code, complaints), complaints
    return json.loads(printed)


def command_line(command: str, *args: object) -> list[str]:
    program = [sys.executable, "-P", "-W", "error", "-c", PROGRAM, str(TESTS)]
    return [*program, command, *map(str, args)]


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def make_sessions(storage: Storage, lock_timeout: float = PATIENCE) -> Sessions[Any]:
    return Sessions(initial=lambda: {"counter": 0}, storage=storage, lock_timeout=lock_timeout)


def fork(work: Callable[[], None], make: Callable[[], int] = os.fork) -> int:
    """Run something in a process of its own, and return its number."""
    wait_for_joined_threads()
    pid = make()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def run_together(processes: int, work: Callable[[int], None]) -> list[int]:
    """The exit codes of processes that begin at the same time."""
    waiting, starting = os.pipe()

    def start(number: int) -> None:
        os.close(starting)
        os.read(waiting, 1)
        work(number)

    pids = [fork(lambda number=number: start(number)) for number in range(processes)]
    os.close(starting)
    os.close(waiting)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def run_threads(threads: int, work: Callable[[int], None]) -> None:
    """Run something in threads, and raise the first exception of one of them."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def count(place: str, processes: str, threads: str, times: str) -> dict[str, Any]:
    """Count in a few sessions, in all threads of all processes at once."""

    def work(process: int) -> None:
        with open_storage(place) as storage:
            sessions = make_sessions(storage)

            def increment(thread: int) -> None:
                rng = random.Random(f"{process} {thread}")
                for number in range(int(times)):
                    key = number if rng.random() < 0.5 else rng.randrange(KEYS)
                    with sessions.open(key % KEYS) as session:
                        session.counter += 1

            run_threads(int(threads), increment)

    return {"exit codes": run_together(int(processes), work)}


def count_alone(place: str, processes: str, threads: str, times: str) -> dict[str, Any]:
    """The control: all processes at once read a session, and none writes it before all have."""
    meetings = [Barrier(int(processes), timeout=PATIENCE) for _ in range(int(threads))]

    def work(_: int) -> None:
        with open_storage(place, "alone") as storage:
            sessions = make_sessions(storage)

            def increment(thread: int) -> None:
                for _ in range(int(times)):
                    with sessions.open(thread) as session:
                        read = session.counter
                        meetings[thread].wait()
                        session.counter = read + 1

            run_threads(int(threads), increment)

    return {"exit codes": run_together(int(processes), work)}


def add_numbers(place: str, processes: str, numbers: str, kind: str) -> dict[str, Any]:
    """Add the same numbers in all processes at once, and say which were new to each of them."""
    meeting = Barrier(int(processes), timeout=PATIENCE)
    reading, writing = os.pipe()

    def work(process: int) -> None:
        with open_storage(place, kind) as storage:
            if kind == "alone":
                storage.get = partial(_get_together, storage.get, meeting)  # type: ignore[method-assign]
            added = []
            for number in range(int(numbers)):
                meeting.wait()
                some = {number: b"%d" % process}
                added += storage.add_once("@in:", some, pages="@seen:", memory=3600)
            os.write(writing, json.dumps({process: added}).encode() + b"\n")

    codes = run_together(int(processes), work)
    os.close(writing)
    with open(reading) as lines:
        new = [json.loads(line) for line in lines]
    return {"exit codes": codes, "added": {key: some[key] for some in new for key in some}}


def _get_together(get: Callable[[str], bytes | None], meeting: Any, key: str) -> bytes | None:
    """Read a page in all processes before one of them writes it."""
    payload = get(key)
    meeting.wait()
    return payload


def _expect_lost_locks() -> None:
    """
    Log no lost lock.

    A machine that lets a process wait for longer than a lease takes its session away.
    """
    log = logging.getLogger("telesession")
    log.addFilter(lambda record: not str(record.msg).startswith("lock lost: "))


def count_for_ever(place: str, lease: float, writing: int) -> None:
    """Count in a few sessions, and report every increment as soon as its handler has returned."""
    _expect_lost_locks()
    sessions = make_sessions(open_leased(place, lease))
    choice = random.Random(os.getpid())

    def increment(_: int) -> None:
        while True:
            key = choice.randrange(KEYS)
            with suppress(LockLostError):
                with sessions.open(key) as session:
                    session.counter += 1
                os.write(writing, b"%d" % key)

    try:
        run_threads(2, increment)
    finally:
        os.write(writing, b"!")


def kill(place: str, kills: str, lease: str) -> dict[str, Any]:
    """Kill processes while they count, and say what they had reported."""
    rng, acknowledged = random.Random(1), Counter[str]()
    reading, writing = os.pipe()
    workers = [fork(lambda: count_for_ever(place, float(lease), writing)) for _ in range(4)]
    for _ in range(int(kills)):
        for _ in range(rng.randrange(1, 60)):
            acknowledged.update(os.read(reading, 1).decode())
        victim = rng.randrange(len(workers))
        os.kill(workers[victim], signal.SIGKILL)
        os.waitpid(workers[victim], 0)
        workers[victim] = fork(lambda: count_for_ever(place, float(lease), writing))
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    os.close(writing)
    while rest := os.read(reading, 4096):
        acknowledged.update(rest.decode())
    return {"acknowledged": acknowledged, "died": int(kills) + len(workers)}


def first_open(path: str, processes: str) -> dict[str, Any]:
    """Make the file, in all processes at once, and store one record each."""

    def work(number: int) -> None:
        with SQLiteStorage(path) as storage:
            storage.set(f"key {number}", b"payload")

    return {"exit codes": run_together(int(processes), work)}


def take_turns(path: str, processes: str, seconds: str) -> dict[str, Any]:
    """Use one session in all processes again and again, and say how long one had to wait."""
    reading, writing = os.pipe()
    everybody = Barrier(int(processes), timeout=PATIENCE)

    def work(_: int) -> None:
        with SQLiteStorage(path) as storage:
            sessions = make_sessions(storage)
            with sessions.open(os.getpid()):
                everybody.wait()
            waits, holds = [], []
            for _ in range(10):
                began = time.monotonic()
                with sessions.open(1):
                    taken = time.monotonic()
                    time.sleep(float(seconds))
                waits.append(taken - began)
                holds.append(time.monotonic() - taken)
            os.write(writing, f"{max(waits)} {max(holds)}\n".encode())

    codes = run_together(int(processes), work)
    os.close(writing)
    with os.fdopen(reading) as lines:
        times = [[float(text) for text in line.split()] for line in lines]
    longest_wait, longest_hold = map(max, zip(*times, strict=True))
    return {"exit codes": codes, "longest wait": longest_wait, "longest hold": longest_hold}


def hold(path: str) -> dict[str, Any]:
    """Hold a session until a line comes in, write, and say what came of it."""
    storage = SQLiteStorage(path)
    try:
        with storage.hold("42") as held:
            say("held")
            sys.stdin.readline()
            held.set(b"written by the other process")
    except StorageError as error:
        return {"outcome": "refused", "key": error.key, "error": str(error)}
    return {"outcome": "written"}


USERS = 6
COINS = 100


class Refused(Exception):
    """Raised in the middle of a transfer."""


def make_purses(storage: Storage, lock_timeout: float = PATIENCE) -> Sessions[Any]:
    """Sessions that begin with coins."""
    return Sessions(initial=lambda: {"coins": COINS}, storage=storage, lock_timeout=lock_timeout)


def transfer(patient: Sessions[Any], hasty: Sessions[Any], rng: random.Random) -> Counter[int]:
    """
    Move coins between two users in one of two ways, or refuse to in the middle.

    Returns:
        The coins that each user has got, or given as a negative number.

    Raises:
        LockTimeoutError: Both sessions were opened one inside the other, in a circle of waits.
    """
    giver, taker = rng.sample(range(USERS), 2)
    coins, is_refused = rng.randrange(1, 10), rng.random() < 0.25
    with suppress(Refused), ExitStack() as stack:
        # Circles are rare in the second way, because each ends by a time-out.
        if rng.random() < 0.85:
            gives, takes = stack.enter_context(patient.open(giver, taker))
        else:
            gives = stack.enter_context(hasty.open(giver))
            takes = stack.enter_context(hasty.open(taker))
        gives.coins -= coins
        if is_refused:
            raise Refused
        takes.coins += coins
    return Counter() if is_refused else Counter({giver: -coins, taker: coins})


def transfers(place: str, processes: str, threads: str, times: str) -> dict[str, Any]:
    """Move coins in all threads of all processes at once, and say what each user has got."""
    reading, writing = os.pipe()

    def work(process: int) -> None:
        with open_storage(place) as storage:
            patient, hasty = make_purses(storage), make_purses(storage, lock_timeout=0.5)

            def move(thread: int) -> None:
                rng, got = random.Random(f"{process} {thread}"), Counter[int]()
                for _ in range(int(times)):
                    before = rng.getstate()
                    while True:
                        try:
                            got.update(transfer(patient, hasty, rng))
                            break
                        except LockTimeoutError:
                            # It has changed nothing, and is sent again.
                            rng.setstate(before)
                os.write(writing, f"{json.dumps(got)}\n".encode())

            run_threads(int(threads), move)

    codes = run_together(int(processes), work)
    os.close(writing)
    total = Counter[str]()
    with os.fdopen(reading) as lines:
        for line in lines:
            total.update(json.loads(line))
    return {"exit codes": codes, "got": total}


def transfer_alone(place: str, processes: str) -> dict[str, Any]:
    """The control: all processes at once give a coin to one user, without locks among them."""
    meeting = Barrier(int(processes), timeout=PATIENCE)

    def work(process: int) -> None:
        with (
            open_storage(place, "alone") as storage,
            make_purses(storage).open(process, USERS - 1) as (gives, takes),
        ):
            read = takes.coins
            meeting.wait()
            gives.coins -= 1
            takes.coins = read + 1

    with open_storage(place) as storage, make_purses(storage).open_all(range(USERS)):
        pass
    return {"exit codes": run_together(int(processes), work)}


def transfer_for_ever(place: str, lease: float, writing: int) -> None:
    """Move coins in four threads, and report each transfer."""
    _expect_lost_locks()
    storage = open_leased(place, lease)
    patient, hasty = make_purses(storage), make_purses(storage, lock_timeout=0.5)

    def move(thread: int) -> None:
        rng = random.Random(f"{os.getpid()} {thread}")
        while True:
            with suppress(LockTimeoutError, LockLostError):
                transfer(patient, hasty, rng)
                os.write(writing, b".")

    try:
        run_threads(4, move)
    finally:
        os.write(writing, b"!")


def kill_transfers(place: str, kills: str, lease: str) -> dict[str, Any]:
    """Kill processes while they move coins, and say how much they had reported."""
    rng, reported = random.Random(1), Counter[str]()
    reading, writing = os.pipe()

    def start() -> int:
        return fork(lambda: transfer_for_ever(place, float(lease), writing))

    with open_storage(place) as storage, make_purses(storage).open_all(range(USERS)):
        pass
    workers = [start() for _ in range(4)]
    for _ in range(int(kills)):
        for _ in range(rng.randrange(1, 60)):
            reported.update(os.read(reading, 1).decode())
        victim = rng.randrange(len(workers))
        os.kill(workers[victim], signal.SIGKILL)
        os.waitpid(workers[victim], 0)
        workers[victim] = start()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    os.close(writing)
    while rest := os.read(reading, 4096):
        reported.update(rest.decode())
    return {"done": reported["."], "ended": reported["!"]}


def die_between_halves(place: str) -> dict[str, Any]:
    """The control: a transfer whose halves are units of their own, killed between them."""

    def work() -> None:
        purses = make_purses(open_storage(place))
        with purses.open(0) as session:
            session.coins -= 1
        os.kill(os.getpid(), signal.SIGKILL)

    with open_storage(place) as storage, make_purses(storage).open_all(range(USERS)):
        pass
    os.waitpid(fork(work), 0)
    return {}


def leave(place: str) -> dict[str, Any]:
    """Store fields that expire, and end."""
    sessions = make_sessions(open_storage(place))
    with sessions.open(1) as session:
        session.brief = ttl("brief", 1e-6)
        session.long = ttl("long", 1000)
        session.forever = "forever"
    return {}


def _try_to_write(storage: SQLiteStorage, payload: bytes) -> dict[str, Any]:
    try:
        storage.set("42", payload)
    except StorageError as error:
        return {"cause": type(error.__cause__).__name__, "error": str(error)}
    return {"error": None}


def without_rights(name: str) -> dict[str, Any]:
    """Open and write a file of this folder as somebody who may only read it."""
    if os.getuid() == 0:
        os.setuid(65534)
    try:
        storage = SQLiteStorage(name)
    except StorageError as error:
        return {"cause": type(error.__cause__).__name__, "error": str(error)}
    return _try_to_write(storage, b"new")


def on_a_full_disk(path: str) -> dict[str, Any]:
    """Write a record when no file may grow any more, and once more when they may."""
    storage = SQLiteStorage(path)
    storage.set("42", b"old")
    size = max(Path(path + suffix).stat().st_size for suffix in ("", "-wal", "-shm"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    outcome = _try_to_write(storage, b"x" * 100_000)
    kept = (storage.get("42") or b"").decode()
    sessions = make_sessions(storage)
    try:
        with sessions.open("43") as session:
            session.text = "x" * 100_000
    except StorageError as error:
        outcome["of a session"] = type(error.__cause__).__name__
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with sessions.open("43") as session:
        session.text = "written"
    return {**outcome, "kept": kept, "then": dict(sessions.peek("43") or {})}


# Code for a program of a control, in which a storage takes each process for its parent.
WITHOUT_FORK_CHECK = """
from types import SimpleNamespace
from telesession import forks
forks.os = SimpleNamespace(getpid=lambda: 0)
"""
# A server such as uWSGI forks in C, and Python hears nothing of it.
FORKS: dict[str, Callable[[], int]] = {"python": os.fork, "c": ctypes.PyDLL(None).fork}


def in_forked_children(path: str, way: str) -> dict[str, Any]:
    """Use storages in children that were forked while a key is held, and in the parent."""
    storage, second = SQLiteStorage(path), SQLiteStorage(path)
    count_in(storage, 1)
    count_in(second, 1)

    def work() -> None:
        def increment(_: int) -> None:
            for number in range(10):
                count_in(second if number % 2 else storage, 1)

        run_threads(2, increment)
        storage.close()

    with storage.hold("another"):
        pids = [fork(work, FORKS[way]) for _ in range(3)]
        for _ in range(10):
            count_in(storage, 1)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    count_in(second, 1)
    return {"exit codes": codes, "counter": dict(make_sessions(storage).peek(1) or {})["counter"]}


def count_in(storage: Storage, key: int) -> None:
    """What a handler does."""
    with make_sessions(storage).open(key) as session:
        session.counter += 1


ENDS: dict[str, Callable[[Session], object]] = {
    "return": lambda session: None,
    "raise": lambda session: 1 / 0,
    "exit": lambda session: sys.exit(0),
    "save": save,
}


def fork_in_handlers(path: str, way: str) -> dict[str, Any]:
    """Fork in a handler for each way to end it, and say what came of it in both processes."""
    storage, parent = SQLiteStorage(path), os.getpid()
    sessions = make_sessions(storage)
    outcomes: dict[str, Any] = {}

    def handle(end: str) -> None:
        with sessions.open(end) as session:
            session.counter = 1
            pid = FORKS[way]()
            if not pid:
                session.counter = 2
                ENDS[end](session)
                return
            child = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            # As another process asks, by a descriptor of its own.
            others = LockFile(os.open(f"{path}-lock", os.O_RDWR))
            is_busy = not others.acquire(end, start_of(end), 0)
            outcomes[end] = [child, is_busy, storage.has(end)]

    for end in ENDS:
        code = 0
        try:
            handle(end)
        except SessionError:
            code = 1
        except (ZeroDivisionError, SystemExit):
            pass
        finally:
            if os.getpid() != parent:
                os._exit(code)
        outcomes[end].append(dict(sessions.peek(end) or {}))
    return outcomes


def orphans(path: str) -> dict[str, Any]:
    """Kill processes that have forked in a handler, and say what their children keep."""
    outcomes, storage = {}, SQLiteStorage(path)
    reading, writing = os.pipe()
    for way in FORKS:
        for is_used in (False, True):
            parent = fork(lambda way=way, is_used=is_used: _orphan(path, way, is_used, writing))
            child = int(os.read(reading, 100))
            os.kill(parent, signal.SIGKILL)
            os.waitpid(parent, 0)
            name = f"{way}, {'used' if is_used else 'idle'}"
            outcomes[name] = _try_to_hold(storage)
            os.kill(child, signal.SIGKILL)
    return outcomes


def _try_to_hold(storage: Storage) -> str:
    try:
        with storage.hold("42", 0):
            return "held"
    except LockTimeoutError:
        return "busy"


def _orphan(path: str, way: str, is_used: bool, writing: int) -> None:
    storage = SQLiteStorage(path)
    with storage.hold("42"):
        if not FORKS[way]():
            if is_used:
                count_in(storage, 1)
            os.write(writing, b"%d" % os.getpid())
        signal.pause()


def fork_in_a_transaction(path: str, way: str) -> dict[str, Any]:
    """Fork while a thread is in a transaction, and use the storage on both sides."""
    storage = SQLiteStorage(path)
    begun, ends = threading.Event(), threading.Event()

    def write(cursor: Any) -> None:
        cursor.execute("INSERT INTO sessions VALUES ('42', NULL, 'written')")
        begun.set()
        ends.wait(PATIENCE)

    thread = threading.Thread(target=storage.database.write, args=("write", None, write))
    thread.start()
    begun.wait(PATIENCE)
    sqlite_connections.FAREWELL = 0.01  # type: ignore[misc]
    reading, writing = os.pipe()

    def work() -> None:
        os.write(writing, json.dumps(_try_to_write(storage, b"child")).encode())
        storage.close()

    code = os.waitstatus_to_exitcode(os.waitpid(fork(work, FORKS[way]), 0)[1])
    ends.set()
    thread.join()
    count_in(storage, 1)
    stored = (storage.get("42") or b"").decode()
    return {**json.loads(os.read(reading, 4096)), "code": code, "stored": stored}


def main() -> None:
    """Run the command of this module that the arguments name, and say its result."""
    say(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
