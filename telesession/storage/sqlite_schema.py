"""The tables in a SQLite file of ours, and the steps from each version of them to the next."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import MappingProxyType
from urllib.parse import quote

# The application ids of our files: of a database in use, and of a backup.
_DATABASE = 0x7E1E5E55
_BACKUP = 0x7E1E5E56
_VERSION = 2

# The bytes to which the log is cut once its content is in the database.
_LOG_LIMIT = 4 * 2**20

# Without a rowid there is no second index that could lead to another row of the same key.
_CREATE = """
CREATE TABLE sessions (
    key TEXT PRIMARY KEY NOT NULL, expires REAL, payload TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_expires ON sessions (expires) WHERE expires IS NOT NULL
"""
_MOVE_AWAY = """
ALTER TABLE sessions RENAME TO former;
DROP INDEX sessions_by_expires
"""
_MOVE_BACK = """
INSERT INTO sessions SELECT key, expires, payload FROM former;
DROP TABLE former;
DROP TABLE locks
"""
# The statements that bring a file to this version, by its application and version.
_STEPS = MappingProxyType(
    {
        (0, 0): (_CREATE,),
        (_DATABASE, 1): (_MOVE_AWAY, _CREATE, _MOVE_BACK),
        (_DATABASE, _VERSION): (),
        (_BACKUP, _VERSION): (),
    }
)


class UnusableError(sqlite3.DatabaseError):
    """The file may be sound, but this storage cannot use it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason, remedy)
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}"


def prepare(connection: sqlite3.Connection, synchronous: str) -> None:
    """
    Make a new connection ready for use, and the file if it is empty or of an older version.

    Raises:
        UnusableError: The file is not one of ours, or of a later version.
    """
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # In a transaction, because another process may be making the tables just now.
    connection.execute("BEGIN")
    found = _find_version(connection)
    connection.execute("COMMIT")
    if found == (_BACKUP, _VERSION):
        # Before there is a log: a backup with a log was put beside that of another database.
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {_DATABASE}")
        connection.execute("COMMIT")
    if found == (0, 0):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode not in ("wal", b"wal"):
        raise UnusableError("its file system cannot do WAL", "put the file on a local disk")
    # SQLite makes the log with the first read.
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if found[1] == _VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for script in _STEPS[_find_version(connection)]:
        for statement in script.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_DATABASE}")
    connection.execute(f"PRAGMA user_version = {_VERSION}")
    connection.execute("COMMIT")


def is_backup(path: str) -> bool:
    """Whether a file is a backup that no storage has opened since. Its log is not looked at."""
    # Read by SQLite, because opening and closing the file here would free SQLite's locks on it.
    uri = f"file:{quote(path)}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error:
        # No database, or a new one, which is not complete without its log.
        return False
    return bool(application == _BACKUP)


def mark_as_backup(connection: sqlite3.Connection) -> None:
    """Turn a copy into a backup: one file that may be copied and moved alone."""
    connection.execute(f"PRAGMA application_id = {_BACKUP}")
    connection.execute("PRAGMA journal_mode = DELETE")


def _find_version(connection: sqlite3.Connection) -> tuple[int, int]:
    """
    The application and version of a file, both 0 if it is empty.

    Raises:
        UnusableError: It is neither empty nor one that `prepare` can make ready.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (size,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application not in (_DATABASE, _BACKUP) and (application or version or size):
        raise UnusableError("it is the database of another program", "give sessions their own file")
    if (application, version) not in _STEPS:
        raise UnusableError(
            f"it has version {version} of the tables, and this telesession knows version "
            f"{_VERSION}",
            "install the one that wrote it",
        )
    return application, version
