"""
Locks on bytes of a file, which the kernel keeps for the processes of one machine.

A lock ends with its process, however the process ends: there is no lease and no clock. A process
that is stopped keeps its locks until it goes on or ends.

| system | call | a lock belongs to | closing another descriptor of the file |
| --- | --- | --- | --- |
| Linux | `fcntl(F_OFD_SETLK)` | the open file, which a fork shares | changes nothing |
| other POSIX systems | `fcntl(F_SETLK)`, by `fcntl.lockf` | the process | frees all its locks |
| Windows (untested) | `LockFileEx` | the handle | changes nothing |

Therefore each process has one descriptor for each file, by device and inode. Locking a byte again
succeeds, and unlocking it once frees it, so the process counts the holders of each byte itself. No
call waits in the kernel: a wait there has no time-out, and stops every greenlet of its thread.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import weakref
from contextlib import suppress

from telesession.errors import LockTimeoutError
from telesession.forks import PerProcess, call_in_forked_child
from telesession.locks import LockTable
from telesession.storage.waits import Wait

# The bytes of one lock: the lock itself, and the places of those that wait for it.
PLACES = 16
WIDTH = 2 * PLACES
# The place of a process that waits and has none, because all are taken.
_OUTSIDE = 1 + PLACES

# Seconds between two attempts, at most: of the first that waits, and of the others. Together with
# the pauses, a waiting process makes fewer than 200 system calls in a second.
_FRONT_PAUSE = 0.012
_PAUSE = 0.02
# A waiting process that has not moved for so many attempts, about a second, looks past those
# before it: one of them may be stopped.
_PATIENT_ATTEMPTS = 50


if sys.platform == "win32":  # pragma: no cover -- untested, as the table says
    import ctypes
    import msvcrt
    from ctypes import wintypes

    class _Overlapped(ctypes.Structure):
        _fields_ = (
            ("internal", ctypes.c_void_p),
            ("internal_high", ctypes.c_void_p),
            ("offset", wintypes.DWORD),
            ("offset_high", wintypes.DWORD),
            ("event", wintypes.HANDLE),
        )

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _FAIL_IMMEDIATELY_AND_EXCLUSIVE = 3
    _LOCK_VIOLATION = 33

    def _at(byte: int) -> _Overlapped:
        return _Overlapped(offset=byte & 0xFFFFFFFF, offset_high=byte >> 32)

    def lock_bytes(descriptor: int, start: int, length: int) -> bool:
        """Lock bytes of a file; return false if another process has one of them."""
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        # One at a time, because a part of what was locked together cannot be unlocked.
        for byte in range(start, start + length):
            flags = _FAIL_IMMEDIATELY_AND_EXCLUSIVE
            if not _kernel.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(_at(byte))):
                error = ctypes.get_last_error()
                unlock_bytes(descriptor, start, byte - start)
                if error != _LOCK_VIOLATION:
                    raise ctypes.WinError(error)
                return False
        return True

    def unlock_bytes(descriptor: int, start: int, length: int) -> None:
        """Unlock bytes of a file."""
        handle = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor))
        for byte in range(start, start + length):
            _kernel.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(_at(byte)))

else:
    import errno
    import fcntl
    import struct

    _BUSY = (errno.EAGAIN, errno.EACCES)

    if sys.platform == "linux":
        # The fields of `struct flock`: type, whence, start, length, process.
        _pack_flock = struct.Struct("hhqqi0q").pack

        def lock_bytes(descriptor: int, start: int, length: int) -> bool:
            """Lock bytes of a file; return false if another process has one of them."""
            flock = _pack_flock(fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
            try:
                fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, flock)
            except OSError as error:
                if error.errno in _BUSY:
                    return False
                raise
            return True

        def unlock_bytes(descriptor: int, start: int, length: int) -> None:
            """Unlock bytes of a file."""
            flock = _pack_flock(fcntl.F_UNLCK, os.SEEK_SET, start, length, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, flock)

    else:

        def lock_bytes(descriptor: int, start: int, length: int) -> bool:
            """Lock bytes of a file; return false if another process has one of them."""
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
            except OSError as error:
                if error.errno in _BUSY:
                    return False
                raise
            return True

        def unlock_bytes(descriptor: int, start: int, length: int) -> None:
            """Unlock bytes of a file."""
            fcntl.lockf(descriptor, fcntl.LOCK_UN, length, start)


def share_bytes(descriptor: int, start: int, length: int) -> None:
    """
    Lock bytes for reading, as several processes can at a time; Linux only.

    Raises:
        OSError: Another process has one of them for itself.
    """
    if sys.platform == "linux":
        flock = _pack_flock(fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, flock)


class LockFile:
    """
    A file whose bytes are locks, as one process has it open.

    Made by `open_lock_file`, which gives all storages of a process the same object for the same
    file. It is closed with its last reference, so whoever holds a lock keeps it. Any thread may
    use it, but no other process.

    A lock is `WIDTH` bytes. The first byte is the lock, and the next ones are the places of the
    processes that wait, in the order of their arrival: each tries to lock the place before its
    own, and unlocks its own when it has that one. A process that finds all bytes free goes past
    the places, so a process that loops cannot overtake one that waits.

    Attributes:
        keys: Locks by key, for the threads of the process, which queue here first.
    """

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self.identity = status.st_dev, status.st_ino
        self.keys = LockTable()
        self._pid = os.getpid()
        self._descriptor = descriptor
        self._mutex = threading.Lock()
        # Start of a lock -> how many holders it has in this process: keys may share a lock.
        self._holders: dict[int, int] = {}
        # The locks for which a thread of this process has a place, or looks for one.
        self._queues: set[int] = set()
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
            timeout: Seconds to wait while others have it; `None` waits for ever.

        Returns:
            Whether it is locked; false after the time-out.

        Raises:
            OSError: The system cannot lock bytes of this file.
        """
        began = time.monotonic()
        try:
            self.keys.acquire(key, timeout)
        except LockTimeoutError:
            return False
        is_taken = False
        try:
            with self._mutex:
                is_taken = self._take(start)
            if not is_taken and timeout != 0:
                left = math.inf if timeout is None else began + timeout - time.monotonic()
                is_taken = self._queue(start, left)
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
        # Another thread may have a place, for a key that shares the lock.
        if start in self._queues or not lock_bytes(self._descriptor, start, 1 + PLACES):
            return False
        unlock_bytes(self._descriptor, start + 1, PLACES)
        holders[start] = 1
        return True

    def _queue(self, start: int, timeout: float) -> bool:
        """Take a place among the waiting processes, and move on until the lock is there."""
        wait = Wait(timeout)
        place = _OUTSIDE
        attempts = 0
        is_queued = False
        try:
            while True:
                with self._mutex:
                    if start in self._holders:
                        self._holders[start] += 1
                        return True
                    if is_queued or start not in self._queues:
                        before = place
                        place = self._move(start, place) if is_queued else self._enter(start)
                        self._queues.add(start)
                        is_queued = True
                        attempts = attempts + 1 if place == before else 1
                        is_patient = attempts % _PATIENT_ATTEMPTS != 0
                        if not place or (not is_patient and lock_bytes(self._descriptor, start, 1)):
                            self._holders[start] = 1
                            return True
                if not wait.pause(_FRONT_PAUSE if place == 1 else _PAUSE):
                    return False
        finally:
            if is_queued:
                with self._mutex:
                    self._queues.discard(start)
                    if 0 < place < _OUTSIDE:
                        unlock_bytes(self._descriptor, start + place, 1)

    def _enter(self, start: int) -> int:
        """Lock the first place behind all that are taken, and return it."""
        for place in range(1 + PLACES):
            if lock_bytes(self._descriptor, start + place, 1 + PLACES - place):
                if place < PLACES:
                    unlock_bytes(self._descriptor, start + place + 1, PLACES - place)
                return place
        return _OUTSIDE

    def _move(self, start: int, place: int) -> int:
        """Exchange a place for the one before it, if that is free, and return the new place."""
        is_new = place == _OUTSIDE
        while lock_bytes(self._descriptor, start + place - 1, 1):
            if place != _OUTSIDE:
                unlock_bytes(self._descriptor, start + place, 1)
            place -= 1
            # Only a new process may have a way to go; for the others a second attempt is a waste.
            if not place or not is_new:
                break
        return place


class _OpenFiles:
    """The lock files that this process has open, by device and inode."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.by_identity: weakref.WeakValueDictionary[tuple[int, int], LockFile]
        self.by_identity = weakref.WeakValueDictionary()
        # A fork in C calls no hook, so these are still open.
        for file in list(_made):
            file.close_inherited()


_open_files: PerProcess[_OpenFiles] = PerProcess()
_made: weakref.WeakSet[LockFile] = weakref.WeakSet()


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
        # Looked up before it is opened: on POSIX systems, closing a second descriptor of a file
        # frees all locks that the process has on it.
        with suppress(FileNotFoundError):
            status = os.stat(path)
            if (found := opened.by_identity.get((status.st_dev, status.st_ino))) is not None:
                return found
        file = LockFile(_open(path, mode, owner))
        _made.add(file)
        return opened.by_identity.setdefault(file.identity, file)


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
