"""
Files whose bytes are locks, as one process has them: one descriptor for each file.

Locking a byte again succeeds, and unlocking it once frees it, so the process counts the holders of
each lock itself, in one table for each file, by device and inode.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import weakref
from contextlib import suppress

from telesession.errors import DeadlockError, LockTimeoutError
from telesession.forks import PerProcess, call_in_forked_child
from telesession.locks import LockTable, LongWait
from telesession.storage.byte_locks import lock_bytes, unlock_bytes
from telesession.storage.places import LONGEST_PAUSE, PLACES, Place
from telesession.storage.waits import Wait


class LockFile:
    """
    A file whose bytes are locks, as one process has it open.

    Made by `open_lock_file`, which gives all storages of a process the same object for the same
    file. It is closed with its last reference, so the holder of a lock keeps it open. Any
    thread may use it, but no other process.

    A process takes a lock at once only if the lock and all places are free. Otherwise it takes a
    `Place`. So a process that loops cannot overtake one that waits.

    Attributes:
        keys: Locks by key. The threads of the process queue here first.
    """

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.identity = status.st_dev, status.st_ino
        self.keys = LockTable(of_sessions=True)
        self._pid = os.getpid()
        self._descriptor = descriptor
        self._mutex = threading.Lock()
        # Start of a lock -> how many holders it has in this process: keys may share a lock.
        self._holders: dict[int, int] = {}
        # The locks for which a thread of this process has a place, or looks for one.
        self._queued_starts: set[int] = set()
        self._close = weakref.finalize(self, os.close, descriptor)
        # The locks of handlers that run while the interpreter ends must last until it has ended.
        self._close.atexit = False
        call_in_forked_child(self.close_inherited)

    def acquire(self, key: str, start: int, timeout: float | None = None) -> bool:
        """
        Lock a key, after the threads of this process and the processes that came before.

        Args:
            key: Any string; the threads of this process exclude each other by it.
            start: The first byte of its lock, a multiple of `WIDTH`. Keys may share a lock.
            timeout: Seconds to wait while another process has it; `None` waits for ever.

        Returns:
            Whether it is locked; false after the time-out.

        Raises:
            DeadlockError: Threads of this process wait for each other in a circle.
            OSError: The system cannot lock bytes of this file.
        """
        began = time.monotonic() if timeout else 0.0
        try:
            self.keys.acquire(key, timeout)
        except DeadlockError:
            raise
        except LockTimeoutError:
            return False
        is_taken = False
        try:
            with self._mutex:
                is_taken = self._take(start)
            if not is_taken and timeout != 0:
                left = math.inf if timeout is None else began + timeout - time.monotonic()
                is_taken = self._queue(key, start, left)
        finally:
            if not is_taken:
                self.keys.release(key)
        return is_taken

    def release(self, key: str, start: int) -> None:
        """Unlock a key. Its lock is free for other processes after its last holder."""
        try:
            with self._mutex:
                if self._holders[start] > 1:
                    self._holders[start] -= 1
                else:
                    del self._holders[start]
                    unlock_bytes(self._descriptor, start, 1)
        finally:
            self.keys.release(key)

    def close_inherited(self) -> None:
        """Close the descriptor if this process was forked from the one that has the locks."""
        # Without an unlock, which would free the locks of the parent: both share the open file.
        if self._pid != os.getpid():
            self._close()

    def _take(self, start: int) -> bool:
        """Take a lock if this process has it already, or no other has it or waits for it."""
        holders = self._holders
        if start in holders:
            holders[start] += 1
            return True
        # Another thread may have a place because of a key that shares the lock.
        if start in self._queued_starts or not lock_bytes(self._descriptor, start, 1 + PLACES):
            return False
        unlock_bytes(self._descriptor, start + 1, PLACES)
        holders[start] = 1
        return True

    def _queue(self, key: str, start: int, timeout: float) -> bool:
        """Wait for a lock among other processes, or for another thread that does."""
        wait, long_wait = Wait(timeout), LongWait(key)
        place: Place | None = None
        try:
            while True:
                with self._mutex:
                    if start in self._holders:
                        self._holders[start] += 1
                        return True
                    # Another thread may have the place because of a key that shares the lock.
                    if place is None and start not in self._queued_starts:
                        self._queued_starts.add(start)
                        place = Place(self._descriptor, start, wait)
                    if place is not None and place.move():
                        self._holders[start] = 1
                        return True
                if not wait.pause(LONGEST_PAUSE if place is None else place.longest_pause):
                    return False
                long_wait.go_on()
        finally:
            if place is not None:
                with self._mutex:
                    self._queued_starts.discard(start)
                    place.leave()


class _OpenFiles:
    """The lock files that this process has open, by device and inode."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.by_identity: weakref.WeakValueDictionary[tuple[int, int], LockFile]
        self.by_identity = weakref.WeakValueDictionary()
        # A fork in C calls no hook, so these are still open.
        for reference in _made.valuerefs():
            if (file := reference()) is not None:
                file.close_inherited()


_open_files: PerProcess[_OpenFiles] = PerProcess()
_made: weakref.WeakValueDictionary[int, LockFile] = weakref.WeakValueDictionary()


def open_lock_file(path: str, mode: int = 0o600, owner: tuple[int, int] = (-1, -1)) -> LockFile:
    """
    The lock file at a path, which is made if there is none.

    Args:
        path: An absolute path.
        mode: The permissions of a file that is made here.
        owner: The user and group of a file that is made here, if this process may choose them.

    Raises:
        OSError: The file can be neither opened nor made.
    """
    opened = _open_files.get(_OpenFiles)
    with opened.mutex:
        # Looked up before it is opened, because on POSIX systems the closing of a second descriptor
        # of a file frees all locks that the process has on it.
        with suppress(FileNotFoundError):
            status = os.stat(path)
            if (found := opened.by_identity.get((status.st_dev, status.st_ino))) is not None:
                return found
        file = LockFile(_open(path, mode, owner))
        _made[id(file)] = file
        return opened.by_identity.setdefault(file.identity, file)


def close_inherited_files() -> None:
    """
    Close the lock files that this process has of its parent, if C code forked it.

    An open file would keep the locks of the parent after its end.
    """
    _open_files.get(_OpenFiles)


def _open(path: str, mode: int, owner: tuple[int, int]) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return os.open(path, os.O_RDWR)
    if sys.platform != "win32":
        with suppress(OSError):
            os.fchown(descriptor, *owner)
        with suppress(OSError):
            os.fchmod(descriptor, mode)
    return descriptor
