"""
Locks on bytes of a file, as each system has them.

| system | call | a lock belongs to | closing another descriptor of the file |
| --- | --- | --- | --- |
| Linux | `fcntl(F_OFD_SETLK)` | the open file, which a fork shares | changes nothing |
| other POSIX systems | `fcntl(F_SETLK)`, by `fcntl.lockf` | the process | frees all its locks |
| Windows (untested) | `LockFileEx` | the handle | changes nothing |

A lock ends with its process, however the process ends: there is no lease and no clock. A process
that is stopped keeps its locks until it goes on or ends. Locking a byte again succeeds for the same
owner, and unlocking it once frees it. No call waits in the kernel: a wait there has no time-out,
and stops every greenlet of its thread.
"""

from __future__ import annotations

import os
import sys

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
        # One at a time, because a part of a locked range cannot be unlocked.
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
    Lock bytes for reading, which several processes can do at the same time; Linux only.

    Raises:
        OSError: Another process has an exclusive lock on one of them.
    """
    if sys.platform == "linux":
        flock = _pack_flock(fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, flock)
