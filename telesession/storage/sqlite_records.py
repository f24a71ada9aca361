"""The records in a SQLite file: the statements that read, write, list and remove them."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from heapq import merge
from itertools import islice, takewhile
from sqlite3 import Cursor
from typing import TYPE_CHECKING, Any

from telesession.errors import StorageError
from telesession.storage.base import Record
from telesession.storage.bitmaps import Bitmap, by_page, key_of
from telesession.storage.rows import Row as StoredRow

if TYPE_CHECKING:
    from telesession.storage.sqlite_database import Database

# How many keys are read at a time, and how many records with their payloads.
_PAGE = 500
_PAGE_OF_PAYLOADS = 100
# How many expired records a write also removes, and how many `purge` removes at a time.
_FEW = 50
_MANY = 1000

# Seconds after which a write looks for expired records that other processes have stored.
_ROUND = 60.0

_KEYS = "key, typeof(key), expires"
_ROWS = f"{_KEYS}, payload"
_PAGE_OF = "SELECT {} FROM sessions WHERE key {} CAST(? AS {}) ORDER BY key LIMIT ?"

_READ = "SELECT payload, expires FROM sessions WHERE key = ?"
WRITE = (
    "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT (key) "
    "DO UPDATE SET expires = excluded.expires, payload = excluded.payload"
)

# A payload, and the seconds since the epoch at which it expires; `None` for none and for never.
Content = tuple[bytes | None, float | None]
# A row as it is in the file, where a damaged one may hold values of other types.
Row = tuple[object, object]

_log = logging.getLogger(__name__)


def bind_key(key: str) -> str | bytes:
    """A key as SQLite can store it: text, or bytes if it holds half of a surrogate pair."""
    if key.isascii():
        return key
    try:
        key.encode()
    except UnicodeEncodeError:
        return _as_blob(key)
    return key


def read_row(cursor: Cursor, bound: str | bytes) -> Row | None:
    """The row of a key, which may have expired or be damaged."""
    row: Row | None = cursor.execute(_READ, (bound,)).fetchone()
    return row


def checked(row: Row | None, key: str, action: str) -> Content:
    """
    Payload and expiry of a row.

    Raises:
        StorageError: One of them is not of its type.
    """
    if row is None:
        return None, None
    payload, expires = row
    if not isinstance(payload, bytes):
        column = "payload"
    elif expires is not None and not isinstance(expires, float | int):
        column = "expires"
    else:
        return payload, expires
    reason = f"its row is damaged: {column} is of another type; restore a backup, or delete it"
    raise StorageError(action, key, reason)


def row_of(
    bound: str | bytes, payload: bytes, expires: float | None
) -> tuple[str | bytes, float | None, str | bytes]:
    """The parameters of `WRITE`: text where a payload is UTF-8, so that SQLite can query it."""
    try:
        return bound, expires, payload.decode()
    except UnicodeDecodeError:
        return bound, expires, payload


def is_live(record: Content) -> bool:
    """Whether there is a record that has not expired."""
    payload, expires = record
    return payload is not None and (expires is None or time.time() < expires)


def expiry_after(lifetime: float | None) -> float | None:
    """The expiry of a record that gets a lifetime now."""
    return None if lifetime is None else time.time() + lifetime


class Records:
    """
    The records of one database.

    Keep one for as long as its storage; any thread may use it. The methods that get a cursor are
    parts of a transaction.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        # The time of the next look for expired records, at the latest when the first known one is
        # due.
        self._next_check = -math.inf

    def get(self, key: str, action: str = "read") -> bytes | None:
        """The payload of a key, or `None`."""
        record = self._read(key, action)
        return record[0] if is_live(record) else None

    def get_record(self, key: str) -> Record | None:
        """The payload of a key with the rest of its lifetime, or `None`."""
        payload, expires = self._read(key, "read")
        left = None if expires is None else expires - time.time()
        if payload is None or (left is not None and left <= 0):
            return None
        return Record(payload, left)

    def set(self, key: str, payload: bytes, lifetime: float | None) -> None:
        """Replace payload and lifetime of a key."""
        bound, expires = bind_key(key), expiry_after(lifetime)

        def write(cursor: Cursor) -> None:
            self.write(cursor, bound, payload, expires)
            self.drop_expired(cursor)

        self.database.write("write", key, write)

    def delete(self, key: str) -> bool:
        """Remove a record, also a damaged one, and return whether there was a live one."""
        bound = bind_key(key)

        def delete(cursor: Cursor) -> Row | None:
            row = read_row(cursor, bound)
            self.remove(cursor, bound)
            return row

        row = self.database.write("delete", key, delete)
        return row is not None and not has_expired(row)

    def touch(self, key: str, lifetime: float | None) -> bool:
        """Renew the lifetime of a record, and return whether there was one."""
        bound, expires = bind_key(key), expiry_after(lifetime)

        def touch(cursor: Cursor) -> bool:
            record = checked(read_row(cursor, bound), key, "touch")
            return is_live(record) and self.renew(cursor, bound, expires)

        return self.database.write("touch", key, touch)

    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], pages: str, memory: float
    ) -> list[int]:
        """Write the records of new numbers, remember the numbers, and return them."""
        groups, expires = by_page(payloads), expiry_after(memory)

        def add(cursor: Cursor) -> list[int]:
            added: set[int] = set()
            for page, numbers in groups.items():
                added.update(self._remember(cursor, f"{pages}{page}", numbers, expires))
            new = [number for number in payloads if number in added]
            rows = [row_of(key_of(prefix, each), payloads[each], None) for each in new]
            cursor.executemany(WRITE, rows)
            self.drop_expired(cursor)
            return new

        return self.database.write("write", None, add)

    def listed(self, prefix: str, after: str, limit: int) -> list[str]:
        """The first live keys with a prefix that are greater than another one."""
        start = _as_blob(prefix), _as_blob(after)
        kinds = [self._keys_from(*start, kind, limit) for kind in ("TEXT", "BLOB")]
        return list(islice(merge(*kinds), limit))

    def keys(self, prefix: str) -> Iterator[str]:
        """The live keys with a prefix, some hundred at a time, in the order of their bytes."""
        for kind in ("TEXT", "BLOB"):
            yield from self._keys_from(_as_blob(prefix), None, kind, _PAGE)

    def rows(self, prefix: str) -> Iterator[StoredRow]:
        """The live records with a prefix, a hundred at a time, in the order of their bytes."""
        for kind in ("TEXT", "BLOB"):
            found = self._find(_as_blob(prefix), None, kind, _PAGE_OF_PAYLOADS, _ROWS)
            for key, (_, _, expires, payload) in found:
                if expires is None and isinstance(payload, bytes):
                    yield StoredRow(key, payload, None)
                    continue
                left = expires - time.time() if isinstance(expires, float | int) else None
                is_sound = isinstance(payload, bytes) and (expires is None or left is not None)
                yield StoredRow(key, payload if is_sound else None, left)

    def purge(self) -> int:
        """Remove all expired records in batches, and return how many there were."""
        removed = 0
        while True:
            batch = self.database.write("purge", None, lambda c: self._remove_expired(c, _MANY))
            removed += batch
            if batch < _MANY:
                break
        self.database.shrink()
        return removed

    def write(
        self, cursor: Cursor, bound: str | bytes, payload: bytes, expires: float | None
    ) -> None:
        """Write a record."""
        self.note_expiry(expires)
        cursor.execute(WRITE, row_of(bound, payload, expires))

    def renew(self, cursor: Cursor, bound: str | bytes, expires: float | None) -> bool:
        """Change the expiry of a record, and return whether there is a record."""
        self.note_expiry(expires)
        touched = cursor.execute("UPDATE sessions SET expires = ? WHERE key = ?", (expires, bound))
        return touched.rowcount == 1

    def remove(self, cursor: Cursor, bound: str | bytes) -> None:
        """Remove a record, also a damaged one."""
        cursor.execute("DELETE FROM sessions WHERE key = ?", (bound,))

    def are_due(self) -> bool:
        """Whether there can be expired records to remove."""
        return time.time() >= self._next_check

    def drop_expired(self, cursor: Cursor) -> None:
        """Remove a few expired records, if there can be any."""
        if self.are_due():
            self._remove_expired(cursor, _FEW)

    def _read(self, key: str, action: str) -> Content:
        bound = bind_key(key)
        row = self.database.read(action, key, lambda cursor: read_row(cursor, bound))
        return checked(row, key, action)

    def _remember(
        self, cursor: Cursor, key: str, numbers: list[int], expires: float | None
    ) -> list[int]:
        """Add numbers to their page, and return those that are new."""
        bound = bind_key(key)
        record = checked(read_row(cursor, bound), key, "read")
        bitmap = Bitmap(record[0] if is_live(record) else None)
        new = [number for number in numbers if bitmap.add(number)]
        if new:
            self.write(cursor, bound, bitmap.payload, expires)
        return new

    def _keys_from(self, prefix: bytes, after: bytes | None, kind: str, size: int) -> Iterator[str]:
        """Like `_find`, but only the keys."""
        return (key for key, _ in self._find(prefix, after, kind, size, _KEYS))

    def _find(
        self, prefix: bytes, after: bytes | None, kind: str, size: int, columns: str
    ) -> Iterator[tuple[str, Any]]:
        """
        The live keys with a prefix, of those that are stored as text or as a blob, and their rows.

        Args:
            prefix: The prefix.
            after: Only greater keys are given.
            kind: The type of the keys in the file.
            size: How many rows are read at a time.
            columns: The columns of a row: `_KEYS`, or more.
        """
        start, comparison = prefix, ">="
        if after is not None and after >= prefix:
            start, comparison = after, ">"
        type_of_key, errors = kind.lower().encode(), "strict" if kind == "TEXT" else "surrogatepass"

        def is_found(row: tuple[Any, ...]) -> bool:
            return bool(row[1] == type_of_key and row[0].startswith(prefix))

        while True:
            query = _PAGE_OF.format(columns, comparison, kind)
            page = self.database.read(
                "list the keys",
                None,
                partial(_read_page, query=query, parameters=(start, size)),
            )
            found = _beginning(page, is_found)
            # A damaged row has a key, so that it can be found and deleted.
            for row in _live(found, time.time()):
                try:
                    key = row[0].decode("utf-8", errors)
                except UnicodeDecodeError:
                    path = self.database.path
                    _log.error("%s has a row with a damaged key: x'%s'", path, row[0].hex())
                else:
                    yield key, row
            if len(found) < size:
                return
            start, comparison = page[-1][0], ">"

    def note_expiry(self, expires: float | None) -> None:
        """Look for expired records when this one is due, at the latest."""
        if expires is not None and expires < self._next_check:
            self._next_check = expires

    def _remove_expired(self, cursor: Cursor, limit: int) -> int:
        now = time.time()
        # The row decides, and not the index, because a bit of the index may have flipped.
        cursor.execute(
            "DELETE FROM sessions WHERE key IN "
            "(SELECT key FROM sessions WHERE expires <= ? LIMIT ?) AND +expires <= ?",
            (now, limit, now),
        )
        removed = cursor.rowcount
        (earliest,) = cursor.execute(
            "SELECT min(expires) FROM sessions WHERE expires IS NOT NULL"
        ).fetchone()
        due = now + _ROUND
        self._next_check = min(earliest, due) if isinstance(earliest, float | int) else due
        return removed


def has_expired(row: Row) -> bool:
    """Whether a row says that it has expired; one that is damaged has not."""
    return _is_over(row[1], time.time())


def _is_over(expires: object, now: float) -> bool:
    return isinstance(expires, float | int) and now >= expires


def _live(rows: list[Any], now: float) -> list[Any]:
    return [row for row in rows if row[2] is None or not _is_over(row[2], now)]


def _beginning(page: list[Any], is_found: Callable[[Any], bool]) -> list[Any]:
    """The rows of a page with the prefix, which come before all others."""
    return page if page and is_found(page[-1]) else list(takewhile(is_found, page))


def _read_page(cursor: Cursor, query: str, parameters: tuple[bytes, int]) -> list[tuple[Any, ...]]:
    return cursor.execute(query, parameters).fetchall()


def _as_blob(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
