"""The in-process locks: one for each key, first come, first served; and their deadlocks."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import NamedTuple, Protocol

from telesession.errors import DeadlockError, LockTimeoutError
from telesession.forks import PerProcess

_log = logging.getLogger("telesession")

# Seconds that a handler waits for a session before that is logged.
_LONG_WAIT = 1.0


class Working(Protocol):
    """The part of a unit of work that names its handler."""

    @property
    def holder(self) -> str:
        """The handler or the block in words."""
        ...


#: Identifier of a thread or greenlet -> its innermost unit, while it has one.
units: dict[int, Working] = {}

#: The holder of a lock that no thread of this process has.
OTHER_PROCESS = "another process"


def describe_thread(thread: int) -> str:
    """The handler that a thread of this process runs, in words."""
    unit = units.get(thread)
    return "another thread" if unit is None else unit.holder


class LockTable:
    """
    One lock for each key. The threads of one process wait for them.

    Threads get a busy key in the order in which they asked for it. `threading.Lock` alone gives the
    lock to the thread that the scheduler wakes first. An entry exists only while a thread holds or
    waits for its key, so an idle table is empty.

    Keep one table for as long as the storage it guards. Any thread may use it.

    Args:
        of_sessions: Whether the keys are those of sessions, so that long waits are logged.

    Attributes:
        holders: key -> the thread that holds it, and the time of the lock.
        queues: key -> queue of threads, in the order of their arrival. A queue is empty only after
            an interruption, until the next call for its key.
    """

    # Without waiters, taking a lock is one step of the interpreter, and so is releasing it. Neither
    # needs the mutex. A thread may take the lock between a release and the hand-over to the first
    # waiter. Then it finds the queue, gives the lock back and queues up. So the releasing thread,
    # that thread and a new waiter all call `_grant`, and one of the calls has an effect.

    def __init__(self, *, of_sessions: bool = False) -> None:
        self._of_sessions = of_sessions
        # A thread never blocks while it has the mutex. So the mutex may be a lock of threads, made
        # before gevent patched threading: no greenlet can find it taken by another one.
        self._mutex = threading.Lock()
        self.holders: dict[str, Holder] = {}
        self.queues: dict[str, deque[_Waiter]] = {}

    def __len__(self) -> int:
        """The number of held keys."""
        return len(self.holders)

    def acquire(self, key: str, timeout: float | None = None) -> None:
        """
        Take the lock of a key, after all threads that asked for it before.

        Args:
            key: Any string.
            timeout: Seconds to wait while others hold it; `None` waits for ever.

        Raises:
            LockTimeoutError: It stayed busy for that long. The caller holds nothing.
            DeadlockError: The thread that holds it is the calling thread, or waits directly or
                through others until the calling thread frees a lock. The caller holds nothing new.
        """
        me = threading.get_ident(), time.monotonic()
        try:
            # In one step: with a look and then an assignment, two threads could find the key free.
            if self.holders.setdefault(key, me) is not me or key in self.queues:
                me = self.wait(key, me, timeout)
        except BaseException:
            # After a KeyboardInterrupt the caller knows of no lock.
            self.withdraw(key, me)
            raise

    def release(self, key: str) -> None:
        """Hand the lock of a key to the thread that has waited longest; the key must be held."""
        del self.holders[key]
        try:
            # In this order, because a thread that queues up after the look finds the key free.
            if key in self.queues:
                self.hand_over(key)
        except BaseException:
            # The waiting threads need the key after a KeyboardInterrupt, too.
            self.hand_over(key)
            raise

    def hand_over(self, key: str) -> None:
        """Give a key that was released to its first waiter, if it is still free."""
        with self._mutex:
            self._grant(key)

    def holder_of(self, key: str) -> int | None:
        """The identifier of the thread that holds a key; `None` if the key is free."""
        holder = self.holders.get(key)
        return None if holder is None else holder[0]

    def describe_holder(
        self, key: str, otherwise: str = "another handler"
    ) -> tuple[str, float | None]:
        """
        The handler that holds a key, in words, and the seconds for which it has held the key.

        Args:
            key: The key.
            otherwise: The holder if no thread holds the key. Its seconds are `None`.
        """
        holder = self.holders.get(key)
        if holder is None:
            return otherwise, None
        thread, since = holder
        return describe_thread(thread), time.monotonic() - since

    def withdraw(self, key: str, me: Holder, waiter: _Waiter | None = None) -> None:
        """
        Leave the queue of a key, and free the key if this thread has it.

        It may come after an interruption of any step, and finishes a hand-over that was
        interrupted.

        Args:
            key: The key.
            me: The calling thread as a holder.
            waiter: Its place in the queue; `None` if it has none.
        """
        with self._mutex:
            queue = self.queues.get(key)
            if queue is not None and waiter is not None and waiter in queue:
                queue.remove(waiter)
            holder = self.holders.get(key)
            if holder is not None and (
                holder is me or (waiter is not None and holder is waiter.holder)
            ):
                del self.holders[key]
            if waiter is not None:
                waiter.is_queued = False
            self._grant(key)

    def wait(self, key: str, me: Holder, timeout: float | None) -> Holder:
        """
        Queue up for a key that is held or has a queue, and wait.

        Args:
            key: The key.
            me: The calling thread as a holder. The key may have this holder already.
            timeout: See `acquire`.

        Returns:
            The calling thread as the holder of the key from now on.

        Raises:
            LockTimeoutError: See `acquire`.
            DeadlockError: See `acquire`.
        """
        # Made for this wait, and not kept for later ones: by now gevent may have patched
        # threading, and a greenlet that waits for an older lock stops all others.
        thread, waiter = me[0], _Waiter(threading.Lock(), me[0])
        waiter.lock.acquire()
        try:
            self._queue_up(key, me, waiter, is_waiting=timeout != 0)
            seconds = -1 if timeout is None else min(timeout, threading.TIMEOUT_MAX)
            waits = _waits.get(_WaitTable)
            try:
                if timeout != 0:
                    waits.begin(thread, self, key, waiter)
                granted = self._acquire(key, waiter.lock, seconds, waits)
            finally:
                waits.end(thread)
            if not granted:
                self._give_up(key, waiter, seconds)
        except BaseException:
            # A KeyboardInterrupt must neither leave the waiter in the queue nor keep the lock.
            self.withdraw(key, me, waiter)
            raise
        return waiter.holder or me

    def _queue_up(self, key: str, me: Holder, waiter: _Waiter, *, is_waiting: bool) -> None:
        """Put a waiter at the end of a queue, and take back the lock that its thread has taken."""
        with self._mutex:
            holder = self.holders.get(key)
            # A caller that does not wait closes no circle.
            if holder is not None and holder[0] == me[0] and holder is not me and is_waiting:
                raise DeadlockError(key, (key,))
            self.queues.setdefault(key, deque()).append(waiter)
            if holder is me:
                del self.holders[key]
            self._grant(key)

    def _acquire(self, key: str, lock: threading.Lock, seconds: float, waits: _WaitTable) -> bool:
        """Wait for a lock for some seconds (-1 is for ever), and log a long wait."""
        if self._of_sessions and not 0 <= seconds <= _LONG_WAIT:
            if lock.acquire(timeout=_LONG_WAIT):
                return True
            _log_wait(key, *self.describe_holder(key))
            if not waits.is_hinted and _is_in_telebots_pool():
                waits.hint()
            seconds = seconds if seconds < 0 else seconds - _LONG_WAIT
        return lock.acquire(timeout=seconds)

    def _grant(self, key: str) -> None:
        """Give a key to its first waiter if it is free. The caller has the mutex."""
        queue = self.queues.get(key)
        if not queue:
            # An interruption may have left an empty one.
            self.queues.pop(key, None)
            return
        waiter = queue[0]
        # After an interruption of a hand-over the waiter has the key already.
        if waiter.holder is None or self.holders.get(key) is not waiter.holder:
            # Made now: a handler that waits for a key does not hold it yet.
            waiter.holder = waiter.thread, time.monotonic()
        if self.holders.setdefault(key, waiter.holder) is waiter.holder:
            # No call comes between these steps, so no KeyboardInterrupt does.
            waiter.is_queued = False
            del queue[0]
            if not queue:
                del self.queues[key]
            waiter.lock.release()

    def _give_up(self, key: str, waiter: _Waiter, seconds: float) -> None:
        """
        Leave the queue, unless the lock was handed over before that.

        Raises:
            LockTimeoutError: It was not; the wait took some seconds.
        """
        with self._mutex:
            if not waiter.is_queued:
                return
            waiter.is_queued = False
            queue = self.queues[key]
            queue.remove(waiter)
            if not queue:
                del self.queues[key]
        raise LockTimeoutError(key, seconds, *self.describe_holder(key))


class LongWait:
    """
    A wait for a session that another process has, which is logged once if it takes long.

    Args:
        key: The storage key of the session.
    """

    __slots__ = ("_began", "_key")

    def __init__(self, key: str) -> None:
        self._key = key
        self._began: float | None = time.monotonic()

    def go_on(self) -> None:
        """Note that the wait goes on."""
        if self._began is not None and time.monotonic() - self._began >= _LONG_WAIT:
            self._began = None
            _log_wait(self._key, OTHER_PROCESS)


def _log_wait(key: str, holder: str, held: float | None = None) -> None:
    """
    Log that a handler waits for a session for longer than `_LONG_WAIT`.

    Args:
        key: The storage key of the session.
        holder: The handler that has the session, in words.
        held: Seconds for which that handler has had the session; `None` if they are not known.
    """
    has_it = "has it" if held is None else f"has had it for {held:.1f} s"
    _log.warning(
        "a handler waits for session %r for more than %g s; %s %s", key, _LONG_WAIT, holder, has_it
    )


def _is_in_telebots_pool() -> bool:
    """Whether this thread is a worker of telebot's own pool. The poll thread is not a worker."""
    thread = threading.current_thread()
    # By name, because this module does not import telebot. The names are those of telebot 4.37.1.
    return type(thread).__module__ == "telebot.util" and thread.name != "PollingThread"


#: The identifier of a thread, and the monotonic time at which it took a lock. Each lock that it
#: takes has an object of its own.
Holder = tuple[int, float]


class _Waiter:
    """A thread in a queue, with a lock that is released when the thread gets the key."""

    __slots__ = ("holder", "is_queued", "lock", "thread")

    def __init__(self, lock: threading.Lock, thread: int) -> None:
        self.lock = lock
        self.thread = thread
        #: The thread as the holder of the key, once it has the key or could have had it.
        self.holder: Holder | None = None
        #: Whether the thread waits. Once false, it stays false.
        self.is_queued = True


class _Wait(NamedTuple):
    """The key that a thread waits for, and the thread in the queue of the key."""

    table: LockTable
    key: str
    waiter: _Waiter


class _WaitTable:
    """
    The table of waits of this process, over all lock tables: which thread waits for which key.

    The last wait of a circle closes it, so each new wait looks along the chain of holders. New
    waits need the mutex of this table, and waits end without it. So an entry can be older than the
    hand-over of its key, and a chain can change during the look.

    Attributes:
        is_hinted: Whether this process has logged the advice of `hint`.
    """

    def __init__(self) -> None:
        self.is_hinted = False
        self._mutex = threading.Lock()
        # identifier of a waiting thread -> its wait
        self._waits: dict[int, _Wait] = {}

    def begin(self, thread: int, table: LockTable, key: str, waiter: _Waiter) -> None:
        """
        Note that a thread waits for a key.

        Raises:
            DeadlockError: The wait would close a circle; it is not noted.
        """
        with self._mutex:
            # waiter -> its key
            chain = {waiter: key}
            holder = table.holder_of(key)
            if holder == thread:
                # The thread got the key after it queued up, so it does not wait.
                return
            while holder is not None and holder != thread:
                wait = self._waits.get(holder)
                # A waiter may come twice while its key is being handed over: an endless walk.
                if wait is None or not wait.waiter.is_queued or wait.waiter in chain:
                    break
                chain[wait.waiter] = wait.key
                holder = wait.table.holder_of(wait.key)
            # This check must come after the walk. Each waiter was queued before the walk, because
            # new waits need the mutex, and a waiter never returns to its queue. So if all waiters
            # are still queued, all threads have waited during the whole walk. A waiting thread
            # releases nothing, so the circle is real.
            if holder == thread and all(waiter.is_queued for waiter in chain):
                raise DeadlockError(key, tuple(chain.values()))
            self._waits[thread] = _Wait(table, key, waiter)

    def end(self, thread: int) -> None:
        """Note that a thread no longer waits."""
        self._waits.pop(thread, None)

    def hint(self) -> None:
        """Log once the call that lets updates wait without a thread."""
        with self._mutex:
            is_first, self.is_hinted = not self.is_hinted, True
        if is_first:
            _log.warning(
                "a handler has waited for more than %g s for a session that another handler has; "
                "on telebot's own pool each wait occupies a thread, so other users wait, too; "
                "write use_sequential_workers(bot) before the bot starts",
                _LONG_WAIT,
            )


# A new table after a fork: another thread of the parent may have had the mutex, and the waits of
# the parent do not exist in the child.
_waits: PerProcess[_WaitTable] = PerProcess()
