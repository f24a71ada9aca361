"""
Threads for tests: calls beside a test that must return, and a log that a test can wait for.

`in_thread` and `in_threads` wait for the results of calls. `began` runs a call beside a block and
waits for its end. `OtherThread` runs several calls in one thread.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Task = tuple["Future[Any]", Callable[[], Any]]

#: How many real seconds a call may take, so that a fault is no endless wait.
PATIENCE = 30


def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """
    Make a call in a thread of its own, and return its result or raise its exception.

    Raises `TimeoutError` if the call does not end within 30 real seconds. Its thread runs on.

    Args:
        function: The function to call.
        args: Its arguments.
    """
    return in_threads([partial(function, *args)])[0]


def in_threads(functions: list[Callable[[], Any]]) -> list[Any]:
    """
    Make calls at the same time, each in a thread of its own, and return their results.

    Raises the exception of the first one that failed, and `TimeoutError` if one does not end within
    30 real seconds.

    Args:
        functions: The functions to call, without arguments. The results are in their order.
    """
    start = threading.Barrier(len(functions), timeout=PATIENCE)
    calls = [_Call(start, function) for function in functions]
    return [call.result() for call in calls]


class _Call(threading.Thread):
    """A call in a daemon thread: one that never ends fails its test, and does not block it."""

    def __init__(self, start: threading.Barrier, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._begin = start
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._begin.wait()
            self._result = self._function()
        except BaseException as error:  # noqa: BLE001 -- raised again by result()
            self._error = error

    def result(self) -> Any:
        self.join(PATIENCE)
        if self.is_alive():
            raise TimeoutError(f"{self._function} has not returned for {PATIENCE} s")
        if self._error is not None:
            raise self._error
        return self._result


class OtherThread:
    """
    A thread that does one call after the other, until the end of a `with` block.

    A call that never ends fails its test, and does not block it. Keep one for a block. Threads may
    share it.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Begin a call, when those before it have ended."""
        future: Future[Any] = Future()
        self._tasks.put((future, partial(function, *args)))
        return future

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """
        Make a call, and return its result or raise its exception.

        Raises `TimeoutError` if it does not end within 30 real seconds.
        """
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
            except BaseException as error:  # noqa: BLE001 -- raised again by the future
                future.set_exception(error)


@contextmanager
def began(function: Callable[..., Any], *args: Any) -> Iterator[Future[Any]]:
    """
    A `with` block beside which a call goes on in a thread, and must return in the end.

    The target of the block is the future of the call: `done()` is true once it has returned. At its
    end the block waits for the call and raises its exception, or `TimeoutError` if it does not end
    within 30 real seconds. If the block raises, it does not wait for the call.

    Args:
        function: The function to call.
        args: Its arguments.
    """
    with OtherThread() as thread:
        outcome = thread.submit(function, *args)
        # A block that raises has failed; the call may wait for something that it did not do.
        yield outcome
        wait([outcome], PATIENCE)
        outcome.result(0)


class Log:
    """
    The events of a bot, in order; any thread may add to them and wait for them.

    Keep one for a test. `entries` has the entries so far.
    """

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = threading.Condition()

    def add(self, entry: Any) -> None:
        """Add an entry of any kind, and wake the threads that wait."""
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[Any]:
        """
        Wait until there is a number of entries, and return all of them.

        Raises `TimeoutError`, which lists the entries, after 30 real seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.entries) >= count, PATIENCE):
                raise TimeoutError(f"waited for {count} entries, and there are {self.entries}")
            return list(self.entries)
