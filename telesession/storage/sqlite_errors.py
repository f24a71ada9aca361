"""The failures of SQLite: their codes, reasons and remedies."""

from __future__ import annotations

import sqlite3
from types import MappingProxyType

from telesession.storage.sqlite_schema import UnusableError

TRANSIENT = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL))
# Errors that do not harm the connection.
HARMLESS = TRANSIENT | {sqlite3.SQLITE_CONSTRAINT}
_SEE_CAUSE = "see __cause__, fix it and retry"
_LOCKED = "another program keeps the database locked", "let it finish or end it"
DIAGNOSES = MappingProxyType(
    {
        sqlite3.SQLITE_BUSY: _LOCKED,
        sqlite3.SQLITE_LOCKED: _LOCKED,
        sqlite3.SQLITE_READONLY: (
            "the file may only be read",
            "let the bot write the file and its folder",
        ),
        sqlite3.SQLITE_PERM: (
            "the file may not be used",
            "let the bot write the file and its folder",
        ),
        sqlite3.SQLITE_IOERR: (
            "the disk could not be read or written",
            "see whether it is full or failing",
        ),
        sqlite3.SQLITE_CORRUPT: (
            "the file is damaged",
            "restore a backup, or save the rows that `.recover` of the sqlite3 shell finds",
        ),
        sqlite3.SQLITE_FULL: ("the disk is full", "free some space and retry"),
        sqlite3.SQLITE_CANTOPEN: (
            "the file cannot be opened",
            "its folder must exist and be writable",
        ),
        sqlite3.SQLITE_CONSTRAINT: (
            "the database refused it by a constraint or a trigger",
            "remove the constraint or the trigger, and retry",
        ),
        sqlite3.SQLITE_TOOBIG: ("it is larger than SQLite allows", "store less in one session"),
        sqlite3.SQLITE_NOTADB: (
            "the file is no SQLite database",
            "give another path, or move the file away",
        ),
    }
)


def diagnosis(path: str, error: Exception) -> tuple[str, str]:
    """
    The reason and the remedy of a failure. SQLite's own words do not give them.

    Args:
        path: The path of the database.
        error: An `UnusableError`, or an exception of SQLite or of the system.
    """
    if isinstance(error, UnusableError):
        return f"{path}: {error.reason}", error.remedy
    code = sqlite3.SQLITE_CANTOPEN if isinstance(error, OSError) else code_of(error)
    reason, remedy = DIAGNOSES.get(code, ("SQLite failed", _SEE_CAUSE))
    shown = getattr(error, "sqlite_errorname", type(error).__name__)
    return f"{path}: {reason} ({shown})", remedy


def code_of(error: Exception) -> int:
    """SQLite's primary error code, which is the lowest byte of the extended one."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF
