"""
Sessions in a SQLite file, shared by the threads and processes of one machine.

The file has two tables:

    sessions   key       TEXT, unique
               expires   REAL, seconds since the epoch, or NULL if it does not expire
               payload   TEXT as the codec wrote it, or BLOB where that is no UTF-8
    locks      key       TEXT, unique: a session that is in use
               token     TEXT, the process and the handler that has it
               taken     REAL, seconds on the monotonic clock: since when
               expires   REAL, likewise: until when, if the lease is not renewed
               successor TEXT, the token of who gets it next, or NULL

A key that is no Unicode text, for it holds a lone surrogate, is a BLOB as well. Records of
`JSONCodec` can be asked for what the sessions hold, also while the bot runs:

    SELECT avg(json_extract(payload, '$.fields.counter')) FROM sessions
    WHERE expires IS NULL OR expires > strftime('%s', 'now') + 0;

`PRAGMA application_id` tells that the file is one of ours, and `PRAGMA user_version` which
version of the tables it has.
"""

from __future__ import annotations

import itertools
import math
import os
import secrets
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Literal

from telesession.codecs import Codec, JSONCodec
from telesession.errors import StorageError
from telesession.storage.base import Storage
from telesession.storage.liveness import identity
from telesession.storage.renewal import Renewal, checked_lease
from telesession.storage.sqlite_database import Database
from telesession.storage.sqlite_hold import SQLiteHold, renew_lock

# How many keys are read at a time.
_PAGE = 500
# How many expired records a write removes on the way, and how many `purge` does at a time.
_FEW = 50
_MANY = 1000

# Seconds after which a write looks for expired records that other processes have stored.
_ROUND = 60.0

_FIRST_PAGE = "SELECT key, expires FROM sessions WHERE key >= ? ORDER BY key LIMIT ?"
_NEXT_PAGE = "SELECT key, expires FROM sessions WHERE key > ? ORDER BY key LIMIT ?"


class SQLiteStorage(Storage):
    """
    Keeps records in a SQLite file: the durable default of a bot on one machine.

    Every process of the machine may use the file at the same time, and a session is exclusive
    among all of them. An update takes two short transactions: lock and read, write and unlock.
    Threads wait in the order of their arrival. A session that another process has is looked at
    every few milliseconds, at most 10, which are the cost of a hand-over; processes that want
    the same session take turns. What a process held when it was killed is free again at once
    where the system tells (on Linux, outside other containers), else when the lease is over.

    Keep one instance for as long as the bot runs. Any thread may use it, and so may every process
    that is forked from the one that made it: connections are closed before a fork and made anew
    after it.

    Args:
        path: Where the file is, or shall be. It has to be on a local disk, in a folder that
            exists and can be written, for there are two more files beside it while it is used.
        codec: How records become bytes; readable JSON by default.
        lease: Seconds or a `timedelta` for which the session of a holder that died or froze stays
            locked at most. A background thread renews the lease of handlers that take longer.
        synchronous: What a power cut may cost. With `"NORMAL"` the last moments before it, whole
            transactions each, and never the file; with `"FULL"` nothing, but every transaction
            waits for the disk. The end of a process costs nothing with either.

    Raises:
        StorageError: The file cannot be opened, or is not one of ours.
        TypeError: An option is of the wrong type.
        ValueError: An option has a value that makes no sense.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        codec: Codec | None = None,
        *,
        lease: float | timedelta = 30.0,
        synchronous: Literal["NORMAL", "FULL"] = "NORMAL",
    ) -> None:
        self.codec = JSONCodec() if codec is None else codec
        self._lease = float(checked_lease(lease, "SQLiteStorage"))
        self._database = Database(_checked_path(path), _checked_synchronous(synchronous))
        # When a write shall look for expired records: not later than the first known one is due.
        self._next_check = -math.inf
        self._forget_holders()
        # A storage that nobody closes must not leave its files beside the database for ever.
        weakref.finalize(self, self._database.close)

    def get(self, key: str) -> bytes | None:
        """See `Storage.get`."""
        bound = self._bind(key)
        payload, expires = self._database.read(
            "read", key, lambda cursor: self._read_record(cursor, bound)
        )
        return None if expires is not None and self.now() >= expires else payload

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """See `Storage.set`. Some records that have expired are removed on the way."""
        bound, expires = self._bind(key), self._expiry_after(lifetime)

        def write(cursor: sqlite3.Cursor) -> None:
            self._write_record(cursor, bound, payload, expires)
            self._drop_expired(cursor)

        self._database.write("write", key, write)

    def delete(self, key: str) -> bool:
        """See `Storage.delete`."""
        bound = self._bind(key)

        def delete(cursor: sqlite3.Cursor) -> bool:
            was_live = self._is_live(cursor, bound)
            cursor.execute("DELETE FROM sessions WHERE key = ?", (bound,))
            return was_live

        return self._database.write("delete", key, delete)

    def touch(self, key: str, lifetime: float | None) -> bool:
        """See `Storage.touch`."""
        bound, expires = self._bind(key), self._expiry_after(lifetime)

        def touch(cursor: sqlite3.Cursor) -> bool:
            return self._is_live(cursor, bound) and self._touch_record(cursor, bound, expires)

        return self._database.write("touch", key, touch)

    def has(self, key: str) -> bool:
        """See `Storage.has`; does not load the payload."""
        bound = self._bind(key)
        return self._database.read("look up", key, lambda cursor: self._is_live(cursor, bound))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `Storage.keys`. Some hundred at a time, in the order of their bytes."""
        starts: list[str | bytes] = [_as_blob(prefix)]
        if isinstance(bound := self._bind(prefix), str):
            starts.insert(0, bound)
        for start in starts:
            yield from self._keys_from(start)

    def purge(self) -> int:
        """
        Remove all records that have expired, and return how many there were.

        They are invisible already, and removed as others are written; this is for a bot that
        rarely writes, or a privacy policy that does not wait. Others may write meanwhile.
        """
        removed = 0
        while True:
            batch = self._database.write("purge", None, lambda c: self._remove_expired(c, _MANY))
            removed += batch
            if batch < _MANY:
                return removed

    def hold(self, key: str, timeout: float | None = None) -> SQLiteHold:
        """
        See `Storage.hold`; exclusive among all processes that use the file.

        Raises:
            StorageError: On entering, when the whole database stayed locked for that long.
        """
        return SQLiteHold(self, key, timeout)

    def close(self) -> None:
        """See `Storage.close`. A closed storage raises `StorageError` when it is used."""
        self._renewal.stop()
        if len(self._locks):
            with suppress(StorageError):
                self._database.write("unlock", None, self._delete_locks)
        self._database.close()

    def __repr__(self) -> str:
        return f"<SQLiteStorage in {self._database.path}>"

    def _forget_holders(self) -> None:
        super()._forget_holders()
        # The thread must not keep a storage alive that nobody uses any more.
        self._renewal = Renewal(partial(_renew, self._database, self._lease), self._lease / 3)
        self._me = f"{identity()}/{secrets.token_hex(6)}/"
        self._numbers = itertools.count()

    def _make_token(self) -> str:
        return f"{self._me}{next(self._numbers)}"

    def _is_mine(self, token: str) -> bool:
        return token.startswith(self._me)

    def _delete_locks(self, cursor: sqlite3.Cursor) -> None:
        cursor.execute("DELETE FROM locks WHERE substr(token, 1, ?) = ?", (len(self._me), self._me))

    def _expiry_after(self, lifetime: float | None) -> float | None:
        return None if lifetime is None else self.now() + lifetime

    def _read_record(
        self, cursor: sqlite3.Cursor, bound: str | bytes
    ) -> tuple[bytes | None, float | None]:
        """Payload and expiry of a record, be it over or not."""
        row: tuple[bytes, float | None] | None = cursor.execute(
            "SELECT CAST(payload AS BLOB), expires FROM sessions WHERE key = ?", (bound,)
        ).fetchone()
        return (None, None) if row is None else row

    def _write_record(
        self,
        cursor: sqlite3.Cursor,
        bound: str | bytes,
        payload: bytes,
        expires: float | None,
    ) -> None:
        self._note_expiry(expires)
        try:
            value: str | bytes = payload.decode()
        except UnicodeDecodeError:
            value = payload
        cursor.execute(
            "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (key) "
            "DO UPDATE SET expires = excluded.expires, payload = excluded.payload",
            (bound, expires, value),
        )

    def _touch_record(
        self, cursor: sqlite3.Cursor, bound: str | bytes, expires: float | None
    ) -> bool:
        self._note_expiry(expires)
        touched = cursor.execute("UPDATE sessions SET expires = ? WHERE key = ?", (expires, bound))
        return touched.rowcount == 1

    def _is_live(self, cursor: sqlite3.Cursor, bound: str | bytes) -> bool:
        row = cursor.execute(
            "SELECT 1 FROM sessions WHERE key = ? AND (expires IS NULL OR expires > ?)",
            (bound, self.now()),
        ).fetchone()
        return row is not None

    def _keys_from(self, start: str | bytes) -> Iterator[str]:
        """The live keys that begin with a text, or with the bytes of a key that is no text."""
        last, query = start, _FIRST_PAGE
        while True:
            page = self._database.read(
                "list the keys", None, partial(_read_page, query=query, last=last)
            )
            now = self.now()
            for key, expires in page:
                if not (isinstance(key, type(start)) and key[: len(start)] == start):
                    return
                if expires is None or expires > now:
                    yield key if isinstance(key, str) else key.decode("utf-8", "surrogatepass")
            if len(page) < _PAGE:
                return
            last, query = page[-1][0], _NEXT_PAGE

    def _note_expiry(self, expires: float | None) -> None:
        if expires is not None and expires < self._next_check:
            self._next_check = expires

    def _drop_expired(self, cursor: sqlite3.Cursor) -> None:
        """Remove a few expired records, if there can be any."""
        if self.now() >= self._next_check:
            self._remove_expired(cursor, _FEW)

    def _remove_expired(self, cursor: sqlite3.Cursor, limit: int) -> int:
        now = self.now()
        cursor.execute(
            "DELETE FROM sessions WHERE rowid IN "
            "(SELECT rowid FROM sessions WHERE expires <= ? LIMIT ?)",
            (now, limit),
        )
        removed = cursor.rowcount
        (earliest,) = cursor.execute(
            "SELECT min(expires) FROM sessions WHERE expires IS NOT NULL"
        ).fetchone()
        self._next_check = now + _ROUND if earliest is None else min(earliest, now + _ROUND)
        return removed

    @staticmethod
    def _bind(key: str) -> str | bytes:
        """A key as SQLite can have it: text, unless it holds half of a surrogate pair."""
        if key.isascii():
            return key
        try:
            key.encode()
        except UnicodeEncodeError:
            return _as_blob(key)
        return key


def _renew(database: Database, lease: float, leases: list[tuple[str | bytes, str]]) -> None:
    def renew(cursor: sqlite3.Cursor) -> None:
        for bound, token in leases:
            renew_lock(cursor, bound, token, lease)

    # The next round is early enough to try again; a lost lock is noticed at the commit.
    with suppress(StorageError):
        database.write("renew", None, renew, lease / 3)


def _read_page(
    cursor: sqlite3.Cursor, query: str, last: str | bytes
) -> list[tuple[str | bytes, float | None]]:
    return cursor.execute(query, (last, _PAGE)).fetchall()


def _as_blob(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _checked_path(path: object) -> str:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"SQLiteStorage(path) takes a path, not a {type(path).__name__}")
    checked = os.fspath(path)
    if not isinstance(checked, str):
        raise TypeError("SQLiteStorage(path) takes a path of text, not of bytes")
    if checked in ("", ":memory:"):
        raise ValueError(
            f"SQLiteStorage({checked!r}) would give each connection a database of its own; give "
            "the path of a file, or take MemoryStorage()"
        )
    if checked.startswith("file:") or "\0" in checked:
        raise ValueError(
            "SQLiteStorage(path) takes the path of a file, and neither a URI nor a NUL character"
        )
    # Connections are made later, too, when the program may be in another folder.
    return os.path.abspath(checked)


def _checked_synchronous(synchronous: object) -> str:
    if synchronous not in ("NORMAL", "FULL"):
        raise ValueError(
            f"SQLiteStorage(synchronous=...) is 'NORMAL' or 'FULL', not {synchronous!r}"
        )
    return str(synchronous)
