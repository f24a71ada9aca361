"""Random handlers on several sessions against a model in plain Python, over several stores."""

from __future__ import annotations

import copy
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
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
from support.postgres_storages import FrozenPostgresStorage
from support.servers import FrozenRedisStorage
from support.storages import FiveMethods
from telesession import (
    LockTimeoutError,
    MemoryStorage,
    Session,
    SessionClosedError,
    Sessions,
    Storage,
    as_dict,
    forget,
    on_commit,
    save,
    session_key,
    ttl,
    ttl_left,
)
from telesession.storage.sqlite import SQLiteStorage
from telesession.unit import blocks, unit

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from telesession.storage.base import Change, Hold


FOR_AGES = 10.0**9
CI = settings(
    max_examples=30,
    stateful_step_count=12,
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

    def load(self, record: Record | None, now: float) -> Work:
        """What a handler gets: the stored fields that are live, or what `initial` gives."""
        if record is None:
            work = Work({}, {}, None)
            self.initial(work, now)
        else:
            work = Work(copy.deepcopy(record.fields), copy.deepcopy(record.marks), record)
        work.known = copy.deepcopy(work.fields)
        return work

    def commit(self, key: str, work: Work | None, now: float) -> None:
        record = None if work is None else work.commit(now, self.lifetime)
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


@dataclass
class Side:
    """Sessions of one kind, and their model."""

    sessions: Sessions[Session]
    storage: Storage
    model: Model
    commit_on_error: bool = False


@dataclass
class UnitModel:
    """
    What the unit of a handler has done so far.

    Attributes:
        works: Its sessions, open and closed; `None` for one that it has deleted.
        locked: The records as they were when they were locked, or saved since.
        opened: The sessions that a block has open.
        calls: The calls of `on_commit`.
        closed: The session of the block that was left last.
    """

    works: dict[Place, Work | None] = field(default_factory=dict)
    locked: dict[Place, Record | None] = field(default_factory=dict)
    opened: dict[Place, tuple[Session, Work]] = field(default_factory=dict)
    calls: list[int] = field(default_factory=list)
    closed: tuple[Session, Work] = field(init=False)


# What handlers do.

# The number of a side, and a key of it. The first two sides are in one storage.
Place = tuple[int, str]
PLACES: list[Place] = [(0, "1"), (0, "chat:1"), (1, "1"), (2, "1")]
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
UNIT_STEPS = [("tell",), ("tell",), *(("drop", place) for place in PLACES), ("raise",)]
WAYS = ["caught", "caught", "passed on", "independent"]


def random_step(rng: random.Random, depth: int) -> tuple[Any, ...]:
    """A step of a handler, which may be a call with steps of its own."""
    roll = rng.random()
    if depth and roll < 0.4:
        steps = [random_step(rng, depth - 1) for _ in range(rng.randrange(5))]
        return "call", rng.choice(PLACES), rng.choice(WAYS), steps
    return rng.choice(UNIT_STEPS if roll < 0.6 else STEPS)


RANDOM = random.Random(1)
TABLE = [*STEPS, *(random_step(RANDOM, 3) for _ in range(600))]


def step_at(number: int) -> tuple[Any, ...]:
    return TABLE[number]


HANDLERS = st.lists(st.integers(0, len(TABLE) - 1).map(step_at), max_size=8)
READERS = st.lists(st.sampled_from(READS), max_size=3)


class Boom(Exception):
    """What a handler of these tests raises."""


class Machine(RuleBasedStateMachine):
    """
    Does everything twice, to sessions and to the model, and compares.

    Args:
        sides: What is tried. The first two are in one storage.
        writes: How often the store of that storage was written so far.
        clock: The time.
    """

    def __init__(
        self,
        sides: list[Side],
        writes: Callable[[], int],
        clock: FrozenDateTimeFactory | None,
    ) -> None:
        super().__init__()
        self.sides = sides
        self.writes = writes
        self.clock = clock
        # The units of the thread, the innermost one last.
        self.units: list[UnitModel] = []
        self.told: list[int] = []
        self.expected_calls: list[int] = []
        self.numbers = itertools.count()
        self.handlers = [
            side.sessions.with_session(lambda update, use, session: use(session)) for side in sides
        ]

    @rule(place=st.sampled_from(PLACES), steps=HANDLERS)
    def update_arrives(self, place: Place, steps: list[tuple[Any, ...]]) -> None:
        side, key = place
        update = SimpleNamespace(from_user=SimpleNamespace(id=key))
        self.use(place, steps, lambda use: self.handlers[side](update, use))

    @rule(place=st.sampled_from(PLACES), steps=HANDLERS)
    def session_is_opened(self, place: Place, steps: list[tuple[Any, ...]]) -> None:
        self.open(place, steps)

    @rule(place=st.sampled_from(PLACES), steps=READERS)
    def update_only_reads(self, place: Place, steps: list[tuple[Any, ...]]) -> None:
        record, before = self.record(place), self.writes()
        self.session_is_opened(place, steps)
        # Unless it was new, or was over in the middle of the handler.
        if record is not None and time.monotonic() < record.end:
            assert before == self.writes()

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.clock.tick(seconds)

    @rule(place=st.sampled_from(PLACES))
    def session_is_deleted(self, place: Place) -> None:
        side, key = place
        existed = self.record(place) is not None
        self.sides[side].model.records.pop(key, None)
        assert existed == self.sides[side].sessions.delete(key)

    @invariant()
    def peek_shows_what_was_saved(self) -> None:
        now = time.monotonic()
        for side, key in PLACES:
            assert self.sides[side].model.peek(key, now) == self.sides[side].sessions.peek(key)

    @invariant()
    def keys_lists_what_is_stored(self) -> None:
        now = time.monotonic()
        for side in self.sides:
            live = [key for key in side.model.records if side.model.record(key, now) is not None]
            assert sorted(live) == sorted(side.sessions.keys())

    @invariant()
    def no_lock_is_left(self) -> None:
        assert [0] * len(self.sides) == [
            len(side.storage.process_state.locks) for side in self.sides
        ]

    @invariant()
    def calls_are_made_in_order(self) -> None:
        assert self.expected_calls == self.told

    def record(self, place: Place) -> Record | None:
        side, key = place
        return self.sides[side].model.record(key, time.monotonic())

    def open(self, place: Place, steps: list[tuple[Any, ...]], **options: bool) -> bool:
        """Use a session by `open`, and say whether that raised."""
        side, key = place

        def run(use: Callable[[Session], None]) -> None:
            with self.sides[side].sessions.open(key, **options) as session:
                use(session)

        return self.use(place, steps, run, **options)

    def use(
        self,
        place: Place,
        steps: list[tuple[Any, ...]],
        run: Callable[[Callable[[Session], None]], None],
        independent: bool = False,
    ) -> bool:
        """One block, which is a unit of its own if it is not inside another one."""
        joins = bool(self.units) and not independent
        if joins and place in self.units[-1].locked:
            return self.use_inside(place, steps, run)
        if self.is_locked(place):
            # A unit around it has the lock, and nobody waits here.
            with pytest.raises(LockTimeoutError):
                run(lambda _: None)
            return False
        if joins:
            return self.use_inside(place, steps, run)
        unit, before = UnitModel(), self.writes()
        self.units.append(unit)
        raised = self.use_inside(place, steps, run)
        self.units.pop()
        for (side, key), work in unit.works.items():
            if not raised or self.sides[side].commit_on_error:
                self.sides[side].model.commit(key, work, time.monotonic())
        # Only now, because the commit renews lifetimes of nested changes.
        self.check_closed(*unit.closed)
        if not {"call", "save", "drop"} & {step[0] for step in steps}:
            most_writes = 0 if raised and not self.sides[place[0]].commit_on_error else 1
            assert self.writes() - before <= most_writes
        self.expected_calls += unit.calls
        self.calls_are_made_in_order()
        return raised

    def use_inside(
        self,
        place: Place,
        steps: list[tuple[Any, ...]],
        run: Callable[[Callable[[Session], None]], None],
    ) -> bool:
        """One block of a unit, which is undone by itself if it raises."""
        unit, was_open = self.units[-1], place in self.units[-1].opened
        works, calls = dict(unit.works), len(unit.calls)
        work = unit.works.get(place) or self.load(place)

        def body(session: Session) -> None:
            if not was_open:
                unit.opened[place] = session, work
                unit.works[place] = work
            self.run_steps(place, session, steps)

        try:
            run(body)
        except Boom:
            raised = True
            kept = [one for one in unit.works if self.sides[one[0]].commit_on_error]
            works = {one: one_work for one, one_work in works.items() if one not in kept}
            unit.works = {**works, **{one: unit.works[one] for one in kept}}
            del unit.calls[calls:]
        else:
            raised = False
        if not was_open:
            unit.closed = unit.opened.pop(place)
            if unit.opened:
                self.check_closed(*unit.closed)
        return raised

    def load(self, place: Place) -> Work:
        """The session of a key that the unit has not opened yet, or has deleted."""
        unit, model = self.units[-1], self.sides[place[0]].model
        record = unit.locked.setdefault(place, self.record(place))
        return model.load(None if place in unit.works else record, time.monotonic())

    def is_locked(self, place: Place) -> bool:
        return any(place in unit.locked for unit in self.units)

    def check_closed(self, session: Session, work: Work) -> None:
        """After its handler a session can be read, and not be changed."""
        self.compare(session, work)
        with pytest.raises(SessionClosedError):
            session["a"] = 1

    def run_steps(self, place: Place, session: Session, steps: list[tuple[Any, ...]]) -> None:
        """Does what a handler does, to the session and to the model."""
        expected, work = self.units[-1].opened[place]
        assert session is expected
        assert place[1] == session_key(session)
        self.compare(session, work)
        for name, *arguments in steps:
            getattr(self, f"do_{name}")(place, session, work, *arguments)
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

    def do_read(self, place: Place, session: Session, work: Work) -> None:
        self.compare(session, work)

    def do_wait(self, place: Place, session: Session, work: Work, seconds: int) -> None:
        self.clock.tick(seconds)

    def do_assign(self, place: Place, session: Session, work: Work, *what: Any) -> None:
        name, value, how = what
        if how == "attribute":
            setattr(session, name, copy.deepcopy(value))
        elif how == "item":
            session[name] = copy.deepcopy(value)
        else:
            session.update({name: copy.deepcopy(value)})
        work.assign(name, copy.deepcopy(value), time.monotonic())

    def do_mark(self, place: Place, session: Session, work: Work, *what: Any) -> None:
        name, value, lifetime = what
        setattr(session, name, ttl(copy.deepcopy(value), lifetime))
        work.mark(name, copy.deepcopy(value), lifetime, time.monotonic())

    def do_nested(self, place: Place, session: Session, work: Work, name: str) -> None:
        for values in (session, work.live(time.monotonic())):
            value = dict(values).get(name)
            if isinstance(value, list):
                value.append("a")
            elif isinstance(value, dict):
                value["x"] = value.get("x", 0) + 1

    def do_delete(self, place: Place, session: Session, work: Work, name: str, how: str) -> None:
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

    def do_setdefault(
        self, place: Place, session: Session, work: Work, name: str, value: Any
    ) -> None:
        live = work.live(time.monotonic())
        assert live.get(name, value) == session.setdefault(name, copy.deepcopy(value))
        if name not in live:
            work.assign(name, copy.deepcopy(value), time.monotonic())

    def do_clear(self, place: Place, session: Session, work: Work) -> None:
        session.clear()
        work.fields.clear()
        work.marks.clear()

    def do_save(self, place: Place, session: Session, work: Work) -> None:
        # What to save of a session that is to be deleted, the design does not say.
        if work.forgotten:
            return
        side, key = place
        save(session)
        self.sides[side].model.commit(key, work, time.monotonic())
        self.units[-1].locked[place] = copy.deepcopy(self.sides[side].model.records.get(key))
        self.peek_shows_what_was_saved()

    def do_forget(self, place: Place, session: Session, work: Work) -> None:
        forget(session)
        work.forgotten = True
        self.peek_shows_what_was_saved()

    def do_raise(self, place: Place, session: Session, work: Work) -> None:
        raise Boom

    def do_tell(self, place: Place, session: Session, work: Work) -> None:
        number = next(self.numbers)
        on_commit(self.told.append, number)
        self.units[-1].calls.append(number)
        self.calls_are_made_in_order()

    def do_drop(self, place: Place, session: Session, work: Work, other: Place) -> None:
        unit, (side, key) = self.units[-1], other
        delete = self.sides[side].sessions.delete
        if other not in unit.locked and self.is_locked(other):
            with pytest.raises(LockTimeoutError):
                delete(key)
            return
        if other in unit.opened:
            # The same as `forget`.
            unit.opened[other][1].forgotten = True
            existed = self.record(other) is not None
        else:
            if other in unit.works:
                closed = unit.works[other]
                existed = bool(closed and not closed.forgotten and closed.live(time.monotonic()))
            else:
                existed = unit.locked.setdefault(other, self.record(other)) is not None
            unit.works[other] = None
        assert existed == delete(key)
        self.peek_shows_what_was_saved()

    def do_call(self, place: Place, session: Session, work: Work, *what: Any) -> None:
        other, way, steps = what
        raised = self.open(other, steps, **{"independent": True} if way == "independent" else {})
        self.peek_shows_what_was_saved()
        if raised and way == "passed on":
            raise Boom


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


def flat_fields() -> dict[str, Any]:
    return {"a": 0, "log": ttl("begun", 5)}


def model_flat(work: Work, now: float) -> None:
    work.assign("a", 0, now)
    work.mark("log", "begun", 5, now)


INITIALS: dict[str, tuple[Any, Callable[[Work, float], None]]] = {
    "empty": (dict, lambda work, now: None),
    "initial": (initial_fields, model_initial),
    "flat": (flat_fields, model_flat),
}


def machine_over(
    make_store: Callable[[], Any],
    clock: FrozenDateTimeFactory,
    lifetime: float | None = None,
    initial: str = "empty",
    make_storage: Callable[[Any], MemoryStorage] = MemoryStorage,
) -> Callable[[], Machine]:
    """Gives a machine with a new store whenever it is called."""

    def make() -> Machine:
        store = make_store()
        sides = make_sides(make_storage(store), lifetime, initial)
        return Machine(sides, lambda: store.writes, clock)

    return make


def make_sides(storage: Storage, lifetime: float | None, initial: str) -> list[Side]:
    """Two kinds of sessions in one storage, of which one commits on errors, and one in another."""
    given, modelled = INITIALS[initial]

    def make_side(storage: Storage, **options: Any) -> Side:
        sessions = Sessions(
            storage=storage, initial=given, lifetime=lifetime, lock_timeout=0, **options
        )
        model = Model(modelled, math.inf if lifetime is None else lifetime)
        return Side(sessions, storage, model, options.get("commit_on_error", False))

    return [
        make_side(storage, prefix="one:"),
        make_side(storage, prefix="other:", commit_on_error=True),
        make_side(FiveMethods()),
    ]


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
    """A storage that counts the writes of its commits."""

    writes = 0

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        self.writes += sum(hold.note is not None and hold.note.action == "set" for hold in holds)
        super().commit(holds, also)  # type: ignore[misc]


class CountingMemory(CountsWrites, MemoryStorage):
    """A dict of the process that counts its writes."""


class CountingFile(CountsWrites, SQLiteStorage):
    """A file that counts its writes."""


class CountingServer(CountsWrites, FrozenRedisStorage):
    """A server that counts its writes."""


class CountingDatabase(CountsWrites, FrozenPostgresStorage):
    """A table of a database that counts its writes."""


@pytest.fixture(params=["memory", "file", "server", "postgres"])
def make_counting(
    request: pytest.FixtureRequest, clock: FrozenDateTimeFactory, tmp_path: Path
) -> Iterator[Callable[[], Any]]:
    """Gives a new storage of each kind, as bots make it."""
    numbers = itertools.count()
    with ExitStack() as storages:

        def make_file() -> CountingFile:
            return storages.enter_context(CountingFile(tmp_path / f"{next(numbers)}.db"))

        def make_server() -> CountingServer:
            with server.client() as client:
                client.flushall()
            return storages.enter_context(CountingServer(server, clock))

        def make_database() -> CountingDatabase:
            postgres.empty()
            return storages.enter_context(CountingDatabase(postgres, clock))

        if request.param == "memory":
            yield CountingMemory
        elif request.param == "file":
            yield make_file
        elif request.param == "postgres":
            postgres = request.getfixturevalue("postgres")
            yield make_database
        else:
            server = request.getfixturevalue("server")
            yield make_server


@pytest.mark.parametrize("examples", [4, pytest.param(15, marks=pytest.mark.long)])
@pytest.mark.parametrize("initial", list(INITIALS))
@pytest.mark.parametrize("lifetime", [None, 7], ids=["for-ever", "lifetime"])
def test_any_sequence_of_handlers_agrees_with_the_model_on_every_storage(
    lifetime: float | None,
    initial: str,
    examples: int,
    make_counting: Callable[[], Any],
    clock: FrozenDateTimeFactory,
) -> None:
    """Sessions in a dict of the process, in a file and on a server agree after any sequence."""

    def make() -> Machine:
        storage = make_counting()
        return Machine(make_sides(storage, lifetime, initial), lambda: storage.writes, clock)

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


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (blocks.Block, "_undo", lambda block, kept: None),
        (unit, "kept_entries", lambda entries, error: list(entries)),
        (unit, "kept_entries", lambda entries, error: [] if error else list(entries)),
        (unit, "_call", lambda calls: None),
    ],
    ids=["undoes-no-block", "saves-after-errors", "never-commits-on-error", "calls-nothing"],
)
def test_the_machine_notices_a_broken_unit(
    owner: Any,
    name: str,
    broken: Callable[..., Any],
    clock: FrozenDateTimeFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: sequences as random as these find what a unit does wrong."""
    monkeypatch.setattr(owner, name, broken)
    machine = machine_over(counting(dict), clock)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(CI, phases=[Phase.generate], max_examples=2_000)
        )
