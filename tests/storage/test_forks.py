"""A process that was forked has none of the threads that held something."""

from __future__ import annotations

import sys

import pytest
from child_processes import run_program

FORK = """
import os
from telesession import MemoryStorage
from telesession.testing.storage_suite import try_hold

storage = MemoryStorage()
storage.set("key", b"payload")
holder = storage.hold("key")
holder.__enter__()
{control}
who = "child"
if pid := os.fork():
    assert os.waitpid(pid, 0) == (pid, 0)
    who = "parent"
print(who, try_hold(storage, "key"), storage.get("key"), flush=True)
os._exit(0)
"""
WITHOUT_RESET = "MemoryStorage._forget_holders = lambda self: None"


HANDLER = """
import os
from telesession import Sessions

sessions = Sessions()
with sessions.open(1) as session:
    session.who = "child"
    if pid := os.fork():
        assert os.waitpid(pid, 0) == (pid, 0)
        session.who = "parent"
with sessions.open(1) as session:
    print(session.who, flush=True)
os._exit(0)
"""


def run(program: str) -> list[str]:
    code, printed, complaints = run_program([sys.executable, "-c", program])
    assert (0, "") == (code, complaints)
    return printed.splitlines()


def test_a_handler_that_forks_ends_on_both_sides() -> None:
    """In memory each process goes on with a session of its own, and the next has its turn."""
    assert ["child", "parent"] == run(HANDLER)


@pytest.mark.parametrize(
    ("control", "expected"),
    [("", "held"), (WITHOUT_RESET, "busy")],
    ids=["as it is", "control: without a reset"],
)
def test_a_forked_process_has_the_records_and_no_locks(control: str, expected: str) -> None:
    """What a thread of the parent held is free in a forked child, and held in the parent."""
    expected_lines = [f"child {expected} b'payload'", "parent busy b'payload'"]
    assert expected_lines == run(FORK.format(control=control))
