"""The SQLite file of a storage, as one process uses it: its reads and transactions."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import NoReturn, TypeVar

from telesession.errors import LockTimeoutError, StorageError
from telesession.storage.sqlite_connections import (
    CAN_LEAVE_LOG,
    COPIER,
    FAREWELL,
    READER,
    WRITER,
    Connections,
    close_inherited,
)
from telesession.storage.sqlite_errors import HARMLESS, TRANSIENT, code_of, diagnosis
from telesession.storage.sqlite_schema import UnusableError, is_backup, prepare
from telesession.storage.waits import Wait
from telesession.storage.watched_files import Identity, WatchedFiles, identity_of

P = TypeVar("P")
T = TypeVar("T")

# Seconds to wait for a database that another program has locked, if the call has no `patience`.
PATIENCE = 30.0
# Seconds between two attempts to begin a transaction, at most.
_LONGEST_PAUSE = 0.005
# How many pages are copied or returned to the disk at a time.
_PAGES = 256


class Database:
    """
    The SQLite file of a storage, with a connection that writes and another that reads.

    Reading does not wait for writes of any thread or process. The files are checked before each
    write, because a record that is written to a deleted file is lost.

    Keep one for as long as its storage. Any thread may use it, and so may a forked process, also if
    C code forked; see `Connections`.

    Args:
        path: An absolute path.
        synchronous: SQLite's setting of that name.

    Attributes:
        path: The path of the file itself, without symbolic links.
        lock_path: The path of its lock file.
        files: The database and its log; `SessionLocks` adds the lock file.
        connections: The connections of this process.

    Raises:
        StorageError: The file cannot be used.
    """

    def __init__(self, path: str, synchronous: str) -> None:
        self.path = os.path.realpath(path)
        self.lock_path = self.path + "-lock"
        self.files = WatchedFiles(os.path.dirname(self.path))
        self._link = path
        self._synchronous = synchronous
        self._is_closed = False
        self.connections = Connections(self.path, self.files)
        self.write("open the database", None, lambda _: None)
        self.connections.register()

    def write(
        self,
        action: str,
        key: str | None,
        work: Callable[[sqlite3.Cursor], T],
        patience: float | None = None,
    ) -> T:
        """
        Call `work` in a transaction that writes, and return its result.

        If it raises, nothing is written.

        Args:
            action: The attempt, as the message of an error names it.
            key: The session of the attempt, if any.
            work: May be called again if another program interferes.
            patience: Seconds to wait for this process and others to finish their transactions.

        Raises:
            StorageError: SQLite failed, the database stayed locked, or its files are not those
                that were opened.
        """
        done: T = self._use(WRITER, action, key, self._transact, (), work, patience=patience)
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
        self._use(WRITER, "write", key, self._transact, held, work)

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
        self._use(WRITER, "write", key, self._execute, held, statement, parameters)

    def read(
        self,
        action: str,
        key: str | None,
        work: Callable[[sqlite3.Cursor], T],
        patience: float | None = None,
    ) -> T:
        """Call `work`, which writes nothing; see `write`."""
        return self._use(READER, action, key, work, patience=patience)

    def report(self, action: str, key: str, replaced: str) -> None:
        """
        Raise the error for a file that `files` has found replaced.

        If it is the log, and another storage of the process has raised that error, this storage
        connects anew instead.

        Raises:
            StorageError: See above.
        """
        is_known = self.connections.has_lost_log
        try:
            if not is_known:
                self._raise_replaced(replaced)
        except UnusableError as error:
            raise StorageError(action, key, *diagnosis(self.path, error)) from error
        finally:
            if self.connections.has_lost_log:
                with suppress(LockTimeoutError):
                    self.connections.leave_log()

    def read_first(
        self, action: str, key: str, work: Callable[[sqlite3.Cursor, P], T], argument: P
    ) -> T:
        """
        Read a record that is perhaps written next; see `read`.

        The connection that writes has its last writes in memory, and the other one would have to
        read them. While threads use both, the other one is taken.
        """
        return self._use(
            READER if len(self.connections.turns) else WRITER, action, key, work, argument
        )

    def ping(self) -> None:
        """
        Read from the database, and see that it is at its path.

        Raises:
            StorageError: It cannot be read, or was moved, deleted or replaced.
        """

        def look(cursor: sqlite3.Cursor) -> None:
            self._check_files(())
            cursor.execute("SELECT 1 FROM sessions LIMIT 1").fetchone()

        self._use(READER, "reach the database", None, look)

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Copy the whole database as it is now into an empty one, while others read and write."""

        def copy(cursor: sqlite3.Cursor) -> None:
            # This transaction keeps the writes of others in the log until it ends, so the copy need
            # not start again after each of them.
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1 FROM sessions LIMIT 1").fetchone()
            cursor.connection.backup(target, pages=_PAGES)
            cursor.execute("COMMIT")

        self._use(COPIER, "back up", None, copy)
        with self.connections.turn(COPIER, FAREWELL):
            self.connections.disconnect(COPIER)

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
        if self.connections.pid != os.getpid():
            close_inherited()
        self._is_closed = True
        self.connections.close()

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
        connections = self.connections
        if connections.pid != os.getpid():
            close_inherited()
        if patience is None:
            patience = PATIENCE
        try:
            if connections.has_lost_log:
                connections.leave_log()
            connections.turns.acquire(name, patience)
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
                    if code_of(error) not in TRANSIENT or not wait.pause(_LONGEST_PAUSE):
                        raise StorageError(action, key, *diagnosis(self.path, error)) from error
        finally:
            connections.release_turn(name)

    def _attempt(self, name: str, work: Callable[..., T], args: tuple[object, ...]) -> T:
        connections = self.connections
        if connections.fault is not None:
            raise UnusableError(*connections.fault)
        cursor = connections.cursors.get(name) or self._connect(name)
        connections.calling.add(name)
        try:
            return work(cursor, *args)
        except BaseException as error:
            # At once, because closing a connection whose cursor is in use would keep the lock.
            if cursor.connection.in_transaction:
                with suppress(sqlite3.Error):
                    cursor.connection.rollback()
            if isinstance(error, sqlite3.Error) and code_of(error) not in HARMLESS:
                # A failure of the file may be one of the connection, too.
                connections.disconnect(name)
            raise
        finally:
            connections.calling.discard(name)

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
        connections = self.connections
        if self._is_closed:
            raise UnusableError("the storage is closed", "make another one")
        identity = identity_of(self._link)
        if connections.identity not in (None, identity):
            # To connect would make a new file.
            self._raise_replaced(self._link)
        if (
            connections.identity is None
            and identity is not None
            and identity_of(connections.log) is not None
        ):
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
            if not connections.cursors:
                connections.identity = identity_of(self.path)
                self.files.watch(self._link, connections.identity)
                self.files.watch(connections.log, identity_of(connections.log))
            self._check_files(())
        except BaseException:
            connection.close()
            raise
        connections.cursors[name] = connection.cursor()
        return connections.cursors[name]

    def _refuse_foreign_log(self) -> None:
        # SQLite would write the last records of the former database into the restored one.
        if is_backup(self.path):
            raise UnusableError(
                "a backup was put beside the log (-wal) of another database",
                "delete the files beside it that end with -wal and -shm",
            )

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
        connections = self.connections
        if path == self.lock_path:
            raise UnusableError(
                "its lock file was deleted or replaced while the session was in use, so another "
                "process may have the session, and nothing was written",
                "leave the files of a running bot alone, and retry",
            )
        if path == connections.log and CAN_LEAVE_LOG:
            for each in connections.of_the_file():
                each.has_lost_log = True
            raise UnusableError(
                "its log (-wal) was deleted or replaced while the bot ran, so nothing was written; "
                "that happens if the bot opens and closes its own database file",
                "copy it with SQLiteStorage.backup only, and retry",
            )
        connections.fault = (
            "the database was moved, deleted or replaced while the bot ran, so nothing was written",
            "put the right file in its place, and start the bot again",
        )
        raise UnusableError(*connections.fault)
