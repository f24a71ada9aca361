"""Exclusive use of a session that is in a file: one transaction to begin, one to end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self

from telesession.errors import LockLostError, LockTimeoutError, StorageError
from telesession.storage.base import Hold
from telesession.storage.liveness import has_ended
from telesession.storage.sqlite_database import GRACE, PATIENCE, Wait, seconds_left

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from telesession.storage.sqlite import SQLiteStorage

# Seconds between two looks at a key that another process has, at most.
_LONGEST_PAUSE = 0.01
# Seconds for which a key that was handed over waits for its new holder.
_RESERVATION = 1.0


class SQLiteHold(Hold):
    """
    Exclusive use of one session among all processes of a machine.

    What is written is only noted; it happens together with the unlock, or at `flush`. The lock
    is a row with a token that says which process has it, and a lease:

        time  0: A asks for session 42: the row is A's, and it gets the payload.
        time  1: B asks. The row is A's, so B enters itself as A's successor, and looks at the
                 row every few milliseconds. So does C, which may succeed B.
        time 10: A is still at work; its background thread renews the lease of 30 seconds.
        time 12: A commits: the row is still A's, so A's fields are written. The row becomes B's,
                 also if A wants it again at once.
        time 12: B sees that, and reads what A wrote.
        time 13: B is killed. C sees that B's process has ended, and takes the row.

    Where nobody can tell whether a process has ended, the row is free when its lease is over. Had
    B been frozen instead, it would find another's row at its commit, write nothing and raise
    `LockLostError`. Leases count on the monotonic clock, which all processes share and nobody
    sets; a row that is from the future is from before the machine was started.
    """

    __slots__ = ("_bound", "_expires", "_is_announced", "_note", "_payload", "_token")

    _storage: SQLiteStorage
    _payload: bytes | None
    _expires: float | None
    # What the commit shall do with the record.
    _note: Literal["set", "touch", "delete"] | None

    def __init__(self, storage: SQLiteStorage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self._bound = storage._bind(key)
        self._token = storage._make_token()
        self._note = None
        self._payload = self._expires = None
        self._is_announced = False

    def __enter__(self) -> Self:
        storage, key, timeout = self._storage, self._key, self._timeout
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        storage._locks.acquire(key, timeout)
        try:
            patience = seconds_left(deadline)
            if not storage._database.write("lock", key, self._take, patience):
                self._wait(deadline)
        except BaseException:
            storage._locks.release(key)
            raise
        storage._renewal.add((self._bound, self._token))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._note is None:
                self._give_up(self._unlock, PATIENCE)
            else:
                self._write(self._commit)
        except StorageError:
            # Where the record could not be written, the lock can perhaps be deleted.
            self._give_up(self._unlock, GRACE)
            raise
        finally:
            self._storage._renewal.discard((self._bound, self._token))
            self._storage._locks.release(self._key)

    def get(self) -> bytes | None:
        """Like `Storage.get`: as it was when the lock was taken, or what was written since."""
        return self._payload if self._is_live() else None

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        """Like `Storage.set`, with the next `flush` or on leaving the block."""
        self._payload = payload
        self._expires = None if lifetime is None else self._storage.now() + lifetime
        self._note = "set"

    def delete(self) -> bool:
        """Like `Storage.delete`, with the next `flush` or on leaving the block."""
        was_live = self._is_live()
        self._payload = None
        self._note = "delete"
        return was_live

    def touch(self, lifetime: float | None) -> bool:
        """Like `Storage.touch`, with the next `flush` or on leaving the block."""
        if not self._is_live():
            return False
        self._expires = None if lifetime is None else self._storage.now() + lifetime
        self._note = self._note or "touch"
        return True

    def flush(self) -> None:
        """
        See `Hold.flush`.

        Raises:
            LockLostError: The lease was lost, so nothing was written.
        """
        if self._note is not None:
            self._write(self._save)

    def _is_live(self) -> bool:
        if self._payload is None:
            return False
        return self._expires is None or self._storage.now() < self._expires

    def _wait(self, deadline: float) -> None:
        """Wait until another process gives the key away."""
        is_taken = False
        try:
            is_taken = self._is_taken_by(deadline)
        finally:
            if self._is_announced and not is_taken:
                self._give_up(self._withdraw, GRACE)
        if not is_taken:
            raise LockTimeoutError(self._key, self._timeout or 0.0)

    def _is_taken_by(self, deadline: float) -> bool:
        database, key = self._storage._database, self._key
        wait = Wait(deadline - time.monotonic(), _LONGEST_PAUSE)
        while wait.pause():
            patience = seconds_left(deadline)
            # Looking disturbs nobody, and most of the time there is nothing more to do.
            if database.read("lock", key, self._has_chance, patience) and database.write(
                "lock", key, self._take, patience
            ):
                return True
        return False

    def _take(self, cursor: Cursor) -> bool:
        """Take the lock and read the record, or say who comes next."""
        storage, token, now = self._storage, self._token, time.monotonic()
        bound, expires = self._bound, now + storage._lease
        taken = cursor.execute(
            "INSERT OR IGNORE INTO locks VALUES (?, ?, ?, ?, NULL)", (bound, token, now, expires)
        )
        if not taken.rowcount:
            holder, since, until, successor = cursor.execute(
                "SELECT token, taken, expires, successor FROM locks WHERE key = ?", (bound,)
            ).fetchone()
            if not self._may_take(holder, since, until):
                if self._may_announce(successor) and self._timeout != 0:
                    cursor.execute("UPDATE locks SET successor = ? WHERE key = ?", (token, bound))
                    self._is_announced = True
                return False
            cursor.execute(
                "UPDATE locks SET token = ?, taken = ?, expires = ?, "
                "successor = nullif(successor, ?) WHERE key = ?",
                (token, now, expires, token, bound),
            )
        self._payload, self._expires = storage._read_record(cursor, bound)
        return True

    def _has_chance(self, cursor: Cursor) -> bool:
        """Whether to try to take the lock now, or to become its holder's successor."""
        row = cursor.execute(
            "SELECT token, taken, expires, successor FROM locks WHERE key = ?",
            (self._bound,),
        ).fetchone()
        if row is None:
            return True
        holder, since, until, successor = row
        return self._may_take(holder, since, until) or self._may_announce(successor)

    def _may_take(self, holder: str, since: float, until: float) -> bool:
        # Of this storage only one thread at a time comes here, so what it left behind is no
        # other's.
        return (
            self._storage._is_mine(holder)
            or not since <= time.monotonic() < until
            or has_ended(holder.partition("/")[0])
        )

    def _may_announce(self, successor: str | None) -> bool:
        if successor is None:
            return True
        return successor != self._token and (
            self._storage._is_mine(successor) or has_ended(successor.partition("/")[0])
        )

    def _write(self, work: Callable[[Cursor], bool]) -> None:
        try:
            is_written = self._storage._database.write("write", self._key, work)
        finally:
            # What failed here must not be written later, behind the handler's back.
            self._note = None
        if not is_written:
            raise LockLostError(self._key)

    def _commit(self, cursor: Cursor) -> bool:
        """Unlock and do what is noted; false if the lock was lost before."""
        if not self._unlock(cursor):
            return False
        self._apply_note(cursor)
        return True

    def _save(self, cursor: Cursor) -> bool:
        """Do what is noted; false if the lock was lost before."""
        if not renew_lock(cursor, self._bound, self._token, self._storage._lease):
            return False
        self._apply_note(cursor)
        return True

    def _apply_note(self, cursor: Cursor) -> None:
        storage, bound = self._storage, self._bound
        payload, expires = self._payload, self._expires
        if self._note == "delete" or payload is None:
            cursor.execute("DELETE FROM sessions WHERE key = ?", (bound,))
        elif self._note == "set" or not storage._touch_record(cursor, bound, expires):
            # What was touched in its last moment may have been removed by another's write.
            storage._write_record(cursor, bound, payload, expires)
        storage._drop_expired(cursor)

    def _unlock(self, cursor: Cursor) -> bool:
        """Delete the lock, or give it to who comes next; false if it was lost before."""
        bound, token = self._bound, self._token
        deleted = cursor.execute(
            "DELETE FROM locks WHERE key = ? AND token = ? AND successor IS NULL", (bound, token)
        )
        if deleted.rowcount:
            return True
        now = time.monotonic()
        handed_over = cursor.execute(
            "UPDATE locks SET token = successor, successor = NULL, taken = ?, expires = ? "
            "WHERE key = ? AND token = ?",
            (now, now + min(self._storage._lease, _RESERVATION), bound, token),
        )
        return handed_over.rowcount == 1

    def _withdraw(self, cursor: Cursor) -> None:
        """Succeed nobody, not even a holder that has just handed over."""
        cursor.execute(
            "UPDATE locks SET successor = NULL WHERE key = ? AND successor = ?",
            (self._bound, self._token),
        )
        self._unlock(cursor)

    def _give_up(self, work: Callable[[Cursor], object], patience: float) -> None:
        """Leave the lock to others. If that fails nothing is lost: the lease ends."""
        with suppress(StorageError):
            self._storage._database.write("unlock", self._key, work, patience)


def renew_lock(cursor: Cursor, bound: str | bytes, token: str, lease: float) -> bool:
    """Begin the lease of a lock anew; false if the lock was lost before."""
    now = time.monotonic()
    renewed = cursor.execute(
        "UPDATE locks SET taken = ?, expires = ? WHERE key = ? AND token = ?",
        (now, now + lease, bound, token),
    )
    return renewed.rowcount == 1
