"""The locks of sessions in the lock file beside a database: one region of bytes for each key."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING

from telesession.errors import LockTimeoutError, StorageError
from telesession.storage.base import ProcessState
from telesession.storage.file_locks import LockFile, open_lock_file
from telesession.storage.places import WIDTH

if TYPE_CHECKING:
    from telesession.storage.sqlite_database import Database

# Seconds for which the files are believed to be in their places when a lock is taken, so that a
# busy bot does not look twice for each update. No process opens a file and locks it in less.
_FRESH = 0.001

# A file can have locks up to this byte.
_END = 2**62


def start_of(key: str) -> int:
    """The first byte of the lock of a key, which another key has too once in a very long time."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % (_END // WIDTH) * WIDTH


class SessionLocks(ProcessState):
    """
    The locks of one database, as one process has them.

    The lock file is never deleted. If somebody else does, another process makes a new one, and
    would have the same locks. So its device and inode are compared when a lock was taken, and
    before a write.

    Keep one for as long as the storage in one process. Any thread may use it.

    Attributes:
        pid: The process that it belongs to.
    """

    __slots__ = ("_database", "_file", "pid")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._file: LockFile | None = None
        self.pid = os.getpid()

    def acquire(self, key: str, start: int, timeout: float | None) -> LockFile:
        """
        Lock a key, after the threads of this process and the processes that came before.

        Returns:
            The file in which it is locked, and is to be unlocked.

        Raises:
            LockTimeoutError: It stayed busy for `timeout` seconds.
            StorageError: The lock file cannot be used, or the database is not at its path.
        """
        try:
            file = self._acquire(key, start, timeout)
        except OSError as error:
            reason = f"{self._database.lock_path}: the system refused a lock ({error.strerror})"
            remedy = "put the database on a local disk, in a folder that the bot may write"
            raise StorageError("lock", key, reason, remedy) from error
        if file is None:
            raise LockTimeoutError(key, timeout or 0.0)
        return file

    def close(self) -> None:
        """Close the lock file as soon as no handler has a lock in it."""
        self._file = None

    def _acquire(self, key: str, start: int, timeout: float | None) -> LockFile | None:
        while True:
            file = self._file or self._open()
            if not file.acquire(key, start, timeout):
                return None
            is_in_place = False
            try:
                is_in_place = self._is_in_place(key, file)
                if is_in_place:
                    return file
            finally:
                if not is_in_place:
                    file.release(key, start)
            self._file = None

    def _is_in_place(self, key: str, file: LockFile) -> bool:
        database = self._database
        replaced = database.files.find_replaced(_FRESH)
        if replaced is None:
            return database.files.is_watched(database.lock_path, file.identity)
        if replaced != database.lock_path:
            database.refuse("lock", key, replaced)
        return False

    def _open(self) -> LockFile:
        database = self._database
        status = os.stat(database.path)
        owner = status.st_uid, status.st_gid
        file = open_lock_file(database.lock_path, status.st_mode & 0o777, owner)
        self.locks = file.keys
        database.files.watch(database.lock_path, file.identity)
        self._file = file
        return file
