"""A handler that forks, and storages that are used on both sides of a fork."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.processes import WITHOUT_FORK_CHECK, run_program

FORKS = {"with hooks": "os.fork()", "in C": "ctypes.PyDLL(None).fork()"}
ENDS = {"returns": "pass", "raises": "raise ValueError", "exits": "sys.exit()"}

# The child's part comes first, so that its steps can disturb the parent's.
BEGIN = """
import ctypes, os, sys
from contextlib import suppress
from telesession import MemoryStorage, SessionError, Sessions, Storage, save
from telesession.storage.base import Hold
from telesession.testing.storage_suite import try_hold

def fork():
    child = {fork}
    if child:
        assert os.waitpid(child, 0) == (child, 0)
    return child

def say(*words):
    print(role, *words, flush=True)

role = "parent"
{control}
"""
WITHOUT_RESET = "MemoryStorage._begin_anew = lambda self: None"


def run(body: str, fork: str, control: str = "", **parts: str) -> list[str]:
    program = (BEGIN + body).format(fork=FORKS[fork], control=control, **parts)
    # Python 3.12 and later warn of a fork beside a thread, even if that has just been joined.
    quiet = "ignore:This process:DeprecationWarning"
    code, printed, complaints = run_program([sys.executable, "-W", quiet, "-c", program])
    assert (0, "") == (code, complaints)
    return printed.splitlines()


# A storage whose records would be shared by processes, and which says what a hold does to them.
SHARED = """
class NotedHold(Hold):
    def flush(self):
        if self.take_note() is not None:
            say("writes")

    def _leave(self):
        say("unlocks")

class Shared(Storage):
    def get(self, key): return None
    def set(self, key, payload, lifetime=None): pass
    def delete(self, key): return False
    def touch(self, key, lifetime): return False
    def keys(self, prefix=""): return iter(())
    def hold(self, key, timeout=None): return NotedHold(self, key, timeout)

sessions = Sessions(storage=Shared(), commit_on_error=True)
"""

LEAVING = """
try:
    with sessions.open(1) as session:
        session.n = 1
        if not fork():
            role = "child"
            {end}
except (ValueError, SystemExit) as error:
    say(type(error).__name__)
os._exit(0)
"""

SAVING = """
with sessions.open(1) as session:
    session.n = 1
    if not fork():
        role = "child"
        try:
            save(session)
        except SessionError as error:
            say(error)
os._exit(0)
"""


TWO_STORAGES = """
from telesession import SQLiteStorage

memory, durable = Sessions(storage=MemoryStorage()), Sessions(storage=SQLiteStorage({path!r}))
with memory.open(1) as mine, durable.open(1) as theirs:
    theirs.n = 1
    if not fork():
        role = "child"
        with memory.open(2) as other:
            other.n = 2
        say(list(memory.keys()))
say("leaves")
os._exit(0)
"""


class TestLeaving:
    """A child that leaves a block of its parent."""

    @pytest.mark.parametrize("fork", FORKS)
    def test_a_session_in_memory_does_not_hide_the_others(self, fork: str, tmp_path: Path) -> None:
        """Memory does not see a fork in C. A session in a file does, and speaks for the unit."""
        printed = run(TWO_STORAGES, fork, path=str(tmp_path / "bot.db"))
        assert ["child ['2']", "child leaves", "parent leaves"] == printed

    @pytest.mark.parametrize("fork", FORKS)
    @pytest.mark.parametrize("end", ENDS)
    def test_neither_writes_nor_unlocks(self, fork: str, end: str) -> None:
        """The parent does both, at the end of its own block."""
        printed = run(SHARED + LEAVING, fork, end=ENDS[end])
        assert ["parent writes", "parent unlocks"] == [
            line for line in printed if line.endswith(("writes", "unlocks"))
        ]

    @pytest.mark.parametrize("end", ENDS)
    def test_control_writes_and_unlocks(self, end: str) -> None:
        """Without the check the child unlocks a session that its parent has."""
        printed = run(SHARED + LEAVING, "with hooks", WITHOUT_FORK_CHECK, end=ENDS[end])
        assert "child unlocks" in printed

    @pytest.mark.parametrize("fork", FORKS)
    def test_cannot_save(self, fork: str) -> None:
        """`save` in the child is an error that says where to save, and the parent still saves."""
        refused, *others = run(SHARED + SAVING, fork)
        assert refused.startswith("child could not save session '1': this process was forked")
        assert ["parent writes", "parent unlocks"] == others


MEMORY = """
sessions = Sessions(storage=MemoryStorage())
with sessions.open(1) as session:
    session.who = "saved before"
with sessions.open(1) as session:
    session.who = "parent"
    if not fork():
        role = session.who = "child"
with sessions.open(1) as session:
    say(session.who)
os._exit(0)
"""


def test_in_memory_each_process_goes_on_with_the_saved_session() -> None:
    """A child drops the changes of the block in which it was forked, and has the next turn."""
    assert ["child saved before", "parent parent"] == run(MEMORY, "with hooks")


INSIDE = """
sessions = Sessions(storage=MemoryStorage())
with sessions.open(1) as session:
    session.n = 1
with sessions.open(1) as outer:
    outer.n = 2
    if not fork():
        role = "child"
        with sessions.open(1) as session:
            say(session.n)
            session.n = 3
        say(dict(sessions.peek(1)))
        os._exit(0)
say(dict(sessions.peek(1)))
os._exit(0)
"""


def test_a_child_opens_the_session_of_its_parent_anew() -> None:
    """It does not get the copy of the parent's block, whose changes would be dropped."""
    printed = run(INSIDE, "with hooks")
    assert ["child 1", "child {'n': 3}", "parent {'n': 2}"] == printed


HELD = """
storage = {storage}
{reset}
storage.set("key", b"payload")
holder = storage.hold("key")
holder.__enter__()
if not fork():
    role = "child"
say(try_hold(storage, "key"), storage.get("key"))
os._exit(0)
"""


@pytest.mark.parametrize(
    ("reset", "expected"),
    [("", "held"), (WITHOUT_RESET, "busy")],
    ids=["as it is", "control: without a reset"],
)
def test_a_forked_process_has_the_records_and_no_locks(reset: str, expected: str) -> None:
    """What a thread of the parent held is free in a forked child, and held in the parent."""
    printed = run(HELD, "with hooks", reset=reset, storage="MemoryStorage()")
    assert [f"child {expected} b'payload'", "parent busy b'payload'"] == printed


@pytest.mark.parametrize("fork", FORKS)
def test_a_thread_of_the_parent_blocks_no_child(fork: str) -> None:
    """Locks of a storage that processes share are free in a child, also if C code forked it."""
    printed = run(SHARED + HELD, fork, reset="", storage="Shared()")
    assert ["child unlocks", "child held None", "parent busy None"] == printed


WAITING = """
import threading
from telesession import locks
from telesession.locks import LockTable

table, asked = LockTable(), threading.Event()
thread = threading.Thread(target=table.acquire, args=("key",))
thread.start()
thread.join()
# What another thread of the parent would leave that waits, or looks for circles, at the fork.
waits = locks._waits.get(locks._WaitTable)
waiter = locks._Waiter(threading.Lock(), threading.get_ident())
waits._waits[threading.get_ident()] = locks._Wait(table, "key", waiter)
waits._mutex.acquire()
if not fork():
    role = "child"
    try:
        table.acquire("key", 0.01)
    except SessionError as error:
        say(type(error).__name__, len(locks._waits.get(locks._WaitTable)._waits))
os._exit(0)
"""


@pytest.mark.parametrize("fork", FORKS)
def test_a_child_has_a_table_of_waits_of_its_own(fork: str) -> None:
    """A wait in a child looks for circles among its own threads, and hangs on no lock."""
    assert ["child LockTimeoutError 0"] == run(WAITING, fork)
