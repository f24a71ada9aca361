"""The waits of the in-process lock table, and what may be thrown into them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn, Self

from clocks import PATIENCE

from telesession import locks

if TYPE_CHECKING:
    import pytest


class Waits:
    """The waits of the lock table: says when one begins, and can do something when one ends."""

    def __init__(self) -> None:
        self._begun: SimpleQueue[str] = SimpleQueue()
        self._disturbances: dict[str, Callable[[], object]] = {}

    @classmethod
    def watch(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Watch the waits of every lock that the lock table makes from now on."""
        waits = cls()
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
        self._waits.begin()
        granted = self._lock.acquire(blocking, timeout)
        self._waits.end()
        return granted

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self._lock.release()


def throw(interrupt: type[BaseException]) -> NoReturn:
    raise interrupt


class Interrupt(BaseException):
    """What some debugger or framework might throw into a thread."""
