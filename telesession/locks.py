"""The in-process lock table: one lock for each key, first come, first served."""

from __future__ import annotations

import threading
from collections import deque

from telesession.errors import LockTimeoutError


class LockTable:
    """
    Locks by key, for the threads of one process.

    Threads get a busy key in the order in which they asked for it; `threading.Lock` alone lets
    whoever the scheduler wakes first jump the queue. An entry exists only while somebody holds
    or waits for its key, so an idle table is empty however many keys it has seen.

    Keep one table for as long as the storage it guards. Any thread may use it.
    """

    def __init__(self) -> None:
        # A thread never blocks while it has the mutex. So the mutex may be a lock of threads, made
        # before gevent patched threading: no greenlet can find it taken by another one.
        self._mutex = threading.Lock()
        # By held key: who waits for it, or None for as long as nobody does.
        self._waiters: dict[str, deque[threading.Lock] | None] = {}

    def __len__(self) -> int:
        """The number of keys that are held just now."""
        return len(self._waiters)

    def acquire(self, key: str, timeout: float | None = None) -> None:
        """
        Take the lock of a key, after everybody who asked for it before.

        Args:
            key: Any string.
            timeout: Seconds to wait while others hold it; `None` waits for ever.

        Raises:
            LockTimeoutError: It stayed busy for that long. The caller holds nothing.
        """
        with self._mutex:
            if key not in self._waiters:
                self._waiters[key] = None
                return
            # Made for this wait, and not kept for later ones: by now gevent may have patched
            # threading, and a greenlet that waits for an older lock stops all others.
            turn = threading.Lock()
            turn.acquire()
            waiters = self._waiters[key] = self._waiters[key] or deque()
            waiters.append(turn)
        seconds = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
        try:
            granted = turn.acquire(timeout=seconds)
        except BaseException:
            # A KeyboardInterrupt in the wait must neither stay in the queue nor keep the lock.
            if not self._withdraw(key, turn):
                self.release(key)
            raise
        if not granted and self._withdraw(key, turn):
            raise LockTimeoutError(key, seconds)

    def release(self, key: str) -> None:
        """Give the lock of a key to whoever has waited longest for it; it must be held."""
        with self._mutex:
            waiters = self._waiters[key]
            if waiters:
                # The entry stays in the table: a newcomer must queue up behind the next holder.
                waiters.popleft().release()
            else:
                del self._waiters[key]

    def _withdraw(self, key: str, turn: threading.Lock) -> bool:
        """Leave the queue; false if the lock was handed over in the very moment of giving up."""
        with self._mutex:
            waiters = self._waiters[key]
            if waiters is None or turn not in waiters:
                return False
            waiters.remove(turn)
            return True
