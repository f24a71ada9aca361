"""The findings of `doctor` about the files of a SQLite storage."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from telesession.cli.checks import Check, State, leftovers
from telesession.cli.output import sized

if TYPE_CHECKING:
    from telesession import SQLiteStorage

# Bytes of a log that SQLite copies in time.
_LOG = 64 * 2**20
_SUFFIXES = ("", "-wal", "-shm", "-lock")


def file_checks(storage: SQLiteStorage) -> Iterator[Check]:
    """
    The findings about the file, its log and its lock file.

    Raises:
        StorageError: The file cannot be read.
    """
    path = storage.database.path
    yield _version(storage)
    if os.name == "posix":
        yield permissions(_statuses(path))
    yield _log(path)
    yield _soundness(storage)
    yield _expired(storage)


def _ask(storage: SQLiteStorage, statement: str, *parameters: object) -> object:
    row = storage.database.read(
        "check", None, lambda cursor: cursor.execute(statement, parameters).fetchone()
    )
    return row[0]


def _version(storage: SQLiteStorage) -> Check:
    tables = _ask(storage, "PRAGMA user_version")
    text = f"SQLite {sqlite3.sqlite_version}, version {tables} of the tables"
    return Check("SQLite", State.OK, text)


def permissions(found: Mapping[str, os.stat_result]) -> Check:
    """
    The finding about the owners of files, and about the rights of others.

    Args:
        found: The files by their names.
    """
    open_to_others = [name for name, status in found.items() if status.st_mode & 0o077]
    if open_to_others:
        names = ", ".join(open_to_others)
        text = f"other users of this machine may open {names}; run chmod 600 on each"
        return Check("permissions", State.PROBLEM, text)
    if len({status.st_uid for status in found.values()}) > 1:
        text = "the files have different owners; give all of them to the user of the bot"
        return Check("permissions", State.PROBLEM, text)
    return Check("permissions", State.OK, "only the owner may open the files")


def _statuses(path: str) -> dict[str, os.stat_result]:
    files = [path + suffix for suffix in _SUFFIXES if os.path.lexists(path + suffix)]
    return {os.path.basename(file): os.stat(file) for file in files}


def _log(path: str) -> Check:
    # The connections of this process keep it open.
    size = os.stat(path + "-wal").st_size
    if size > _LOG:
        text = (
            f"{sized(size)}; a program has been reading the file for a long time, so the log "
            "grows; end that program"
        )
        return Check("log", State.PROBLEM, text)
    return Check("log", State.OK, sized(size))


def _soundness(storage: SQLiteStorage) -> Check:
    answer = _ask(storage, "PRAGMA quick_check(1)")
    if answer in (b"ok", "ok"):
        return Check("file", State.OK, "SQLite finds no damage")
    text = "SQLite finds damage; restore a backup, or save the rows that `.recover` finds"
    return Check("file", State.PROBLEM, text)


def _expired(storage: SQLiteStorage) -> Check:
    statement = "SELECT count(*) FROM sessions WHERE expires <= ?"
    return leftovers(int(str(_ask(storage, statement, time.time()))))
