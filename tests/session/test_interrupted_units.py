"""A KeyboardInterrupt at any point of an update leaves no lock, no unit and no half commit."""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.interruptions import interrupt
from support.updates import message_from
from telesession import LockTimeoutError, MemoryStorage, Session, Sessions, on_commit
from telesession.locks import units
from telesession.unit.unit import unit_of_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "1"
# The `with` statement itself calls `__exit__`, so an exception at its beginning skips all of it.
OUT_OF_REACH = ("Opening.__exit__",)


class Bot:
    """A storage with two sessions, and the handlers of it."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.sessions = Sessions(
            initial=lambda: {"count": 0}, storage=self.storage, lock_timeout=PATIENCE
        )
        self.update = message_from(int(KEY))
        self.count = self.sessions.with_session(self._count)
        self.count_twice = self.sessions.with_session(self._count_twice)
        self.fail = self.sessions.with_session(self._fail)
        for key in (KEY, 2):
            with self.sessions.open(key) as session:
                session.count = 10

    def _count(self, _update: Any, session: Session) -> None:
        session.count += 1

    def _count_twice(self, _update: Any, session: Session) -> None:
        session.count += 1
        with self.sessions.open(2) as second:
            second.count += 1
        on_commit(len, ())

    def _fail(self, _update: Any, session: Session) -> None:
        session.count += 1
        raise ZeroDivisionError

    def count_both(self) -> None:
        """Count in both sessions of a block."""
        with self.sessions.open(KEY, 2) as (first, second):
            first.count += 1
            second.count += 1

    def move(self) -> None:
        """Give a session another key."""
        self.sessions.move(KEY, 3)

    def counts(self) -> list[int]:
        """The counts of all sessions."""
        return sorted(session.count for _, session in self.sessions.items())

    def leftovers(self) -> list[str]:
        """The locks, waiters and units that are left."""
        locks = self.storage.process_state.locks
        is_in_table = threading.get_ident() in units
        unit = unit_of_thread()
        left = {
            "lock": bool(locks.holders),
            "waiter": bool(locks.queues),
            "unit": unit is not None,
            "name of a unit": is_in_table,
        }
        if unit is not None:
            unit.abandon()
        return [name for name, is_left in left.items() if is_left]


def every_point(run: Callable[[Bot], object]) -> Iterator[tuple[str, Bot]]:
    """Run a function of a new bot once for each point, and interrupt it there."""
    number = 0
    while True:
        bot = Bot()
        where = interrupt(lambda bot=bot: run(bot), number)  # type: ignore[misc]
        if where is None:
            return
        yield where, bot
        number += 1


UPDATES: dict[str, tuple[Callable[[Bot], object], list[list[int]]]] = {
    "a handler": (lambda bot: bot.count(bot.update), [[10, 10], [10, 11]]),
    "a block inside": (lambda bot: bot.count_twice(bot.update), [[10, 10], [11, 11]]),
    "two keys": (lambda bot: bot.count_both(), [[10, 10], [11, 11]]),
    "a failure": (lambda bot: bot.fail(bot.update), [[10, 10]]),
    "a move": (lambda bot: bot.move(), [[10, 10]]),
    "a deletion": (lambda bot: bot.sessions.delete(KEY), [[10], [10, 10]]),
}


@pytest.mark.parametrize("name", UPDATES)
def test_interruption_of_an_update_leaves_nothing(name: str) -> None:
    """An interrupted update leaves no lock and no unit, and its commit is done or not done."""
    run, expected = UPDATES[name]
    faults = []
    points = 0
    for where, bot in every_point(run):
        points += 1
        left = bot.leftovers()
        if where.startswith(OUT_OF_REACH):
            continue
        counts = bot.counts()
        if left or counts not in expected:
            faults.append((where, left, counts))
    assert [] == faults
    assert points > 40


def holder_until_asked(bot: Bot, waiter: threading.Thread) -> Callable[[Any], None]:
    """Make a handler that returns once another thread waits for its session."""
    locks = bot.storage.process_state.locks

    @bot.sessions.with_session
    def hold(_update: Any, session: Session) -> None:
        waiter.start()
        while KEY not in locks.queues:
            waiter.join(0.001)

    return hold


def test_interrupted_hand_over_reaches_the_waiter() -> None:
    """A handler that is interrupted while it frees its lock hands the lock to the waiter."""
    faults = []
    number, where = 0, "nowhere"
    while where is not None:
        bot = Bot()
        waiter = threading.Thread(target=bot.count, args=[bot.update])
        hold = holder_until_asked(bot, waiter)
        where = interrupt(partial(hold, bot.update), number)
        if waiter.ident is not None:
            waiter.join(PATIENCE)
            if bot.counts() != [10, 11]:
                faults.append((where, "the waiter got no lock"))
        if left := bot.leftovers():
            faults.append((where, *left))
        number += 1
    assert [] == faults
    assert number > 40


@pytest.mark.parametrize("timeout", [PATIENCE, 0])
def test_interrupted_wait_leaves_the_queue(timeout: float) -> None:
    """A handler that is interrupted while it waits leaves neither its place nor a lock."""
    faults = []
    for number in range(1000):
        bot = Bot()
        locks = bot.storage.process_state.locks
        is_held, may_free = threading.Event(), threading.Event()

        def hold(is_held: Any = is_held, may_free: Any = may_free, locks: Any = locks) -> None:
            locks.acquire(KEY)
            is_held.set()
            while not may_free.is_set() and KEY not in locks.queues:
                may_free.wait(0.001)
            locks.release(KEY)

        def wait(locks: Any = locks) -> None:
            try:
                locks.acquire(KEY, timeout)
            except LockTimeoutError:
                return
            locks.release(KEY)

        holder = threading.Thread(target=hold)
        holder.start()
        assert is_held.wait(PATIENCE)
        where = interrupt(wait, number)
        may_free.set()
        holder.join(PATIENCE)
        if left := bot.leftovers():
            faults.append((where, *left))
        if where is None:
            break
    # `LockTable.release` of the test itself is not protected by a unit.
    assert [] == [fault for fault in faults if "release" not in str(fault[0])]
    assert number > 10


def test_no_trace_is_left() -> None:
    """An interruption puts back the trace function that was there."""
    before = sys.gettrace()
    assert interrupt(lambda: Bot().move(), 3) is not None
    assert sys.gettrace() is before
