"""The faults of a storage that a test asks for: which call of which method, and what happens."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from telesession.errors import LockLostError, SessionError, StorageError
from telesession.testing.threads import PATIENCE, Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

# method -> the action of its error
_ACTIONS = {
    "get": "read",
    "set": "write",
    "delete": "delete",
    "touch": "touch",
    "has": "look up",
    "keys": "list the keys",
    "hold": "lock",
    "commit": "write",
    "listed": "list the keys",
    "add_once": "add records",
    "now": "ask for the time",
    "close": "close",
}
_WRITES = frozenset({"set", "delete", "touch", "commit", "add_once"})


class StorageFaults:
    """
    Counts the calls of a storage, and lets some of them fail or wait; the base of `FaultyStorage`.

    A fault belongs to one call of one method, counted from the moment at which it was asked for.
    Several faults of one call happen in the order in which they were asked for. The methods are
    those of `Storage`. Any other name is a `ValueError`. Threads may share an instance.

    Attributes:
        calls: The number of calls so far, by the name of the method. It may be cleared.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._mutex = threading.Lock()
        self._faults: list[_Fault] = []
        self._gates: list[_Gate] = []

    def fail(
        self,
        method: str,
        *,
        at: int = 1,
        times: int = 1,
        after: bool = False,
        error: Exception | None = None,
    ) -> None:
        """
        Let a call of a method fail.

        Args:
            method: The method's name, such as `"get"`.
            at: Which of the next calls fails first; 1 is the next one.
            times: How many calls fail, one after the other.
            after: Whether the call is executed first, so that only its answer is lost. The
                `outcome` of the error is `"unknown"` then, if the method writes.
            error: What is raised; a `StorageError` by default. Its reason is `the disk is full`,
                and with `after` it is `the answer was lost`.
        """

        def fail(keys: Sequence[str]) -> None:
            raise error or _failure(method, keys, after=after)

        for number in range(at, at + times):
            self._plan(method, number, fail, after=after)

    def lose_lock(self, *, at: int = 1) -> None:
        """
        Let a commit find that a lock was lost, as after a lease that ran out.

        It raises `LockLostError` and writes nothing.

        Args:
            at: Which of the next calls of `commit` it is; 1 is the next one.
        """

        def lose(keys: Sequence[str]) -> None:
            raise LockLostError(keys[0])

        self._plan("commit", at, lose)

    def delay(self, method: str, seconds: float, *, at: int = 1) -> None:
        """
        Let a call of a method take longer; `waiting` is the same without a clock.

        Args:
            method: The method's name, such as `"get"`.
            seconds: Real seconds before the call is executed, even while the clock is frozen.
            at: Which of the next calls it is; 1 is the next one.
        """
        self._plan(method, at, lambda _: time.sleep(seconds))

    @contextmanager
    def waiting(self, method: str) -> Iterator[Log]:
        """
        A `with` block in which each call of a method waits until the block ends.

        The target of the block is a `Log` with the key of each call that has come to wait, so
        `reached.wait_for(1)` returns when the first one does. A call without a key adds `""`.

        A call that waits for more than 30 real seconds raises `TimeoutError`, because it is likely
        to be one of the test's own thread.

        Args:
            method: The method's name, such as `"get"`.
        """
        gate = _Gate(_checked(method), Log(), threading.Event())
        with self._mutex:
            self._gates.append(gate)
        try:
            yield gate.reached
        finally:
            with self._mutex:
                self._gates.remove(gate)
            gate.opened.set()

    def _plan(
        self,
        method: str,
        at: int,
        happen: Callable[[Sequence[str]], None],
        *,
        after: bool = False,
    ) -> None:
        """Let something happen at a call; it is called with the keys of the call."""
        if at < 1:
            raise ValueError(f"the next call is number 1, so there is none with number {at}")
        with self._mutex:
            self._faults.append(_Fault(_checked(method), at, happen, after))

    def _call(self, method: str, keys: Sequence[str], call: Callable[[], T]) -> T:
        """Make a call of a method with the faults that are due, and return its result."""
        with self._mutex:
            self.calls[method] += 1
            due, self._faults = _split(self._faults, method)
            gates = [gate for gate in self._gates if gate.method == method]
        for gate in gates:
            gate.pass_through(keys[0] if keys else "")
        for fault in due:
            if not fault.after:
                fault.happen(keys)
        result = call()
        for fault in due:
            if fault.after:
                fault.happen(keys)
        return result


class _Fault(NamedTuple):
    """
    What happens at a call of a method.

    Attributes:
        method: The method's name.
        at: Which of the next calls it is; 1 is the next one.
        happen: What happens. It gets the keys of the call.
        after: Whether it happens after the call was executed.
    """

    method: str
    at: int
    happen: Callable[[Sequence[str]], None]
    after: bool


class _Gate(NamedTuple):
    """
    Where calls of a method wait.

    Attributes:
        method: The method's name.
        reached: The key of each call that has come.
        opened: Set when they may go on.
    """

    method: str
    reached: Log
    opened: threading.Event

    def pass_through(self, key: str) -> None:
        self.reached.add(key)
        if not self.opened.wait(PATIENCE):
            raise TimeoutError(
                f"a call of {self.method} has waited for {PATIENCE} s: leave the block of "
                f"waiting({self.method!r}) earlier, or make the call in another thread"
            )


def _split(faults: list[_Fault], method: str) -> tuple[list[_Fault], list[_Fault]]:
    """The faults that are due at a call of a method, and all others, one call nearer."""
    due, later = [], []
    for fault in faults:
        if fault.method != method:
            later.append(fault)
        elif fault.at > 1:
            later.append(fault._replace(at=fault.at - 1))
        else:
            due.append(fault)
    return due, later


def _checked(method: str) -> str:
    if method not in _ACTIONS:
        raise ValueError(f"a storage has no method {method!r}; it has {', '.join(_ACTIONS)}")
    return method


def _failure(method: str, keys: Sequence[str], *, after: bool) -> SessionError:
    reason = "the answer was lost" if after else "the disk is full"
    outcome: Literal["unknown"] | None = "unknown" if after and method in _WRITES else None
    key = keys[0] if keys else None
    return StorageError(_ACTIONS[method], key, reason, "a test has asked for this failure", outcome)
