"""The connections of this process to a SQLite database: turns of threads, forks, and their end."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

from telesession.errors import LockTimeoutError
from telesession.forks import PerProcess, call_around_forks
from telesession.locks import LockTable
from telesession.storage.byte_locks import share_bytes
from telesession.storage.file_locks import close_inherited_files
from telesession.storage.watched_files import identity_of

if TYPE_CHECKING:
    from telesession.storage.watched_files import Identity, WatchedFiles

WRITER, READER, COPIER = _NAMES = ("writer", "reader", "copier")

# Seconds to wait for a transaction of this process to end before its connection is closed.
FAREWELL = 5.0

# The bytes that SQLite locks in a database while it is open.
_SHARED_START, _SHARED_LENGTH = 0x40000002, 510


class Connections:
    """
    The connections of this process to one database, by name, each for one thread at a time.

    Threads take turns in the order of their arrival. SQLite's own wait would serve a waiter at
    random. A forked process closes the connections of its parent and connects anew. That is not
    possible if a thread of the parent was in a transaction, because SQLite's copy of the
    transaction would never end.

    They live as long as their `Database`. Any thread may use them.

    Args:
        path: The path of the file itself, without symbolic links.
        files: The files of the database.

    Attributes:
        pid: The process that uses them.
        identity: Device and inode of the connected file; `None` before the first connection.
        fault: Reason and remedy, if nothing may be done before the program is started anew.
        has_lost_log: Whether they write to a log that is not the one of the database any more.
        cursors: name -> cursor of the connection.
        calling: The names of the connections that a thread is calling just now.
        turns: The locks of the names.
        log: The path of the log.
    """

    def __init__(self, path: str, files: WatchedFiles) -> None:
        self.pid = os.getpid()
        self.identity: Identity | None = None
        self.fault: tuple[str, str] | None = None
        self.has_lost_log = False
        self.cursors: dict[str, sqlite3.Cursor] = {}
        self.calling: set[str] = set()
        self.turns = LockTable()
        self.log = path + "-wal"
        self._path = path
        self._files = files
        # The names whose turns are kept during a fork.
        self._kept: list[str] = []

    def register(self) -> None:
        """Count among the connections of the process, and close at forks."""
        with _mutexes.get(threading.Lock):
            _connections[id(self)] = self
        call_around_forks(self._before_fork, self._after_fork, self._after_fork_in_child)

    @contextmanager
    def turn(self, name: str, timeout: float) -> Iterator[None]:
        """
        A block in which no other thread uses a connection.

        Raises:
            LockTimeoutError: Another thread used it for `timeout` seconds.
        """
        self.turns.acquire(name, timeout)
        try:
            yield
        finally:
            self.turns.release(name)

    def release_turn(self, name: str) -> None:
        """Let the next thread use a connection."""
        try:
            self.turns.release(name)
        except BaseException:
            # After a KeyboardInterrupt in the release, no other thread could release it.
            if self.turns.holder_of(name) == threading.get_ident():
                self.turns.release(name)
            raise

    def disconnect(self, name: str, is_quiet: bool = False) -> None:
        """
        Close a connection.

        Args:
            name: The connection, which may be closed already.
            is_quiet: Whether the log stays as it is. If not, the last connection copies the log
                into the database and deletes it by its name. The log always stays if it is not the
                one of the database.
        """
        cursor = self.cursors.pop(name, None)
        if cursor is None:
            return
        with suppress(OSError):
            is_quiet = is_quiet or self._files.find_replaced() is not None
        kept_open = _kept_open(self._path, self.identity) if is_quiet else nullcontext()
        with suppress(sqlite3.Error), kept_open:
            cursor.close()
            _close_connection(cursor.connection, is_quiet)
        if not self.cursors:
            self._files.forget(self.log)

    def of_the_file(self) -> list[Connections]:
        """All connections of this process to the same file, in the same order in all threads."""
        return sorted((each for each in _all() if each.identity == self.identity), key=id)

    def leave_log(self) -> None:
        """
        Close all connections of this process to a former log of the database.

        It closes all of them, because SQLite has one index of the log for all connections of a
        process.

        Raises:
            LockTimeoutError: A transaction of another thread did not end in time.
        """
        # In one order, so that threads that do this at the same time do not wait for each other.
        others = self.of_the_file()
        with ExitStack() as turns:
            for each in others:
                for name in _NAMES:
                    turns.enter_context(each.turn(name, FAREWELL))
            if self.has_lost_log:
                for each in others:
                    for name in list(each.cursors):
                        each.disconnect(name)
                    each.has_lost_log = False

    def close(self) -> None:
        """Close the connections, except those that a thread goes on to use."""
        for name in _NAMES:
            with suppress(LockTimeoutError), self.turn(name, FAREWELL):
                self.disconnect(name)

    def begin_in_child(self, is_usable: bool) -> None:
        """
        Belong to this process, which was forked, without a connection.

        Args:
            is_usable: Whether no thread of the parent was in a transaction of the file.
        """
        if is_usable:
            for name in list(self.cursors):
                self.disconnect(name, is_quiet=True)
        else:
            # It is not even closed, because that would roll back the transaction of the parent.
            self._abandoned = self.cursors
            self.fault = (
                "this process was forked while a thread of its parent used the database",
                "start the threads after the fork",
            )
        self.cursors = {}
        self.calling = set()
        self.turns = LockTable()
        self._kept = []
        self.pid = os.getpid()

    def _before_fork(self) -> None:
        # A turn that does not come in time is no reason not to fork.
        for name in _NAMES:
            with suppress(LockTimeoutError):
                self.turns.acquire(name, FAREWELL)
                self._kept.append(name)
                self.disconnect(name)

    def _after_fork(self) -> None:
        while self._kept:
            self.turns.release(self._kept.pop())

    def _after_fork_in_child(self) -> None:
        close_inherited()


# The mutex of `_connections`, a new one in each process.
_mutexes: PerProcess[threading.Lock] = PerProcess()
# id -> connections, of all databases.
_connections: weakref.WeakValueDictionary[int, Connections] = weakref.WeakValueDictionary()


def _all() -> list[Connections]:
    references = _connections.valuerefs()
    return [alive for each in references if (alive := each()) is not None]


def close_inherited() -> None:
    """
    Close the connections and lock files of the parent, before this process makes its own.

    SQLite keeps its locks of a file by process, in memory. So a child would take the locks of its
    parent for its own.
    """
    close_inherited_files()
    with _mutexes.get(threading.Lock):
        inherited = [each for each in _all() if each.pid != os.getpid()]
        unusable = {each.identity for each in inherited if each.calling}
        for each in inherited:
            each.begin_in_child(each.identity not in unusable)


# Whether a connection can be closed without a change of its log.
CAN_LEAVE_LOG = sys.platform == "linux" or sys.version_info >= (3, 12)


def _close_connection(connection: sqlite3.Connection, is_quiet: bool) -> None:
    if sys.version_info >= (3, 12) and is_quiet:
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
    connection.close()


@contextmanager
def _kept_open(path: str, identity: Identity | None) -> Iterator[None]:
    """
    A block in which no closed connection is the last one of the database.

    It takes the lock that other processes have while the database is open, because before Python
    3.12 there is no setting for it.
    """
    if sys.platform != "linux" or identity_of(path) != identity:
        # SQLite itself does nothing to the log of a database that is not at its path.
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        share_bytes(descriptor, _SHARED_START, _SHARED_LENGTH)
        yield
    finally:
        os.close(descriptor)
