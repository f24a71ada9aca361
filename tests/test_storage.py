"""The suite of every storage in memory, the storages it must catch, and stores that misbehave."""

from __future__ import annotations

import itertools
import math
import runpy
import threading
import time
from collections import UserDict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import clocks
import pytest
from cachetools import FIFOCache, LFUCache, LRUCache, RRCache, TLRUCache, TTLCache
from clocks import MICROSECOND, frozen_clock, monotonic
from hypothesis import HealthCheck, given, settings, strategies as st

from telesession import (
    MemoryStorage,
    SessionError,
    Sessions,
    Storage,
    StorageError,
)
from telesession.storage.base import Hold
from telesession.testing.storage_suite import (
    FOR_AGES,
    StorageSuite,
    in_thread,
    in_threads,
    try_hold,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

EXAMPLE = Path(__file__).parents[1] / "examples/custom_storage.py"
SECRET = "hunter2"

clock = clocks.clock


class FiveMethods(Storage):
    """A custom storage: five short methods, and no call of `super().__init__`."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[bytes, float]] = {}
        self.mutex = threading.Lock()

    def get(self, key: str) -> bytes | None:
        payload, deadline = self.records.get(key, (None, math.inf))
        return None if time.monotonic() >= deadline else payload

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.records[key] = payload, deadline_in(lifetime)

    def delete(self, key: str) -> bool:
        with self.mutex:
            existed = self.has(key)
            self.records.pop(key, None)
            return existed

    def touch(self, key: str, lifetime: float | None) -> bool:
        with self.mutex:
            payload = self.get(key)
            if payload is None:
                return False
            self.set(key, payload, lifetime)
            return True

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter([key for key in list(self.records) if key.startswith(prefix) and self.has(key)])


def deadline_in(lifetime: float | None) -> float:
    return math.inf if lifetime is None else time.monotonic() + lifetime


STORAGES: dict[str, Callable[[], Storage]] = {
    "dict": MemoryStorage,
    "TTLCache": lambda: MemoryStorage(TTLCache(10_000, FOR_AGES, timer=monotonic)),
    "LRUCache-by-bytes": lambda: MemoryStorage(LRUCache(2**24, getsizeof=len)),
    "TLRUCache": lambda: MemoryStorage(
        TLRUCache(10_000, lambda _key, _value, now: now + FOR_AGES, timer=monotonic)
    ),
    "LFUCache": lambda: MemoryStorage(LFUCache(10_000)),
    "FIFOCache": lambda: MemoryStorage(FIFOCache(10_000)),
    "RRCache": lambda: MemoryStorage(RRCache(10_000)),
    "five-methods": FiveMethods,
}


class FrozenClockSuite(StorageSuite):
    """The suite by a clock that stands still until it ticks: exact, and done in no time."""

    second = 1.0
    margin = MICROSECOND
    ages = FOR_AGES / 2

    @pytest.fixture(autouse=True)
    def clock(self) -> Iterator[FrozenDateTimeFactory]:
        with frozen_clock() as self.frozen:
            yield self.frozen

    def tick(self, seconds: float) -> None:
        self.frozen.tick(seconds)


class TestStoragesInMemory(FrozenClockSuite):
    """Every store of `MemoryStorage`, and a storage of five methods, keep the promises."""

    @pytest.fixture(params=list(STORAGES.values()), ids=list(STORAGES))
    def storage(self, request: pytest.FixtureRequest) -> Storage:
        return request.param()


class TestTheExample(FrozenClockSuite):
    """The custom storage of the examples keeps the promises."""

    @pytest.fixture
    def storage(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
        monkeypatch.chdir(tmp_path)
        return runpy.run_path(str(EXAMPLE))["FileStorage"](tmp_path / "records")


def test_by_default_time_is_real() -> None:
    """A suite that overrides nothing waits for the end of a lifetime, and sees a record gone."""
    suite, begun = StorageSuite(), time.monotonic()
    suite.test_a_lifetime_that_a_hold_gave_ends(FiveMethods())

    assert suite.second <= time.monotonic() - begun


# The controls: for each test of the suite at least one storage that it must catch.


class EndsPayloadsAtNul(FiveMethods):
    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        return payload and payload.split(b"\0")[0]


class GivesWhatHasExpired(FiveMethods):
    def get(self, key: str) -> bytes | None:
        return self.records.get(key, (None, 0.0))[0]


class GivesEmptyBytesForNothing(FiveMethods):
    def get(self, key: str) -> bytes:
        return super().get(key) or b""


class ExpiresLate(FiveMethods):
    def get(self, key: str) -> bytes | None:
        payload, deadline = self.records.get(key, (None, 0.0))
        return payload if time.monotonic() <= deadline else None


class ExpiresByWholeSeconds(FiveMethods):
    def get(self, key: str) -> bytes | None:
        payload, deadline = self.records.get(key, (None, 0.0))
        return payload if math.ceil(time.monotonic()) < deadline else None


class IgnoresWhatHasExpiredAlready(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        if time.monotonic() < deadline_in(lifetime):
            super().set(key, payload, lifetime)


class TakesNothingForNoLifetime(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key, payload, lifetime or None)


class HasADefaultLifetime(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key, payload, 3600 if lifetime is None else lifetime)


class KeepsTheFirstLifetime(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        old = self.records.get(key)
        super().set(key, payload, lifetime)
        if old is not None:
            self.records[key] = payload, old[1]


class KeepsTheLastLifetime(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        old = self.records.get(key)
        super().set(key, payload, lifetime)
        if old is not None and lifetime is None:
            self.records[key] = payload, old[1]


class BuriesTheDead(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.graves: set[str] = set()

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        if key not in self.graves:
            super().set(key, payload, lifetime)

    def delete(self, key: str) -> bool:
        self.graves.add(key)
        return super().delete(key)


class HasWhatHasExpired(FiveMethods):
    def has(self, key: str) -> bool:
        return key in self.records


class HasNoEmptyPayloads(FiveMethods):
    def has(self, key: str) -> bool:
        return bool(self.get(key))


class DeletesWithoutLooking(FiveMethods):
    def delete(self, key: str) -> bool:
        self.records.pop(key, None)
        return True


class DeletesWhatHasExpired(FiveMethods):
    def delete(self, key: str) -> bool:
        return self.records.pop(key, None) is not None


class DeletesOnce(FiveMethods):
    def delete(self, key: str) -> bool:
        del self.records[key]
        return True


class DeletesByPrefix(FiveMethods):
    def delete(self, key: str) -> bool:
        return [FiveMethods.delete(self, name) for name in list(self.keys(key))] != []


class TouchesNothing(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        return self.has(key)


class TouchesTheEnd(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        payload, deadline = self.records[key]
        self.records[key] = payload, deadline + (lifetime or 0)
        return True


class TouchesThePayload(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        self.set(key, b"touched", lifetime)
        return True


class NeverTakesALifetime(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        return super().touch(key, lifetime) if lifetime is not None else self.has(key)


class TouchRevives(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        if key in self.records:
            self.set(key, self.records[key][0], lifetime)
        return key in self.records


class TouchMakesRecords(FiveMethods):
    def touch(self, key: str, lifetime: float | None) -> bool:
        return super().touch(key, lifetime) or bool(self.set(key, b"", lifetime))


class LooksForThePrefixAnywhere(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        return (key for key in super().keys("") if prefix in key)


class IgnoresTheCaseOfPrefixes(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        return (key for key in super().keys("") if key.lower().startswith(prefix.lower()))


class ListsWhatHasExpired(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter([key for key in self.records if key.startswith(prefix)])


class ListsWhileOthersWrite(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        return (key for key in self.records if key.startswith(prefix))


class ListsInPages(FiveMethods):
    def keys(self, prefix: str = "") -> Iterator[str]:
        for start in itertools.count(step=5):
            page = sorted(super().keys(prefix), reverse=True)[start : start + 5]
            if not page:
                return
            yield from page


class FoldsKeys(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key.casefold(), payload, lifetime)

    def get(self, key: str) -> bytes | None:
        return super().get(key.casefold())


class EncodesKeys(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key.encode().decode(), payload, lifetime)


class RemembersPerThread(FiveMethods):
    def __init__(self) -> None:
        self.local = threading.local()
        self.mutex = threading.Lock()

    @property
    def records(self) -> dict[str, tuple[bytes, float]]:
        return self.local.__dict__


class CopiesOnWrite(FiveMethods):
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        changed = dict(self.records)
        time.sleep(0)
        changed[key] = payload, deadline_in(lifetime)
        self.records = changed


class HoldsNothing(FiveMethods):
    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:
        yield Bound(self, key)


class HoldsEverything(FiveMethods):
    def hold(self, key: str, timeout: float | None = None) -> Any:
        return super().hold("the one key", timeout)


class HoldsByThread(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()

    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:
        if not self.lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError(key)
        yield Bound(self, key)
        self.lock.release()


class ServesTheLastFirst(FiveMethods):
    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[threading.Event] = []

    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:
        turn = threading.Event()
        with self.mutex:
            self.waiting.insert(1, turn)
        if turn is not self.waiting[0]:
            turn.wait(timeout)
        yield Bound(self, key)
        with self.mutex:
            del self.waiting[0]
            if self.waiting:
                self.waiting[0].set()


class Bound:
    """Like what `Storage.hold` gives, but it forgets lifetimes."""

    def __init__(self, storage: Storage, key: str) -> None:
        self.storage, self.key = storage, key

    def get(self) -> bytes | None:
        return self.storage.get(self.key)

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        self.storage.set(self.key, payload)

    def delete(self) -> bool:
        return self.storage.delete(self.key)

    def touch(self, lifetime: float | None) -> bool:
        return self.storage.touch(self.key, None)

    def flush(self) -> None:
        pass


class Unwritten(Hold):
    """Notes what is written, writes it at `flush`, and forgets it on leaving."""

    def __init__(self, storage: Storage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self.notes: list[tuple[bytes, float | None]] = []

    def get(self) -> bytes | None:
        return self.notes[-1][0] if self.notes else super().get()

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        self.notes.append((payload, lifetime))

    def flush(self) -> None:
        for payload, lifetime in self.notes:
            super().set(payload, lifetime)
        self.notes.clear()


class ForgetsTheLastWriteOfAHold(FiveMethods):
    def hold(self, key: str, timeout: float | None = None) -> Any:
        return Unwritten(self, key, timeout)


class WritesAtTheEndOnly(Unwritten):
    def flush(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        super().flush()
        super().__exit__(*error)


class FlushesNothing(FiveMethods):
    def hold(self, key: str, timeout: float | None = None) -> Any:
        return WritesAtTheEndOnly(self, key, timeout)


class ClosesOnce(FiveMethods):
    def close(self) -> None:
        del self.records


class EntersAsSomethingElse(FiveMethods):
    def __enter__(self) -> Any:
        return FiveMethods()


CAUGHT: list[tuple[str, type[FiveMethods], type[Exception]]] = [
    ("test_get_gives_the_bytes_that_were_set", EndsPayloadsAtNul, AssertionError),
    ("test_get_gives_none_for_whatever_is_not_there", GivesWhatHasExpired, AssertionError),
    ("test_get_gives_none_for_whatever_is_not_there", GivesEmptyBytesForNothing, AssertionError),
    ("test_a_record_expires_at_the_end_of_its_lifetime", GivesWhatHasExpired, AssertionError),
    ("test_a_record_expires_at_the_end_of_its_lifetime", ExpiresLate, AssertionError),
    ("test_a_record_expires_at_the_end_of_its_lifetime", ExpiresByWholeSeconds, AssertionError),
    ("test_a_lifetime_of_nothing_is_over_at_once", IgnoresWhatHasExpiredAlready, AssertionError),
    ("test_a_lifetime_of_nothing_is_over_at_once", TakesNothingForNoLifetime, AssertionError),
    ("test_a_record_without_a_lifetime_stays", HasADefaultLifetime, AssertionError),
    ("test_set_replaces_payload_and_lifetime_together", KeepsTheFirstLifetime, AssertionError),
    ("test_set_replaces_payload_and_lifetime_together", KeepsTheLastLifetime, AssertionError),
    ("test_set_brings_back_what_was_deleted_or_expired", KeepsTheLastLifetime, AssertionError),
    ("test_set_brings_back_what_was_deleted_or_expired", BuriesTheDead, AssertionError),
    ("test_has_says_whether_there_is_a_record", HasWhatHasExpired, AssertionError),
    ("test_has_says_whether_there_is_a_record", HasNoEmptyPayloads, AssertionError),
    ("test_delete_says_whether_there_was_a_record", DeletesWithoutLooking, AssertionError),
    ("test_delete_says_whether_there_was_a_record", DeletesWhatHasExpired, AssertionError),
    ("test_delete_says_whether_there_was_a_record", DeletesOnce, KeyError),
    ("test_delete_leaves_other_records_alone", DeletesByPrefix, AssertionError),
    ("test_touch_renews_the_lifetime_and_keeps_the_payload", TouchesNothing, AssertionError),
    ("test_touch_renews_the_lifetime_and_keeps_the_payload", TouchesTheEnd, AssertionError),
    ("test_touch_renews_the_lifetime_and_keeps_the_payload", TouchesThePayload, AssertionError),
    ("test_touch_gives_and_takes_lifetimes", TouchesNothing, AssertionError),
    ("test_touch_gives_and_takes_lifetimes", NeverTakesALifetime, AssertionError),
    ("test_touch_makes_no_record", TouchRevives, AssertionError),
    ("test_touch_makes_no_record", TouchMakesRecords, AssertionError),
    ("test_keys_gives_those_that_start_with_the_prefix", LooksForThePrefixAnywhere, AssertionError),
    ("test_keys_gives_those_that_start_with_the_prefix", IgnoresTheCaseOfPrefixes, AssertionError),
    ("test_keys_gives_live_keys_only", ListsWhatHasExpired, AssertionError),
    ("test_keys_survives_writes_of_another_thread", ListsWhileOthersWrite, RuntimeError),
    ("test_keys_survives_writes_of_another_thread", ListsInPages, AssertionError),
    ("test_keys_may_hold_any_character", FoldsKeys, AssertionError),
    ("test_keys_may_hold_any_character", EncodesKeys, UnicodeEncodeError),
    ("test_every_method_may_be_called_from_any_thread", RemembersPerThread, AssertionError),
    ("test_no_write_of_many_threads_is_lost", CopiesOnWrite, AssertionError),
    ("test_a_held_key_is_exclusive", HoldsNothing, AssertionError),
    ("test_a_held_key_is_busy_until_it_is_released", HoldsNothing, AssertionError),
    ("test_a_held_key_is_busy_until_it_is_released", HoldsEverything, AssertionError),
    ("test_a_wait_for_a_busy_key_ends_with_its_timeout", HoldsByThread, TimeoutError),
    ("test_waiters_get_a_key_in_the_order_of_their_arrival", ServesTheLastFirst, AssertionError),
    ("test_an_exception_releases_a_held_key", HoldsByThread, TimeoutError),
    ("test_a_hold_reads_and_writes_its_key", ForgetsTheLastWriteOfAHold, AssertionError),
    ("test_what_a_hold_wrote_is_seen_by_others_at_flush", FlushesNothing, AssertionError),
    ("test_what_a_hold_wrote_is_seen_by_others_at_flush", NeverTakesALifetime, AssertionError),
    ("test_a_lifetime_that_a_hold_gave_ends", HoldsNothing, AssertionError),
    ("test_close_may_be_repeated", ClosesOnce, AttributeError),
    ("test_close_may_be_repeated", EntersAsSomethingElse, AssertionError),
]


@pytest.mark.parametrize(
    ("promise", "broken", "complaint"),
    [pytest.param(*row, id=f"{row[1].__name__}-{row[0][5:]}") for row in CAUGHT],
)
def test_the_suite_catches_a_broken_storage(
    promise: str,
    broken: Callable[[], Storage],
    complaint: type[Exception],
    clock: FrozenDateTimeFactory,
) -> None:
    """A storage that breaks one promise fails the test of the suite that states it."""
    suite = FrozenClockSuite()
    suite.frozen = clock

    with pytest.raises(complaint):
        getattr(suite, promise)(broken())


def test_every_promise_has_a_storage_that_breaks_it() -> None:
    """No test of the suite is without a control."""
    promises = {name for name in vars(StorageSuite) if name.startswith("test_")}

    assert promises == {promise for promise, _, _ in CAUGHT}


def test_a_suite_without_a_storage_says_what_it_needs(pytester: pytest.Pytester) -> None:
    """Who inherits the suite and gives no storage is told which fixture is missing."""
    pytester.makepyfile(
        "from telesession.testing.storage_suite import StorageSuite\n"
        "class TestMine(StorageSuite): pass\n"
    )

    result = pytester.runpytest_inprocess("-k", "test_close_may_be_repeated")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*NotImplementedError: TestMine needs a fixture named storage*"])


@pytest.mark.parametrize("method", ["get", "set", "delete", "touch", "keys"])
def test_a_storage_needs_all_five_methods(method: str) -> None:
    """A storage that lacks a method cannot be made: `TypeError` names the method."""
    methods = {
        name: getattr(FiveMethods, name) for name in ("get", "set", "delete", "touch", "keys")
    }
    del methods[method]
    incomplete = type("Incomplete", (Storage,), methods)

    with pytest.raises(TypeError, match=rf"Incomplete.*\b{method}\b"):
        incomplete()


KEYS = st.sampled_from(["a", "b", "ab"])
LIFETIMES = st.sampled_from([None, 0, 1, 2, 3, 50])
OPERATIONS = st.one_of(
    st.tuples(st.just("set"), KEYS, st.sampled_from([b"", b"x", b"y"]), LIFETIMES),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("has"), KEYS),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("touch"), KEYS, LIFETIMES),
    st.tuples(st.just("keys"), st.sampled_from(["", "a", "x"])),
    st.tuples(st.just("wait"), st.sampled_from([1, 2, 60])),
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(operations=st.lists(OPERATIONS, max_size=40))
@pytest.mark.parametrize("make", list(STORAGES.values()), ids=list(STORAGES))
def test_any_sequence_of_calls_agrees_with_two_plain_dicts(
    make: Callable[[], Storage],
    clock: FrozenDateTimeFactory,
    operations: list[tuple[Any, ...]],
) -> None:
    """Whatever is called in whatever order, payloads and lifetimes are those last given."""
    storage, payloads, ends, now = make(), {}, {}, 0

    for name, *arguments in operations:
        expected: Any = None
        if name == "wait":
            now += arguments[0]
            clock.tick(arguments[0])
        else:
            live = {key: payload for key, payload in payloads.items() if now < ends[key]}
            key = arguments[0]
            if name == "keys":
                expected = sorted(found for found in live if found.startswith(key))
            elif name == "get":
                expected = live.get(key)
            else:
                expected = None if name == "set" else key in live
            if name == "set" or (name == "touch" and key in live):
                ends[key] = math.inf if arguments[-1] is None else now + arguments[-1]
                payloads[key] = arguments[1] if name == "set" else live[key]
            elif name == "delete":
                payloads.pop(key, None)
            actual = getattr(storage, name)(*arguments)
            assert expected == (sorted(actual) if name == "keys" else actual)


# MemoryStorage and the stores it is given.


class Turnstile(MutableMapping[str, bytes]):
    """
    A store that counts who came in while another was inside.

    Whoever is inside lets the other threads run.
    """

    def __init__(self) -> None:
        self.collisions = 0
        self._records: dict[str, bytes] = {}
        self._inside = threading.Lock()

    @contextmanager
    def _visit(self) -> Iterator[None]:
        if not self._inside.acquire(blocking=False):
            self.collisions += 1
            yield
            return
        try:
            for _ in range(3):
                time.sleep(0)
            yield
        finally:
            self._inside.release()

    def __getitem__(self, key: str) -> bytes:
        with self._visit():
            return self._records[key]

    def __setitem__(self, key: str, payload: bytes) -> None:
        with self._visit():
            self._records[key] = payload

    def __delitem__(self, key: str) -> None:
        with self._visit():
            del self._records[key]

    def __contains__(self, key: object) -> bool:
        with self._visit():
            return key in self._records

    def __iter__(self) -> Iterator[str]:
        with self._visit():
            yield from list(self._records)

    def __len__(self) -> int:
        with self._visit():
            return len(self._records)


class Unguarded(Storage):
    """Touches its store whenever it is asked to: the control of `MemoryStorage`."""

    def __init__(self, store: MutableMapping[str, bytes]) -> None:
        self.store = store

    def get(self, key: str) -> bytes | None:
        return self.store.get(key)

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.store[key] = payload

    def delete(self, key: str) -> bool:
        return self.store.pop(key, None) is not None

    def touch(self, key: str, lifetime: float | None) -> bool:
        return key in self.store

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter(list(self.store))

    def __repr__(self) -> str:
        return f"<{len(self.store)} records>"


CALLS: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("key"),
    "set": lambda storage: storage.set("key", b"payload"),
    "set-with-lifetime": lambda storage: storage.set("key", b"payload", 60),
    "has": lambda storage: storage.has("key"),
    "delete": lambda storage: storage.delete("key"),
    "touch": lambda storage: storage.touch("key", 60),
    "keys": lambda storage: list(storage.keys("k")),
    "repr": repr,
}

with_each_call = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))


def collisions(make: Callable[[Turnstile], Storage], call: Callable[[Storage], object]) -> int:
    """How often threads met inside the store while some called this and others wrote."""
    store = Turnstile()
    storage = make(store)

    def repeat(function: Callable[[Storage], object]) -> None:
        for _ in range(25):
            function(storage)

    in_threads([lambda f=f: repeat(f) for f in (call, CALLS["set"], call, CALLS["get"])])
    return store.collisions


@with_each_call
def test_every_touch_of_the_store_happens_under_one_mutex(
    call: Callable[[Storage], object],
) -> None:
    """At most one thread at a time is inside the store, whatever the threads call."""
    assert 0 == collisions(MemoryStorage, call)


@with_each_call
def test_without_a_mutex_threads_meet_inside_the_store(call: Callable[[Storage], object]) -> None:
    """The control: the store notices threads that come in together."""
    assert 0 < collisions(Unguarded, call)


def test_a_dict_is_the_store_by_default() -> None:
    """Two storages made without a store share nothing."""
    first, second = MemoryStorage(), MemoryStorage()
    first.set("key", b"payload")

    assert [b"payload", None] == [first.get("key"), second.get("key")]


def test_records_whose_lifetime_is_over_leave_as_others_are_written(
    clock: FrozenDateTimeFactory,
) -> None:
    """Expired records are dropped as others are written, not only when read again."""
    store: dict[str, bytes] = {}
    storage = MemoryStorage(store)
    for number in range(100):
        storage.set(f"brief {number}", b"payload", 10)
    storage.set("renewed", b"payload", 10)
    storage.set("long", b"payload", 100)
    clock.tick(9)
    storage.touch("renewed", 10)
    clock.tick(1)
    assert 102 == len(store)

    storage.set("another", b"payload")

    assert ["another", "long", "renewed"] == sorted(store)


def test_a_payload_of_memory_is_immutable() -> None:
    """Payloads are bytes in memory too: `get` gives nothing by which the store could be changed."""
    store: dict[str, bytes] = {}
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.log = ["a"]

    assert {"1": bytes} == {key: type(payload) for key, payload in store.items()}


@pytest.mark.parametrize(
    "cache",
    [
        lambda: LRUCache(100, getsizeof=len),
        lambda: LFUCache(100, getsizeof=len),
        lambda: FIFOCache(100, getsizeof=len),
        lambda: RRCache(100, getsizeof=len),
        lambda: TTLCache(100, FOR_AGES, timer=monotonic, getsizeof=len),
        lambda: TLRUCache(100, lambda _k, _v, now: now + 99, timer=monotonic, getsizeof=len),
    ],
    ids=["LRUCache", "LFUCache", "FIFOCache", "RRCache", "TTLCache", "TLRUCache"],
)
class TestBoundedByBytes:
    """Caches of 100 bytes."""

    def test_a_record_that_is_too_large_leaves_the_old_one_whole(
        self, cache: Callable[[], Any], clock: FrozenDateTimeFactory
    ) -> None:
        """A failed write leaves the old record whole, with the lifetime that it had."""
        storage = MemoryStorage(cache())
        storage.set("key", b"old", 10)
        clock.tick(9)

        with pytest.raises(StorageError, match="maxsize") as caught:
            storage.set("key", SECRET.encode() * 100, 10)

        assert "key" == caught.value.key
        assert isinstance(caught.value.__cause__, ValueError)
        assert SECRET not in str(caught.value)
        assert b"old" == storage.get("key")
        clock.tick(1)
        assert storage.get("key") is None

    def test_a_session_that_is_too_large_stays_as_it_was(self, cache: Callable[[], Any]) -> None:
        """A handler whose session outgrows the cache gets a `StorageError`; nothing is changed."""
        sessions = Sessions(storage=MemoryStorage(cache()))
        with sessions.open(1) as session:
            session.counter = 1

        with pytest.raises(StorageError) as caught, sessions.open(1) as session:
            session.update(counter=2, text=SECRET * 100)

        assert "1" == caught.value.key
        assert {"counter": 1} == sessions.peek(1)
        with sessions.open(1) as session:
            assert {"counter": 1} == dict(session)

    def test_no_more_bytes_are_kept_than_the_cache_allows(self, cache: Callable[[], Any]) -> None:
        """A bounded cache stays within its bounds, and what it keeps is whole."""
        storage = MemoryStorage(cache())
        for number in range(50):
            storage.set(f"key {number}", b"%04d" % number * 10)

        kept = list(storage.keys())

        assert [b"%04d" % int(key.split()[1]) * 10 for key in kept] == [
            storage.get(k) for k in kept
        ]
        assert 2 == len(kept)


class SkipsTheExpired(UserDict[str, bytes]):
    """Like `TLRUCache` of cachetools 6: a new value that has expired already is not stored."""

    def __setitem__(self, key: str, payload: bytes) -> None:
        if payload != b"expired":
            super().__setitem__(key, payload)


@pytest.mark.parametrize(
    "store",
    [
        SkipsTheExpired,
        lambda: TLRUCache(100, lambda _key, value, now: now + 60 * (value != b"expired")),
    ],
    ids=["skips", "TLRUCache"],
)
def test_a_value_that_has_expired_already_does_not_leave_the_old_one(
    store: Callable[[], Any],
) -> None:
    """Where a cache refuses a value as expired, the record is gone, not the older one back."""
    storage = MemoryStorage(store())
    storage.set("key", b"old")
    storage.set("key", b"expired")

    assert [None, False, []] == [storage.get("key"), storage.has("key"), list(storage.keys())]


DUNDERS = ("__getitem__", "__setitem__", "__delitem__", "__contains__", "__iter__", "__len__")


def make_failing(*dunders: str, records: dict[str, bytes] | None = None) -> Any:
    """A store whose methods of these names raise, once its `failing` is set."""

    def failing_method(name: str) -> Callable[..., Any]:
        def method(self: Any, *args: Any) -> Any:
            if self.failing:
                raise OSError(f"{name}{args} of a backend that is down")
            return getattr(super(store_class, self), name)(*args)

        return method

    store_class: Any = type("Store", (UserDict,), {name: failing_method(name) for name in dunders})
    store_class.failing = False
    return store_class(records or {})


BACKEND_CALLS = {name: call for name, call in CALLS.items() if name != "repr"}


@pytest.mark.parametrize("name", list(BACKEND_CALLS))
def test_an_exception_of_the_backend_leaves_as_a_storage_error(name: str) -> None:
    """A backend's own exception is the cause of a `StorageError` with the key and the attempt."""
    store = make_failing(*DUNDERS, records={"key": SECRET.encode()})
    storage = MemoryStorage(store)
    store.failing = True

    with pytest.raises(StorageError) as caught:
        BACKEND_CALLS[name](storage)

    error = caught.value
    assert isinstance(error.__cause__, OSError)
    assert (None if name == "keys" else "key") == error.key
    assert error.action
    assert str(error).startswith(f"could not {error.action}")
    assert "OSError" in str(error)
    assert SECRET not in f"{error} {error!r} {error.args}"
    assert "backend that is down" not in str(error)


@pytest.mark.parametrize("dunder", DUNDERS)
@with_each_call
def test_nothing_but_a_storage_error_leaves_a_storage(
    call: Callable[[Storage], object], dunder: str, clock: FrozenDateTimeFactory
) -> None:
    """Whichever method of the store raises, a call works or says `StorageError`."""
    store = make_failing(dunder)
    storage = MemoryStorage(store)
    for number in range(200):
        storage.set(f"evicted {number}", b"payload", 60)
    store.data.clear()
    storage.set("expired", b"payload", 1)
    storage.set("key", b"payload", 60)
    clock.tick(1)
    store.failing = True

    try:
        outcome: object = call(storage) and "worked"
    except Exception as error:
        outcome = type(error)

    assert outcome in ("worked", None, StorageError)


@pytest.mark.parametrize("dunder", DUNDERS)
def test_a_write_that_raised_has_changed_nothing(dunder: str, clock: FrozenDateTimeFactory) -> None:
    """A failed write leaves the old record whole, with its lifetime, whatever failed."""
    store = make_failing(dunder)
    storage = MemoryStorage(store)
    storage.set("key", b"old", 60)
    store.failing = True
    try:
        storage.set("key", b"new", 10)
    except StorageError:
        expected = [b"old", b"old"]
    else:
        expected = [b"new", None]
    store.failing = False

    actual = [storage.get("key")]
    clock.tick(10)
    actual.append(storage.get("key"))

    assert expected == actual


def test_an_expired_neighbour_that_cannot_be_dropped_does_not_disturb_a_write(
    clock: FrozenDateTimeFactory,
) -> None:
    """Expired records are dropped as others are written; the write itself comes first."""
    store = make_failing("__delitem__")
    storage = MemoryStorage(store)
    storage.set("neighbour", b"payload", 10)
    clock.tick(10)
    store.failing = True

    storage.set("key", b"payload")

    assert [b"payload", None] == [storage.get("key"), storage.get("neighbour")]


@pytest.mark.parametrize("payload", ["text", 7, ["list"]], ids=["str", "int", "list"])
def test_a_store_that_gives_no_bytes_has_failed(payload: Any) -> None:
    """A failed read is never a new user: what is no `bytes` is a `StorageError`, not nothing."""
    storage = MemoryStorage({"key": payload})

    with pytest.raises(StorageError) as caught:
        storage.get("key")

    assert ("key", False) == (caught.value.key, "text" in str(caught.value))


class Texts(UserDict[str, Any]):
    """A store that gives back text for the bytes it was given."""

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key).decode("latin-1")


def test_a_store_that_gives_back_something_else_does_not_lose_the_record() -> None:
    """A store that cannot keep bytes is a `StorageError`, not a new session for every update."""
    store = Texts()
    sessions = Sessions(storage=MemoryStorage(store))

    with pytest.raises(StorageError):  # noqa: PT012
        with sessions.open(1) as session:
            session.counter = 1
        with sessions.open(1) as session:
            session.counter = 2


@pytest.mark.parametrize(
    "store",
    [[], bytearray(), (), "text", 7, object(), dict, {"a"}, MappingProxyType({}), MemoryStorage()],
    ids=lambda store: type(store).__name__ if not isinstance(store, type) else "a-class",
)
def test_a_store_that_is_no_mutable_mapping_is_refused_at_once(store: Any) -> None:
    """A wrong store raises `TypeError` at construction, not at the first message."""
    with pytest.raises(TypeError, match="mapping"):
        MemoryStorage(store)


@pytest.mark.parametrize("lacking", DUNDERS[:-1])
def test_a_store_that_lacks_a_method_is_refused_at_once(lacking: str) -> None:
    """A store without one of the methods that are needed raises `TypeError` at construction."""
    methods = {name: getattr(Turnstile, name) for name in DUNDERS if name != lacking}
    incomplete = type("Incomplete", (), methods)

    with pytest.raises(TypeError, match="mapping"):
        MemoryStorage(incomplete())


def test_an_interrupt_inside_the_store_goes_on_and_frees_the_storage() -> None:
    """What is no `Exception` is not the backend's: it leaves as it is, and the next call works."""

    class Interrupting(UserDict[str, bytes]):
        def __getitem__(self, key: str) -> bytes:
            raise KeyboardInterrupt

    storage = MemoryStorage(Interrupting({"key": b"payload"}))
    with pytest.raises(KeyboardInterrupt):
        storage.get("key")

    assert [["key"], True] == [in_thread(lambda: list(storage.keys())), storage.has("key")]


# Sessions over stores that misbehave.


@pytest.mark.parametrize("dunder", ["__getitem__", "__setitem__"])
def test_a_store_that_raises_costs_a_handler_nothing_but_its_update(dunder: str) -> None:
    """A failed read is never a new user; the record stays, the key is free, the next one works."""
    store = make_failing(dunder)
    storage = MemoryStorage(store)
    sessions = Sessions(storage=storage, initial=lambda: {"counter": 0})
    calls: list[int] = []

    def count() -> None:
        with sessions.open(1) as session:
            calls.append(session.counter)
            session.counter += 1

    count()
    record = dict(store.data)
    store.failing = True
    with pytest.raises(StorageError) as caught:
        count()
    store.failing = False

    assert ("1", OSError) == (caught.value.key, type(caught.value.__cause__))
    assert record == store.data
    assert "held" == in_thread(try_hold, storage, "1")
    count()
    assert {"counter": 2} == sessions.peek(1)
    assert {"__getitem__": [0, 1], "__setitem__": [0, 1, 1]}[dunder] == calls


def test_a_store_that_raises_fails_a_peek() -> None:
    """`peek` of a record that cannot be read is a `StorageError`, not `None`."""
    store = make_failing("__getitem__", records={"1": b"payload"})
    store.failing = True

    with pytest.raises(StorageError):
        Sessions(storage=MemoryStorage(store)).peek(1)


class Evicting(UserDict[str, bytes]):
    """A store that drops a record as soon as it was read for the first time."""

    def __getitem__(self, key: str) -> bytes:
        payload = super().__getitem__(key)
        if key in self.unread:
            self.unread.remove(key)
            del self.data[key]
        return payload

    def __init__(self, records: dict[str, bytes]) -> None:
        super().__init__(records)
        self.unread = set(records)


@pytest.mark.parametrize("lifetime", [None, 60], ids=["for-ever", "with-lifetime"])
class TestEvictedBetweenLoadAndSave:
    """Sessions over a store that drops a record as soon as it was read for the first time."""

    def test_a_change_is_saved_with_all_fields(self, lifetime: float | None) -> None:
        """What the handler has is written whole."""
        store = Evicting(stored({"a": 1, "b": 2}))
        sessions = Sessions(storage=MemoryStorage(store), lifetime=lifetime)

        with sessions.open(1) as session:
            session.b = 3

        assert {"a": 1, "b": 3} == peek_at(store)

    def test_reading_is_no_error(self, lifetime: float | None) -> None:
        """A handler that only reads what was evicted under its hands ends in peace."""
        store = Evicting(stored({"a": 1}))
        sessions = Sessions(storage=MemoryStorage(store), lifetime=lifetime)

        with sessions.open(1) as session:
            seen = dict(session)

        assert {"a": 1} == seen
        assert peek_at(store) in (None, {"a": 1})

    def test_an_emptied_session_is_no_error(self, lifetime: float | None) -> None:
        """A handler that empties what was evicted under its hands leaves nothing."""
        store = Evicting(stored({"a": 1}))
        sessions = Sessions(storage=MemoryStorage(store), lifetime=lifetime)

        with sessions.open(1) as session:
            session.clear()

        assert {} == store.data


def stored(fields: dict[str, Any]) -> dict[str, bytes]:
    """What a store holds once a session with these fields was saved under the key 1."""
    store: dict[str, bytes] = {}
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.update(fields)
    return store


def peek_at(store: Any) -> dict[str, Any] | None:
    return Sessions(storage=MemoryStorage(dict(store.data))).peek(1)


def test_storage_errors_are_session_errors() -> None:
    """One `except SessionError` catches whatever a storage says."""
    assert issubclass(StorageError, SessionError)
