"""Forks of a process that has a `SQLiteStorage`."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import support.sqlite_files
from support.clocks import PATIENCE
from support.processes import run
from support.servers import wait_until
from support.threads import began
from telesession.storage import sqlite_database
from telesession.storage.sqlite import SQLiteStorage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

path = support.sqlite_files.path
storage = support.sqlite_files.storage
admin = support.sqlite_files.admin


def test_a_forked_process_connects_anew(path: Path) -> None:
    """A storage may be used on both sides of a fork, also if a key is held meanwhile."""
    assert {"exit codes": [0, 0], "counter": 4} == run("in_a_forked_child", path)


@contextmanager
def forked(work: Callable[[], None]) -> Iterator[None]:
    """A fork of this process, which does something and ends."""
    with warnings.catch_warnings():
        # Later Pythons warn of forks where threads run; this is about what happens then.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    watch = threading.Timer(PATIENCE, os.kill, (pid, signal.SIGKILL))
    watch.start()
    try:
        yield
    finally:
        status = os.waitpid(pid, 0)[1]
        watch.cancel()
    assert 0 == os.waitstatus_to_exitcode(status)


def test_a_fork_does_not_disturb_those_who_do_not_fork(storage: SQLiteStorage) -> None:
    """Both sides of a fork go on, also with storages that nobody uses any more."""
    SQLiteStorage(storage._database.path).set("42", b"old")
    with forked(lambda: storage.set("child", b"payload")):
        storage.set("parent", b"payload")

    assert ["42", "child", "parent"] == list(storage.keys())


def test_a_fork_does_not_wait_for_a_transaction_for_ever(
    storage: SQLiteStorage, admin: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that was forked while a thread was in a transaction leaves its connection alone."""
    monkeypatch.setattr(sqlite_database, "_FAREWELL", 0.01)
    admin.execute("BEGIN IMMEDIATE")
    with began(storage.set, "parent", b"payload"):
        wait_until(lambda: len(storage._database._turns))
        cursor = storage._database._cursors["writer"]
        storage._database._before_fork()
        is_open = storage._database._cursors == {"writer": cursor}
        storage._database._after_fork()
        admin.execute("COMMIT")
    storage._database._in_forked_child()
    storage.set("child", b"payload")

    assert is_open
    assert cursor is not storage._database._cursors["writer"]
    assert ["child", "parent"] == list(storage.keys())
    cursor.connection.close()
