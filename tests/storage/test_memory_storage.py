"""`MemoryStorage` and the stores it is given: bounded, failing, evicting and wrong ones."""

from __future__ import annotations

import sys
import threading
from collections import UserDict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from cachetools import FIFOCache, LFUCache, LRUCache, RRCache, TLRUCache, TTLCache

from support.clocks import PATIENCE, monotonic
from support.threads import in_thread, in_threads
from telesession import LockLostError, MemoryStorage, Sessions, Storage, StorageError
from telesession.storage.base import Change
from telesession.testing.storage_suite import FOR_AGES, try_hold

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

SECRET = "hunter2"


class Turnstile(MutableMapping[str, bytes]):
    """
    A store that counts who came in while another was inside.

    Whoever is inside stays until another has arrived: in here, at the door, or somewhere else.
    """

    def __init__(self) -> None:
        self.collisions = 0
        self.arrival = threading.Event()
        self._records: dict[str, bytes] = {}
        self._inside = threading.Lock()

    @contextmanager
    def _visit(self) -> Iterator[None]:
        if not self._inside.acquire(blocking=False):
            self.collisions += 1
            self.arrival.set()
            yield
            return
        try:
            assert self.arrival.wait(PATIENCE)
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


class Door:
    """A mutex that tells who is inside when another has arrived."""

    def __init__(self, arrival: threading.Event) -> None:
        self._arrival = arrival
        self._mutex = threading.Lock()

    def __enter__(self) -> None:
        if not self._mutex.acquire(blocking=False):
            self._arrival.set()
            self._mutex.acquire()

    def __exit__(self, *_: object) -> None:
        self._mutex.release()


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
    "get_record": lambda storage: storage.get_record("key"),
    "ping": lambda storage: storage.ping(),
    "delete": lambda storage: storage.delete("key"),
    "touch": lambda storage: storage.touch("key", 60),
    "keys": lambda storage: list(storage.keys("k")),
    "repr": repr,
}

with_each_call = pytest.mark.parametrize("call", list(CALLS.values()), ids=list(CALLS))


def collisions(make: Callable[[Turnstile], Any], call: Callable[[Storage], object]) -> int:
    """How often two threads met inside the store when one called this and the other wrote."""
    store = Turnstile()
    storage = make(store)
    storage._mutex = Door(store.arrival)

    def visit(function: Callable[[Storage], object]) -> None:
        function(storage)
        # Perhaps without a look into the store.
        store.arrival.set()

    in_threads([lambda: visit(call), lambda: visit(CALLS["set"])])
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
    assert {"keys": None, "ping": "@ping:"}.get(name, "key") == error.key
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


class OneByOne(MemoryStorage):
    """A storage that writes one record after the other, as the base class does."""

    commit = Storage.commit


def seen_during_a_commit(storage: MemoryStorage, write: Callable[[Any, Any], object]) -> set[Any]:
    """The pairs of records that a thread may read without waiting, line by line of the commit."""
    storage.set("a", b"old")
    seen = set()

    def look(*_: object) -> Any:
        if storage._pass is not None:
            seen.add((storage.get("a"), storage.get("b")))
        return look

    with storage.hold("a") as a, storage.hold("b") as b:
        write(a, b)
        before = sys.gettrace()
        sys.settrace(look)
        try:
            storage.commit([a, b])
        finally:
            sys.settrace(before)
    look()
    return seen


WRITES: dict[str, tuple[Callable[[Any, Any], object], tuple[bytes | None, bytes | None]]] = {
    "both": (lambda a, b: (a.set(b"new"), b.set(b"new")), (b"new", b"new")),
    "a move": (lambda a, b: (a.delete(), b.set(b"old")), (None, b"old")),
}


@pytest.mark.parametrize(("write", "after"), WRITES.values(), ids=WRITES)
def test_a_thread_without_a_lock_sees_a_whole_commit(
    write: Callable[[Any, Any], object], after: tuple[bytes | None, bytes | None]
) -> None:
    """No thread reads a dict without the mutex between two writes of one commit."""
    assert {(b"old", None), after} == seen_during_a_commit(MemoryStorage(), write)


@pytest.mark.parametrize(("write", "after"), WRITES.values(), ids=WRITES)
def test_control_one_write_after_the_other_is_seen(
    write: Callable[[Any, Any], object], after: tuple[bytes | None, bytes | None]
) -> None:
    """The control: the trace shows the moment between two writes."""
    seen = seen_during_a_commit(OneByOne(), write)
    assert {(b"old", None), after} < seen


class ForgetsToLookAgain(MemoryStorage):
    """A storage that looks for lifetimes before its write without the mutex, and not after it."""

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        if lifetime is None and not self._expiry.deadlines:
            self._store[key] = payload
        else:
            super().set(key, payload, lifetime)


def outcomes_of_a_race(
    make: Callable[[], MemoryStorage], clock: FrozenDateTimeFactory
) -> set[tuple[bytes | None, bytes | None]]:
    """
    A record at once and after ten seconds, for each line of a write that another one may come to.

    The other write gives the same record its lifetime, the first in the storage.
    """
    outcomes = set()
    for line in range(1, 12):
        storage = make()
        meddle_at(line, storage.set, storage.set, "key", b"theirs", 10)("key", b"mine")
        payload = storage.get("key")
        clock.tick(10)
        outcomes.add((payload, storage.get("key")))
    return outcomes


ONE_AFTER_THE_OTHER = {(b"mine", b"mine"), (b"theirs", None)}


def test_a_write_without_the_mutex_takes_no_lifetime_of_another(
    clock: FrozenDateTimeFactory,
) -> None:
    """A write to a dict replaces payload and lifetime together, without the mutex too."""
    outcomes = outcomes_of_a_race(MemoryStorage, clock)
    assert set() == outcomes - ONE_AFTER_THE_OTHER


def test_control_a_write_that_does_not_look_again_takes_the_lifetime(
    clock: FrozenDateTimeFactory,
) -> None:
    """The control: one of the lines lets the record of one write have the lifetime of another."""
    assert (b"mine", None) in outcomes_of_a_race(ForgetsToLookAgain, clock)


STEPS: dict[str, Callable[[MemoryStorage], object]] = {
    "set": lambda storage: storage.set("new", b"payload", 10),
    "touch": lambda storage: storage.touch("old", 10),
    "delete": lambda storage: storage.delete("old"),
    "commit": lambda storage: storage.commit([], [Change("old", b"payload", b"other")]),
    "commit two": lambda storage: storage.commit(
        [], [Change("new", None, b"payload"), Change("newer", None, b"payload")]
    ),
}


def states_seen_during(storage: MemoryStorage, act: Callable[[MemoryStorage], object]) -> list[Any]:
    """The states of the store between its first and its last one, as threads without mutex see."""
    storage.set("old", b"payload")
    states = [dict(storage._store)]

    def look(*_: object) -> Any:
        if storage._pass is not None:
            states.append(dict(storage._store))
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        act(storage)
    finally:
        sys.settrace(before)
    ends = states[0], dict(storage._store)
    return [state for state in states if state not in ends]


@pytest.mark.parametrize("act", STEPS.values(), ids=STEPS)
def test_an_operation_of_several_steps_has_the_store_alone(
    act: Callable[[MemoryStorage], object],
) -> None:
    """While it has the mutex, no other thread reads or writes a record without it."""
    assert [] == states_seen_during(MemoryStorage(), act)


class LetsAllPass(MemoryStorage):
    """A storage whose operations of several steps let other threads do without the mutex."""

    _pass = property(lambda _: True, lambda _, __: None)  # type: ignore[assignment]


def test_control_the_steps_of_an_operation_are_seen() -> None:
    """The control: threads without the mutex see a part of the records that are committed."""
    assert [] != states_seen_during(LetsAllPass(), STEPS["commit two"])


def test_a_write_without_the_mutex_is_not_overwritten_by_a_new_record() -> None:
    """A commit that expects no record leaves a record that is written meanwhile."""
    for line in range(1, 12):
        storage = MemoryStorage()

        def commit(storage: MemoryStorage = storage) -> None:
            with suppress(LockLostError):
                storage.commit([], [Change("key", None, b"theirs")])

        meddle_at(line, storage.set, commit)("key", b"mine")
        assert (line, b"mine") == (line, storage.get("key"))


def meddle_at(
    line: int, act: Callable[..., Any], meddle: Callable[..., Any], *args: Any
) -> Callable[..., None]:
    """A call of `act` that another call comes between, at one of its lines."""

    def call(*own: Any) -> None:
        lines = iter(range(line))

        def trace(frame: Any, event: str, _: object) -> Any:
            if event == "line" and next(lines, None) is None:
                sys.settrace(None)
                frame.f_trace = None
                meddle(*args)
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            act(*own)
        finally:
            sys.settrace(before)

    return call
