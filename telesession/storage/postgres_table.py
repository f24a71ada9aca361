"""The table of a `PostgresStorage`, and the statements for it."""

from __future__ import annotations

import json
from hashlib import blake2b
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from telesession.storage.bitmaps import Bitmap
from telesession.storage.postgres_keys import end_of, key_of, next_after, spelled
from telesession.storage.postgres_statements import (
    BIGINT,
    BYTEA,
    DOUBLE,
    JSON,
    TEXT,
    TEXTS,
    Query,
    Statement,
    Value,
    number,
    number_in,
    seconds_in,
    texts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg.pq.abc import PGresult

# The statements that make the table. Tools for migrations of databases can run them instead.
CREATE = """\
CREATE TABLE IF NOT EXISTS {table} (
    key text COLLATE "C" PRIMARY KEY,
    expires timestamptz,
    payload json,
    payload_bytes bytea,
    commit_token bigint NOT NULL,
    CHECK (num_nonnulls(payload, payload_bytes) = 1)
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS {index} ON {table} (expires) WHERE expires IS NOT NULL;
"""
COLUMNS = frozenset(("key", "expires", "payload", "payload_bytes", "commit_token"))

# The pieces of the statements below.
_PARTS = MappingProxyType(
    {
        "live": "(expires IS NULL OR expires > clock_timestamp())",
        "expires": "clock_timestamp() + make_interval(secs => $2)",
        "payload": "coalesce(payload_bytes, convert_to(payload::text, 'UTF8'))",
        "left": "expires - clock_timestamp()",
        "replaced": (
            "ON CONFLICT (key) DO UPDATE SET expires = excluded.expires, payload = "
            "excluded.payload, payload_bytes = excluded.payload_bytes, commit_token = "
            "excluded.commit_token"
        ),
        "bits": "coalesce(stored.payload_bytes, convert_to(stored.payload::text, 'UTF8'))",
    }
)
_READ = "SELECT {payload}, {left}, commit_token FROM {table} WHERE key = $1"
_READ_ALL = "SELECT key, {payload}, {left}, commit_token FROM {table} WHERE key = ANY($1)"
_SET = """\
INSERT INTO {table} AS stored (key, expires, payload, payload_bytes, commit_token)
VALUES ($1, {expires}, $3, $4, $5) {replaced}"""
_TOUCH = "UPDATE {table} SET expires = {expires}, commit_token = $3 WHERE key = $1 AND {live}"
_DELETE = "DELETE FROM {table} WHERE key = $1 RETURNING {live}"
_ADD = f"{_SET} WHERE stored.expires <= clock_timestamp()"
_REPLACE = """\
UPDATE {table} SET expires = {expires}, payload = $3, payload_bytes = $4, commit_token = $5
WHERE key = $1 AND {live} AND {payload} = $6"""
_REMOVE = "DELETE FROM {table} WHERE key = $1 AND {live} AND {payload} = $2"
_EXPECT_NONE = "SELECT 1 / (1 - count(*)) FROM {table} WHERE key = $1 AND {live}"
# It fails, by a division by zero, if the statement inside changes no row.
_CHECKED = "WITH changed AS ({} RETURNING 1) SELECT 1 / count(*) FROM changed"
# The row of the page is locked from the look for the bit to the commit.
_ADD_ONCE = """\
WITH page AS (
INSERT INTO {table} AS stored (key, expires, payload_bytes, commit_token)
VALUES ($6, {expires}, $7, $5) ON CONFLICT (key) DO UPDATE SET
expires = excluded.expires, payload = NULL, payload_bytes =
CASE WHEN stored.expires <= clock_timestamp() THEN excluded.payload_bytes
ELSE set_bit({bits} || substr($7, length({bits}) + 1), $8::int, 1) END,
commit_token = excluded.commit_token
WHERE CASE WHEN stored.expires <= clock_timestamp() OR length({bits}) <= $8::int / 8 THEN true
ELSE get_bit({bits}, $8::int) = 0 END
RETURNING 1)
INSERT INTO {table} (key, payload, payload_bytes, commit_token)
SELECT $1, $3, $4, $5 FROM page {replaced}"""
_WRITTEN = "SELECT key FROM {table} WHERE key = ANY($1) AND commit_token = $2"
_PAGE = """\
FROM {table} WHERE key >= $1 AND ($2::text IS NULL OR key < $2) AND {live} ORDER BY key LIMIT $3"""
_KEYS = f"SELECT key {_PAGE}"
_ROWS = f"SELECT key, {{payload}}, {{left}} {_PAGE}"
_PURGE = """\
DELETE FROM {table} WHERE expires <= now() AND key IN
(SELECT key FROM {table} WHERE expires <= now() LIMIT $1 FOR UPDATE SKIP LOCKED)"""

# Seconds of a lifetime that PostgreSQL can add to the time: some ten thousand years.
_LONGEST = 3e11


class Row(NamedTuple):
    """
    A row as it was read.

    Attributes:
        payload: The payload.
        left: Seconds until the record expires; `None` is for ever.
        token: The token of the commit that wrote it.
    """

    payload: bytes
    left: float | None
    token: int

    @property
    def is_live(self) -> bool:
        """Whether the record has not expired."""
        return self.left is None or self.left > 0


class Table:
    """
    The statements for one table.

    Keep one for as long as the storage. Any thread may use it.

    Args:
        schema: The name of its schema.
        name: Its name.

    Attributes:
        name: The name with its schema, quoted.
    """

    def __init__(self, schema: str, name: str) -> None:
        self.name = f"{quoted(schema)}.{quoted(name)}"
        parts = {"table": self.name, **_PARTS}
        record = TEXT, DOUBLE, JSON, BYTEA, BIGINT
        page = TEXT, TEXT, BIGINT
        self._read_query = Query.frequent(_READ.format_map(parts), TEXT)
        self._set_query = Query.frequent(_SET.format_map(parts), *record)
        self._touch_query = Query.frequent(_TOUCH.format_map(parts), TEXT, DOUBLE, BIGINT)
        self._delete_query = Query.frequent(_DELETE.format_map(parts), TEXT)
        self._add_query = Query.frequent(_CHECKED.format(_ADD.format_map(parts)), *record)
        self._replace_query = Query.frequent(
            _CHECKED.format(_REPLACE.format_map(parts)), *record, BYTEA
        )
        self._remove_query = Query.frequent(_CHECKED.format(_REMOVE.format_map(parts)), TEXT, BYTEA)
        self._add_once_query = Query.frequent(
            _ADD_ONCE.format_map(parts), *record, TEXT, BYTEA, BIGINT
        )
        self._written_query = Query.frequent(_WRITTEN.format_map(parts), TEXTS, BIGINT)
        self._expect_none_query = Query.rare(_EXPECT_NONE.format_map(parts), TEXT)
        self._read_all_query = Query.rare(_READ_ALL.format_map(parts), TEXTS)
        self._keys_query = Query.rare(_KEYS.format_map(parts), *page)
        self._rows_query = Query.rare(_ROWS.format_map(parts), *page)
        self._purge_query = Query.rare(_PURGE.format_map(parts), BIGINT)

    def lock_id(self, key: str) -> int:
        """The number of the advisory lock of a key: a hash of table and key, of 64 bits."""
        name = f"{self.name}:{key}".encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)

    def read(self, key: str) -> Statement:
        """Read the row of a key; see `row_in`."""
        return Statement(self._read_query, (spelled(key).encode(),))

    def read_all(self, keys: Iterable[str]) -> Statement:
        """Read the rows of several keys; see `rows_in`."""
        return Statement(self._read_all_query, (texts(map(spelled, keys)),))

    def set(self, key: str, payload: bytes, lifetime: float | None, token: int) -> Statement:
        """Replace the record of a key."""
        return Statement(self._set_query, _values(key, payload, lifetime, token))

    def touch(self, key: str, lifetime: float | None, token: int) -> Statement:
        """Renew the lifetime of a record, if there is one."""
        return Statement(
            self._touch_query, (spelled(key).encode(), _seconds(lifetime), number(token))
        )

    def delete(self, key: str) -> Statement:
        """Remove the row of a key. If there was one, the result says whether it was live."""
        return Statement(self._delete_query, (spelled(key).encode(),))

    def change(
        self,
        key: str,
        expected: bytes | None,
        payload: bytes | None,
        lifetime: float | None,
        token: int,
    ) -> Statement:
        """
        Replace, add or remove a record if it is as expected; else the statement fails.

        The code of that failure is `UNEXPECTED`.
        """
        if payload is not None:
            values = _values(key, payload, lifetime, token)
            if expected is None:
                return Statement(self._add_query, values)
            return Statement(self._replace_query, (*values, expected))
        name = spelled(key).encode()
        if expected is None:
            return Statement(self._expect_none_query, (name,))
        return Statement(self._remove_query, (name, expected))

    def add_once(
        self, key: str, payload: bytes, page: tuple[str, int], memory: float, token: int
    ) -> Statement:
        """
        Store a record and remember its number, unless the number is known.

        Args:
            key: The key of the record.
            payload: The payload of the record.
            page: The key of the page of the number, and the place of the number in it.
            memory: Seconds for which the page lives from now on.
            token: The token of the commit.
        """
        page_key, place = page
        bitmap = Bitmap(None)
        bitmap.add(place)
        # PostgreSQL counts the bits of a byte from the least significant one.
        bit = number(place ^ 7)
        values = _values(key, payload, memory, token)
        return Statement(
            self._add_once_query, (*values, spelled(page_key).encode(), bitmap.payload, bit)
        )

    def written(self, keys: Iterable[str], token: int) -> Statement:
        """List those of some keys whose rows have the token of a commit."""
        return Statement(self._written_query, (texts(map(spelled, keys)), number(token)))

    def keys(self, prefix: str, after: str | None, limit: int) -> Statement:
        """List some live keys with a prefix, in the order of their characters, after a key."""
        return Statement(self._keys_query, _page(prefix, after, limit))

    def rows(self, prefix: str, after: str | None, limit: int) -> Statement:
        """Read the records of a page of keys; see `records_in`."""
        return Statement(self._rows_query, _page(prefix, after, limit))

    def purge(self, limit: int) -> Statement:
        """Remove some expired records."""
        return Statement(self._purge_query, (number(limit),))


def row_in(result: PGresult, row: int = 0, column: int = 0) -> Row | None:
    """The row of the result of a read; `None` if there is none."""
    if result.ntuples <= row:
        return None
    payload = result.get_value(row, column)
    return Row(
        payload or b"", seconds_in(result, column + 1, row), number_in(result, column + 2, row)
    )


def rows_in(result: PGresult) -> dict[str, Row]:
    """The rows by key of the result of a read of several."""
    rows: dict[str, Row] = {}
    for position in range(result.ntuples):
        row = row_in(result, position, 1)
        if row is not None:
            rows[key_of(result.get_value(position, 0) or b"")] = row
    return rows


def records_in(result: PGresult) -> list[tuple[str, bytes, float | None]]:
    """The key, the payload and the seconds left of each record of a page."""
    value = result.get_value
    return [
        (key_of(value(row, 0) or b""), value(row, 1) or b"", seconds_in(result, 2, row))
        for row in range(result.ntuples)
    ]


def quoted(identifier: str) -> str:
    """An identifier in SQL."""
    doubled = identifier.replace('"', '""')
    return f'"{doubled}"'


def _seconds(lifetime: float | None) -> bytes | None:
    return None if lifetime is None else repr(min(lifetime, _LONGEST)).encode()


def _values(key: str, payload: bytes, lifetime: float | None, token: int) -> tuple[Value, ...]:
    is_json = _is_json(payload)
    columns = (payload, None) if is_json else (None, payload)
    return spelled(key).encode(), _seconds(lifetime), *columns, number(token)


def _page(prefix: str, after: str | None, limit: int) -> tuple[Value, ...]:
    begin = spelled(prefix)
    end = end_of(begin)
    if after is not None:
        begin = max(begin, next_after(spelled(after)))
    return begin.encode(), None if end is None else end.encode(), number(limit)


def _is_json(payload: bytes) -> bool:
    """Whether the type `json` takes a payload, and returns the same bytes."""
    if payload[:1] != b"{":
        return False
    try:
        # Decoded strictly: `json.loads` takes half a surrogate pair in bytes.
        _decode(payload.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    """Refuse NaN and the infinities, which are no JSON."""
    raise ValueError(constant)


_decode = json.JSONDecoder(parse_constant=_refuse).decode
