"""Which process somebody is, and whether a process has ended, for the processes of one machine."""

from __future__ import annotations

import os
from pathlib import Path

# What stands where the system does not tell: nobody is then taken for dead.
_UNKNOWN = 0
_PROC = Path("/proc")


def identity() -> str:
    """
    Which process runs this, as others can look it up with `has_ended`.

    A number alone would be given to another process some day, and means another process inside a
    container; so it comes with the namespace of the number and the start of the process.
    """
    pid, namespace = os.getpid(), _namespace()
    start = _start_of(pid) if namespace else _UNKNOWN
    return f"{namespace}-{pid}-{start or _UNKNOWN}"


def has_ended(process: str) -> bool:
    """
    Whether a process, given by its `identity`, has certainly ended.

    False if it runs, and if this system cannot tell, as none but Linux can, nor one container of
    the processes in another.
    """
    namespace, pid, start = map(int, process.split("-"))
    if _UNKNOWN in (namespace, start) or namespace != _namespace():
        return False
    return _start_of(pid) not in (start, _UNKNOWN)


def _namespace() -> int:
    try:
        return (_PROC / "self/ns/pid").stat().st_ino
    except OSError:
        return _UNKNOWN


def _start_of(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; `None` if there is none any more."""
    try:
        stat = (_PROC / f"{pid}/stat").read_bytes()
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        return None if _is_gone(pid) else _UNKNOWN
    except OSError:
        return _UNKNOWN
    # The name of the program comes before, in parentheses, and may hold anything.
    state, *numbers = stat[stat.rindex(b")") + 2 :].split()
    # What was killed stays in the list until its parent looks, but runs no more.
    return None if state in (b"Z", b"X") else int(numbers[18])


def _is_gone(pid: int) -> bool:
    # Where /proc hides what other users run, there is no file for the living either.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
