"""The SQLite file of a storage, as one process uses it: connections, transactions, failures."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from types import MappingProxyType
from typing import NoReturn, TypeVar

from telesession.errors import LockTimeoutError, StorageError
from telesession.forks import PerProcess, call_around_forks
from telesession.locks import LockTable
from telesession.storage.byte_locks import share_bytes
from telesession.storage.file_locks import close_inherited_files
from telesession.storage.sqlite_schema import UnusableError, is_backup, prepare
from telesession.storage.waits import Wait
from telesession.storage.watched_files import Identity, WatchedFiles, identity_of

P = TypeVar("P")
T = TypeVar("T")

_WRITER, _READER, _COPIER = "writer", "reader", "copier"

# Seconds to wait for a database that another program has locked, if the call has no `patience`.
PATIENCE = 30.0
# Seconds to wait for a transaction of this process to end before its connection is closed.
_FAREWELL = 5.0
# Seconds between two attempts to begin a transaction, at most.
_LONGEST_PAUSE = 0.005
# How many pages are copied or returned to the disk at a time.
_PAGES = 256

# The bytes that SQLite locks in a database while it is open.
_SHARED_START, _SHARED_LENGTH = 0x40000002, 510

_TRANSIENT = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))
# Errors that do not harm the connection.
_HARMLESS = _TRANSIENT | {sqlite3.SQLITE_CONSTRAINT}
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
            "restore a backup, or save the rows that `.recover` of the sqlite3 shell finds",
        ),
        sqlite3.SQLITE_FULL: ("the disk is full", "free some space and retry"),
        sqlite3.SQLITE_CANTOPEN: (
            "the file cannot be opened",
            "its folder must exist and be writable",
        ),
        sqlite3.SQLITE_CONSTRAINT: (
            "the database refused it by a constraint or a trigger",
            "remove the constraint or the trigger, and retry",
        ),
        sqlite3.SQLITE_TOOBIG: ("it is larger than SQLite allows", "store less in one session"),
        sqlite3.SQLITE_NOTADB: (
            "the file is no SQLite database",
            "give another path, or move the file away",
        ),
    }
)


class Database:
    """
    A connection that writes and another that reads, used by one thread at a time each.

    Threads take turns in the order of their arrival. SQLite's own wait would serve a waiter at
    random. Reading does not wait for writes of any thread or process.

    The files are checked before each write, because a record that is written to a deleted file is
    lost.

    Keep one for as long as its storage. Any thread may use it, and so may a forked process: it
    closes the connections of its parent and connects anew, also if C code forked. That is not
    possible if a thread of the parent was in a transaction, because SQLite's copy of the
    transaction would never end.

    Args:
        path: An absolute path.
        synchronous: SQLite's setting of that name.

    Attributes:
        path: The path of the file itself, without symbolic links.
        lock_path: The path of its lock file.
        files: The database and its log; `SessionLocks` adds the lock file.

    Raises:
        StorageError: The file cannot be used.
    """

    def __init__(self, path: str, synchronous: str) -> None:
        self.path = os.path.realpath(path)
        self.lock_path = self.path + "-lock"
        self.files = WatchedFiles(os.path.dirname(self.path))
        self._link = path
        self._synchronous = synchronous
        self._pid = os.getpid()
        self._is_closed = False
        # The reason why nothing may be written before the program is started anew.
        self._fault: tuple[str, str] | None = None
        # Whether the connections write to a log that is not the one of the database any more.
        self._has_lost_log = False
        self._identity: Identity | None = None
        self._cursors: dict[str, sqlite3.Cursor] = {}
        # The connections that a thread is calling just now.
        self._calling: set[str] = set()
        self._turns = LockTable()
        self._kept: list[str] = []
        self.write("open the database", None, lambda _: None)
        with _processes.get(_Process).mutex:
            _databases[id(self)] = self
        call_around_forks(self._before_fork, self._after_fork, self._after_fork_in_child)

    def write(
        self,
        action: str,
        key: str | None,
        work: Callable[[sqlite3.Cursor], T],
        patience: float | None = None,
    ) -> T:
        """
        Call `work` in a transaction that writes, and return its result; if it raises, nothing is
        written.

        Args:
            action: The attempt, as the message of an error names it.
            key: The session of the attempt, if any.
            work: May be called again if another program interferes.
            patience: Seconds to wait for this process and others to finish their transactions.

        Raises:
            StorageError: SQLite failed, the database stayed locked, or its files are not those
                that were opened.
        """
        done: T = self._use(_WRITER, action, key, self._transact, (), work, patience=patience)
        return done

    def write_held(
        self, key: str, held: Collection[Identity], work: Callable[[sqlite3.Cursor], None]
    ) -> None:
        """
        Write the records of locked sessions; see `write`.

        Args:
            key: One of the sessions.
            held: Device and inode of each lock file in which one of them is locked.
            work: See `write`.
        """
        self._use(_WRITER, "write", key, self._transact, held, work)

    def write_statement(
        self, key: str, held: Collection[Identity], statement: str, parameters: tuple[object, ...]
    ) -> None:
        """
        Execute one statement for a locked session, as a transaction of its own.

        Args:
            key: The session.
            held: Device and inode of the lock file in which it is locked, alone.
            statement: Its text.
            parameters: Those of the statement.
        """
        self._use(_WRITER, "write", key, self._execute, held, statement, parameters)

    def read(
        self,
        action: str,
        key: str | None,
        work: Callable[[sqlite3.Cursor], T],
        patience: float | None = None,
    ) -> T:
        """Call `work`, which writes nothing; see `write`."""
        return self._use(_READER, action, key, work, patience=patience)

    def report(self, action: str, key: str, replaced: str) -> None:
        """
        Raise the error for a file that `files` has found replaced.

        If it is the log, and another storage of the process has raised that error, this storage
        connects anew instead.

        Raises:
            StorageError: See above.
        """
        is_known = self._has_lost_log
        try:
            if not is_known:
                self._raise_replaced(replaced)
        except UnusableError as error:
            raise StorageError(action, key, *self._diagnosis(error)) from error
        finally:
            if self._has_lost_log:
                with suppress(LockTimeoutError):
                    self._leave_log()

    def read_first(
        self, action: str, key: str, work: Callable[[sqlite3.Cursor, P], T], argument: P
    ) -> T:
        """
        Read a record that is perhaps written next; see `read`.

        The connection that writes has its last writes in memory, and the other one would have to
        read them. While threads use both, the other one is taken.
        """
        return self._use(_READER if len(self._turns) else _WRITER, action, key, work, argument)

    def ping(self) -> None:
        """
        Read from the database, and see that it is at its path.

        Raises:
            StorageError: It cannot be read, or was moved, deleted or replaced.
        """

        def look(cursor: sqlite3.Cursor) -> None:
            self._check_files(())
            cursor.execute("SELECT 1 FROM sessions LIMIT 1").fetchone()

        self._use(_READER, "reach the database", None, look)

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Copy the whole database as it is now into an empty one, while others read and write."""

        def copy(cursor: sqlite3.Cursor) -> None:
            # This transaction keeps the writes of others in the log until it ends, so the copy need
            # not start again after each of them.
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM sessions LIMIT 1").fetchone()
            cursor.connection.backup(target, pages=_PAGES)
            cursor.execute("COMMIT")

        self._use(_COPIER, "back up", None, copy)
        with self._turn(_COPIER, _FAREWELL):
            self._disconnect(_COPIER)

    def shrink(self) -> None:
        """Return free pages to the disk, and empty the log unless another program uses it."""

        def vacuum(cursor: sqlite3.Cursor) -> int:
            cursor.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
            (kind,) = cursor.execute("PRAGMA auto_vacuum").fetchone()
            (free,) = cursor.execute("PRAGMA freelist_count").fetchone()
            return int(free) if kind else 0

        while self.write("purge", None, vacuum):
            pass
        self.read("purge", None, lambda c: c.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())

    def close(self) -> None:
        """Close the connections for good; may be repeated."""
        if self._pid != os.getpid():
            _close_inherited()
        self._is_closed = True
        for name in (_WRITER, _READER, _COPIER):
            with suppress(LockTimeoutError), self._turn(name, _FAREWELL):
                self._disconnect(name)

    def _use(
        self,
        name: str,
        action: str,
        key: str | None,
        work: Callable[..., T],
        *args: object,
        patience: float | None = None,
    ) -> T:
        """Call `work` with a cursor that no other thread uses, and return its result."""
        if self._pid != os.getpid():
            _close_inherited()
        if patience is None:
            patience = PATIENCE
        try:
            if self._has_lost_log:
                self._leave_log()
            self._turns.acquire(name, patience)
        except LockTimeoutError as error:
            reason = f"other threads kept the database busy for {patience:g} s"
            remedy = "see whether the disk is slow, and retry"
            raise StorageError(action, key, reason, remedy) from error
        wait: Wait | None = None
        try:
            while True:
                try:
                    return self._attempt(name, work, args)
                except (sqlite3.Error, OverflowError, OSError) as error:
                    wait = wait or Wait(patience)
                    if _code(error) not in _TRANSIENT or not wait.pause(_LONGEST_PAUSE):
                        raise StorageError(action, key, *self._diagnosis(error)) from error
        finally:
            self._give_turn(name)

    def _give_turn(self, name: str) -> None:
        try:
            self._turns.release(name)
        except BaseException:
            # After a KeyboardInterrupt in the release, no other thread could release it.
            if self._turns.holder_of(name) == threading.get_ident():
                self._turns.release(name)
            raise

    def _attempt(self, name: str, work: Callable[..., T], args: tuple[object, ...]) -> T:
        if self._fault is not None:
            raise UnusableError(*self._fault)
        cursor = self._cursors.get(name) or self._connect(name)
        self._calling.add(name)
        try:
            return work(cursor, *args)
        except BaseException as error:
            # At once, because closing a connection whose cursor is in use would keep the lock.
            if cursor.connection.in_transaction:
                with suppress(sqlite3.Error):
                    cursor.connection.rollback()
            if isinstance(error, sqlite3.Error) and _code(error) not in _HARMLESS:
                # A failure of the file may be one of the connection, too.
                self._disconnect(name)
            raise
        finally:
            self._calling.discard(name)

    def _transact(
        self,
        cursor: sqlite3.Cursor,
        held: Collection[Identity],
        work: Callable[[sqlite3.Cursor], T],
    ) -> T:
        cursor.execute("BEGIN IMMEDIATE")
        self._check_files(held)
        result = work(cursor)
        cursor.execute("COMMIT")
        return result

    def _execute(
        self,
        cursor: sqlite3.Cursor,
        held: Collection[Identity],
        statement: str,
        parameters: tuple[str | bytes | float | None, ...],
    ) -> None:
        self._check_files(held)
        cursor.execute(statement, parameters)

    def _connect(self, name: str) -> sqlite3.Cursor:
        if self._is_closed:
            raise UnusableError("the storage is closed", "make another one")
        identity = identity_of(self._link)
        if self._identity not in (None, identity):
            # To connect would make a new file.
            self._raise_replaced(self._link)
        if self._identity is None and identity is not None and identity_of(self._log) is not None:
            self._refuse_foreign_log()
        connection = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            if identity is None:
                os.chmod(self.path, 0o600)
            # Text is read as bytes, because a damaged row is checked before it is decoded.
            connection.text_factory = bytes
            prepare(connection, self._synchronous)
            if not self._cursors:
                self._identity = identity_of(self.path)
                self.files.watch(self._link, self._identity)
                self.files.watch(self._log, identity_of(self._log))
            self._check_files(())
        except BaseException:
            connection.close()
            raise
        self._cursors[name] = connection.cursor()
        return self._cursors[name]

    def _refuse_foreign_log(self) -> None:
        # SQLite would write the last records of the former database into the restored one.
        if is_backup(self.path):
            raise UnusableError(
                "a backup was put beside the log (-wal) of another database",
                "delete the files beside it that end with -wal and -shm",
            )

    @property
    def _log(self) -> str:
        return self.path + "-wal"

    def _check_files(self, held: Collection[Identity]) -> None:
        """
        Raise an error if a connection would use files that are not in their places.

        Raises:
            UnusableError: One was moved, deleted or replaced.
            OSError: The system cannot tell.
        """
        replaced = self.files.find_replaced()
        if replaced == self.lock_path:
            replaced = replaced if held else None
        else:
            for each in held:
                if not self.files.is_watched(self.lock_path, each):
                    replaced = self.lock_path
        if replaced is not None:
            self._raise_replaced(replaced)

    def _raise_replaced(self, path: str) -> NoReturn:
        if path == self.lock_path:
            raise UnusableError(
                "its lock file was deleted or replaced while the session was in use, so another "
                "process may have the session, and nothing was written",
                "leave the files of a running bot alone, and retry",
            )
        if path == self._log and _CAN_LEAVE_LOG:
            for database in _all_databases():
                if database._identity == self._identity:
                    database._has_lost_log = True
            raise UnusableError(
                "its log (-wal) was deleted or replaced while the bot ran, so nothing was written; "
                "that happens if the bot opens and closes its own database file",
                "copy it with SQLiteStorage.backup only, and retry",
            )
        self._fault = (
            "the database was moved, deleted or replaced while the bot ran, so nothing was written",
            "put the right file in its place, and start the bot again",
        )
        raise UnusableError(*self._fault)

    def _leave_log(self) -> None:
        """
        Close all connections of this process to a former log of the database.

        It closes all of them, because SQLite has one index of the log for all connections of a
        process.

        Raises:
            LockTimeoutError: A transaction of another thread did not end in time.
        """
        databases = [each for each in _all_databases() if each._identity == self._identity]
        # In one order, so that threads that do this at the same time do not wait for each other.
        databases.sort(key=id)
        with ExitStack() as turns:
            for database in databases:
                for name in (_WRITER, _READER, _COPIER):
                    turns.enter_context(database._turn(name, _FAREWELL))
            if self._has_lost_log:
                for database in databases:
                    for name in list(database._cursors):
                        database._disconnect(name)
                    database._has_lost_log = False

    @contextmanager
    def _turn(self, name: str, timeout: float) -> Iterator[None]:
        self._turns.acquire(name, timeout)
        try:
            yield
        finally:
            self._turns.release(name)

    def _disconnect(self, name: str, is_quiet: bool = False) -> None:
        """
        Close a connection.

        Args:
            name: The connection, which may be closed already.
            is_quiet: Leave the log as it is, as always if it is not the one of the database: the
                last connection copies its log into the database, and deletes the log by its name.
        """
        cursor = self._cursors.pop(name, None)
        if cursor is None:
            return
        with suppress(OSError):
            is_quiet = is_quiet or self.files.find_replaced() is not None
        kept_open = _kept_open(self.path, self._identity) if is_quiet else nullcontext()
        with suppress(sqlite3.Error), kept_open:
            cursor.close()
            _close(cursor.connection, is_quiet)
        if not self._cursors:
            self.files.forget(self._log)

    def _diagnosis(self, error: Exception) -> tuple[str, str]:
        """The reason and the remedy of a failure. SQLite's own words do not give them."""
        if isinstance(error, UnusableError):
            return f"{self.path}: {error.reason}", error.remedy
        code = sqlite3.SQLITE_CANTOPEN if isinstance(error, OSError) else _code(error)
        reason, remedy = _DIAGNOSES.get(code, ("SQLite failed", _SEE_CAUSE))
        shown = getattr(error, "sqlite_errorname", type(error).__name__)
        return f"{self.path}: {reason} ({shown})", remedy

    def _before_fork(self) -> None:
        # A turn that does not come in time is no reason not to fork.
        for name in (_WRITER, _READER, _COPIER):
            with suppress(LockTimeoutError):
                self._turns.acquire(name, _FAREWELL)
                self._kept.append(name)
                self._disconnect(name)

    def _after_fork(self) -> None:
        while self._kept:
            self._turns.release(self._kept.pop())

    def _after_fork_in_child(self) -> None:
        _close_inherited()

    def _begin_in_child(self, is_usable: bool) -> None:
        if is_usable:
            for name in list(self._cursors):
                self._disconnect(name, is_quiet=True)
        else:
            # It is not even closed, because that would roll back the transaction of the parent.
            self._abandoned = self._cursors
            self._fault = (
                "this process was forked while a thread of its parent used the database",
                "start the threads after the fork",
            )
        self._cursors = {}
        self._calling = set()
        self._turns = LockTable()
        self._kept = []
        self._pid = os.getpid()


class _Process:
    """The work of this process for all its databases together."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()


_processes: PerProcess[_Process] = PerProcess()
_databases: weakref.WeakValueDictionary[int, Database] = weakref.WeakValueDictionary()


def _all_databases() -> list[Database]:
    references = _databases.valuerefs()
    return [database for each in references if (database := each()) is not None]


def _close_inherited() -> None:
    """
    Close the connections and lock files of the parent, before this process makes its own.

    SQLite keeps its locks of a file by process, in memory. So a child would take the locks of its
    parent for its own.
    """
    close_inherited_files()
    with _processes.get(_Process).mutex:
        inherited = [each for each in _all_databases() if each._pid != os.getpid()]
        unusable = {database._identity for database in inherited if database._calling}
        for database in inherited:
            database._begin_in_child(database._identity not in unusable)


_CAN_LEAVE_LOG = sys.platform == "linux" or sys.version_info >= (3, 12)


def _close(connection: sqlite3.Connection, is_quiet: bool) -> None:
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


def _code(error: Exception) -> int:
    """SQLite's primary error code, which is the lowest byte of the extended one."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF
