"""A process that was forked has none of the threads that held something."""

from __future__ import annotations

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("control", "expected"),
    [("", "held"), (WITHOUT_RESET, "busy")],
    ids=["as it is", "control: without a reset"],
)
def test_a_forked_process_has_the_records_and_no_locks(control: str, expected: str) -> None:
    """What a thread of the parent held is free in a forked child, and held in the parent."""
    done = subprocess.run(
        [sys.executable, "-c", FORK.format(control=control)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    expected_lines = [f"child {expected} b'payload'", "parent busy b'payload'"]
    assert expected_lines == done.stdout.splitlines()
