"""Exclusive use of sessions that are in a file: locked and read at first, written at the end."""

from __future__ import annotations

import os
from sqlite3 import Cursor
from typing import TYPE_CHECKING, Self, cast

from telesession.errors import LockLostError, StorageError
from telesession.storage.base import Change, Hold, Note, Storage
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
    from collections.abc import Sequence

    from telesession.storage.file_locks import LockFile
    from telesession.storage.sqlite_locks import SessionLocks


class SQLiteHold(Hold):
    """
    Exclusive use of one session among all processes of a machine.

    Entering it locks the session and reads it. `flush` or leaving the block writes the noted
    record in one transaction. If nothing is noted, there is no transaction. The kernel has the
    lock until the block is left or the process ends.
    """

    __slots__ = ("_file", "_records", "_row", "_start", "bound")

    process_state: SessionLocks
    _file: LockFile
    # The row as it was read or last written.
    _row: Row | None

    def __init__(self, storage: Storage, records: Records, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self._records = records
        self._row = None

    def __enter__(self) -> Self:
        key = self.key
        self.bound = bind_key(key)
        self._file, self._start = self.process_state.acquire(key, self._timeout)
        try:
            database = self._records.database
            self._row = database.read_first("lock", key, read_row, self.bound)
        except BaseException:
            self._file.release(key, self._start)
            raise
        return self

    @property
    def lock_file(self) -> tuple[int, int]:
        """Device and inode of the file in which the session is locked."""
        return self._file.identity

    def is_inherited(self) -> bool:
        """See `Hold.is_inherited`."""
        return self.process_state.pid != os.getpid()

    def delete(self) -> bool:
        """See `Hold.delete`. A damaged record can be deleted as well."""
        if self.note is not None:
            return super().delete()
        if self._row is None:
            return False
        self.note = Note("delete")
        return not has_expired(self._row)

    def flush(self) -> None:
        """
        See `Hold.flush`.

        Raises:
            StorageError: The file cannot be written, or the lock file is not the one in which the
                session is locked. Nothing was written.
        """
        note, records = self.note, self._records
        if note is None:
            return
        if self.is_inherited():
            reason = "this process was forked while its parent had the session"
            raise StorageError("write", self.key, reason, "open it anew in this process")
        if note.action != "set" or note.payload is None or records.are_due():
            write_together(records, [self])
            return
        # One statement is a transaction of its own, and faster than in a transaction.
        self.note = None
        expires = expiry_after(note.lifetime)
        records.note_expiry(expires)
        row = row_of(self.bound, note.payload, expires)
        records.database.write_statement(self.key, (self._file.identity,), WRITE, row)
        self._row = note.payload, expires

    def after_write(self, payload: bytes | None, expires: float | None) -> None:
        """Remember the row as the hold has just written it."""
        self._row = None if payload is None else (payload, expires)

    def _read(self) -> bytes | None:
        record = checked(self._row, self.key, "read")
        return record[0] if is_live(record) else None

    def _leave(self) -> None:
        self._file.release(self.key, self._start)


def write_together(records: Records, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
    """
    Do the noted writes of holds, and changes of other keys, in one transaction.

    Raises:
        LockLostError: A record was not as a change expects it; nothing was written.
        StorageError: The file cannot be written, or a lock file is not the one in which a session
            is locked; nothing was written.
    """
    own = cast("Sequence[SQLiteHold]", holds)
    notes = [(hold, note) for hold in own if (note := hold.take_note()) is not None]
    writes = [_Write(hold.bound, note.action, note.payload, note.lifetime) for hold, note in notes]
    writes += [_Write(bind_key(each.key), "set", each.payload, each.lifetime) for each in also]
    if not writes:
        return

    def work(cursor: Cursor) -> None:
        for change in also:
            _check(cursor, change)
        for write in writes:
            write.do(records, cursor)
        records.drop_expired(cursor)

    key = notes[0][0].key if notes else also[0].key
    records.database.write_held(key, {hold.lock_file for hold in own}, work)
    for (hold, _), write in zip(notes, writes, strict=False):
        hold.after_write(write.payload, write.expires)


def _check(cursor: Cursor, change: Change) -> None:
    record = checked(read_row(cursor, bind_key(change.key)), change.key, "read")
    if (record[0] if is_live(record) else None) != change.expected:
        raise LockLostError(change.key)


class _Write:
    """One row of a transaction: to be replaced, renewed, or removed if it has no payload."""

    __slots__ = ("_bound", "action", "expires", "payload")

    def __init__(
        self, bound: str | bytes, action: str, payload: bytes | None, lifetime: float | None
    ) -> None:
        self._bound = bound
        self.action = action
        self.payload = payload
        self.expires = expiry_after(lifetime)

    def do(self, records: Records, cursor: Cursor) -> None:
        if self.payload is None:
            records.remove(cursor, self._bound)
        # A record that was touched in its last moment may have been removed by another write.
        elif self.action == "set" or not records.renew(cursor, self._bound, self.expires):
            records.write(cursor, self._bound, self.payload, self.expires)
