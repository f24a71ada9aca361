"""Exclusive use of a session that is in a file: locked and read at first, written at the end."""

from __future__ import annotations

import os
from sqlite3 import Cursor
from typing import TYPE_CHECKING, Literal, Self

from telesession.errors import StorageError
from telesession.storage.base import Hold, Storage
from telesession.storage.sqlite_records import (
    WRITE,
    Records,
    Row,
    bind_key,
    checked,
    expiry_after,
    has_expired,
    is_live,
    read_row,
    row_of,
)

if TYPE_CHECKING:
    from telesession.storage.file_locks import LockFile
    from telesession.storage.sqlite_locks import SessionLocks


class SQLiteHold(Hold):
    """
    Exclusive use of one session among all processes of a machine.

    Entering it locks the session and reads it. The methods that write only note the new record,
    which `flush` or leaving the block writes in one transaction. If nothing is noted, there is no
    transaction. The kernel has the lock until the block is left or the process ends.
    """

    __slots__ = ("_bound", "_file", "_note", "_records", "_row", "_start")

    _process: SessionLocks
    _file: LockFile
    # The row as the commit leaves it.
    _row: Row | None
    # What the commit does with it; a deleted one is `None`.
    _note: Literal["write", "renew"] | None

    def __init__(self, storage: Storage, records: Records, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self._records = records
        self._row = self._note = None

    def __enter__(self) -> Self:
        key = self._key
        self._bound = bind_key(key)
        self._file, self._start = self._process.acquire(key, self._timeout)
        try:
            database = self._records.database
            self._row = database.read_first("lock", key, read_row, self._bound)
        except BaseException:
            self._file.release(key, self._start)
            raise
        return self

    def _leave(self) -> None:
        try:
            if self._note is not None:
                self._write()
        finally:
            self._file.release(self._key, self._start)

    def is_inherited(self) -> bool:
        """See `Hold.is_inherited`."""
        return self._process.pid != os.getpid()

    def get(self) -> bytes | None:
        """Like `Storage.get`: as it was when the lock was taken, or what was written since."""
        record = checked(self._row, self._key, "read")
        return record[0] if is_live(record) else None

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        """Like `Storage.set`, with the next `flush` or on leaving the block."""
        self._row = payload, expiry_after(lifetime)
        self._note = "write"

    def delete(self) -> bool:
        """Like `Storage.delete`, with the next `flush` or on leaving the block."""
        was_live = self._row is not None and not has_expired(self._row)
        self._row = None
        self._note = "write"
        return was_live

    def touch(self, lifetime: float | None) -> bool:
        """Like `Storage.touch`, with the next `flush` or on leaving the block."""
        record = checked(self._row, self._key, "touch")
        if not is_live(record):
            return False
        self._row = record[0], expiry_after(lifetime)
        self._note = self._note or "renew"
        return True

    def flush(self) -> None:
        """
        See `Hold.flush`.

        Raises:
            StorageError: The file cannot be written, or the lock file is not the one in which the
                session is locked. Nothing was written.
        """
        if self._note is not None:
            if self.is_inherited():
                reason = "this process was forked while its parent had the session"
                raise StorageError("write", self._key, reason, "open it anew in this process")
            self._write()

    def _write(self) -> None:
        records, held = self._records, self._file.identity
        try:
            payload, expires = checked(self._row, self._key, "write")
            if self._note == "write" and payload is not None and not records.are_due():
                # Faster than the same statement in a transaction.
                records.note_expiry(expires)
                row = row_of(self._bound, payload, expires)
                records.database.write_statement(self._key, held, WRITE, row)
            else:
                records.database.write_held(self._key, held, self._apply_note)
        finally:
            # What failed here must not be written later, behind the handler's back.
            self._note = None

    def _apply_note(self, cursor: Cursor) -> None:
        """Do what is noted, in a transaction that may be that of several holds."""
        records, bound = self._records, self._bound
        payload, expires = checked(self._row, self._key, "write")
        if payload is None:
            records.remove(cursor, bound)
        elif self._note == "write" or not records.renew(cursor, bound, expires):
            # What was touched in its last moment may have been removed by another's write.
            records.write(cursor, bound, payload, expires)
        records.drop_expired(cursor)
