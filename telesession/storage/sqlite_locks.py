"""The locks of sessions in the lock file beside a database: one region of bytes for each key."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import TYPE_CHECKING

from telesession.errors import LockTimeoutError, StorageError
from telesession.locks import OTHER_PROCESS
from telesession.storage.base import ProcessState
from telesession.storage.file_locks import LockFile, open_lock_file
from telesession.storage.places import WIDTH

if TYPE_CHECKING:
    from telesession.storage.sqlite_database import Database

# Seconds for which the files are believed to be in their places when a lock is taken, so that a
# busy bot does not look twice for each update. No process opens a file and locks it in less.
_FRESH = 0.001

# The number of keys whose locks are remembered, because a hash is the larger part of the cost.
_REMEMBERED = 10_000

# A file can have locks up to this byte.
_END = 2**62


def start_of(key: str) -> int:
    """The first byte of the lock of a key, which another key has too once in a very long time."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % (_END // WIDTH) * WIDTH


class SessionLocks(ProcessState):
    """
    The locks of one database, as one process has them.

    The lock file is never deleted. If another program deletes it, another process makes a new one,
    and would have the same locks. So the device and inode of the file are compared after a lock was
    taken, and before a write.

    Keep one for as long as the storage in one process. Any thread may use it.

    Attributes:
        pid: The process that it belongs to.
    """

    __slots__ = ("_database", "_file", "_starts", "pid")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._file: LockFile | None = None
        # Key -> first byte of its lock; has the keys that were used last.
        self._starts: dict[str, int] = {}
        self.pid = os.getpid()

    def acquire(self, key: str, timeout: float | None) -> tuple[LockFile, int]:
        """
        Lock a key, after the threads of this process and the processes that came before.

        Returns:
            The file in which it is locked and is to be unlocked, and the first byte of the lock.

        Raises:
            LockTimeoutError: It stayed busy for `timeout` seconds.
            StorageError: The lock file cannot be used, or the database is not at its path.
        """
        start = self._starts.get(key)
        if start is None:
            start = self._remember(key)
        try:
            while True:
                file = self._file or self._open(key)
                if not file.acquire(key, start, timeout):
                    break
                if self._is_in_place(key, start, file):
                    return file, start
        except OSError as error:
            reason = f"{self._database.lock_path}: the system refused a lock ({error.strerror})"
            remedy = "put the database on a local disk, in a folder that the bot may write"
            raise StorageError("lock", key, reason, remedy) from error
        # If no thread of this process has it, the wait was for another process.
        holder, held = file.keys.describe_holder(key, OTHER_PROCESS)
        raise LockTimeoutError(key, timeout or 0.0, holder, held)

    def close(self) -> None:
        """Close the lock file as soon as no handler has a lock in it."""
        self._file = None

    def _remember(self, key: str) -> int:
        if len(self._starts) >= _REMEMBERED:
            self._starts.clear()
        start = self._starts[key] = start_of(key)
        return start

    def _is_in_place(self, key: str, start: int, file: LockFile) -> bool:
        """Whether a key is locked in the file that other processes use; if not, it is unlocked."""
        is_in_place = False
        try:
            is_in_place = self._finds_in_place(key, file, _FRESH)
        finally:
            if not is_in_place:
                file.release(key, start)
        if not is_in_place:
            self._file = None
        return is_in_place

    def _finds_in_place(self, key: str, file: LockFile | None, age: float = 0.0) -> bool:
        database, lock_path = self._database, self._database.lock_path
        files = database.files
        replaced = files.find_replaced(age)
        if replaced is not None and replaced != lock_path:
            database.report("lock", key, replaced)
            replaced = files.find_replaced()
        return replaced is None and file is not None and files.is_watched(lock_path, file.identity)

    def _open(self, key: str) -> LockFile:
        self._finds_in_place(key, None)
        database = self._database
        status = os.stat(database.path)
        owner = status.st_uid, status.st_gid
        file = open_lock_file(database.lock_path, status.st_mode & 0o777, owner)
        self.locks = file.keys
        database.files.watch(database.lock_path, file.identity)
        self._file = file
        return file
