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

# The numbers of the types: https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
_BYTEA, _BIGINT, _TEXT, _JSON, _DOUBLE, _TEXTS = 17, 20, 25, 114, 701, 1009

_FAILED = (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED)


class Parameter(NamedTuple):
    """
    The value of a parameter of a statement, as it is sent.

    Attributes:
        value: The bytes; `None` for NULL.
        oid: The number of the type.
        format: The format of the bytes.
    """

    value: bytes | None
    oid: int
    format: Format = Format.TEXT


class Query(NamedTuple):
    """
    The text of a statement.

    Attributes:
        sql: The text, with `$1` for the first parameter.
        name: The name under which a connection may prepare it; empty for a rare text.
    """

    sql: bytes
    name: bytes

    @staticmethod
    def frequent(sql: str) -> Query:
        """A text that connections may prepare."""
        text = sql.encode()
        return Query(text, b"telesession_" + blake2b(text, digest_size=8).hexdigest().encode())

    @staticmethod
    def rare(sql: str) -> Query:
        """A text that is parsed anew each time."""
        return Query(sql.encode(), b"")


class Statement(NamedTuple):
    """
    A statement with its parameters.

    The parameters are sent beside the text. So the log of the server and `pg_stat_activity` show
    the text without any value of a session.

    Attributes:
        query: The text.
        parameters: The parameters.
    """

    query: Query
    parameters: Sequence[Parameter] = ()


def text(value: str | None) -> Parameter:
    """A parameter of the type `text`."""
    return Parameter(None if value is None else value.encode(), _TEXT)


def texts(values: Iterable[str]) -> Parameter:
    """A parameter of the type `text[]`."""
    encoded = [value.encode() for value in values]
    head = struct.pack("!5i", 1, 0, _TEXT, len(encoded), 1)
    items = (struct.pack("!i", len(each)) + each for each in encoded)
    return Parameter(head + b"".join(items), _TEXTS, Format.BINARY)


def json(value: bytes | None) -> Parameter:
    """A parameter of the type `json`."""
    return Parameter(value, _JSON)


def bytea(value: bytes | None) -> Parameter:
    """A parameter of the type `bytea`."""
    return Parameter(value, _BYTEA, Format.BINARY)


def bigint(value: int) -> Parameter:
    """A parameter of the type `bigint`."""
    return Parameter(b"%d" % value, _BIGINT)


def double(value: float | None) -> Parameter:
    """A parameter of the type `double precision`."""
    return Parameter(None if value is None else repr(value).encode(), _DOUBLE)


def number_in(result: PGresult, column: int, row: int = 0) -> int:
    """The `bigint` of a result."""
    value = result.get_value(row, column)
    return 0 if value is None else int(struct.unpack("!q", value)[0])


def double_in(result: PGresult, column: int, row: int = 0) -> float | None:
    """The `double precision` of a result."""
    value = result.get_value(row, column)
    return None if value is None else float(struct.unpack("!d", value)[0])


def failure_in(results: Sequence[PGresult]) -> Failure | None:
    """The first statement of an exchange that the server has refused; `None` if it did all."""
    for position, result in enumerate(results):
        if result.status in _FAILED:
            code = result.error_field(DiagnosticField.SQLSTATE) or b""
            message = result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b""
            return Failure(position, code.decode(), message.decode("utf-8", "replace"))
    return None
