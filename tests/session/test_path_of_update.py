"""The path of one update: its calls of functions, and its changes of file."""

from __future__ import annotations

import sys
from pathlib import Path

from support.processes import run_program

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "path.py"


def test_one_update_in_memory_crosses_few_files() -> None:
    """One update makes at most 18 calls of functions, and at most 8 changes of file."""
    code, printed, complaints = run_program([sys.executable, str(PROGRAM)])

    assert (0, "") == (code, complaints), printed
    assert "calls (at most 18)" in printed
    assert "changes of file (at most 8)" in printed
