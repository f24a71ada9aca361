"""Random handlers on several sessions against a model in plain Python, over several stores."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from cachetools import LRUCache, TLRUCache, TTLCache
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from support.clocks import monotonic
from support.servers import FrozenRedisStorage
from telesession import (
    MemoryStorage,
    Session,
    SessionClosedError,
    Sessions,
    Storage,
    as_dict,
    forget,
    save,
    session_key,
    ttl,
    ttl_left,
)
from telesession.storage.sqlite import SQLiteStorage

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


FOR_AGES = 10.0**9
CI = settings(
    max_examples=30,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    print_blob=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


# The model: what the design says, in dicts of values and of deadlines.


@dataclass
class Mark:
    """That a field expires: how long after its updates, and when next."""

    lifetime: float
    deadline: float


@dataclass
class Record:
    """What is stored of a session, and until when."""

    fields: dict[str, Any]
    marks: dict[str, Mark]
    end: float = math.inf


@dataclass
class Work:
    """A session between its load and its last commit."""

    fields: dict[str, Any]
    marks: dict[str, Mark]
    stored: Record | None
    # The value of each field as it was when it was loaded, assigned or saved.
    known: dict[str, Any] = field(default_factory=dict)
    forgotten: bool = False

    def live(self, now: float) -> dict[str, Any]:
        """A field with a TTL is gone at `now >= deadline`; its mark outlives it."""
        for name, mark in self.marks.items():
            if now >= mark.deadline:
                self.fields.pop(name, None)
        return self.fields

    def assign(self, name: str, value: Any, now: float) -> None:
        """An assignment is an update: a field that is marked has its full lifetime again."""
        self.live(now)
        self.fields[name] = value
        self.known[name] = copy.deepcopy(value)
        if name in self.marks:
            self.marks[name].deadline = now + self.marks[name].lifetime

    def mark(self, name: str, value: Any, lifetime: float, now: float) -> None:
        """`ttl(value, lifetime)` marks a field, and `ttl(value, 0)` removes the mark."""
        self.marks.pop(name, None)
        self.assign(name, value, now)
        if lifetime:
            self.marks[name] = Mark(lifetime, now + lifetime)

    def delete(self, name: str) -> None:
        """`del` removes a field and its mark."""
        del self.fields[name]
        self.marks.pop(name, None)

    def commit(self, now: float, lifetime: float) -> Record | None:
        """
        What is stored from now on.

        A nested change renews its field now. An empty session, or one to be forgotten, is deleted.
        """
        live = self.live(now)
        self.stored = None
        if live and not self.forgotten:
            for name, mark in self.marks.items():
                if name in live and live[name] != self.known[name]:
                    mark.deadline = now + mark.lifetime
            self.known = copy.deepcopy(live)
            self.stored = copy.deepcopy(Record(live, self.marks, now + lifetime))
        return self.stored


class Model:
    """All sessions of one `Sessions`, by key."""

    def __init__(self, initial: Callable[[Work, float], None], lifetime: float) -> None:
        self.initial = initial
        self.lifetime = lifetime
        self.records: dict[str, Record] = {}

    def record(self, key: str, now: float) -> Record | None:
        """A session is gone when its lifetime is over."""
        found = self.records.get(key)
        return found if found is not None and now < found.end else None

    def load(self, key: str, now: float) -> Work:
        """What a handler gets: the stored fields that are live, or what `initial` gives."""
        record = self.record(key, now)
        if record is None:
            work = Work({}, {}, None)
            self.initial(work, now)
        else:
            work = Work(copy.deepcopy(record.fields), copy.deepcopy(record.marks), record)
        work.known = copy.deepcopy(work.fields)
        return work

    def commit(self, key: str, work: Work, now: float) -> None:
        record = work.commit(now, self.lifetime)
        if record is None:
            self.records.pop(key, None)
        else:
            self.records[key] = record

    def peek(self, key: str, now: float) -> dict[str, Any] | None:
        record = self.record(key, now)
        if record is None:
            return None
        return {
            name: value
            for name, value in record.fields.items()
            if name not in record.marks or now < record.marks[name].deadline
        }


# What handlers do.

KEYS = ["1", "chat:1"]
# Two are names of methods of a dict, and all of them also appear inside values.
NAMES = ["a", "log", "items", "keys"]
VALUES = [0, 1, "a", [], ["log", "a"], {}, {"items": 0, "a": "keys"}]
HOW = ["attribute", "item", "update"]
READS = [("read",), *(("wait", seconds) for seconds in (1, 2, 3))]
# From a table, because drawing each argument by itself takes most of the time of a test.
STEPS = [
    *READS,
    *(("assign", name, value, how) for name in NAMES for value in VALUES for how in HOW[:2]),
    *(("assign", name, 1, how) for name in NAMES for how in HOW),
    *(("mark", name, value, 3) for name in NAMES for value in VALUES),
    *(("mark", name, value, n) for name in NAMES for value in VALUES[2:6] for n in (5, 5, 0)),
    *(("nested", name) for name in NAMES * 6),
    *(("delete", name, how) for name in NAMES for how in ("attribute", "item", "pop")),
    *(("setdefault", name, value) for name in NAMES for value in ([], 1)),
    *READS * 6,
    *[("save",), ("clear",), ("forget",), ("raise",)] * 3,
]
ONE_STEP = st.sampled_from(STEPS)
NESTED_CALL = st.tuples(st.just("call"), st.sampled_from(KEYS), st.lists(ONE_STEP, max_size=3))
HANDLERS = st.lists(st.one_of(ONE_STEP, ONE_STEP, ONE_STEP, NESTED_CALL), max_size=8)
READERS = st.lists(st.sampled_from(READS), max_size=3)


class Boom(Exception):
    """What a handler of these tests raises."""


class Machine(RuleBasedStateMachine):
    """
    Does everything twice, to sessions and to the model, and compares.

    Args:
        sessions: What is tried.
        storage: Their storage.
        writes: How often the store was written so far.
        model: What is right.
        clock: Drives the time of both.
    """

    def __init__(
        self,
        sessions: Sessions[Session],
        storage: Storage,
        writes: Callable[[], int],
        model: Model,
        clock: FrozenDateTimeFactory | None,
    ) -> None:
        super().__init__()
        self.sessions = sessions
        self.storage = storage
        self.writes = writes
        self.model = model
        self.clock = clock
        self.open: dict[str, tuple[Session, Work]] = {}
        self.handle = sessions.with_session(lambda update, use, session: use(session))

    @rule(key=st.sampled_from(KEYS), steps=HANDLERS)
    def update_arrives(self, key: str, steps: list[tuple[Any, ...]]) -> None:
        update = SimpleNamespace(from_user=SimpleNamespace(id=key))
        self.use(key, steps, lambda use: self.handle(update, use))

    @rule(key=st.sampled_from(KEYS), steps=HANDLERS)
    def session_is_opened(self, key: str, steps: list[tuple[Any, ...]]) -> None:
        def run(use: Callable[[Session], None]) -> None:
            with self.sessions.open(key) as session:
                use(session)

        self.use(key, steps, run)

    @rule(key=st.sampled_from(KEYS), steps=READERS)
    def update_only_reads(self, key: str, steps: list[tuple[Any, ...]]) -> None:
        record, before = self.model.record(key, time.monotonic()), self.writes()
        self.session_is_opened(key, steps)
        # Unless it was new, or was over in the middle of the handler.
        if record is not None and time.monotonic() < record.end:
            assert before == self.writes()

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.clock.tick(seconds)

    @rule(key=st.sampled_from(KEYS))
    def session_is_deleted(self, key: str) -> None:
        existed = self.model.record(key, time.monotonic()) is not None
        self.model.records.pop(key, None)
        assert existed == self.sessions.delete(key)

    @invariant()
    def peek_shows_what_was_saved(self) -> None:
        now = time.monotonic()
        for key in KEYS:
            assert self.model.peek(key, now) == self.sessions.peek(key)

    @invariant()
    def keys_lists_what_is_stored(self) -> None:
        now = time.monotonic()
        live = [key for key in self.model.records if self.model.record(key, now) is not None]
        assert sorted(live) == sorted(self.sessions.keys())

    @invariant()
    def no_lock_is_left(self) -> None:
        assert 0 == len(self.storage._process.locks)

    def use(
        self,
        key: str,
        steps: list[tuple[Any, ...]],
        run: Callable[[Callable[[Session], None]], None],
    ) -> None:
        """One use of a session; inside another of the same key, both are of one session."""
        if key in self.open:
            run(lambda session: self.run_steps(key, session, steps))
            return
        work = self.model.load(key, time.monotonic())
        before = self.writes()

        def body(session: Session) -> None:
            self.open[key] = session, work
            self.run_steps(key, session, steps)

        try:
            run(body)
        except Boom:
            most_writes = 0
        else:
            most_writes = 1
            self.model.commit(key, work, time.monotonic())
        session, _ = self.open.pop(key)
        self.check_closed(session, work)
        if not {"call", "save"} & {step[0] for step in steps}:
            assert self.writes() - before <= most_writes

    def check_closed(self, session: Session, work: Work) -> None:
        """After its handler a session can be read, and not be changed."""
        self.compare(session, work)
        with pytest.raises(SessionClosedError):
            session["a"] = 1

    def run_steps(self, key: str, session: Session, steps: list[tuple[Any, ...]]) -> None:
        """Does what a handler does, to the session and to the model."""
        expected, work = self.open[key]
        assert session is expected
        assert key == session_key(session)
        self.compare(session, work)
        for name, *arguments in steps:
            getattr(self, f"do_{name}")(key, session, work, *arguments)
            self.compare(session, work)

    def compare(self, session: Session, work: Work) -> None:
        """Every way to read a session agrees with the model."""
        now = time.monotonic()
        live = work.live(now)
        assert live == dict(session)
        assert live == {**session}
        assert live == as_dict(session)
        assert (len(live), set(live)) == (len(session), set(session))
        for name in NAMES:
            mark = work.marks.get(name)
            assert (name in live) == (name in session)
            assert (mark and max(0, mark.deadline - now)) == ttl_left(session, name)
            if name in live:
                assert live[name] == session[name] == getattr(session, name)

    def do_read(self, key: str, session: Session, work: Work) -> None:
        self.compare(session, work)

    def do_wait(self, key: str, session: Session, work: Work, seconds: int) -> None:
        self.clock.tick(seconds)

    def do_assign(self, key: str, session: Session, work: Work, *what: Any) -> None:
        name, value, how = what
        if how == "attribute":
            setattr(session, name, copy.deepcopy(value))
        elif how == "item":
            session[name] = copy.deepcopy(value)
        else:
            session.update({name: copy.deepcopy(value)})
        work.assign(name, copy.deepcopy(value), time.monotonic())

    def do_mark(self, key: str, session: Session, work: Work, *what: Any) -> None:
        name, value, lifetime = what
        setattr(session, name, ttl(copy.deepcopy(value), lifetime))
        work.mark(name, copy.deepcopy(value), lifetime, time.monotonic())

    def do_nested(self, key: str, session: Session, work: Work, name: str) -> None:
        for values in (session, work.live(time.monotonic())):
            value = dict(values).get(name)
            if isinstance(value, list):
                value.append("a")
            elif isinstance(value, dict):
                value["x"] = value.get("x", 0) + 1

    def do_delete(self, key: str, session: Session, work: Work, name: str, how: str) -> None:
        delete: dict[str, tuple[Callable[[], object], type[Exception]]] = {
            "attribute": (lambda: delattr(session, name), AttributeError),
            "item": (lambda: session.__delitem__(name), KeyError),
            "pop": (lambda: session.pop(name), KeyError),
        }
        act, complaint = delete[how]
        if name in work.live(time.monotonic()):
            act()
            work.delete(name)
        else:
            with pytest.raises(complaint):
                act()

    def do_setdefault(self, key: str, session: Session, work: Work, name: str, value: Any) -> None:
        live = work.live(time.monotonic())
        assert live.get(name, value) == session.setdefault(name, copy.deepcopy(value))
        if name not in live:
            work.assign(name, copy.deepcopy(value), time.monotonic())

    def do_clear(self, key: str, session: Session, work: Work) -> None:
        session.clear()
        work.fields.clear()
        work.marks.clear()

    def do_save(self, key: str, session: Session, work: Work) -> None:
        # What to save of a session that is to be deleted, the design does not say.
        if work.forgotten:
            return
        save(session)
        self.model.commit(key, work, time.monotonic())
        self.peek_shows_what_was_saved()

    def do_forget(self, key: str, session: Session, work: Work) -> None:
        forget(session)
        work.forgotten = True
        self.peek_shows_what_was_saved()

    def do_raise(self, key: str, session: Session, work: Work) -> None:
        raise Boom

    def do_call(self, key: str, session: Session, work: Work, *what: Any) -> None:
        other, steps = what
        self.session_is_opened(other, steps)


# What it is run on.


def counting(cls: type) -> type:
    """The same kind of store, but it counts how often it is written."""

    def __setitem__(self: Any, key: str, payload: bytes) -> None:
        self.writes += 1
        cls.__setitem__(self, key, payload)

    return type(f"Counting{cls.__name__}", (cls,), {"writes": 0, "__setitem__": __setitem__})


STORES: dict[str, Callable[[], Any]] = {
    "dict": counting(dict),
    "TTLCache": lambda: counting(TTLCache)(1_000, FOR_AGES, timer=monotonic),
    "LRUCache": lambda: counting(LRUCache)(2**24, getsizeof=len),
    "TLRUCache": lambda: counting(TLRUCache)(
        1_000, lambda _key, _value, now: now + FOR_AGES, timer=monotonic
    ),
}


def initial_fields() -> dict[str, Any]:
    return {"a": 0, "log": ttl([], 5)}


def model_initial(work: Work, now: float) -> None:
    work.assign("a", 0, now)
    work.mark("log", [], 5, now)


INITIALS: dict[str, tuple[Any, Callable[[Work, float], None]]] = {
    "empty": (dict, lambda work, now: None),
    "initial": (initial_fields, model_initial),
}


def machine_over(
    make_store: Callable[[], Any],
    clock: FrozenDateTimeFactory,
    lifetime: float | None = None,
    initial: str = "empty",
    make_storage: Callable[[Any], MemoryStorage] = MemoryStorage,
) -> Callable[[], Machine]:
    """Gives a machine with a new store whenever it is called."""
    given, modelled = INITIALS[initial]

    def make() -> Machine:
        store = make_store()
        storage = make_storage(store)
        sessions = Sessions(storage=storage, initial=given, lifetime=lifetime, lock_timeout=0)
        model = Model(modelled, math.inf if lifetime is None else lifetime)
        return Machine(sessions, storage, lambda: store.writes, model, clock)

    return make


@pytest.mark.parametrize("examples", [8, pytest.param(30, marks=pytest.mark.long)])
@pytest.mark.parametrize("initial", list(INITIALS))
@pytest.mark.parametrize("lifetime", [None, 7], ids=["for-ever", "lifetime"])
@pytest.mark.parametrize("make_store", list(STORES.values()), ids=list(STORES))
def test_any_sequence_of_handlers_agrees_with_the_model(
    make_store: Callable[[], Any],
    lifetime: float | None,
    initial: str,
    examples: int,
    clock: FrozenDateTimeFactory,
) -> None:
    """Whatever handlers do in whatever order, sessions are what the design says they are."""
    machine = machine_over(make_store, clock, lifetime, initial)
    run_state_machine_as_test(machine, settings=settings(CI, max_examples=examples))


class CountsWrites:
    """A storage that counts the holds and flushes in which a session was written."""

    writes = 0

    def hold(self, key: str, timeout: float | None = None) -> Any:
        return CountingHold(self, super().hold(key, timeout))


class CountingHold:
    """A hold that counts its writes, and leaves everything else as it is."""

    def __init__(self, storage: CountsWrites, held: Any) -> None:
        self.storage, self.held = storage, held

    def __enter__(self) -> Any:
        self.held.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self.held.__exit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.held, name)

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        self.storage.writes += 1
        self.held.set(payload, lifetime)


class CountingFile(CountsWrites, SQLiteStorage):
    """A file that counts its writes."""


class CountingServer(CountsWrites, FrozenRedisStorage):
    """A server that counts its writes."""


@pytest.fixture(params=["file", "server"])
def make_durable(
    request: pytest.FixtureRequest, clock: FrozenDateTimeFactory, tmp_path: Path
) -> Iterator[Callable[[], Any]]:
    """Gives a new storage that outlives its process."""
    numbers = itertools.count()
    with ExitStack() as storages:

        def make_file() -> CountingFile:
            return storages.enter_context(CountingFile(tmp_path / f"{next(numbers)}.db"))

        def make_server() -> CountingServer:
            with server.client() as client:
                client.flushall()
            return storages.enter_context(CountingServer(server, clock))

        if request.param == "file":
            yield make_file
        else:
            server = request.getfixturevalue("server")
            yield make_server


@pytest.mark.parametrize("examples", [4, pytest.param(15, marks=pytest.mark.long)])
@pytest.mark.parametrize("initial", list(INITIALS))
@pytest.mark.parametrize("lifetime", [None, 7], ids=["for-ever", "lifetime"])
def test_any_sequence_of_handlers_agrees_with_the_model_where_sessions_last(
    lifetime: float | None,
    initial: str,
    examples: int,
    make_durable: Callable[[], Any],
    clock: FrozenDateTimeFactory,
) -> None:
    """Sessions in a file and on a server are what those in memory are, whatever handlers do."""
    given, modelled = INITIALS[initial]

    def make() -> Machine:
        storage = make_durable()
        sessions = Sessions(storage=storage, initial=given, lifetime=lifetime, lock_timeout=0)
        model = Model(modelled, math.inf if lifetime is None else lifetime)
        return Machine(sessions, storage, lambda: storage.writes, model, clock)

    run_state_machine_as_test(make, settings=settings(CI, max_examples=examples))


# The controls: what the machine must notice.


class LosesTheLastWrite(counting(dict)):  # type: ignore[misc]
    """Keeps what was written first."""

    def __setitem__(self, key: str, payload: bytes) -> None:
        if key not in self:
            super().__setitem__(key, payload)


class NeverTouched(MemoryStorage):
    """Renews no lifetime."""

    def touch(self, key: str, lifetime: float | None) -> bool:
        return self.has(key)


class NeverExpires(MemoryStorage):
    """Knows no lifetimes."""

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key, payload)

    def touch(self, key: str, lifetime: float | None) -> bool:
        return self.has(key)


class NeverDeletes(MemoryStorage):
    """Says that it deleted, and did not."""

    def delete(self, key: str) -> bool:
        return self.has(key)


@pytest.mark.parametrize(
    ("make_store", "make_storage"),
    [
        (LosesTheLastWrite, MemoryStorage),
        (counting(dict), NeverTouched),
        (counting(dict), NeverExpires),
        (counting(dict), NeverDeletes),
    ],
    ids=["loses-the-last-write", "never-touched", "never-expires", "never-deletes"],
)
def test_the_machine_notices_a_broken_storage(
    make_store: Callable[[], Any],
    make_storage: Callable[[Any], MemoryStorage],
    clock: FrozenDateTimeFactory,
) -> None:
    """The control: sequences as random as these find what a storage does wrong."""
    machine = machine_over(make_store, clock, 7, "empty", make_storage)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(CI, phases=[Phase.generate], max_examples=2_000)
        )
