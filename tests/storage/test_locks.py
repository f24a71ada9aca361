"""The in-process lock table."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import freezegun
import pytest
from hypothesis import given, settings, strategies as st

from support.clocks import PATIENCE, examples
from support.threads import (
    HookedDict,
    Interrupt,
    OtherThread,
    Waits,
    WatchedLock,
    throw,
    wait_for,
)
from telesession import LockTimeoutError
from telesession.locks import LockTable

if TYPE_CHECKING:
    from collections.abc import Callable


class LastComeFirstServed:
    """A lock table that hands a key to whoever asked last: the control of the order."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits
        self._turns: dict[str, deque[WatchedLock]] = {}

    def acquire(self, key: str, timeout: float) -> None:
        if key not in self._turns:
            self._turns[key] = deque()
            return
        turn = self._waits.make_lock()
        turn.acquire()
        self._turns[key].append(turn)
        turn.acquire(timeout=timeout)

    def release(self, key: str) -> None:
        if self._turns[key]:
            self._turns[key].pop().release()
        else:
            del self._turns[key]


class NoLocks(LockTable):
    """A lock table that does nothing: the control of exclusive use."""

    def acquire(self, key: str, timeout: float | None = None) -> None:
        pass

    def release(self, key: str) -> None:
        pass


class Waiters:
    """
    Threads that ask for one key of a lock table, one after the other, and release it again.

    `served` has their names in the order in which they got the key, `errors` what the others got.
    """

    def __init__(self, table: Any, key: str, waits: Waits) -> None:
        self.table = table
        self.key = key
        self.waits = waits
        self.served: list[str] = []
        self.errors: dict[str, BaseException] = {}
        self._threads: dict[str, threading.Thread] = {}

    def start(self, name: str, timeout: float = PATIENCE) -> None:
        """Start a thread, whether it waits or not."""
        thread = threading.Thread(target=self._ask, args=(name, timeout), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def add(self, name: str, timeout: float = PATIENCE) -> None:
        """Start a thread, and come back when it waits."""
        self.start(name, timeout)
        assert name == self.waits.next()

    def name_of(self, identifier: int | None) -> str | None:
        """The name of the thread with an identifier; `None` if it is none of these threads."""
        names = {thread.ident: name for name, thread in self._threads.items()}
        return names.get(identifier)

    def add_late(self, name: str, end: Callable[[], object] = bool) -> Callable[[], None]:
        """Start a thread whose wait is over, and that does not notice before this is called."""
        is_over, noticing = threading.Event(), threading.Event()

        def linger() -> None:
            is_over.set()
            noticing.wait(PATIENCE)
            end()

        self.waits.disturb(linger, name)
        self.add(name, 0.001)
        assert is_over.wait(PATIENCE)
        return noticing.set

    def join(self, *names: str) -> None:
        """Wait until the threads of these names have ended, all of them if there are none."""
        for name in names or self._threads:
            self._threads[name].join(PATIENCE)
            assert (name, False) == (name, self._threads[name].is_alive())

    def _ask(self, name: str, timeout: float) -> None:
        try:
            self.table.acquire(self.key, timeout)
        except BaseException as error:
            self.errors[name] = error
        else:
            self.served.append(name)
            self.table.release(self.key)


def is_free(table: LockTable, key: str) -> bool:
    """Whether nobody holds a key."""
    try:
        table.acquire(key, 0)
    except LockTimeoutError:
        return False
    table.release(key)
    return True


def order_of_service(table: Any, waits: Waits, names: list[str]) -> list[str]:
    """The order in which threads get a busy key that ask for it in the order of `names`."""
    table.acquire("anna", PATIENCE)
    waiters = Waiters(table, "anna", waits)
    for name in names:
        waiters.add(name)
    table.release("anna")
    waiters.join()
    return waiters.served


def most_at_once(table: LockTable, threads: int, meet: Callable[[int], object]) -> int:
    """How many threads at most had the same key at once; each calls `meet` with its number."""
    inside: set[int] = set()
    most = [0]

    def use(number: int) -> None:
        table.acquire("anna", PATIENCE)
        inside.add(number)
        meet(number)
        most.append(len(inside))
        meet(number)
        inside.remove(number)
        table.release("anna")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(use, range(threads), timeout=PATIENCE))
    return max(most)


# Taking and giving back


@pytest.mark.parametrize("timeout", [0, 0.001, 5, 1e12, None])
def test_free_key_is_taken_at_once_whatever_the_timeout(timeout: float | None) -> None:
    """Nobody waits for a key that nobody holds, so that a timeout of 0 is enough for it."""
    table = LockTable()
    table.acquire("anna", timeout)
    assert (1, False) == (len(table), is_free(table, "anna"))
    table.release("anna")
    assert (0, True) == (len(table), is_free(table, "anna"))


def test_key_is_held_by_one_thread_at_a_time(waits: Waits) -> None:
    """Of 8 threads that want the same key, 7 wait while one has it."""
    waiting: list[str] = []

    def meet(number: int) -> None:
        while len(waiting) < 7:
            waiting.append(waits.next())

    assert 1 == most_at_once(LockTable(), 8, meet)


def test_lock_table_that_does_nothing_lets_every_thread_in() -> None:
    """The control: without locks, the same 8 threads have the key at once."""
    barrier = threading.Barrier(8)
    assert 8 == most_at_once(NoLocks(), 8, lambda number: barrier.wait(PATIENCE))


def test_lock_is_not_reentrant() -> None:
    """A thread that asks for a key it holds waits like any other."""
    table = LockTable()
    table.acquire("anna")
    with pytest.raises(LockTimeoutError):
        table.acquire("anna", 0)


def test_lock_may_be_given_back_by_another_thread() -> None:
    """A key belongs to its holder, whichever thread says that the use is over."""
    table = LockTable()
    table.acquire("anna")
    with OtherThread() as other:
        other.call(table.release, "anna")
    assert (0, True) == (len(table), is_free(table, "anna"))


def test_keys_are_independent() -> None:
    """A thousand held keys keep nobody from another one, and giving one back frees only it."""
    table = LockTable()
    keys = [f"user {number}" for number in range(1000)]
    for key in keys:
        table.acquire(key, 0)
    assert (1000, True) == (len(table), is_free(table, "somebody else"))
    table.release(keys[500])
    assert [keys[500]] == [key for key in keys if is_free(table, key)]


@pytest.mark.parametrize("key", ["", "anna", "chat:-100", "\x00", "ключ 🔑", "a" * 10_000])
def test_any_string_is_a_key(key: str) -> None:
    """Any string can be locked, and no other one with it."""
    table = LockTable()
    table.acquire(key)
    assert (False, True) == (is_free(table, key), is_free(table, f"{key} "))


def test_entry_exists_only_while_somebody_holds_or_waits(waits: Waits) -> None:
    """Locks are kept only while somebody holds or waits, however many keys there were."""
    table = LockTable()
    for number in range(10_000):
        table.acquire(f"user {number}")
        table.release(f"user {number}")
    assert 0 == len(table)
    assert ["b", "c"] == order_of_service(table, waits, ["b", "c"])
    assert 0 == len(table)


def test_threads_at_random_keys_exclude_each_other_and_leave_nothing_behind() -> None:
    """8 threads on 5 keys count without losing a step, and the table is empty afterwards."""
    table = LockTable()
    counters = dict.fromkeys("abcde", 0)

    def count(start: int) -> None:
        for step in range(400):
            key = "abcde"[(start + step * step) % 5]
            table.acquire(key, PATIENCE)
            value = counters[key]
            time.sleep(0)
            counters[key] = value + 1
            table.release(key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    assert (8 * 400, 0) == (sum(counters.values()), len(table))


# Order


def test_waiters_are_served_in_the_order_of_their_arrival(waits: Waits) -> None:
    """Waiters get a busy key in arrival order."""
    names = [f"waiter {number}" for number in range(8)]
    assert names == order_of_service(LockTable(), waits, names)


def test_order_of_service_sees_an_unfair_lock(waits: Waits) -> None:
    """The control: a table that serves whoever came last shows another order."""
    names = [f"waiter {number}" for number in range(8)]
    assert names[::-1] == order_of_service(LastComeFirstServed(waits), waits, names)


def test_newcomer_does_not_overtake_a_waiter_that_has_not_woken_up_yet(waits: Waits) -> None:
    """A key that was handed over is taken, even before its new holder has run again."""
    table = LockTable()
    asleep, awake = threading.Event(), threading.Event()

    def oversleep() -> None:
        asleep.set()
        awake.wait(PATIENCE)

    table.acquire("anna")
    waits.disturb(oversleep, "b")
    waiters = Waiters(table, "anna", waits)
    waiters.add("b")
    table.release("anna")
    assert asleep.wait(PATIENCE)
    assert (False, []) == (is_free(table, "anna"), waiters.served)
    awake.set()
    waiters.join()
    assert (["b"], 0) == (waiters.served, len(table))


def test_waiters_that_give_up_leave_the_others_in_order(waits: Waits) -> None:
    """Whoever gave up, in front or behind, is skipped, and the others keep their order."""
    table = LockTable()
    table.acquire("anna")
    waiters = Waiters(table, "anna", waits)
    for name, timeout in zip("bcdefg", [0, PATIENCE, 0.001, 0.001, PATIENCE, 0], strict=True):
        waiters.add(name, timeout)
    waiters.join(*"bdeg")
    table.release("anna")
    waiters.join()
    assert (["c", "f"], set("bdeg")) == (waiters.served, set(waiters.errors))
    assert {LockTimeoutError} == set(map(type, waiters.errors.values()))
    assert 0 == len(table)


@settings(max_examples=examples(30))
@given(st.lists(st.sampled_from(["stays", "times out", "is interrupted"]), max_size=8))
def test_whoever_leaves_the_queue_the_rest_is_served_in_order(fates: list[str]) -> None:
    """In any queue of waiters, those who stay are served in order, and nothing stays behind."""
    staying = [f"{number}" for number, fate in enumerate(fates) if fate == "stays"]
    leaving = [f"{number}" for number, fate in enumerate(fates) if fate != "stays"]
    with pytest.MonkeyPatch.context() as monkeypatch:
        waits = Waits.watch(monkeypatch)
        table = LockTable()
        table.acquire("anna")
        waiters = Waiters(table, "anna", waits)
        for number, fate in enumerate(fates):
            if fate == "is interrupted":
                waits.disturb(lambda: throw(KeyboardInterrupt), f"{number}")
            waiters.add(f"{number}", PATIENCE if fate == "stays" else 0)
        for name in leaving:
            waiters.join(name)
        table.release("anna")
        waiters.join()
    assert (staying, set(leaving), 0) == (waiters.served, set(waiters.errors), len(table))


# Without the mutex


class LooksFirst(LockTable):
    """The control of exclusive use: a table that looks for a holder, and then takes the key."""

    def acquire(self, key: str, timeout: float | None = None) -> None:
        if key in self.holders:
            raise LockTimeoutError(key, 0)
        self.holders[key] = threading.get_ident(), 0.0


class Overtakes(LockTable):
    """The control of the order: a lock table in which a newcomer keeps a key that others want."""

    def acquire(self, key: str, timeout: float | None = None) -> None:
        me = (threading.get_ident(),)
        if self.holders.setdefault(key, me) is not me:
            self.wait(key, me, timeout)


class TakesBack(LockTable):
    """The control of the hand-over: a lock table that gives a key away, free or not."""

    def release(self, key: str) -> None:
        del self.holders[key]
        if key in self.queues:
            self.holders.pop(key, None)
            self._grant(key)


class ReliesOnRelease(LockTable):
    """The control of the wake-up: a lock table in which only `release` hands a key over."""

    def release(self, key: str) -> None:
        del self.holders[key]
        if key in self.queues:
            super()._grant(key)

    def _grant(self, key: str) -> None:
        pass


def hooked(table: LockTable) -> Any:
    """The lock table, with hooks in each look at its holders and queues."""
    table.holders, table.queues = HookedDict(), HookedDict()
    return table


class Paused:
    """An action of a hook that stops its thread until `go_on` is called."""

    def __init__(self) -> None:
        self._begun, self._going_on = threading.Event(), threading.Event()
        self.go_on = self._going_on.set

    def __call__(self) -> None:
        self._begun.set()
        wait_for(self._going_on)

    def wait_for(self) -> None:
        """Come back when the thread has stopped."""
        wait_for(self._begun)


def name_of(thread: OtherThread) -> str:
    name: str = thread.call(lambda: threading.current_thread().name)
    return name


def release_slowly(table: Any, other: OtherThread) -> tuple[Paused, Any]:
    """Begin a release by another thread that stops when the key is free and not handed over."""
    paused = Paused()
    table.holders.call_after("__delitem__", "anna", paused, name_of(other))
    releasing = other.submit(table.release, "anna")
    paused.wait_for()
    return paused, releasing


@pytest.mark.parametrize(("make", "expected"), [(LockTable, False), (LooksFirst, True)])
def test_key_taken_just_before_another_thread_takes_it_is_busy(
    make: Callable[[], LockTable], expected: bool
) -> None:
    """Of two threads that find a key free, one has it; the control lets both in."""
    table = hooked(make())
    with OtherThread() as other:
        take = partial(other.call, table.acquire, "anna", 0)
        table.holders.call_before("setdefault", "anna", take)
        table.holders.call_after("__contains__", "anna", take)
        try:
            table.acquire("anna", 0)
        except LockTimeoutError:
            both = False
        else:
            both = True
    assert (expected, 1) == (both, len(table))


@pytest.mark.parametrize(("make", "expected"), [(LockTable, ["b", "c"]), (Overtakes, ["c", "b"])])
def test_newcomer_between_release_and_hand_over_is_served_after_the_waiter(
    waits: Waits, make: Callable[[], LockTable], expected: list[str]
) -> None:
    """A thread that takes the free key in that moment gives it to the first waiter."""
    table = hooked(make())
    awake = threading.Event()
    table.acquire("anna")
    waits.disturb(lambda: wait_for(awake), "b")
    waiters = Waiters(table, "anna", waits)
    waiters.add("b")

    def come() -> None:
        if make is LockTable:
            waiters.add("c")
        else:
            waiters.start("c")
            waiters.join("c")
        awake.set()

    table.holders.call_after("__delitem__", "anna", come)
    table.release("anna")
    waiters.join()
    assert (expected, {}, 0) == (waiters.served, waiters.errors, len(table))


@pytest.mark.parametrize(("make", "expected"), [(LockTable, "c"), (TakesBack, "b")])
def test_key_is_not_handed_over_while_a_newcomer_has_it(
    waits: Waits, make: Callable[[], LockTable], expected: str
) -> None:
    """The releasing thread leaves the key to a newcomer, which hands it to the first waiter."""
    table = hooked(make())
    table.acquire("anna")
    waiters, paused, awake = Waiters(table, "anna", waits), Paused(), threading.Event()
    waits.disturb(lambda: wait_for(awake), "b")
    waiters.add("b")

    def come() -> None:
        table.queues.call_after("__contains__", "anna", paused, "c")
        waiters.start("c")
        paused.wait_for()

    table.holders.call_after("__delitem__", "anna", come)
    table.release("anna")
    holder = waiters.name_of(table.holder_of("anna"))
    paused.go_on()
    awake.set()
    waiters.join()
    assert (expected, {"b", "c"}, 0) == (holder, set(waiters.served), len(table))


@pytest.mark.parametrize("step", ["before the look", "after the look"])
@pytest.mark.parametrize(("make", "expected"), [(LockTable, True), (ReliesOnRelease, False)])
def test_waiter_that_queues_up_during_a_release_is_served(
    make: Callable[[], LockTable], expected: bool, step: str
) -> None:
    """A thread that found the key busy gets it, even if its holder looked for waiters before."""
    table = hooked(make())
    releases = []
    with OtherThread() as other:
        other.call(table.acquire, "anna", 0)

        def release() -> None:
            if step == "before the look":
                releases.append(release_slowly(table, other))
            else:
                other.call(table.release, "anna")

        table.holders.call_after("setdefault", "anna", release)
        with suppress(LockTimeoutError):
            table.acquire("anna", 0)
        for paused, releasing in releases:
            paused.go_on()
            releasing.result(PATIENCE)
    holder = threading.get_ident() if expected else None
    assert (holder, {}) == (table.holder_of("anna"), table.queues)


@pytest.mark.parametrize("behind", [[], ["c"]], ids=["alone", "before another"])
@pytest.mark.parametrize("end", [bool, lambda: throw(Interrupt)], ids=["time-out", "interrupt"])
@pytest.mark.parametrize(
    ("place", "method"), [("holders", "__delitem__"), ("queues", "__contains__")]
)
def test_waiter_gives_up_between_release_and_hand_over(
    waits: Waits, place: str, method: str, end: Callable[[], object], behind: list[str]
) -> None:
    """The key goes to the next waiter, and is free if there is none."""
    table = hooked(LockTable())
    table.acquire("anna")
    waiters = Waiters(table, "anna", waits)
    notice = waiters.add_late("b", end)
    for name in behind:
        waiters.add(name)

    def give_up() -> None:
        notice()
        waiters.join("b")

    getattr(table, place).call_after(method, "anna", give_up)
    table.release("anna")
    waiters.join()
    assert (behind, ["b"], 0, {}) == (
        waiters.served,
        list(waiters.errors),
        len(table),
        table.queues,
    )


def test_waiter_gives_up_after_a_newcomer_has_found_it(waits: Waits) -> None:
    """A newcomer that takes the key, and finds a queue which is empty soon after, has the key."""
    table = hooked(LockTable())
    waiters = Waiters(table, "anna", waits)
    with OtherThread() as other:
        other.call(table.acquire, "anna", 0)
        notice = waiters.add_late("b")

        def give_up() -> None:
            notice()
            waiters.join("b")

        paused, releasing = release_slowly(table, other)
        table.queues.call_after("__contains__", "anna", give_up)
        table.acquire("anna", 0)
        paused.go_on()
        releasing.result(PATIENCE)
    assert ([], ["b"]) == (waiters.served, list(waiters.errors))
    assert (threading.get_ident(), {}) == (table.holder_of("anna"), table.queues)


@pytest.mark.parametrize("interrupt", [None, Interrupt], ids=["time-out", "interrupt"])
def test_newcomer_gives_up_between_release_and_hand_over(
    waits: Waits, interrupt: type[BaseException] | None
) -> None:
    """A thread that takes the free key in that moment, and does not wait, takes it from nobody."""
    table = hooked(LockTable())
    waiters, awake = Waiters(table, "anna", waits), threading.Event()
    with OtherThread() as other:
        other.call(table.acquire, "anna", 0)
        waits.disturb(lambda: wait_for(awake), "b")
        waiters.add("b")
        paused, releasing = release_slowly(table, other)
        if interrupt is not None:
            waits.disturb(lambda: throw(interrupt))
        with pytest.raises(interrupt or LockTimeoutError):
            table.acquire("anna", 0)
        holder = waiters.name_of(table.holder_of("anna"))
        paused.go_on()
        awake.set()
        releasing.result(PATIENCE)
    waiters.join()
    assert ("b", ["b"], 0, {}) == (holder, waiters.served, len(table), table.queues)


def test_hook_is_called_once_by_its_thread_with_its_method_and_key() -> None:
    """The hooks of these tests come just before or after one step, and do not change it."""
    hooks: HookedDict = HookedDict()
    calls: list[tuple[str, int]] = []
    hooks.call_before("setdefault", "anna", lambda: calls.append(("before", len(hooks))))
    hooks.call_after("setdefault", "anna", lambda: calls.append(("after", len(hooks))))
    with OtherThread() as other:
        found = [other.call(hooks.setdefault, "berta", 1), hooks.setdefault("berta", 2)]
        found.append(other.call(hooks.get, "anna"))
        found += [hooks.setdefault("anna", number) for number in (3, 4)]
    assert ([1, 1, None, 3, 3], [("before", 1), ("after", 2)]) == (found, calls)


# Timeouts


@pytest.mark.parametrize("timeout", [0, 0.0, 0.001, 0.01])
def test_timeout_says_which_key_and_how_long(timeout: float) -> None:
    """LockTimeoutError carries the key and the seconds that were waited for it."""
    table = LockTable()
    table.acquire("anna")
    with OtherThread() as other, pytest.raises(LockTimeoutError) as caught:
        other.call(table.acquire, "anna", timeout)
    assert (LockTimeoutError, "anna", timeout) == (
        type(caught.value),
        caught.value.key,
        caught.value.seconds,
    )


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_who_timed_out_holds_nothing_and_waits_no_more(timeout: float) -> None:
    """After a timeout the holder still holds, and the key is free once it has given it back."""
    table = LockTable()
    table.acquire("anna")
    with pytest.raises(LockTimeoutError):
        table.acquire("anna", timeout)
    assert (1, False) == (len(table), is_free(table, "anna"))
    table.release("anna")
    assert (0, True) == (len(table), is_free(table, "anna"))


@pytest.mark.parametrize(
    "timeout", [None, 3600, 1e12], ids=["none", "1 h", "longer than C can wait"]
)
def test_waiter_gets_the_key_within_its_timeout(waits: Waits, timeout: float | None) -> None:
    """Whoever is given the key in time has it, and None waits for ever."""
    table = LockTable()
    table.acquire("anna")
    with OtherThread() as other:
        waiting = other.submit(table.acquire, "anna", timeout)
        waits.next()
        assert False is waiting.done()
        table.release("anna")
        assert None is waiting.result(PATIENCE)
    assert (1, False) == (len(table), is_free(table, "anna"))


def test_frozen_clock_does_not_stop_a_wait() -> None:
    """A wait counts real time: freezegun drives the lifetimes of fields, not the locks."""
    table = LockTable()
    table.acquire("anna")
    with (
        OtherThread() as other,
        freezegun.freeze_time("2026-01-01"),
        pytest.raises(LockTimeoutError) as caught,
    ):
        other.call(table.acquire, "anna", 0.01)
    assert 0.01 == caught.value.seconds


def test_key_handed_over_in_the_moment_of_timing_out_is_held(waits: Waits) -> None:
    """A waiter whose time ran out while it was handed the key has the key, and nobody else has."""
    table = LockTable()
    table.acquire("anna")
    waits.disturb(lambda: table.release("anna"))
    table.acquire("anna", 0)
    assert (1, False) == (len(table), is_free(table, "anna"))
    table.release("anna")
    assert (0, True) == (len(table), is_free(table, "anna"))


def test_next_waiter_follows_one_that_was_served_in_the_moment_of_timing_out(waits: Waits) -> None:
    """A hand-over in the moment of timing out takes nothing from those behind."""
    table = LockTable()
    table.acquire("anna")
    waiters = Waiters(table, "anna", waits)
    notice = waiters.add_late("b")
    waiters.add("c")
    table.release("anna")
    assert [] == waiters.served
    notice()
    waiters.join()
    assert (["b", "c"], {}, 0) == (waiters.served, waiters.errors, len(table))


# Interrupts


INTERRUPTS = [KeyboardInterrupt, SystemExit, GeneratorExit, Interrupt, MemoryError]


@pytest.mark.parametrize("interrupt", INTERRUPTS)
def test_interrupted_waiter_leaves_the_queue(waits: Waits, interrupt: type[BaseException]) -> None:
    """An exception in the wait leaves as it is; the holder still holds, and no waiter is left."""
    table = LockTable()
    table.acquire("anna")
    waits.disturb(lambda: throw(interrupt))
    with pytest.raises(interrupt):
        table.acquire("anna", 0)
    assert (1, False) == (len(table), is_free(table, "anna"))
    table.release("anna")
    assert (0, True) == (len(table), is_free(table, "anna"))


@pytest.mark.parametrize("interrupt", INTERRUPTS)
def test_waiter_interrupted_in_the_moment_of_its_turn_gives_the_key_back(
    waits: Waits, interrupt: type[BaseException]
) -> None:
    """An exception just after the hand-over does not keep the lock."""
    table = LockTable()
    table.acquire("anna")

    def hand_over() -> None:
        table.release("anna")
        raise interrupt

    waits.disturb(hand_over)
    with pytest.raises(interrupt):
        table.acquire("anna", 0)
    assert (0, True) == (len(table), is_free(table, "anna"))


@pytest.mark.parametrize("handed_over", [False, True], ids=["waiting", "handed over"])
def test_next_waiter_is_served_after_an_interrupted_one(waits: Waits, handed_over: bool) -> None:
    """Whoever waits behind an interrupted waiter gets the key, as if that had never been there."""
    table = LockTable()
    table.acquire("anna")
    waiters = Waiters(table, "anna", waits)
    notice = waiters.add_late("b", lambda: throw(KeyboardInterrupt))
    waiters.add("c")
    if handed_over:
        table.release("anna")
        notice()
    else:
        notice()
        waiters.join("b")
        table.release("anna")
    waiters.join()
    assert (["c"], ["b"], 0) == (waiters.served, list(waiters.errors), len(table))


def test_interrupted_waiter_does_not_give_away_what_another_one_holds(waits: Waits) -> None:
    """A waiter in front of an interrupted one is not served while the holder still holds."""
    table = LockTable()
    table.acquire("anna")
    waiters = Waiters(table, "anna", waits)
    notice = waiters.add_late("b")
    waits.disturb(lambda: throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        table.acquire("anna", 0)
    notice()
    waiters.join("b")
    assert ([], LockTimeoutError) == (waiters.served, type(waiters.errors["b"]))
    table.release("anna")
    assert 0 == len(table)


def test_signal_interrupts_a_wait_and_leaves_nothing_behind(waits: Waits) -> None:
    """Ctrl+C ends a wait for ever in the main thread, and the lock table forgets the waiter."""
    table = LockTable()
    interrupted = threading.Event()

    def interrupt_once(number: int, frame: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def press_until_heard() -> None:
        # A signal that arrives just before the wait begins does not end it, but the next one does.
        waits.next()
        for _ in range(PATIENCE * 1000):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            if interrupted.wait(0.001):
                return
        # Nobody hears: the main thread would wait for ever.
        table.release("anna")

    former = signal.signal(signal.SIGINT, interrupt_once)
    try:
        with OtherThread() as keyboard:
            # A thread that waits for a lock of its own would get a DeadlockError.
            keyboard.call(table.acquire, "anna")
            pressing = keyboard.submit(press_until_heard)
            with pytest.raises(KeyboardInterrupt):
                table.acquire("anna")
            pressing.result(PATIENCE)
    finally:
        signal.signal(signal.SIGINT, former)
    assert (1, False) == (len(table), is_free(table, "anna"))
    table.release("anna")
    assert (0, True) == (len(table), is_free(table, "anna"))
