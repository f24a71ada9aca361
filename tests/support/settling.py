"""Waits for a moment at which a process may fork."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg_pool import ConnectionPool

    from telesession import PostgresStorage

# The threads of this process, on Linux.
_TASKS = Path("/proc/self/task")


def wait_for_joined_threads() -> None:
    """
    Wait until each thread that was joined has ended.

    Before Python 3.13 `Thread.join` returns a moment early. Such a thread of a pool may have a
    lock of OpenSSL at a fork, and in the child nobody ever releases it.

    Raises:
        TimeoutError: There are threads that Python does not know.
    """
    for _ in range(5000):
        if not _TASKS.exists() or len(os.listdir(_TASKS)) <= threading.active_count():
            return
        time.sleep(0.001)
    raise TimeoutError


def settle(storage: PostgresStorage) -> None:
    """
    Wait until the pool of a storage has its connections, and each other thread waits.

    A fork in C copies a lock that a running thread has just taken, and nobody releases the copy.
    """
    pool = storage.process_state.connections._pool
    while not is_at_rest(pool) or _a_thread_runs():
        time.sleep(0.001)


def is_at_rest(pool: ConnectionPool[Any]) -> bool:
    """Whether a pool has all its connections, and makes no more."""
    stats = pool.get_stats()
    return stats["pool_size"] == stats["pool_available"]


def _a_thread_runs() -> bool:
    others = [task for task in os.listdir(_TASKS) if int(task) != os.getpid()]
    return any(_state(_TASKS / task / "stat") != "S" for task in others)


def _state(file: Path) -> str:
    """The state of a thread as Linux writes it; empty if the thread has ended."""
    try:
        return file.read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""
