"""The SQLite file of a storage, as one process uses it: connections, transactions, failures."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from types import MappingProxyType
from typing import TypeVar

from telesession.errors import LockTimeoutError, StorageError
from telesession.locks import LockTable
from telesession.storage.forks import call_around_forks

T = TypeVar("T")

_WRITER, _READER = "writer", "reader"

# Seconds to wait for a database that another program has locked, where nobody says how long.
PATIENCE = 30.0
# Seconds that a transaction of another process may take even if somebody does not want to wait.
GRACE = 0.25
# Seconds to wait for a transaction of this process to end before its connection is closed.
_FAREWELL = 5.0

# How a file of ours is told from those of others, and this layout from later ones.
_APPLICATION_ID = 0x7E1E5E55
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE sessions (key TEXT PRIMARY KEY NOT NULL, expires REAL, payload TEXT NOT NULL);
CREATE INDEX sessions_by_expires ON sessions (expires) WHERE expires IS NOT NULL;
CREATE TABLE locks (
    key TEXT PRIMARY KEY NOT NULL, token TEXT NOT NULL, taken REAL NOT NULL, expires REAL NOT NULL,
    successor TEXT
) WITHOUT ROWID;
"""

_TRANSIENT = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))
_SEE_CAUSE = "see __cause__, fix it and retry"
_LOCKED = "another program keeps the database locked", "let it finish or end it"
_DIAGNOSES = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: _LOCKED,
        sqlite3.SQLITE_LOCKED: _LOCKED,
        sqlite3.SQLITE_READONLY: (
            "the file may only be read",
            "let the bot write the file and its folder",
        ),
        sqlite3.SQLITE_PERM: (
            "the file may not be used",
            "let the bot write the file and its folder",
        ),
        sqlite3.SQLITE_IOERR: (
            "the disk could not be read or written",
            "see whether it is full or failing",
        ),
        sqlite3.SQLITE_CORRUPT: (
            "the file is damaged",
            "restore a backup, or save what `.recover` of the sqlite3 shell finds",
        ),
        sqlite3.SQLITE_FULL: ("the disk is full", "free some space and retry"),
        sqlite3.SQLITE_CANTOPEN: (
            "the file cannot be opened",
            "its folder must exist and be writable",
        ),
        sqlite3.SQLITE_TOOBIG: ("it is larger than SQLite allows", "store less in one session"),
        sqlite3.SQLITE_NOTADB: (
            "the file is no SQLite database",
            "give another path, or move the file away",
        ),
    }
)


class UnusableError(sqlite3.DatabaseError):
    """The file may be sound, but is nothing that this storage may use."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


class Wait:
    """
    A wait in pauses that grow, for what nobody announces.

    Args:
        timeout: Seconds that all pauses together may take.
        longest: Seconds that one of them may take.
    """

    def __init__(self, timeout: float, longest: float) -> None:
        self._deadline = time.monotonic() + timeout
        self._left = timeout
        self._longest = longest
        self._pause = 0.0005

    def pause(self) -> bool:
        """Wait for a moment; false, at once, if the time is up."""
        # Pauses are counted as well, for a test may have stopped the clock.
        seconds = min(self._pause, self._left, self._deadline - time.monotonic())
        if seconds <= 0:
            return False
        time.sleep(seconds)
        self._left -= seconds
        self._pause = min(self._pause * 1.5, self._longest)
        return True


class Database:
    """
    A connection that writes and another that reads, used by one thread at a time each.

    Threads take turns in the order of their arrival; SQLite's own wait serves whoever happens to
    ask at the right moment. Reading does not wait for those who write, in whatever process.

    Keep one for as long as its storage. Any thread may use it, and so may a forked process: it
    connects anew, for what SQLite keeps of a connection must not cross a fork.

    Args:
        path: An absolute path.
        synchronous: SQLite's setting of that name.

    Raises:
        StorageError: The file cannot be used.
    """

    def __init__(self, path: str, synchronous: str) -> None:
        self.path = path
        self._synchronous = synchronous
        self._is_closed = False
        self._cursors: dict[str, sqlite3.Cursor] = {}
        self._turns = LockTable()
        self._kept: list[str] = []
        self.write("open the database", None, lambda _: None)
        call_around_forks(self._before_fork, self._after_fork, self._in_forked_child)

    def write(
        self,
        action: str,
        key: str | None,
        work: Callable[[sqlite3.Cursor], T],
        patience: float = PATIENCE,
    ) -> T:
        """
        What `work` returns, called in a transaction that writes; if it raises, nothing is written.

        Args:
            action: What is tried, for the message of an error.
            key: The session it is tried for, if any.
            work: May be called again if another program interferes.
            patience: Seconds to wait for this process and others to finish their transactions.

        Raises:
            StorageError: SQLite failed, or the database stayed locked.
        """
        return self._use(_WRITER, action, key, work, patience)

    def read(
        self,
        action: str,
        key: str | None,
        work: Callable[[sqlite3.Cursor], T],
        patience: float = PATIENCE,
    ) -> T:
        """Like `write`, for what writes nothing."""
        return self._use(_READER, action, key, work, patience)

    def close(self) -> None:
        """Close the connections for good; may be repeated."""
        self._is_closed = True
        for name in (_WRITER, _READER):
            with suppress(LockTimeoutError):
                self._turns.acquire(name, _FAREWELL)
                self._disconnect(name)
                self._turns.release(name)

    def _use(
        self,
        name: str,
        action: str,
        key: str | None,
        work: Callable[[sqlite3.Cursor], T],
        patience: float,
    ) -> T:
        """What `work` returns, called with a cursor that nobody else uses meanwhile."""
        deadline = time.monotonic() + patience
        try:
            self._turns.acquire(name, patience)
        except LockTimeoutError as error:
            reason = f"other threads kept the database busy for {patience:g} s"
            remedy = "see whether the disk is slow, and retry"
            raise StorageError(action, key, reason, remedy) from error
        wait: Wait | None = None
        try:
            while True:
                try:
                    return self._attempt(name, work)
                except (sqlite3.Error, OverflowError) as error:
                    wait = wait or Wait(deadline - time.monotonic(), 0.005)
                    if _code(error) not in _TRANSIENT or not wait.pause():
                        raise StorageError(action, key, *self._diagnosis(error)) from error
        finally:
            self._turns.release(name)

    def _attempt(self, name: str, work: Callable[[sqlite3.Cursor], T]) -> T:
        cursor = self._cursors.get(name) or self._connect(name)
        try:
            if name is _READER:
                return work(cursor)
            cursor.execute("BEGIN IMMEDIATE")
            result = work(cursor)
            cursor.execute("COMMIT")
        except BaseException as error:
            if isinstance(error, sqlite3.Error) and _code(error) not in _TRANSIENT:
                # What is wrong with the file may be wrong with the connection, too.
                self._disconnect(name)
            elif cursor.connection.in_transaction:
                with suppress(sqlite3.Error):
                    cursor.connection.rollback()
            raise
        return result

    def _connect(self, name: str) -> sqlite3.Cursor:
        if self._is_closed:
            raise UnusableError("the storage is closed", "make another one")
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._cursors[name] = connection.cursor()
        return self._cursors[name]

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Seen at one moment, for another process may be making the tables just now.
        connection.execute("BEGIN")
        is_ours = _is_ours(connection)
        connection.execute("COMMIT")
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise UnusableError("its file system cannot do WAL", "put the file on a local disk")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        if is_ours:
            return
        connection.execute("BEGIN IMMEDIATE")
        if not _is_ours(connection):
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")

    def _disconnect(self, name: str) -> None:
        cursor = self._cursors.pop(name, None)
        if cursor is not None:
            with suppress(sqlite3.Error):
                cursor.connection.close()

    def _diagnosis(self, error: Exception) -> tuple[str, str]:
        """The reason and the remedy of a failure, which SQLite's own words do not give."""
        if isinstance(error, UnusableError):
            return f"{self.path}: {error.reason}", error.remedy
        reason, remedy = _DIAGNOSES.get(_code(error), ("SQLite failed", _SEE_CAUSE))
        shown = getattr(error, "sqlite_errorname", type(error).__name__)
        return f"{self.path}: {reason} ({shown})", remedy

    def _before_fork(self) -> None:
        # A turn that does not come in time is no reason not to fork: the thread that has it is
        # not in the child, which then leaves the connection alone.
        for name in (_WRITER, _READER):
            with suppress(LockTimeoutError):
                self._turns.acquire(name, _FAREWELL)
                self._kept.append(name)
                self._disconnect(name)

    def _after_fork(self) -> None:
        while self._kept:
            self._turns.release(self._kept.pop())

    def _in_forked_child(self) -> None:
        self._abandoned = self._cursors
        self._cursors = {}
        self._turns = LockTable()
        self._kept = []


def _is_ours(connection: sqlite3.Connection) -> bool:
    """
    Whether the database has our tables; false if it is still empty.

    Raises:
        UnusableError: It has other ones.
    """
    (size,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application_id == _APPLICATION_ID and version == _SCHEMA_VERSION:
        return True
    if application_id == _APPLICATION_ID:
        raise UnusableError(
            f"it has version {version} of the tables, and this telesession knows version "
            f"{_SCHEMA_VERSION}",
            "install the one that wrote it",
        )
    if application_id or version or size:
        raise UnusableError("it is the database of another program", "give sessions their own file")
    return False


def _code(error: Exception) -> int:
    """SQLite's primary error code, which is the lowest byte of the extended one."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def seconds_left(deadline: float) -> float:
    """How long a transaction may wait that should be over at a deadline."""
    return math.inf if deadline == math.inf else max(GRACE, deadline - time.monotonic())
