"""The in-process locks: one for each key, first come, first served, and the circles among them."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from telesession.errors import DeadlockError, LockTimeoutError
from telesession.forks import PerProcess


class LockTable:
    """
    Locks by key, for the threads of one process.

    Threads get a busy key in the order in which they asked for it; `threading.Lock` alone lets
    the thread that the scheduler wakes first jump the queue. An entry exists only while a thread
    holds or waits for its key, so an idle table is empty however many keys it has seen.

    Keep one table for as long as the storage it guards. Any thread may use it.
    """

    def __init__(self) -> None:
        # A thread never blocks while it has the mutex. So the mutex may be a lock of threads, made
        # before gevent patched threading: no greenlet can find it taken by another one.
        self._mutex = threading.Lock()
        # held key -> the identifier of the thread that holds it
        self._holders: dict[str, int] = {}
        # held key -> the threads that wait for it, in the order of their arrival; no empty queues
        self._queues: dict[str, deque[_Turn]] = {}

    def __len__(self) -> int:
        """The number of keys that are held just now."""
        return len(self._holders)

    def acquire(self, key: str, timeout: float | None = None) -> None:
        """
        Take the lock of a key, after all threads that asked for it before.

        Args:
            key: Any string.
            timeout: Seconds to wait while others hold it; `None` waits for ever.

        Raises:
            LockTimeoutError: It stayed busy for that long. The caller holds nothing.
            DeadlockError: The thread that holds it waits, directly or through others, for a lock
                of the calling thread, or is the calling thread. The caller holds nothing new.
        """
        thread = threading.get_ident()
        with self._mutex:
            holder = self._holders.get(key)
            if holder is None:
                self._holders[key] = thread
                return
            # A caller that does not wait closes no circle, not even one of its own.
            if holder == thread and timeout != 0:
                raise DeadlockError(key, (key,))
            # Made for this wait, and not kept for later ones: by now gevent may have patched
            # threading, and a greenlet that waits for an older lock stops all others.
            turn = _Turn(threading.Lock(), thread)
            turn.lock.acquire()
            self._queues.setdefault(key, deque()).append(turn)
        waits = _waits.get(_Waits)
        try:
            if timeout != 0:
                waits.begin(thread, self, key)
            seconds = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
            granted = turn.lock.acquire(timeout=seconds)
        except BaseException:
            # A KeyboardInterrupt in the wait must neither stay in the queue nor keep the lock.
            if not self._withdraw(key, turn):
                self.release(key)
            raise
        finally:
            waits.end(thread)
        if not granted and self._withdraw(key, turn):
            raise LockTimeoutError(key, seconds)

    def release(self, key: str) -> None:
        """Hand the lock of a key to the thread that has waited longest; the key must be held."""
        with self._mutex:
            queue = self._queues.get(key)
            if queue is None:
                del self._holders[key]
                return
            # The key stays in the table: a newcomer must queue up behind the next holder.
            turn = queue.popleft()
            if not queue:
                del self._queues[key]
            self._holders[key] = turn.thread
            turn.lock.release()

    def holder_of(self, key: str) -> int | None:
        """The identifier of the thread that holds a key; `None` if the key is free."""
        return self._holders.get(key)

    def _withdraw(self, key: str, turn: _Turn) -> bool:
        """Leave the queue; false if the lock was handed over in the very moment of giving up."""
        with self._mutex:
            queue = self._queues.get(key)
            if queue is None or turn not in queue:
                return False
            queue.remove(turn)
            if not queue:
                del self._queues[key]
            return True


class _Turn(NamedTuple):
    """A place in a queue: a lock that is released when its thread's turn has come."""

    lock: threading.Lock
    thread: int


class _Waits:
    """
    The table of waits of this process, over all lock tables: which thread waits for which key.

    A circle of waits closes with its last wait, so each new wait looks along the chain of
    holders. A chain cannot change during the look: a thread in it waits, so it releases nothing,
    and a new wait needs the mutex of this table.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        # identifier of a waiting thread -> where it waits
        self._waits: dict[int, tuple[LockTable, str]] = {}

    def begin(self, thread: int, table: LockTable, key: str) -> None:
        """
        Note that a thread waits for a key.

        Raises:
            DeadlockError: The wait would close a circle; it is not noted.
        """
        with self._mutex:
            keys = [key]
            holder = table.holder_of(key)
            if holder == thread:
                # It was handed over since the thread queued up, so there is no wait.
                return
            while holder is not None and holder != thread:
                wait = self._waits.get(holder)
                if wait is None:
                    break
                keys.append(wait[1])
                following = wait[0].holder_of(wait[1])
                # It has just got the key that it waited for, and does not wait any more.
                holder = None if following == holder else following
            if holder == thread:
                raise DeadlockError(key, tuple(keys))
            self._waits[thread] = table, key

    def end(self, thread: int) -> None:
        """Note that a thread waits no more."""
        self._waits.pop(thread, None)


# Made anew after a fork: another thread of the parent may have had the mutex, and none of its
# waits is in the child.
_waits: PerProcess[_Waits] = PerProcess()
