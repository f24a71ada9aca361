"""Storages in SQLite files, as several processes have them, and what handlers do with them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.processes import command_line, watched
from telesession import Sessions, Storage
from telesession.storage.sqlite import SQLiteStorage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


SECRET = "hunter2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bot.db"


@pytest.fixture
def storage(path: Path) -> Iterator[SQLiteStorage]:
    with SQLiteStorage(path) as storage:
        yield storage


@pytest.fixture
def other(storage: SQLiteStorage, path: Path) -> Iterator[SQLiteStorage]:
    """What another process has: connections and a lock table of its own."""
    with SQLiteStorage(path) as other:
        yield other


@pytest.fixture
def admin(storage: SQLiteStorage, path: Path) -> Iterator[sqlite3.Connection]:
    """What the `sqlite3` command line has."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)) as connection:
        yield connection


@contextmanager
def holder(path: Path, lease: float) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds session 42."""
    process = subprocess.Popen(
        command_line("hold", path, lease), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with watched(process):
        assert "held\n" == process.stdout.readline()
        yield process


def counters(storage: Storage, **options: Any) -> Sessions[Any]:
    return Sessions(initial=lambda: {"counter": 0}, storage=storage, **options)


def count(storage: Storage, key: int = 42, **options: Any) -> None:
    """What a handler does."""
    with counters(storage, **options).open(key) as session:
        session.counter += 1


def locks(admin: sqlite3.Connection) -> list[Any]:
    return admin.execute("SELECT key FROM locks").fetchall()


def lock_by_hand(
    admin: sqlite3.Connection, process: str, taken: float, expires: float, key: str = "42"
) -> None:
    """Leave a lock as if a process had it."""
    row = (key, f"{process}/another storage/0", taken, expires)
    admin.execute("INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?, NULL)", row)


def trace(storage: SQLiteStorage, name: str = "writer") -> list[str]:
    """The statements that a connection of a storage runs from now on."""
    statements: list[str] = []
    storage._database._cursors[name].connection.set_trace_callback(statements.append)
    return statements


def begun(statements: list[str]) -> int:
    """How many transactions that write are among statements."""
    return statements.count("BEGIN IMMEDIATE")


UNKNOWN = "0-1-0"


def dead_process() -> str:
    """The identity of a process that has ended."""
    code = "from telesession.storage.liveness import identity; print(identity())"
    return subprocess.check_output(
        [sys.executable, "-c", code], text=True, timeout=PATIENCE
    ).strip()
