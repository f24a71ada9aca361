"""
Threads for tests, and waits that are watched.

`in_thread` and `in_threads` wait for the results of calls, and `start` starts a daemon thread.
`began` runs a call beside a block and waits for its end. `OtherThread` runs several calls in one
thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from queue import SimpleQueue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, Self

from support.clocks import PATIENCE
from telesession import locks
from telesession.testing.storage_suite import in_thread, in_threads

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


Task = tuple["Future[Any]", "Callable[[], Any]"]


class OtherThread:
    """
    A thread that does one call after the other, until the end of a `with` block.

    Nobody waits for a call that never ends: it fails its test, and does not hang it.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Begin a call, when those before it have ended."""
        future: Future[Any] = Future()
        self._tasks.put((future, lambda: function(*args)))
        return future

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """What a call returns or raises."""
        return self.submit(function, *args).result(PATIENCE)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.put(None)

    def _run(self) -> None:
        while task := self._tasks.get():
            future, call = task
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)


@contextmanager
def began(target: Callable[..., Any], *args: Any) -> Iterator[Future[Any]]:
    """A call that goes on in a thread while the block runs, and must return in the end."""
    with OtherThread() as thread:
        outcome = thread.submit(target, *args)
        try:
            yield outcome
        finally:
            wait([outcome], PATIENCE)
        outcome.result(0)


def start(function: Callable[..., object], *args: Any) -> threading.Thread:
    """Call a function in a thread that does not outlive the tests."""
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def wait_for(event: threading.Event) -> None:
    """Wait for an event, which fails the handler or the test if it does not come."""
    if not event.wait(PATIENCE):
        raise TimeoutError


class Log:
    """What handlers did, in order; any thread may add to it and wait for it."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = threading.Condition()

    def add(self, entry: Any) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[Any]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.entries) >= count, PATIENCE):
                raise TimeoutError(f"waited for {count} entries, and there are {self.entries}")
            return list(self.entries)


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
