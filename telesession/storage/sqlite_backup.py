"""Backups of a SQLite file: complete copies that are made while the bot runs."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from telesession.errors import StorageError
from telesession.storage.sqlite_schema import is_backup, mark_as_backup

if TYPE_CHECKING:
    from telesession.storage.sqlite_database import Database


def back_up(database: Database, path: str) -> None:
    """
    Copy a database into a file, which appears when it is complete.

    Raises:
        StorageError: The copy cannot be made, or would overwrite something else than a backup.
    """
    path = os.path.realpath(path)
    if not _may_replace(path):
        reason = f"{path} or a file beside it is there already, and is no backup"
        raise StorageError("back up", None, reason, "give another path, or move it away")
    draft = f"{path}-{secrets.token_hex(4)}"
    try:
        # Made before SQLite opens it, so that its owner only can read it from the start.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(draft, isolation_level=None)) as target:
            target.execute("PRAGMA synchronous = OFF")
            database.copy_to(target)
            mark_as_backup(target)
        _write_to_disk(draft)
        os.replace(draft, path)
        _write_to_disk(os.path.dirname(path))
    except (OSError, sqlite3.Error) as error:
        reason = f"{path} cannot be written ({type(error).__name__})"
        raise StorageError("back up", None, reason) from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                os.unlink(draft + suffix)


def _may_replace(path: str) -> bool:
    """Whether there is nothing at a path, or a backup that no storage has opened since."""
    if any(os.path.lexists(path + suffix) for suffix in ("-wal", "-journal")):
        return False
    return not os.path.lexists(path) or is_backup(path)


def _write_to_disk(path: str) -> None:
    with suppress(PermissionError):
        # Windows cannot open a folder.
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
