"""Runs of the tests in the background of a shell."""

from __future__ import annotations

import sys

from support.processes import TESTS, run_program

# Imports the fixtures of all tests as pytest does, where Ctrl-C is ignored.
PROGRAM = """
import signal, sys
before = signal.getsignal(signal.SIGINT)
import conftest
print(before is signal.SIG_IGN, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_the_processes_of_a_run_in_the_background_can_be_interrupted() -> None:
    """The tests undo the setting of the shell, so a command that they start ends by Ctrl-C."""
    shell = f"trap '' INT; exec {sys.executable} -c '{PROGRAM}'"
    assert (0, "True True\n", "") == run_program(["sh", "-c", shell], TESTS)
