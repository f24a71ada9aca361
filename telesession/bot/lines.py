"""Lines: work that is done in order for each key, and in parallel for different keys."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

from telesession.forks import PerProcess

T = TypeVar("T")

_log = logging.getLogger("telesession")

WhenFull = Literal["block", "drop"]


class Limits(NamedTuple):
    """
    How much may wait in the lines.

    Args:
        each: The number of items of one key; `None` is any number.
        total: The number of items of all keys together; `None` is any number.
        when_full: Whether `add` waits for room or refuses the item.
    """

    each: int | None = None
    total: int | None = None
    when_full: WhenFull = "block"


class Lines(Generic[T]):
    """
    Items that wait in a line for each key, and the threads that work them off.

    A worker takes the first item of the key whose turn it is. When the item is done, the key goes
    to the end of the queue of keys. So an item that waits for another one occupies no thread, and
    a key with a thousand items delays another by one turn. A key is remembered for as long as an
    item of it waits or is worked on.

    The threads start with the first item of each process. A process that is forked begins with no
    threads and no items. Any thread may use it.

    Args:
        work: Does the work of one item. An exception of it is logged.
        num_threads: The number of threads, which are daemons.
        limits: How much may wait.

    Attributes:
        closed: Whether `close` was called.
        on_start: Called in each process before its threads start.
        on_done: Called after each item, in its thread.
        on_end: Called by the last thread that ends after the lines were closed.
    """

    on_start: Callable[[], object]
    on_done: Callable[[], object]
    on_end: Callable[[], object]

    def __init__(self, work: Callable[[T], object], num_threads: int, limits: Limits) -> None:
        self.num_threads = num_threads
        self.limits = limits
        self.closed = False
        self._work = work
        self.on_start = self.on_done = self.on_end = _nothing
        self._crews: PerProcess[_Crew[T]] = PerProcess()

    @property
    def crew(self) -> _Crew[T]:
        """The threads of this process."""
        return self._crews.get(_Crew)

    def add(self, key: object, item: T, *, is_refusable: bool = True) -> str | None:
        """
        Put an item at the end of the line of its key, or return the reason if it is refused.

        Args:
            key: The key; `None` for an item that waits for no other.
            item: The item.
            is_refusable: Whether the limits may refuse it. If not, it only waits until it is
                within the total limit. Closed lines refuse each item.

        Raises:
            RuntimeError: The system starts no thread.
        """
        crew = self.crew
        # Not queueing up: a thread gets a lock that it queues up for while it still waits for the
        # GIL. A worker would then find it taken and queue up as well, and so on, with two switches
        # of threads for each update.
        while not crew.mutex.acquire(blocking=False):
            time.sleep(0)
        crew.adding = threading.get_ident()
        try:
            if self.closed:
                return "the worker pool is closed"
            self._start_threads(crew)
            place = object() if key is None else key
            line = crew.lines.get(place)
            if is_refusable and (fault := self._fault(crew, place, line)):
                return fault
            if line is None:
                line = crew.lines[place] = _Line()
                crew.ready.append(place)
                crew.work.notify()
            line.items.append(item)
            crew.waiting += 1
            self._wait_for_room(crew, line if is_refusable else None)
            return None
        finally:
            crew.adding = None
            crew.mutex.release()

    def close(self, drain: float | None, *, only_running: bool = False) -> None:
        """
        Take no more items, let the threads work off the rest for some time, and end them.

        It returns when all is done or the time is over, whichever comes first. A thread of these
        lines may call it: its own line goes on as soon as its item is done. May be repeated, and
        counts the time from the first call.

        Args:
            drain: Seconds; `None` is any time.
            only_running: Whether the items that wait are left at once.
        """
        caller, crew = threading.current_thread(), self.crew
        if crew.adding == threading.get_ident():
            # The handler of a signal closes in the thread that adds, and has the mutex. The end of
            # the program closes once more.
            self.closed = True
            return
        with crew.mutex:
            if not self.closed or crew.deadline is None:
                self.closed = True
                crew.deadline = None if drain is None else time.monotonic() + drain
            crew.only_running |= only_running
            crew.work.notify_all()
            crew.room.notify_all()
            threads = set(crew.workers)
            is_worker = caller in threads
            if is_worker:
                # Two workers that close the lines at once must not wait for each other.
                crew.closing.add(caller)
                threads -= crew.closing
        try:
            for thread in threads:
                thread.join(crew.time_left())
        finally:
            with crew.mutex:
                crew.closing.discard(caller)

    def _start_threads(self, crew: _Crew[T]) -> None:
        """Start the missing threads, while the mutex keeps them from looking for work."""
        if not crew.workers:
            self.on_start()
        for number in range(len(crew.workers) + 1, self.num_threads + 1):
            name = f"SequentialWorker-{number}"
            worker = threading.Thread(target=self._run_all, args=(crew,), name=name, daemon=True)
            worker.start()
            crew.workers.append(worker)

    def _fault(self, crew: _Crew[T], key: object, line: _Line[T] | None) -> str | None:
        """The reason why an item is refused; `None` if it is not."""
        limits = self.limits
        if limits.when_full != "drop":
            return None
        if line is not None and limits.each is not None and len(line.items) >= limits.each:
            return f"{limits.each} updates of {key!r} wait already, which is the limit"
        if limits.total is not None and crew.waiting >= limits.total:
            return f"{limits.total} updates wait already, which is the total limit"
        return None

    def _wait_for_room(self, crew: _Crew[T], line: _Line[T] | None) -> None:
        """Hold back the caller that put the last item of a line, until it is within the limits."""
        each, total, _ = self.limits
        # A worker that waited for itself would wait for ever.
        if threading.current_thread() in crew.workers:
            return
        if each is None and total is None:
            return
        # The waits below give up the mutex.
        crew.adding = None
        if each is not None and line is not None:
            place = line.taken + len(line.items)
            crew.room.wait_for(lambda: self.closed or place - line.taken <= each)
        if total is not None:
            crew.room.wait_for(lambda: self.closed or crew.waiting <= total)

    def _run_all(self, crew: _Crew[T]) -> None:
        found: _Found[T] | None = None
        while found := found or self._wait(crew):
            # An idle worker must not keep the update that it had.
            key, found = self._run(found), None
            # A child that the handler forked ends here: the queue that it has is its parent's.
            if crew is not self.crew:
                return
            found = self._next(crew, key)
            self.on_done()
        with crew.mutex:
            crew.ended += 1
            is_last = crew.ended == len(crew.workers)
        if is_last:
            self.on_end()

    def _run(self, found: _Found[T]) -> object:
        """Work off an item, and return its key."""
        try:
            self._work(found.item)
        except Exception:  # noqa: BLE001 -- the worker goes on
            _log.exception("a worker goes on after an exception of its own")
        return found.key

    def _wait(self, crew: _Crew[T]) -> _Found[T] | None:
        """Wait for an item and take it; `None` if this thread has had its last one."""
        with crew.mutex:
            crew.work.wait_for(lambda: crew.ready or self.closed)
            return self._find_work(crew)

    def _next(self, crew: _Crew[T], key: object) -> _Found[T] | None:
        """Give back the key of an item that is done, and take another item if there is one."""
        # In one step: each look for work costs a lock for which all threads queue up.
        with crew.mutex:
            crew.give_back(key)
            return self._find_work(crew)

    def _find_work(self, crew: _Crew[T]) -> _Found[T] | None:
        if not crew.ready or (self.closed and (crew.only_running or crew.time_left() == 0)):
            return None
        key = crew.ready.popleft()
        item = crew.lines[key].take()
        crew.waiting -= 1
        crew.running += 1
        crew.room.notify_all()
        return _Found(key, item)


class _Found(NamedTuple, Generic[T]):
    """An item that a worker has taken, and its key."""

    key: object
    item: T


class _Crew(Generic[T]):
    """
    The threads of one process, and the items that wait for them.

    Made with the first item of the process, and not before: gevent may patch `threading` after the
    lines were made, and a greenlet that waits for a lock from before stops all others.

    Attributes:
        workers: The threads that were started.
        mutex: Guards the others.
        work: Notified when a key becomes ready, or the lines are closed.
        room: Notified when an item leaves its line, or the lines are closed.
        lines: key -> its items, while one of them runs or waits.
        ready: The keys that have items, none of which runs.
        waiting: The number of items that wait.
        running: The number of items that are worked on.
        deadline: When closed lines end, items or not; monotonic seconds, `None` is any time.
        only_running: Whether closed lines end after the items that are worked on.
        ended: The number of threads that have ended.
        adding: The identifier of the thread that adds an item just now.
        closing: The threads that close the lines just now.
    """

    def __init__(self) -> None:
        self.workers: list[threading.Thread] = []
        self.mutex = threading.Lock()
        self.work = threading.Condition(self.mutex)
        self.room = threading.Condition(self.mutex)
        self.lines: dict[object, _Line[T]] = {}
        self.ready: deque[object] = deque()
        self.waiting = 0
        self.running = 0
        self.deadline: float | None = None
        self.only_running = False
        self.ended = 0
        self.adding: int | None = None
        self.closing: set[threading.Thread] = set()

    @property
    def unfinished(self) -> int:
        """The number of items that wait or are worked on."""
        with self.mutex:
            return self.waiting + self.running

    def time_left(self) -> float | None:
        """Seconds to work off closed lines; `None` is any time."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0)

    def give_back(self, key: object) -> None:
        """Put a key into the queue again if it has more items, else forget it; with the mutex."""
        self.running -= 1
        line = self.lines.get(key)
        if line is None:
            return
        if line.items:
            # No worker needs to be woken for it: this one is about to look.
            self.ready.append(key)
        else:
            del self.lines[key]

    def give_up(self) -> list[T]:
        """Forget all items that wait, and return them."""
        with self.mutex:
            items = [item for line in self.lines.values() for item in line.items]
            self.lines, self.ready, self.waiting = {}, deque(), 0
            self.room.notify_all()
        return items


class _Line(Generic[T]):
    """The items of one key that wait, and the number of those that were taken before them."""

    __slots__ = ("items", "taken")

    def __init__(self) -> None:
        self.items: deque[T] = deque()
        self.taken = 0

    def take(self) -> T:
        """Take the first item."""
        self.taken += 1
        return self.items.popleft()


def _nothing() -> None:
    pass
