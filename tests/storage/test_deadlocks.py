"""Circles of waits: threads that wait for each other's keys end at once, all but one unharmed."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.servers import patient_url
from support.storages import FiveMethods, fields_by_key, is_free
from support.threads import HookedDict, OtherThread, Waits, wait_for
from telesession import (
    DeadlockError,
    LockTimeoutError,
    MemoryStorage,
    PostgresStorage,
    RedisStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    locks,
)
from telesession.forks import PerProcess
from telesession.locks import LockTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZES = [2, 3, 8]


def waits_of_process() -> Any:
    """The table of waits."""
    return locks._waits.get(locks._WaitTable)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    return Waits.watch(monkeypatch)


class Circle:
    """
    Threads that each hold a session and then open that of the next thread.

    Args:
        kinds: The sessions of each thread, which may be of different storages.
        waits: The waits that are watched.
    """

    def __init__(self, kinds: list[Sessions[Session]], waits: Waits) -> None:
        self.kinds = kinds
        self._waits = waits
        self._hold_one = threading.Barrier(len(kinds) + 1)
        self._turns = [threading.Event() for _ in kinds]

    def handle(self, number: int) -> None:
        """Count in the own session, and in that of the next thread."""
        following = (number + 1) % len(self.kinds)
        with self.kinds[number].open(number) as mine:
            mine.counter += 1
            self._hold_one.wait(PATIENCE)
            assert self._turns[number].wait(PATIENCE)
            with self.kinds[following].open(following) as other:
                other.counter += 10

    def run(self) -> list[BaseException | None]:
        """Close the circle by the last thread, and return what each thread raised."""
        with ExitStack() as stack:
            threads = [stack.enter_context(OtherThread()) for _ in self.kinds]
            futures: list[Future[Any]] = [
                thread.submit(self.handle, number) for number, thread in enumerate(threads)
            ]
            self._hold_one.wait(PATIENCE)
            for turn in self._turns[:-1]:
                turn.set()
                self._waits.next()
            self._turns[-1].set()
            done, _ = wait(futures, 2 * PATIENCE)
            assert len(futures) == len(done)
        return [future.exception() for future in futures]


def counting(storage: Any, lock_timeout: float = PATIENCE) -> Sessions[Session]:
    return Sessions(initial={"counter": 0}, storage=storage, lock_timeout=lock_timeout)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make_storage", [MemoryStorage, FiveMethods])
def test_a_circle_of_threads_ends_at_once(size: int, make_storage: Any, waits: Waits) -> None:
    """The thread that closes the circle fails, and all others go on without a time-out."""
    storage = make_storage()
    sessions = counting(storage)

    raised = Circle([sessions] * size, waits).run()

    last = str(size - 1)
    assert [type(None)] * (size - 1) + [DeadlockError] == [type(error) for error in raised]
    error = raised[-1]
    assert isinstance(error, DeadlockError)
    assert ("0", ("0", *map(str, range(1, size)))) == (error.key, error.keys)
    # The last thread has changed nothing, so its session has the ten of the thread before.
    expected = {str(number): {"counter": 11} for number in range(1, size - 1)}
    assert {"0": {"counter": 1}, **expected, last: {"counter": 10}} == fields_by_key(sessions)
    assert (0, {}) == (len(storage.process_state.locks), waits_of_process()._waits)


@pytest.mark.parametrize("size", SIZES)
def test_control_without_the_table_a_circle_ends_by_a_time_out(
    size: int, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the table of waits the same circle ends by the `lock_timeout` of one of them."""
    monkeypatch.setattr(waits_of_process(), "begin", lambda *_: None)
    sessions = counting(MemoryStorage(), lock_timeout=0.1)

    raised = {type(error) for error in Circle([sessions] * size, waits).run()}

    assert LockTimeoutError in raised
    assert DeadlockError not in raised


def test_a_circle_goes_over_several_storages(waits: Waits) -> None:
    """One table of waits is for the whole process, over all storages."""
    kinds = [counting(make()) for make in (MemoryStorage, FiveMethods, MemoryStorage)]

    raised = Circle(kinds, waits).run()

    assert [None, None, DeadlockError] == [error and type(error) for error in raised]


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def shared_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A storage of several processes."""
    if request.param == "sqlite":
        made: Storage = SQLiteStorage(tmp_path / "sessions.db")
    elif request.param == "postgres":
        made = PostgresStorage(request.getfixturevalue("postgres").socket_conninfo())
    else:
        made = RedisStorage(patient_url(request.getfixturevalue("server")))
    with made:
        yield made


@pytest.mark.parametrize("size", SIZES)
def test_a_circle_in_a_shared_storage_ends_at_once(
    size: int, shared_storage: Storage, waits: Waits
) -> None:
    """So do circles among the threads of one process where sessions are shared by processes."""
    sessions = counting(shared_storage)

    raised = Circle([sessions] * size, waits).run()

    # Threads wait for connections as well, so any of them may be the last to wait for a session.
    assert {None: size - 1, DeadlockError: 1} == Counter(error and type(error) for error in raised)


class TestTwoStoragesOfOneFile:
    """Locks of a file are those of a process, however many storages it has for it."""

    @pytest.fixture
    def kinds(self, tmp_path: Path) -> Iterator[list[Sessions[Session]]]:
        """The same sessions by two storages."""
        path = tmp_path / "sessions.db"
        with SQLiteStorage(path) as one, SQLiteStorage(path) as other:
            yield [counting(one), counting(other)]

    def test_a_thread_that_waits_for_itself(self, kinds: list[Sessions[Session]]) -> None:
        """A thread that has a session by one of them waits for itself by the other."""
        one, other = kinds

        with one.open(1) as session:
            session.counter = 1
            with pytest.raises(DeadlockError) as caught, other.open(1):
                pass

        assert ("1", ("1",)) == (caught.value.key, caught.value.keys)
        assert {"1": {"counter": 1}} == fields_by_key(other)

    def test_a_circle_of_threads(self, kinds: list[Sessions[Session]], waits: Waits) -> None:
        """Threads that wait for each other by different storages are a circle, too."""
        raised = Circle(kinds, waits).run()

        assert [None, DeadlockError] == [error and type(error) for error in raised]


def test_the_error_says_what_to_do() -> None:
    """It names the keys of the circle in order, and says `open(a, b)`."""
    error = DeadlockError("1", ("1", "2"))

    assert "could not lock session '1'" in str(error)
    assert "a circle ('1', '2')" in str(error)
    assert "Sessions.open(a, b)" in str(error)
    assert isinstance(error, LockTimeoutError)


def test_a_failed_update_is_sent_again(waits: Waits) -> None:
    """A thread that failed has changed nothing, and succeeds once the others are done."""
    sessions = counting(MemoryStorage())
    Circle([sessions] * 2, waits).run()

    with sessions.open(1) as mine, sessions.open(0) as other:
        mine.counter += 1
        other.counter += 10

    assert {"0": {"counter": 11}, "1": {"counter": 11}} == fields_by_key(sessions)


class TestOneself:
    """A thread that waits for itself gets the error at once."""

    def test_independent_on_a_key_of_the_unit(self) -> None:
        """`open(key, independent=True)` of a session that the handler has is a circle of one."""
        sessions = counting(MemoryStorage())

        with sessions.open(1) as session:
            session.counter = 1
            with pytest.raises(DeadlockError) as caught, sessions.open(1, independent=True):
                pass
            session.counter += 1

        assert ("1", ("1",)) == (caught.value.key, caught.value.keys)
        assert {"1": {"counter": 2}} == fields_by_key(sessions)

    def test_independent_inside_independent(self) -> None:
        """Every unit of the thread counts, not only the innermost one."""
        sessions = counting(MemoryStorage())

        with (
            sessions.open(1),
            sessions.open(2, independent=True),
            pytest.raises(DeadlockError) as caught,
            sessions.open(1, independent=True),
        ):
            pass

        assert ("1", ("1",)) == (caught.value.key, caught.value.keys)

    def test_the_lock_of_the_outer_block_stays(self) -> None:
        """After the error the key is still held, and free once the handler returns."""
        storage = MemoryStorage()
        sessions = counting(storage)

        with sessions.open(1):
            with pytest.raises(DeadlockError), sessions.open(1, independent=True):
                pass
            during = len(storage.process_state.locks)

        assert (1, True) == (during, is_free(storage, "1"))

    def test_without_a_wait_it_is_a_time_out(self) -> None:
        """With `lock_timeout=0` there is no wait and so no circle: a plain `LockTimeoutError`."""
        sessions = counting(MemoryStorage(), lock_timeout=0)

        with sessions.open(1), pytest.raises(LockTimeoutError) as caught:
            sessions.open(1, independent=True).__enter__()

        assert LockTimeoutError is type(caught.value)

    def test_a_hold_by_hand(self) -> None:
        """A lock is not reentrant: a thread that holds a key and asks again would wait for ever."""
        table = LockTable()
        table.acquire("key")

        with pytest.raises(DeadlockError):
            table.acquire("key")

        assert 1 == len(table)


class TestKeysOfTheError:
    """The error names keys as `Sessions.open` takes them."""

    def test_a_prefix_is_left_out(self) -> None:
        """Keys of sessions with a prefix are those without it."""
        sessions = Sessions(storage=MemoryStorage(), prefix="shop:")

        with sessions.open(1), pytest.raises(DeadlockError) as caught:
            sessions.open(1, independent=True).__enter__()

        assert ("1", ("1",)) == (caught.value.key, caught.value.keys)

    def test_rooms_and_escapes_are_left_out(self) -> None:
        """So are the room of a name, and the escape of a key that begins with `@`."""
        storage = MemoryStorage()
        cart = Sessions(storage=storage, name="cart")
        plain = Sessions(storage=storage)

        with cart.open(1), pytest.raises(DeadlockError) as in_room:
            cart.open(1, independent=True).__enter__()
        with plain.open("@1"), pytest.raises(DeadlockError) as escaped:
            plain.open("@1", independent=True).__enter__()

        assert [("1", ("1",)), ("@1", ("@1",))] == [
            (error.value.key, error.value.keys) for error in (in_room, escaped)
        ]


class TestNoCircle:
    """Waits that end by themselves are no circle."""

    def test_a_lock_that_was_just_handed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A thread that gets the lock between queueing up and the look for circles has it."""
        table = LockTable()
        begin = waits_of_process().begin

        def hand_over_first(*arguments: Any) -> None:
            other.call(table.release, "key")
            begin(*arguments)

        monkeypatch.setattr(waits_of_process(), "begin", hand_over_first)
        with OtherThread() as other:
            other.call(table.acquire, "key", 0)
            table.acquire("key", PATIENCE)
        held = len(table)
        table.release("key")

        assert (1, 0, {}) == (held, len(table), waits_of_process()._waits)

    def test_a_chain_of_waits(self, waits: Waits) -> None:
        """Threads that wait one behind the other are served in turn."""
        table = LockTable()
        order: list[int] = []

        def use(number: int) -> None:
            table.acquire(f"{number}")
            table.acquire(f"{number + 1}")
            order.append(number)
            table.release(f"{number + 1}")
            table.release(f"{number}")

        table.acquire("3")
        with OtherThread() as first, OtherThread() as second, OtherThread() as third:
            futures = []
            for number, thread in ((2, third), (1, second), (0, first)):
                futures.append(thread.submit(use, number))
                waits.next()
            table.release("3")
            done, _ = wait(futures, PATIENCE)

        assert ([2, 1, 0], 3, [None] * 3) == (
            order,
            len(done),
            [future.exception() for future in futures],
        )

    def test_an_interrupted_wait_is_forgotten(self, waits: Waits) -> None:
        """A wait that ended by an exception closes no later circle."""
        table = LockTable()

        with OtherThread() as other:
            other.call(table.acquire, "theirs")
            table.acquire("mine")
            with pytest.raises(LockTimeoutError) as caught:
                table.acquire("theirs", 0.001)
            waiting = other.submit(table.acquire, "mine", PATIENCE)
            waits.next()
            waits.next()
            table.release("mine")
            waiting.result(PATIENCE)

        assert LockTimeoutError is type(caught.value)

    def test_open_several_needs_no_error(self) -> None:
        """`open(a, b)` and `open(b, a)` in two threads wait for each other and both succeed."""
        sessions = counting(MemoryStorage())
        begun = threading.Barrier(2)

        def handle(*keys: int) -> None:
            begun.wait(PATIENCE)
            for _ in range(100):
                with sessions.open_all(keys) as opened:
                    for session in opened:
                        session.counter += 1

        with OtherThread() as one, OtherThread() as other:
            futures = [one.submit(handle, 1, 2), other.submit(handle, 2, 1)]
            assert [None, None] == [future.result(PATIENCE) for future in futures]

        assert {"1": {"counter": 200}, "2": {"counter": 200}} == fields_by_key(sessions)


class BelievesOldWaits(locks._WaitTable):
    """The control of chains that break up: a table of waits with turns that never end."""

    def begin(self, thread: int, table: LockTable, key: str, waiter: locks._Waiter) -> None:
        super().begin(thread, table, key, locks._Waiter(waiter.lock, waiter.thread))


class Lingering:
    """The end of the next wait of a thread, which the thread does not notice before `notice`."""

    def __init__(self, waits: Waits, thread: OtherThread) -> None:
        self._is_over, self._noticing = threading.Event(), threading.Event()
        self.notice = self._noticing.set
        waits.disturb(self._linger, name_of(thread))

    def wait_for(self) -> None:
        """Come back when the wait is over."""
        wait_for(self._is_over)

    def _linger(self) -> None:
        self._is_over.set()
        self._noticing.wait(PATIENCE)


def name_of(thread: OtherThread) -> str:
    name: str = thread.call(lambda: threading.current_thread().name)
    return name


def error_of(function: Callable[..., object], *args: object) -> type[BaseException] | None:
    """The class of the error that a call raises."""
    try:
        function(*args)
    except LockTimeoutError as error:
        return type(error)
    return None


#: A kind of the table of waits, and the error that it raises where there is no circle.
KINDS = pytest.mark.parametrize(
    ("known", "expected"),
    [(locks._WaitTable, None), (BelievesOldWaits, DeadlockError)],
    indirect=["known"],
    ids=["waits", "control"],
)


class TestChainsThatBreakUp:
    """A chain of waits that breaks up while a new waiter looks along it is no circle."""

    @pytest.fixture
    def table(self) -> Any:
        """A lock table with hooks in the look for the holder of a key."""
        table: Any = LockTable()
        table.holders = HookedDict()
        return table

    @pytest.fixture
    def known(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
        """The table of waits, of the kind of the test, with hooks in the look for a wait."""
        known = request.param()
        known._waits = HookedDict()
        process = PerProcess[Any]()
        process.get(lambda: known)
        monkeypatch.setattr(locks, "_waits", process)
        return known

    @KINDS
    def test_a_holder_whose_wait_is_over(
        self, expected: Any, table: Any, known: Any, waits: Waits
    ) -> None:
        """A holder was handed the key, has not yet noted the end of its wait, and is soon done."""
        table.acquire("key")
        with OtherThread() as holder:
            thread = holder.call(threading.get_ident)
            lingering = Lingering(waits, holder)
            served = holder.submit(table.acquire, "key", PATIENCE)
            waits.next()
            table.release("key")
            lingering.wait_for()

            def go_on() -> None:
                lingering.notice()
                served.result(PATIENCE)
                holder.call(table.release, "key")

            known._waits.call_after("get", thread, go_on)
            raised = error_of(table.acquire, "key", PATIENCE)

        keys = {"key"} if raised is None else set()
        assert (expected, keys, {}, {}) == (
            raised,
            set(table.holders),
            table.queues,
            known._waits,
        )

    @pytest.mark.parametrize("step", ["the wait is found", "the walk is at its end"])
    @KINDS
    def test_a_thread_far_behind_gives_up(
        self, expected: Any, table: Any, known: Any, waits: Waits, step: str
    ) -> None:
        """The last thread of a chain of three times out, and all others get their keys."""
        table.acquire("mine")
        with OtherThread() as first, OtherThread() as last:
            first.call(table.acquire, "first", 0)
            last.call(table.acquire, "last", 0)
            thread = last.call(threading.get_ident)
            lingering = Lingering(waits, last)
            giving_up = last.submit(table.acquire, "mine", 0.001)
            waits.next()
            served = first.submit(table.acquire, "last", PATIENCE)
            waits.next()
            lingering.wait_for()

            def go_on() -> None:
                lingering.notice()
                assert LockTimeoutError is type(giving_up.exception(PATIENCE))
                last.call(table.release, "last")
                served.result(PATIENCE)
                first.call(table.release, "last")
                first.call(table.release, "first")

            if step == "the wait is found":
                known._waits.call_after("get", thread, go_on)
            else:
                table.holders.call_after("get", "mine", go_on)
            raised = error_of(table.acquire, "first", PATIENCE)

        keys = {"mine", "first"} if raised is None else {"mine"}
        assert (expected, keys, {}, {}) == (
            raised,
            set(table.holders),
            table.queues,
            known._waits,
        )

    @KINDS
    def test_a_key_that_another_thread_releases(
        self, expected: Any, table: Any, known: Any, waits: Waits
    ) -> None:
        """A key whose holder waits is released for it, and the new waiter has it already."""
        table.acquire("mine")
        with OtherThread() as holder, OtherThread() as friend:
            holder.call(table.acquire, "theirs", 0)
            served = holder.submit(table.acquire, "mine", PATIENCE)
            waits.next()
            table.holders.call_after("get", "mine", lambda: friend.call(table.release, "theirs"))
            raised = error_of(table.acquire, "theirs", PATIENCE)
            keys = set(table.holders)
            table.release("mine")
            served.result(PATIENCE)

        expected_keys = {"mine", "theirs"} if raised is None else {"mine"}
        assert (expected, expected_keys, {}, {}) == (raised, keys, table.queues, known._waits)

    @pytest.mark.parametrize("known", [locks._WaitTable], indirect=True, ids=["waits"])
    @pytest.mark.parametrize("is_first", [True, False], ids=["first", "behind another"])
    def test_a_look_in_the_middle_of_a_hand_over(
        self, table: Any, known: Any, waits: Waits, monkeypatch: pytest.MonkeyPatch, is_first: bool
    ) -> None:
        """A thread that has the key, and still has its place in the queue, waits for nobody."""
        begin, me = known.begin, threading.get_ident()
        handing_over, looked = threading.Event(), threading.Event()

        def hand_over_first(thread: int, *arguments: Any) -> None:
            if thread == me:
                futures.append(holder.submit(table.release, "key"))
                wait_for(handing_over)
            begin(thread, *arguments)
            if thread == me:
                looked.set()

        def pause() -> None:
            handing_over.set()
            wait_for(looked)

        monkeypatch.setattr(known, "begin", hand_over_first)
        with OtherThread() as holder, OtherThread() as before:
            holder.call(table.acquire, "key", 0)
            futures = []
            if not is_first:
                futures.append(before.submit(table.acquire, "key", PATIENCE))
                futures.append(before.submit(table.release, "key"))
                waits.next()
            table.holders.call_after("setdefault", "key", pause, name_of(holder))
            table.acquire("key", PATIENCE)
            assert {None} == {future.result(PATIENCE) for future in futures}

        assert (me, 1, {}, {}) == (
            table.holder_of("key"),
            len(table),
            table.queues,
            known._waits,
        )

    def test_a_circle_of_others(self) -> None:
        """The look ends, whatever the waits of other threads are."""
        table, known = LockTable(), locks._WaitTable()
        for thread, mine, theirs in ((1, "a", "b"), (2, "b", "a")):
            table.holders[mine] = thread, 0.0
            waiter = locks._Waiter(threading.Lock(), thread)
            known._waits[thread] = locks._Wait(table, theirs, waiter)

        with OtherThread() as other:
            other.call(known.begin, 3, table, "a", locks._Waiter(threading.Lock(), 3))

        assert [1, 2, 3] == list(known._waits)
