"""Waits for a moment at which C code may fork."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telesession import PostgresStorage


def settle(storage: PostgresStorage) -> None:
    """
    Wait until the pool of a storage has its connections, and each other thread waits.

    A fork in C copies a lock that a running thread has just taken, and nobody releases the copy.
    """
    pool = storage.process_state.connections._pool
    while (stats := pool.get_stats())["pool_available"] != stats["pool_size"] or _a_thread_runs():
        time.sleep(0.001)


def _a_thread_runs() -> bool:
    tasks = Path("/proc/self/task")
    others = [task for task in os.listdir(tasks) if int(task) != os.getpid()]
    return any(_state(tasks / task / "stat") != "S" for task in others)


def _state(file: Path) -> str:
    """The state of a thread as Linux writes it; empty if the thread has ended."""
    try:
        return file.read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
