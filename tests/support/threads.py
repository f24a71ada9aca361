"""
Threads for tests, and waits that are watched, besides the tools of `telesession.testing.threads`.

`start` starts a daemon thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, Self

from support.clocks import PATIENCE
from telesession import locks
from telesession.testing.threads import Log, OtherThread, began, in_thread, in_threads

__all__ = [
    "HookedDict",
    "Interrupt",
    "Log",
    "OtherThread",
    "Waits",
    "WatchedLock",
    "began",
    "in_thread",
    "in_threads",
    "start",
    "throw",
    "wait_for",
]

if TYPE_CHECKING:
    import pytest


def start(function: Callable[..., object], *args: Any) -> threading.Thread:
    """Call a function in a thread that does not outlive the tests."""
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def wait_for(event: threading.Event) -> None:
    """Wait for an event, which fails the handler or the test if it does not come."""
    if not event.wait(PATIENCE):
        raise TimeoutError


class Waits:
    """
    The waits of the lock table: says when one begins, and can do something when one ends.

    Args:
        has_attempts: Whether an attempt to lock a key without a wait is one of them.
    """

    def __init__(self, *, has_attempts: bool = True) -> None:
        self.has_attempts = has_attempts
        self._begun: SimpleQueue[str] = SimpleQueue()
        self._disturbances: dict[str, Callable[[], object]] = {}

    @classmethod
    def watch(cls, monkeypatch: pytest.MonkeyPatch, *, has_attempts: bool = True) -> Self:
        """Watch the waits of every lock that the lock table makes from now on."""
        waits = cls(has_attempts=has_attempts)
        names = {**vars(threading), "Lock": waits.make_lock}
        monkeypatch.setattr(locks, "threading", SimpleNamespace(**names))
        return waits

    def make_lock(self) -> WatchedLock:
        return WatchedLock(self)

    def next(self) -> str:
        """The name of the thread that is the next to begin to wait."""
        return self._begun.get(timeout=PATIENCE)

    def disturb(self, action: Callable[[], object], name: str = "MainThread") -> None:
        """Do something, once, when a wait of a thread has ended and nobody knows it yet."""
        self._disturbances[name] = action

    def begin(self) -> None:
        self._begun.put(threading.current_thread().name)

    def end(self) -> None:
        self._disturbances.pop(threading.current_thread().name, bool)()


class WatchedLock:
    """A `threading.Lock` whose waits are watched, other than those of a `with` block."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._lock = threading.Lock()
        self.release = self._lock.release
        self.locked = self._lock.locked

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock.acquire(blocking=False):
            return True
        if timeout == 0 and not self._waits.has_attempts:
            return False
        self._waits.begin()
        granted = self._lock.acquire(blocking, timeout)
        self._waits.end()
        return granted

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


class HookedDict(dict[Any, Any]):
    """
    A dictionary that calls a function, once, in the middle of the work of a thread.

    Put into a lock table or the table of waits, it places the work of another thread between two
    steps of the interpreter. A hook belongs to a method, a key and the name of a thread.
    """

    def __init__(self) -> None:
        self._before: dict[tuple[str, Any, str], Callable[[], object]] = {}
        self._after: dict[tuple[str, Any, str], Callable[[], object]] = {}

    def call_before(
        self, method: str, key: Any, action: Callable[[], object], name: str = "MainThread"
    ) -> None:
        """Call a function, once, before a thread calls a method with a key."""
        self._before[method, key, name] = action

    def call_after(
        self, method: str, key: Any, action: Callable[[], object], name: str = "MainThread"
    ) -> None:
        """Call a function, once, after the method has its result, which stays the same."""
        self._after[method, key, name] = action

    def get(self, key: Any, default: Any = None) -> Any:
        return self._call("get", key, default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        return self._call("setdefault", key, default)

    def __contains__(self, key: Any) -> bool:
        return bool(self._call("__contains__", key))

    def __delitem__(self, key: Any) -> None:
        self._call("__delitem__", key)

    def _call(self, method: str, key: Any, *args: Any) -> Any:
        hook = method, key, threading.current_thread().name
        self._before.pop(hook, bool)()
        result = getattr(dict, method)(self, key, *args)
        self._after.pop(hook, bool)()
        return result


def throw(interrupt: type[BaseException]) -> NoReturn:
    raise interrupt


class Interrupt(BaseException):
    """What some debugger or framework might throw into a thread."""
