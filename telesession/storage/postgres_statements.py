"""Statements for a PostgreSQL server: their parameters and results."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from psycopg.pq import DiagnosticField, ExecStatus, Format

from telesession.storage.postgres_errors import Failure

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

#: The code of a division by zero. A statement fails with it if a row is not as expected.
UNEXPECTED = "22012"
_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED)
# The beginning of the time of PostgreSQL, in seconds since the epoch.
_MILLENNIUM = 946_684_800


class Type(NamedTuple):
    """
    A type of parameters.

    Attributes:
        oid: Its number, from the catalog `pg_type` of PostgreSQL.
        format: The format in which values are sent.
    """

    oid: int
    format: Format = Format.TEXT


TEXT, JSON, BIGINT, DOUBLE = Type(25), Type(114), Type(20), Type(701)
BYTEA, TEXTS = Type(17, Format.BINARY), Type(1009, Format.BINARY)

#: The value of a parameter as it is sent; `None` is NULL.
Value = bytes | None


class Query(NamedTuple):
    """
    The text of a statement.

    Attributes:
        sql: The text, with `$1` for the first parameter.
        name: The end of the name under which a connection may prepare it; empty for a rare text.
        oids: The numbers of the types of the parameters.
        formats: The formats of the parameters.
    """

    sql: bytes
    name: bytes
    oids: tuple[int, ...]
    formats: tuple[Format, ...]

    @staticmethod
    def frequent(sql: str, *types: Type) -> Query:
        """A text that connections may prepare."""
        name = blake2b(sql.encode(), digest_size=8).hexdigest().encode()
        return Query.rare(sql, *types)._replace(name=name)

    @staticmethod
    def rare(sql: str, *types: Type) -> Query:
        """A text that is parsed anew each time."""
        oids, formats = tuple(each.oid for each in types), tuple(each.format for each in types)
        return Query(sql.encode(), b"", oids, formats)


class Statement(NamedTuple):
    """
    A statement with its parameters.

    The parameters are sent beside the text. So the log of the server and `pg_stat_activity` show
    the text without any value of a session.

    Attributes:
        query: The text.
        values: The values of the parameters.
    """

    query: Query
    values: tuple[Value, ...] = ()


def texts(values: Iterable[str]) -> bytes:
    """The value of an array of texts."""
    encoded = [value.encode() for value in values]
    head = struct.pack("!5i", 1, 0, TEXT.oid, len(encoded), 1)
    items = (struct.pack("!i", len(each)) + each for each in encoded)
    return head + b"".join(items)


def number(value: int) -> bytes:
    """The value of an integer."""
    return b"%d" % value


def number_in(result: PGresult, column: int, row: int = 0) -> int:
    """The `bigint` of a result."""
    value = result.get_value(row, column)
    return 0 if value is None else int(struct.unpack("!q", value)[0])


def seconds_in(result: PGresult, column: int, row: int = 0) -> float | None:
    """The seconds of an `interval` between two times."""
    value = result.get_value(row, column)
    if value is None:
        return None
    microseconds, days, _ = struct.unpack("!qii", value)
    return float(microseconds / 1e6 + days * 86_400)


def time_in(result: PGresult, column: int) -> float:
    """Seconds since the epoch, of a `timestamptz`."""
    return number_in(result, column) / 1e6 + _MILLENNIUM


def failure_in(results: Sequence[PGresult]) -> Failure | None:
    """The first statement of an exchange that the server has refused, or `None`."""
    # The statements behind a refused one are not executed.
    if not results or results[-1].status not in _FAILED:
        return None
    for position, result in enumerate(results):
        if result.status in _FAILED:
            code = result.error_field(DiagnosticField.SQLSTATE) or b""
            message = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b""
            return Failure(position, code.decode(), message.decode("utf-8", "replace"))
    return None
