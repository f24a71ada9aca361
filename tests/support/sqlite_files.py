"""Storages in SQLite files, as several processes have them, and what handlers do with them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.processes import command_line, watched
from telesession import Sessions, Storage
from telesession.storage.file_locks import LockFile
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


def open_apart(path: Path) -> SQLiteStorage:
    """A storage as another process has it, with a descriptor of its own for the lock file."""
    storage = SQLiteStorage(path)
    locks: Any = storage.process_state
    descriptor = os.open(storage.database.lock_path, os.O_RDWR | os.O_CREAT, 0o600)
    locks._file = file = LockFile(descriptor)
    locks.locks = file.keys
    storage.database.files.watch(storage.database.lock_path, file.identity)
    return storage


@pytest.fixture
def other(storage: SQLiteStorage, path: Path) -> Iterator[SQLiteStorage]:
    """What another process has: connections and a lock table of its own."""
    with open_apart(path) as other:
        yield other


@pytest.fixture
def admin(storage: SQLiteStorage, path: Path) -> Iterator[sqlite3.Connection]:
    """What the `sqlite3` command line has."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)) as connection:
        yield connection


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds session 42 until a line comes in, and then writes it."""
    process = subprocess.Popen(
        command_line("hold", path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with watched(process):
        assert "held\n" == process.stdout.readline()
        yield process


def each_file(path: Path) -> list[Path]:
    """A database and the files beside it."""
    return sorted(path.parent.glob("bot.db*"))


def counters(storage: Storage, **options: Any) -> Sessions[Any]:
    return Sessions(initial=lambda: {"counter": 0}, storage=storage, **options)


def count(storage: Storage, key: int = 42, **options: Any) -> None:
    """What a handler does."""
    with counters(storage, **options).open(key) as session:
        session.counter += 1


def trace(storage: SQLiteStorage, name: str = "writer") -> list[str]:
    """The statements that a connection of a storage runs from now on."""
    statements: list[str] = []
    storage.database.connections.cursors[name].connection.set_trace_callback(statements.append)
    return statements


def begun(statements: list[str]) -> int:
    """How many transactions that write are among statements."""
    return statements.count("BEGIN IMMEDIATE")
