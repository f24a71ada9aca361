"""Other threads, for calls that might wait for ever: these fail a test, and do not hang it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Self

from clocks import PATIENCE

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
