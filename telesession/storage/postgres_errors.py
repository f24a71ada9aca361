"""The failures of a PostgreSQL server: reasons and remedies."""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import psycopg
from psycopg import errors

_FULL = (
    "the server has as many connections as it takes",
    "use a smaller pool or pgbouncer, or raise its max_connections",
)
# By SQLSTATE, or its class: https://www.postgresql.org/docs/current/errcodes-appendix.html
_CODES = MappingProxyType(
    {
        "25006": (
            "the server is a standby or read-only",
            "connect to the primary, or see why default_transaction_read_only is on",
        ),
        "25P03": (
            "the handler took longer than the idle_in_transaction_session_timeout of the server",
            "raise it for this role, or open the session only for a moment",
        ),
        "25P04": (
            "the handler took longer than the transaction_timeout of the server",
            "raise it for this role, or open the session only for a moment",
        ),
        "3F000": (
            "there is no such schema",
            "create it, or give the storage another table",
        ),
        "40P01": ("the server found a circle of waits", "retry"),
        "42501": (
            "the role may not do this",
            "grant it SELECT, INSERT, UPDATE and DELETE on the table",
        ),
        "42P01": (
            "the table is gone",
            "create it anew, or let the storage make it at the next start",
        ),
        "42703": (
            "the table has other columns",
            "give the storage another table, or bring this one to the documented columns",
        ),
        "53100": ("the disk of the server is full", "free its disk"),
        "53200": ("the server is out of memory", "see its log"),
        "53300": _FULL,
        "54000": ("the key or the record is too large", "use shorter keys"),
        "55P03": ("another transaction has locked the table or the row", "see pg_locks, and retry"),
        "57014": (
            "the server has cancelled the statement",
            "see whether its statement_timeout is shorter than lock_timeout, or an operator did it",
        ),
        "57P01": ("the server has ended the connection", "see whether it restarts, and retry"),
        "57P02": ("the server has crashed and recovers", "retry when it has finished"),
        "57P03": ("the server has just started and takes no connections yet", "retry"),
        "57P05": ("the server has ended an idle connection", "retry"),
        "XX001": ("the data of the server are damaged", "see its log"),
        "XX002": ("an index of the server is damaged", "see its log"),
        "08": (
            "the connection failed",
            "see whether the server runs and the address is right, and retry",
        ),
        "53": ("the server has too few resources", "see its log"),
        "58": ("the server has an error of its system", "see its log"),
    }
)
# By a phrase of libpq, or of a server to which no connection was made. It comes without a code.
_PHRASES = MappingProxyType(
    {
        "password authentication failed": (
            "the server does not accept the user or the password",
            "correct them in the conninfo or the pool",
        ),
        "no password supplied": (
            "the server asks for a password",
            "add it to the conninfo, or set PGPASSWORD",
        ),
        "pg_hba.conf": (
            "the server does not let this user connect from here",
            "see __cause__ and its pg_hba.conf",
        ),
        "does not exist": (
            "the server has no such database or role",
            "see __cause__ and create it",
        ),
        "too many": _FULL,
        "connection slots": _FULL,
        "starting up": ("the server has just started and takes no connections yet", "retry"),
        "shutting down": ("the server is being stopped", "retry when it runs again"),
        "recovery mode": ("the server has crashed and recovers", "retry when it has finished"),
        "SSL": (
            "the server and the client do not agree on TLS",
            "see __cause__ and the sslmode of the conninfo",
        ),
    }
)
_UNREACHABLE = (
    "the server cannot be reached",
    "see whether it runs and the address is right, and retry",
)


class Failure(NamedTuple):
    """
    A statement that the server has refused. Those before it are done, and those after it are not.

    Attributes:
        position: Its position in the exchange, from 0.
        code: The SQLSTATE, such as `"55P03"`.
        text: The primary message of the server, which quotes no value.
    """

    position: int
    code: str
    text: str


def diagnosis(error: psycopg.Error) -> tuple[str, str]:
    """The reason and the remedy of an error; not in the words of the server."""
    code, message = error.sqlstate or "", str(error)
    found = _CODES.get(code) or _CODES.get(code[:2])
    if found is None and isinstance(error, psycopg.OperationalError):
        phrases = (advice for phrase, advice in _PHRASES.items() if phrase in message)
        found = next(phrases, _UNREACHABLE)
    if found is None:
        return f"psycopg raised {type(error).__name__}", "see __cause__, fix it and retry"
    return f"{found[0]} ({type(error).__name__})", found[1]


def error_of(failure: Failure) -> psycopg.Error:
    """The exception of psycopg for a refused statement, with the primary message alone."""
    try:
        kind: type[psycopg.Error] = errors.lookup(failure.code)
    except KeyError:
        kind = psycopg.DatabaseError
    return kind(failure.text)
