"""The faults of a storage that a test asks for: the method, the call, and the event."""

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
    "get_record": "read",
    "ping": "reach the storage",
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
    Several faults of one call happen in the order in which they were asked for. A fault whose call
    does not come stays until `clear_faults`. The methods are those of `Storage`. Any other name is
    a `ValueError`. Threads may share an instance.

    Attributes:
        calls: The number of calls so far, by the name of the method. It may be cleared.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._mutex = threading.Lock()
        self._faults: list[_Fault] = []
        self._blocks: list[WaitingCalls] = []

    @property
    def faults(self) -> Counter[str]:
        """The number of faults that have not happened yet, by the name of the method."""
        with self._mutex:
            return Counter(fault.method for fault in self._faults)

    def clear_faults(self) -> None:
        """Forget the faults that have not happened yet, such as those of an earlier test."""
        with self._mutex:
            self._faults.clear()

    def fail(
        self,
        method: str,
        *,
        at: int = 1,
        times: int = 1,
        key: str | None = None,
        after: bool = False,
        error: Exception | None = None,
    ) -> None:
        """
        Let a call of a method fail.

        Args:
            method: The method's name, such as `"get"`.
            at: Which of the next calls fails first; 1 is the next one.
            times: How many calls fail, one after the other.
            key: The key of a record. Then only calls for this record count, also those for several
                records. By default each call of the method counts.
            after: Whether the call is executed first, so that only its answer is lost. The
                `outcome` of the error is `"unknown"` then, if the method writes.
            error: The exception; a `StorageError` by default. Its reason is `the disk is full`, and
                with `after` it is `the answer was lost`.
        """

        def fail(keys: Sequence[str]) -> None:
            raise error or _failure(method, keys if key is None else (key,), after=after)

        for number in range(at, at + times):
            self._plan(method, number, fail, after=after, key=key)

    def lose_lock(self, *, at: int = 1) -> None:
        """
        Let a commit find that a lock was lost, as after a lease that ran out.

        It raises `LockLostError` and writes nothing. Commits without a lock, such as those of an
        inbox that stores updates, do not count.

        Args:
            at: Which of the next commits of locked records it is; 1 is the next one.
        """

        def lose(keys: Sequence[str]) -> None:
            raise LockLostError(keys[0])

        self._plan("commit", at, lose, is_of_lock=True)

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
    def waiting(self, method: str) -> Iterator[WaitingCalls]:
        """
        A `with` block in which each call of a method waits until the block ends.

        The target of the block is a `Log` with the key of each call that has come to wait, so
        `reached.wait_for(1)` returns when the first one does. A call without a key adds `""`.
        `reached.release()` lets the calls go on before the end of the block. A block of `began`
        inside needs it, because it ends only when its call has returned.

        A call that waits for more than 30 real seconds raises `TimeoutError`, because it is likely
        to be one of the test's own thread.

        Args:
            method: The method's name, such as `"get"`.
        """
        reached = WaitingCalls(_checked(method))
        with self._mutex:
            self._blocks.append(reached)
        try:
            yield reached
        finally:
            with self._mutex:
                self._blocks.remove(reached)
            reached.release()

    def _plan(
        self,
        method: str,
        at: int,
        happen: Callable[[Sequence[str]], None],
        *,
        after: bool = False,
        key: str | None = None,
        is_of_lock: bool = False,
    ) -> None:
        """Add a fault; see `_Fault`."""
        if at < 1:
            raise ValueError(f"the next call is number 1, so there is none with number {at}")
        with self._mutex:
            self._faults.append(_Fault(_checked(method), at, happen, after, key, is_of_lock))

    def _call(
        self, method: str, keys: Sequence[str], call: Callable[[], T], *, has_locks: bool = False
    ) -> T:
        """
        Make a call of a method with the faults that are due, and return its result.

        Args:
            method: The method's name.
            keys: The keys of the records.
            call: Makes the call.
            has_locks: Whether the call gets a hold of a record.
        """
        with self._mutex:
            self.calls[method] += 1
            due, self._faults = _split(
                self._faults, lambda fault: fault.counts(method, keys, has_locks=has_locks)
            )
            blocks = [block for block in self._blocks if block.method == method]
        for block in blocks:
            block.wait_for_release(keys[0] if keys else "")
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
    An event at a call of a method.

    Attributes:
        method: The method's name.
        at: Which of the next calls that count it is; 1 is the next one.
        happen: Makes the event. It gets the keys of the call.
        after: Whether it happens after the call was executed.
        key: The record whose calls count; `None` is any record.
        is_of_lock: Whether only calls that get a hold of a record count.
    """

    method: str
    at: int
    happen: Callable[[Sequence[str]], None]
    after: bool
    key: str | None
    is_of_lock: bool

    def counts(self, method: str, keys: Sequence[str], *, has_locks: bool) -> bool:
        """Whether a call brings the fault nearer."""
        return (
            method == self.method
            and (self.key is None or self.key in keys)
            and (has_locks or not self.is_of_lock)
        )


class WaitingCalls(Log):
    """
    The calls that wait in a block of `StorageFaults.waiting`: a `Log` of their keys.

    It lives as long as the block. Threads may share it.

    Attributes:
        method: The name of the method whose calls wait.
    """

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method
        self._released = threading.Event()

    def release(self) -> None:
        """Let the waiting calls continue, and later calls pass; may be repeated."""
        self._released.set()

    def wait_for_release(self, key: str) -> None:
        """
        Wait in the thread of a call; called by the storage.

        Raises `TimeoutError` after 30 real seconds.

        Args:
            key: The key of the call's record, or `""`.
        """
        self.add(key)
        if not self._released.wait(PATIENCE):
            raise TimeoutError(
                f"a call of {self.method} has waited for {PATIENCE} s: end the block of "
                f"waiting({self.method!r}) earlier, call release() on its target before a block "
                "inside waits for the call, or make the call in another thread"
            )


def _split(
    faults: list[_Fault], counts: Callable[[_Fault], bool]
) -> tuple[list[_Fault], list[_Fault]]:
    """The faults that are due at a call, and the others, of which some have counted the call."""
    due, later = [], []
    for fault in faults:
        if not counts(fault):
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
