"""Forks of a process that has a `SQLiteStorage`, by Python and by C code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.processes import run
from telesession.storage.sqlite import SQLiteStorage

if TYPE_CHECKING:
    from pathlib import Path


with_each_fork = pytest.mark.parametrize("way", ["python", "c"])


@with_each_fork
def test_forked_processes_connect_anew(path: Path, way: str) -> None:
    """Storages may be used on both sides of a fork: no update is lost, and nobody waits."""
    outcome = run("in_forked_children", path, way)

    assert {"exit codes": [0, 0, 0], "counter": 2 + 3 * 20 + 10 + 1} == outcome
    with SQLiteStorage(path) as storage:
        storage.database.write(
            "check", None, lambda cursor: cursor.execute("PRAGMA integrity_check").fetchall()
        )


@with_each_fork
def test_a_child_that_leaves_a_handler_leaves_the_session_to_its_parent(
    path: Path, way: str
) -> None:
    """A child that was forked in a handler neither writes nor unlocks its parent's session."""
    is_busy, is_stored, in_the_end = True, False, {"counter": 1}
    expected = {
        "return": [0, is_busy, is_stored, in_the_end],
        "raise": [0, is_busy, is_stored, in_the_end],
        "exit": [0, is_busy, is_stored, in_the_end],
        "save": [1, is_busy, is_stored, in_the_end],
    }

    assert expected == run("fork_in_handlers", path, way)


def test_a_killed_parent_holds_nothing(path: Path) -> None:
    """A child gives up what its parent held when it is forked; by C code, with its first use."""
    expected = {
        "python, idle": "held",
        "python, used": "held",
        "c, used": "held",
        "c, idle": "busy",
    }

    assert expected == run("orphans", path)


@with_each_fork
def test_a_fork_in_a_transaction_of_a_thread(path: Path, way: str) -> None:
    """A child that has half a transaction of its parent says so; the parent ends its own."""
    outcome = run("fork_in_a_transaction", path, way)

    assert (0, "written") == (outcome["code"], outcome["stored"])
    assert "start the threads after the fork" in outcome["error"]
