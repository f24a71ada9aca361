"""A process that proves that it lives: it locks a key of its own and keeps it until it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import DAY, PATIENCE
from support.processes import open_storage, watched
from support.servers import Server, patient_url, wait_until
from support.storages import WithoutLocks
from telesession import LockLostError, MemoryStorage, Storage
from telesession.storage.sqlite import SQLiteStorage
from telesession.testing.storage_suite import try_hold
from telesession.testing.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from telesession.storage.redis import RedisStorage


KEY = "@alive:1"
LEASE = 1.0

# The thread that locks the key ends at once.
PROGRAM = """
import ctypes, os, sys, threading
from telesession import SQLiteStorage
from telesession.storage.redis import RedisStorage

place, lease, kind = sys.argv[1:]
storage = RedisStorage(place, lease=float(lease)) if "://" in place else SQLiteStorage(place)
hold = storage.hold("@alive:1")

def call(function, *args):
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()

if kind != "control":
    call(hold.__enter__)
print("ready", flush=True)
for line in sys.stdin:
    way, _, use = line.strip().partition(" ")
    if way == "leave":
        call(hold.__exit__, None, None, None)
    else:
        pid = {"python": os.fork, "c": ctypes.CDLL(None).fork}[way]()
        if not pid:
            if use == "end":
                hold.__exit__(None, None, None)
                storage.close()
                os._exit(0)
            if use:
                storage.set("42", b"payload")
            print(os.getpid(), flush=True)
            sys.stdin.readline()
            os._exit(0)
        if use == "end":
            os.waitpid(pid, 0)
            print("ended", flush=True)
        continue
    print("done", flush=True)
"""


class Owner:
    """A process that has the lock."""

    def __init__(self, place: str, lease: float, kind: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, place, str(lease), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> str:
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def owner_of(place: str, lease: float = DAY, kind: str = "") -> Iterator[Owner]:
    owner = Owner(place, lease, kind)
    with watched(owner.process):
        assert "ready" == owner.read()
        yield owner


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty storage for several processes."""
    if request.param == "file":
        return str(tmp_path / "bot.db")
    return patient_url(request.getfixturevalue("server"))


@pytest.fixture
def observer(place: str) -> Iterator[Storage]:
    """The storage of another process, which looks whether the owner lives."""
    with open_storage(place) as storage:
        yield storage


def is_free_in_time(storage: Storage, place: str) -> bool:
    """Whether the key is free: in a file at once, on a server when the lease is over."""
    if "://" in place:
        wait_until(lambda: "held" == try_hold(storage, KEY))
    return "held" == try_hold(storage, KEY)


def test_a_living_process_is_seen_although_its_thread_has_ended(
    place: str, observer: Storage
) -> None:
    """The lock belongs to the process, and every look of another one finds it busy."""
    with owner_of(place):
        assert ["busy"] * 3 == [try_hold(observer, KEY) for _ in range(3)]


def test_control_a_process_without_its_lock_is_not_seen(place: str, observer: Storage) -> None:
    """A process that has not locked its key looks like one that has ended."""
    with owner_of(place, kind="control"):
        assert "held" == try_hold(observer, KEY)


def test_a_killed_process_is_seen_as_dead(place: str, observer: Storage) -> None:
    """After SIGKILL the key is free: in a file at once, on a server after the lease."""
    with owner_of(place, LEASE) as owner:
        before = try_hold(observer, KEY)
        owner.kill()
        assert ("busy", True) == (before, is_free_in_time(observer, place))


@pytest.mark.parametrize(
    ("lease", "leases"), [(3.0, 0.5), pytest.param(LEASE, 10.0, marks=pytest.mark.long)]
)
def test_a_living_process_keeps_its_lease(
    server: Server, admin: redis.Redis, lease: float, leases: float
) -> None:
    """A process renews its lease again and again, and no look gets its key meanwhile."""
    name = f"{{telesession:{KEY}}}:lock"

    def end_of_lease() -> float:
        seconds, microseconds = admin.time()
        return seconds + microseconds / 1e6 + admin.pttl(name) / 1000

    with owner_of(patient_url(server), lease), open_storage(patient_url(server)) as observer:
        first, seen = end_of_lease(), []

        def is_renewed() -> bool:
            seen.append(try_hold(observer, KEY))
            return end_of_lease() > first + leases * lease

        wait_until(is_renewed)

    assert {"busy"} == set(seen)


def test_a_stopped_process_is_alive_in_a_file_only(place: str, observer: Storage) -> None:
    """A process that is stopped keeps its lock in a file. On a server its lease ends."""
    with owner_of(place, LEASE) as owner:
        owner.process.send_signal(signal.SIGSTOP)
        if "://" in place:
            wait_until(lambda: "held" == try_hold(observer, KEY))
        seen = try_hold(observer, KEY)
        owner.process.send_signal(signal.SIGCONT)

    assert ("held" if "://" in place else "busy") == seen


def test_another_thread_may_leave_the_lock(place: str, observer: Storage) -> None:
    """A process that shuts down leaves its key in any thread, and is seen as dead at once."""
    with owner_of(place) as owner:
        before = try_hold(observer, KEY)
        assert "done" == owner.ask("leave")
        assert ("busy", "held") == (before, try_hold(observer, KEY))


@pytest.mark.parametrize("way", ["python", "c"])
def test_a_child_that_ends_leaves_the_lock_of_its_parent(
    place: str, observer: Storage, way: str
) -> None:
    """A forked child that leaves the hold and closes the storage unlocks nothing."""
    with owner_of(place) as owner:
        assert "ended" == owner.ask(f"{way} end")
        assert "busy" == try_hold(observer, KEY)


@pytest.mark.parametrize(
    ("way", "expected"), [("python", True), ("python use", True), ("c use", True), ("c", False)]
)
def test_a_child_does_not_stand_in_for_its_parent(
    place: str, observer: Storage, way: str, expected: bool
) -> None:
    """
    After the end of its parent, a forked child does not keep the lock.

    Only a child that C code has forked, and that has not used the storage, keeps it in a file.
    """
    with owner_of(place, LEASE) as owner, ExitStack() as exits:
        child = int(owner.ask(way))
        exits.callback(os.kill, child, signal.SIGKILL)
        owner.kill()
        is_free = is_free_in_time(observer, place)

    assert (expected or "://" in place) == is_free


# Within one process.


def in_this_process(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Storage:
    if kind == "memory":
        return MemoryStorage()
    if kind == "unlocked":
        return type("Unlocked", (WithoutLocks, MemoryStorage), {})()
    if kind == "sqlite":
        return SQLiteStorage(tmp_path / "bot.db")
    if kind == "postgres":
        return open_storage(request.getfixturevalue("postgres").url())
    return open_storage(patient_url(request.getfixturevalue("server")))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("memory", "busy"),
        ("sqlite", "busy"),
        ("redis", "busy"),
        ("postgres", "busy"),
        ("unlocked", "held"),
    ],
)
def test_a_thread_with_the_number_of_an_ended_one_sees_the_lock(
    kind: str, expected: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """
    A look in the same process finds the key busy, also in a thread that got the same identifier.

    Without locks, the control, it finds the key free.
    """
    with in_this_process(kind, tmp_path, request) as storage:
        hold: Any = storage.hold(KEY)
        in_thread(hold.__enter__)
        seen = {in_thread(try_hold, storage, KEY) for _ in range(5)}
        hold.__exit__(None, None, None)
        assert ({expected}, "held") == (seen, in_thread(try_hold, storage, KEY))


def test_a_process_notices_that_its_lock_was_lost(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """After a server has lost the lock, a `flush` is a `LockLostError`, and a new hold works."""
    hold = storage.hold(KEY)
    hold.__enter__()
    hold.set(b"alive")
    hold.flush()
    admin.delete(f"{{telesession:{KEY}}}:lock")
    lost = try_hold(other, KEY)
    hold.set(b"alive")
    with pytest.raises(LockLostError):
        hold.flush()
    hold.__exit__(None, None, None)
    with storage.hold(KEY) as anew:
        anew.set(b"alive again")
        anew.flush()
        assert ("held", "busy") == (lost, try_hold(other, KEY))
