"""Forks: values that each process has of its own, and methods that are called around a fork."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """
    One value for each process, made with its first use there.

    A server such as uWSGI forks in C and calls no hook of `os.register_at_fork`. So each use
    compares the number of the process, which costs one system call.

    Keep one for as long as its owner. Any thread may use it.
    """

    __slots__ = ("_values",)

    def __init__(self) -> None:
        # number of the process -> its value. The child removes a value of the parent.
        self._values: dict[int, T] = {}

    def get(self, make: Callable[[], T]) -> T:
        """
        The value of this process.

        Args:
            make: Makes the value if there is none. Two threads may call it at the same time, and
                both get the same value, so it must not start anything.
        """
        found = self._values.get(os.getpid())
        return self._add(make()) if found is None else found

    def _add(self, value: T) -> T:
        # No lock, because another thread of the parent may have had it when C code forked.
        pid = os.getpid()
        value = self._values.setdefault(pid, value)
        for former in list(self._values):
            if former != pid:
                self._values.pop(former, None)
        return value


def call_around_forks(
    before: Callable[[], None], after: Callable[[], None], in_child: Callable[[], None]
) -> None:
    """Call methods before each `os.fork()` and after it, while their object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=_weakly(before), after_in_parent=_weakly(after), after_in_child=_weakly(in_child)
        )


def call_in_forked_child(method: Callable[[], None]) -> None:
    """Call a method in each child of an `os.fork()`, while its object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_weakly(method))


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    reference = weakref.WeakMethod(method)

    def call() -> None:
        if (alive := reference()) is not None:
            alive()

    return call
