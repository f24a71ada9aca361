"""A handler either finishes and all its changes are saved, or raises and none are."""

from __future__ import annotations

import dataclasses
import io
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import clocks
import pytest
from clocks import PATIENCE
from telebot import types
from updates import ANNA, message, private

from telesession import (
    EncodeError,
    LockTimeoutError,
    MemoryStorage,
    Session,
    SessionClosedError,
    SessionError,
    Sessions,
    StorageError,
    as_dict,
    forget,
    save,
    session_key,
    ttl,
    ttl_left,
    with_session,
)
from telesession.storage.base import Hold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freezegun.api import FrozenDateTimeFactory


clock = clocks.clock

UPDATE = types.Update.de_json({"update_id": 583920140, "message": message(private(ANNA), ANNA)})
KEY = str(ANNA["id"])

Change = Callable[[Any], object]
Handle = Callable[..., Any]


class CountedStorage(MemoryStorage):
    """Keeps `calls`: what was done to the records, in order, other than reading."""

    def __init__(self, store: Any = None) -> None:
        super().__init__(store)
        self.calls: list[str] = []

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.calls.append("set")
        super().set(key, payload, lifetime)

    def delete(self, key: str) -> bool:
        self.calls.append("delete")
        return super().delete(key)

    def touch(self, key: str, lifetime: float | None) -> bool:
        self.calls.append("touch")
        return super().touch(key, lifetime)


@pytest.fixture
def storage() -> CountedStorage:
    return CountedStorage()


@pytest.fixture
def handle(storage: CountedStorage) -> Handle:
    """Lets a handler of one of Anna's messages do something to her session."""

    def call(change: Change, **options: Any) -> Any:
        @with_session(**{"storage": storage, **options})
        def handler(message: types.Message, session: Any) -> Any:
            return change(session)

        return handler(UPDATE.message)

    return call


@dataclass
class Basket:
    """A value of a class that pickle finds again by its name."""

    fruit: Any = None


@dataclass
class Order:
    """A typed session."""

    counter: int = 0
    note: str = "none"
    log: list[Any] = field(default_factory=list)
    cart: dict[str, Any] = field(default_factory=dict)
    code: str = ttl("0000", 300)
    anything: Any = None

    def add(self, fruit: str) -> None:
        self.counter += 1
        self.cart[fruit] = self.counter


def fields() -> dict[str, Any]:
    """What Anna's session begins with; the field called plain has no part in any change."""
    return {
        "counter": 1,
        "plain": "as it was",
        "cart": {"apple": [1, 2], "pear": {"ripe": {"yes"}}},
        "log": ["first"],
        "basket": Basket(fruit=["plum"]),
    }


def fields_with_lifetimes() -> dict[str, Any]:
    return {**fields(), "code": ttl("1234", 300), "hints": ttl({"tries": []}, 60)}


BEGINNINGS = {"plain": fields, "with lifetimes": fields_with_lifetimes}


def store(storage: MemoryStorage, begin: Any = fields_with_lifetimes) -> bytes | None:
    """Store a session of Anna's as `begin` makes it, and return the payload of its record."""
    with Sessions(storage=storage, initial=begin).open(KEY):
        pass
    if isinstance(storage, CountedStorage):
        storage.calls.clear()
    return storage.get(KEY)


def stored(storage: MemoryStorage) -> dict[str, Any] | None:
    """The fields of Anna's session as they are stored, or `None`."""
    return Sessions(storage=storage).peek(KEY)


def locks_kept(storage: MemoryStorage) -> int:
    return len(storage._locks)


def is_held(storage: MemoryStorage, key: str = KEY) -> bool:
    """Whether somebody has exclusive use of a session."""
    try:
        with storage.hold(key, 0):
            return False
    except LockTimeoutError:
        return True


def after(*changes: Change, error: type[BaseException] = ZeroDivisionError) -> Change:
    """Changes that end in an exception."""

    def change(session: Any) -> None:
        for each in changes:
            each(session)
        raise error

    return change


def setting(**values: Any) -> Change:
    """A change that assigns fields, of whatever kind the session is."""

    def change(session: Any) -> None:
        for name, value in values.items():
            setattr(session, name, value)

    return change


def removing(name: str) -> Change:
    return lambda session: delattr(session, name)


def nothing(session: Any) -> None:
    pass


# A handler that raises leaves no trace

CHANGES: dict[str, Change] = {
    "assign": setting(counter=2),
    "assign an item": lambda session: session.__setitem__("counter", 2),
    "assign a new field": setting(fresh="new"),
    "delete": removing("counter"),
    "delete an item": lambda session: session.__delitem__("counter"),
    "pop": lambda session: session.pop("counter"),
    "popitem": lambda session: session.popitem(),
    "setdefault": lambda session: session.setdefault("fresh", []).append(1),
    "update": lambda session: session.update({"counter": 2}, fresh=3),
    "update in place": lambda session: session.__ior__({"counter": 2}),
    "clear": lambda session: session.clear(),
    "clear and begin anew": lambda session: (session.clear(), session.update(counter=7)),
    "forget": forget,
    "change a nested dict": lambda session: session.cart.update(plum=1),
    "change a nested list": lambda session: session.log.append("second"),
    "change deep inside": lambda session: session.cart["pear"]["ripe"].add("no"),
    "sort in place": lambda session: session.cart["apple"].reverse(),
    "change an object": lambda session: session.basket.fruit.append("fig"),
    "replace a nested value": lambda session: session.cart.__setitem__("apple", None),
    "mark a field": setting(counter=ttl(1, 30)),
    "unmark a field": setting(code=ttl("1234", 0)),
    "mark with another lifetime": setting(code=ttl("1234", 10)),
    "renew a lifetime": setting(code="1234"),
    "change a field with a lifetime": setting(code="9876"),
    "change inside a field with a lifetime": lambda session: session.hints["tries"].append("a"),
    "delete a field with a lifetime": removing("code"),
}


each_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@each_change
def test_handler_that_raises_leaves_the_stored_bytes_identical(
    storage: CountedStorage, handle: Handle, change: Change
) -> None:
    """A handler that raises after any change leaves the record as it was, byte by byte."""
    before = store(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(change))
    assert (before, [], 0) == (storage.get(KEY), storage.calls, locks_kept(storage))


@each_change
def test_handler_that_returns_stores_the_very_same_change(
    storage: CountedStorage, handle: Handle, clock: FrozenDateTimeFactory, change: Change
) -> None:
    """The control: each of these changes is written, once, if the handler does not raise."""
    before = store(storage)
    clock.tick(1)
    handle(change)
    assert (1, True) == (len(storage.calls), before != storage.get(KEY))


@each_change
def test_handler_that_raises_is_as_if_it_had_never_run(
    storage: CountedStorage, handle: Handle, change: Change
) -> None:
    """The next handler gets exactly what the raising one got."""
    store(storage)
    expected = stored(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(change))
    assert expected == handle(as_dict)


def test_handler_that_raises_leaves_deadlines_as_they_were(
    storage: CountedStorage, handle: Handle, clock: FrozenDateTimeFactory
) -> None:
    """A handler that raises renews, sets and removes no lifetime."""
    store(storage)
    clock.tick(1)
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(code="9876", hints=ttl({}, 0), counter=ttl(1, 30), plain=ttl("", 1))))
    names = ["code", "hints", "counter", "plain"]
    assert [299.0, 59.0, None, None] == handle(lambda s: [ttl_left(s, name) for name in names])


TYPED_CHANGES: dict[str, Change] = {
    "assign": setting(counter=2),
    "assign a field at its default": setting(note="something"),
    "delete": removing("counter"),
    "call a method": lambda session: session.add("plum"),
    "change a nested list": lambda session: session.log.append("second"),
    "change a default": lambda session: session.cart.update(plum=1),
    "change a field with a lifetime": setting(code="9876"),
    "unmark a field": setting(code=ttl("1234", 0)),
    "forget": forget,
}


@pytest.mark.parametrize("change", TYPED_CHANGES.values(), ids=TYPED_CHANGES)
@pytest.mark.parametrize("raises", [True, False], ids=["raises", "returns"])
def test_typed_session_is_all_or_nothing(
    storage: CountedStorage, handle: Handle, change: Change, raises: bool
) -> None:
    """Changes through a dataclass are stored if the handler returns, and leave no trace if not."""
    before = store(storage, lambda: {"counter": 1, "log": ["first"], "code": ttl("1234", 300)})
    if raises:
        with pytest.raises(ZeroDivisionError):
            handle(after(change), initial=Order)
    else:
        handle(change, initial=Order)
    assert (raises, 0 if raises else 1) == (before == storage.get(KEY), len(storage.calls))


each_initial = pytest.mark.parametrize(
    ("initial", "beginning"),
    [(fields, fields()), (Order, {**dataclasses.asdict(Order()), "code": "0000"})],
    ids=["mapping", "dataclass"],
)


@each_initial
def test_first_update_that_raises_stores_nothing(
    storage: CountedStorage, handle: Handle, initial: Any, beginning: dict[str, Any]
) -> None:
    """A new session whose handler raised was never there; the next update starts from initial."""
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=9)), initial=initial)
    assert ([], [], 0) == (list(storage.keys()), storage.calls, locks_kept(storage))
    assert beginning == handle(as_dict, initial=initial)


@pytest.mark.parametrize("error", [None, ZeroDivisionError], ids=["returns", "raises"])
def test_changes_never_reach_the_initial_mapping(
    storage: CountedStorage, handle: Handle, error: Any
) -> None:
    """An `initial` mapping is copied for each session, nested values too."""
    initial = {"cart": {"apple": [1]}}

    def change(session: Session) -> None:
        session.cart["apple"].append(2)
        if error:
            raise error

    with pytest.raises(error) if error else nullcontext():
        handle(change, initial=initial)
    assert {"cart": {"apple": [1]}} == initial


def test_handler_shares_no_object_with_the_store(storage: CountedStorage, handle: Handle) -> None:
    """What a handler put into its session and kept may change later without touching the record."""
    mine = {"apple": [1]}
    handle(setting(cart=mine))
    before = storage.get(KEY)
    mine["apple"].append(2)
    handle(lambda session: session.cart).clear()
    assert (before, {"cart": {"apple": [1]}}) == (storage.get(KEY), stored(storage))


def test_two_stacked_sessions_roll_back_together(storage: CountedStorage) -> None:
    """A handler with two sessions that raises leaves both as they were."""

    @with_session(storage=storage, name="mine", prefix="a:")
    @with_session(storage=storage, name="ours", prefix="b:")
    def handler(message: types.Message, mine: Session, ours: Session, fail: bool = False) -> None:
        mine.counter, ours.counter = len(mine), len(ours)
        mine[f"field {len(mine)}"] = ours[f"field {len(ours)}"] = "x"
        if fail:
            raise ZeroDivisionError

    handler(UPDATE.message)
    keys = [f"a:{KEY}", f"b:{KEY}"]
    before = [storage.get(key) for key in keys]
    with pytest.raises(ZeroDivisionError):
        handler(UPDATE.message, fail=True)
    assert (before, 0) == ([storage.get(key) for key in keys], locks_kept(storage))
    assert keys == sorted(storage.keys())


def test_block_that_raises_discards_its_changes(storage: CountedStorage) -> None:
    """`with sessions.open(key)` is under the same rule as a handler."""
    before = store(storage)
    sessions = Sessions(storage=storage)

    def change(error: type[Exception] | None) -> None:
        with sessions.open(KEY) as session:
            session.counter = 2
            if error:
                raise error

    with pytest.raises(ZeroDivisionError):
        change(ZeroDivisionError)
    assert (before, [], 0) == (storage.get(KEY), storage.calls, locks_kept(storage))
    change(None)
    assert 2 == sessions.peek(KEY)["counter"]


# What is not an Exception


class Abort(BaseException):
    """What some framework might throw through a handler."""


NOT_EXCEPTIONS = [KeyboardInterrupt, SystemExit, GeneratorExit, Abort]


@pytest.mark.parametrize("commit_on_error", [False, True])
@pytest.mark.parametrize("error", NOT_EXCEPTIONS)
def test_interrupted_handler_does_not_commit(
    storage: CountedStorage, handle: Handle, error: type[BaseException], commit_on_error: bool
) -> None:
    """What is no Exception goes through, commits nothing and releases the lock."""
    before = store(storage)
    with pytest.raises(error):
        handle(after(setting(counter=2), error=error), commit_on_error=commit_on_error)
    assert (before, [], 0) == (storage.get(KEY), storage.calls, locks_kept(storage))


@pytest.mark.parametrize("method", ["get", "set"])
@pytest.mark.parametrize("error", NOT_EXCEPTIONS)
def test_interrupted_storage_releases_the_lock(
    storage: CountedStorage,
    handle: Handle,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    error: type[BaseException],
) -> None:
    """An interrupt while loading or saving leaves the record whole and the session free."""

    def interrupt(*_: object) -> None:
        raise error

    before = store(storage)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStorage, method, interrupt)
        with pytest.raises(error):
            handle(setting(counter=2))
    assert (before, 0) == (storage.get(KEY), locks_kept(storage))
    handle(setting(counter=3))
    assert 3 == stored(storage)["counter"]


# commit_on_error


@each_change
def test_commit_on_error_keeps_what_a_raising_handler_did(
    storage: CountedStorage, handle: Handle, clock: FrozenDateTimeFactory, change: Change
) -> None:
    """With commit_on_error a handler that raised is saved exactly as one that returned."""
    store(storage)
    clock.tick(1)
    with pytest.raises(ZeroDivisionError):
        handle(after(change), commit_on_error=True)
    raised = storage.get(KEY)
    clock.tick(-1)
    store(other := CountedStorage())
    clock.tick(1)
    handle(change, storage=other)
    assert (other.get(KEY), other.calls, 0) == (raised, storage.calls, locks_kept(storage))


def test_commit_on_error_keeps_the_first_session(storage: CountedStorage, handle: Handle) -> None:
    """With commit_on_error even a first handler that raised leaves its session."""
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=9)), initial=fields, commit_on_error=True)
    assert {**fields(), "counter": 9} == stored(storage)


def test_commit_on_error_that_cannot_commit_tells_of_both_failures(
    storage: CountedStorage, handle: Handle
) -> None:
    """An EncodeError is shown together with the handler's own exception that came before it."""
    before = store(storage)
    with pytest.raises(EncodeError) as caught:
        handle(after(setting(counter=2, bad=lambda: None)), commit_on_error=True)
    assert (before, [], 0) == (storage.get(KEY), storage.calls, locks_kept(storage))
    assert ("bad", True) == (
        caught.value.path,
        ZeroDivisionError in map(type, shown_with(caught.value)),
    )


# save


@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
def test_what_was_saved_before_the_raise_stays(
    storage: CountedStorage, handle: Handle, begin: Any
) -> None:
    """What `save` wrote stays when the handler raises later, and nothing that came after it."""
    store(storage, begin)
    expected = {**stored(storage), "counter": 2, "log": ["first", "second"]}

    def change(session: Session) -> None:
        session.counter = 2
        session.log.append("second")
        save(session)
        session.counter = 3
        session.log.append("third")
        del session.plain
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle(change)
    assert (expected, ["set"], 0) == (stored(storage), storage.calls, locks_kept(storage))


def test_saved_first_session_stays(storage: CountedStorage, handle: Handle) -> None:
    """A new session that was saved is there even if its handler raises."""
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=2), save, setting(counter=3)))
    assert {"counter": 2} == stored(storage)


def test_saved_typed_session_stays(storage: CountedStorage, handle: Handle) -> None:
    """What `save` wrote of a dataclass stays, changed defaults included, and nothing later."""

    def add(session: Order) -> None:
        session.add("apple")

    with pytest.raises(ZeroDivisionError):
        handle(after(add, save, add, setting(note="later")), initial=Order)
    expected = Order(counter=1, cart={"apple": 1}, code="0000")
    assert dataclasses.asdict(expected) == stored(storage)


def test_handler_goes_on_after_a_save(storage: CountedStorage, handle: Handle) -> None:
    """After `save` the session is open and what follows is stored when the handler returns."""
    handle(lambda s: (setting(a=1)(s), save(s), setting(b=2)(s), save(s), setting(c=3)(s)))
    assert ({"a": 1, "b": 2, "c": 3}, ["set"] * 3) == (stored(storage), storage.calls)


def test_save_keeps_the_lock(storage: CountedStorage, handle: Handle) -> None:
    """`save` writes now and keeps the lock."""
    assert True is handle(
        lambda session: (setting(a=1)(session), save(session), is_held(storage))[2]
    )
    assert False is is_held(storage)


def test_save_of_an_unchanged_session_writes_nothing(
    storage: CountedStorage, handle: Handle
) -> None:
    """`save` writes only what changed, and so does the return after it."""
    before = store(storage)
    handle(lambda session: (save(session), save(session)))
    assert (before, []) == (storage.get(KEY), storage.calls)


@pytest.mark.parametrize("error", [None, ZeroDivisionError], ids=["returns", "raises"])
def test_save_of_an_empty_new_session_stores_nothing(
    storage: CountedStorage, handle: Handle, error: Any
) -> None:
    """A session without fields is not stored, by `save` as little as by the return."""
    with pytest.raises(error) if error else nullcontext():
        handle(after(save, error=error) if error else save)
    assert ([], []) == (list(storage.keys()), storage.calls)


def test_save_of_an_emptied_session_deletes_it_for_good(
    storage: CountedStorage, handle: Handle
) -> None:
    """A session emptied and saved is deleted, even if the handler raises after setting fields."""
    store(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(lambda session: session.clear(), save, setting(counter=2)))
    assert (None, ["delete"]) == (stored(storage), storage.calls)


@pytest.mark.parametrize("refill", [{"counter": 2}, fields()], ids=["anew", "as it was"])
def test_emptied_and_saved_session_may_be_filled_again(
    storage: CountedStorage, handle: Handle, refill: dict[str, Any]
) -> None:
    """After an empty session was saved, fields set later are stored when the handler returns."""
    store(storage, fields)
    handle(lambda session: (session.clear(), save(session), session.update(refill)))
    assert (refill, ["delete", "set"]) == (stored(storage), storage.calls)


# forget


@each_initial
def test_forgotten_session_is_deleted_when_its_handler_returns(
    storage: CountedStorage, handle: Handle, initial: Any, beginning: dict[str, Any]
) -> None:
    """`forget` deletes the record at commit, whatever else the handler does to the session."""
    before = store(storage, lambda: {**beginning, "counter": 5})
    during = []

    def change(session: Any) -> None:
        session.counter = 6
        forget(session)
        during.append(storage.get(KEY))
        session.counter = 7

    handle(change, initial=initial)
    assert ([before], None, ["delete"]) == (during, storage.get(KEY), storage.calls)
    assert beginning == handle(as_dict, initial=initial)


def test_forgotten_session_stays_if_its_handler_raises(
    storage: CountedStorage, handle: Handle
) -> None:
    """`forget` then raise keeps the record."""
    before = store(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=2), forget, setting(counter=3)))
    assert (before, []) == (storage.get(KEY), storage.calls)


def test_forgotten_new_session_is_not_stored(storage: CountedStorage, handle: Handle) -> None:
    """A session that never was stored can be forgotten."""
    handle(forget, initial=fields)
    assert ([], []) == (list(storage.keys()), storage.calls)


def test_session_saved_and_then_forgotten_is_deleted(
    storage: CountedStorage, handle: Handle
) -> None:
    """`forget` after `save` deletes what was saved, if the handler returns."""
    handle(lambda session: (setting(a=1)(session), save(session), forget(session)))
    assert (None, ["set", "delete"]) == (stored(storage), storage.calls)


def test_session_saved_and_then_forgotten_stays_as_saved_if_the_handler_raises(
    storage: CountedStorage, handle: Handle
) -> None:
    """`forget` after `save` has no effect if the handler raises."""
    store(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=2), save, forget))
    assert 2 == stored(storage)["counter"]


# What cannot be encoded


class Unloadable:
    """Pickles, but does not come back."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return explode, ()


class Undumpable:
    """Raises something of its own when it is pickled."""

    def __getstate__(self) -> Any:
        raise LookupError("hunter2")


class Incomparable:
    """Pickles well, but cannot be compared, like the arrays of some libraries."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("hunter2")

    __hash__ = None  # type: ignore[assignment]


def explode() -> None:
    raise ZeroDivisionError("hunter2")


def make_local() -> Any:
    class Local:
        pass

    return Local()


def make_cycle(**parts: Any) -> dict[str, Any]:
    """A dict that contains itself, first."""
    node: dict[str, Any] = {}
    node["itself"] = node
    node.update(parts)
    return node


def make_wide_cycle(**parts: Any) -> dict[str, Any]:
    """A dict that contains a dict that contains it."""
    node: dict[str, Any] = {}
    node["child"] = {"name": "harmless", "parent": node}
    node.update(parts)
    return node


def nest(depth: int) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def depth_of(value: list[Any]) -> int:
    """How deep `nest` has nested, without recursion."""
    depth = 0
    while value:
        value = value[0]
        depth += 1
    return depth


def shown_with(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that Python prints before it."""
    shown: BaseException | None = error
    while shown is not None:
        yield shown
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


def put(value: Any) -> Change:
    """Make a new field of a value."""
    return lambda session: session.__setitem__("new", value)


MARKED = type(ttl(1)).__name__

UNENCODABLE: dict[str, tuple[Change, str, str]] = {
    "a lambda": (put(lambda: "hunter2"), "new", "function"),
    "a lambda in a dict": (put({"a": {"b": lambda: 1}}), "new['a']['b']", "function"),
    "a lambda in a tuple": (put((1, [2, lambda: 1])), "new[1][1]", "function"),
    "a lambda by a number": (put({7: lambda: 1}), "new[7]", "function"),
    "a lambda in an old field": (
        lambda session: session.cart["pear"].__setitem__("f", lambda: 1),
        "cart['pear']['f']",
        "function",
    ),
    "a lambda with a lifetime": (put(ttl(lambda: 1, 30)), "new", "function"),
    "a lambda in an object": (put(Basket(fruit=[lambda: 1])), "new.fruit[0]", "function"),
    "a generator": (put(number for number in range(3)), "new", "generator"),
    "a lock in a list": (
        lambda session: session.log.append(threading.Lock()),
        "log[1]",
        type(threading.Lock()).__name__,
    ),
    "a lock in a field with a lifetime": (
        put(ttl({"a": [threading.Lock()]}, 30)),
        "new['a'][0]",
        type(threading.Lock()).__name__,
    ),
    "a memoryview": (put(memoryview(b"hunter2")), "new", "memoryview"),
    "a file": (put(io.TextIOWrapper(io.BytesIO(b"hunter2"))), "new", "TextIOWrapper"),
    "a module": (put(time), "new", "module"),
    "a view": (lambda session: put(session.cart.keys())(session), "new", "dict_keys"),
    "an instance of a local class": (put([make_local()]), "new[0]", "Local"),
    "a local class": (put(type(make_local())), "new", "type"),
    "a nested ttl": (put({"a": [ttl("hunter2", 30)]}), "new['a'][0]", MARKED),
    "a ttl in an old field": (
        lambda session: session.cart.__setitem__("apple", ttl(1, 30)),
        "cart['apple']",
        MARKED,
    ),
    "a ttl in an object": (put(Basket(fruit=ttl(1, 30))), "new.fruit", MARKED),
    "the session": (lambda session: put(session)(session), "new", "Session"),
    "the session in a dict": (lambda session: put({"a": session})(session), "new['a']", "Session"),
    "what does not come back": (put([Unloadable()]), "new[0]", "Unloadable"),
    "what raises": (put([1, Undumpable()]), "new[1]", "Undumpable"),
    "a lambda in a cycle": (put(make_cycle(f=lambda: 1)), "new['f']", "function"),
    "a lambda in a wider cycle": (put(make_wide_cycle(f=lambda: 1)), "new['f']", "function"),
}

each_unencodable = pytest.mark.parametrize(
    ("change", "path", "type_name"), UNENCODABLE.values(), ids=UNENCODABLE
)


@each_unencodable
def test_value_that_cannot_be_encoded_is_refused_with_its_path(
    storage: CountedStorage, handle: Handle, change: Change, path: str, type_name: str
) -> None:
    """A value that cannot be encoded is an EncodeError with path and type; nothing is written."""
    before = store(storage, fields)
    with pytest.raises(EncodeError) as caught:
        handle(lambda session: (setting(counter=2)(session), change(session)))
    error = caught.value
    assert (KEY, path, type_name) == (error.key, error.path, error.type_name)
    assert (True, True) == (path in str(error), type_name in str(error))
    assert (before, [], 0) == (storage.get(KEY), storage.calls, locks_kept(storage))
    handle(setting(counter=3))
    assert 3 == stored(storage)["counter"]


@each_unencodable
def test_refusal_shows_no_value(
    storage: CountedStorage, handle: Handle, change: Change, path: str, type_name: str
) -> None:
    """No message shows a stored value, nor does any exception that Python shows beside it."""
    store(storage, lambda: {**fields(), "secret": "hunter2"})
    with pytest.raises(EncodeError) as caught:
        handle(change)
    shown = [text for error in shown_with(caught.value) for text in (str(error), repr(error))]
    assert [] == [text for text in shown if "hunter2" in text]


@each_unencodable
def test_save_refuses_what_cannot_be_encoded(
    storage: CountedStorage, handle: Handle, change: Change, path: str, type_name: str
) -> None:
    """A refused `save` writes nothing, and a handler that removes the value may go on."""
    before = store(storage, fields)

    def handler(session: Session) -> bytes | None:
        session.counter = 2
        change(session)
        with pytest.raises(EncodeError) as caught:
            save(session)
        assert path == caught.value.path
        during = storage.get(KEY)
        if "new" in session:
            del session.new
        session.update(cart=fields()["cart"], log=fields()["log"])
        return during

    assert before == handle(handler)
    assert ({**fields(), "counter": 2}, ["set"]) == (stored(storage), storage.calls)


@pytest.mark.parametrize(
    "value",
    [
        {ttl(1, 30)},
        frozenset([lambda: 1]),
        {ttl(1, 30): 1},
        {(1, make_local()): 1},
    ],
    ids=["ttl in a set", "lambda in a frozenset", "ttl as a key", "local class in a key"],
)
def test_refusal_names_the_field_of_what_has_no_index(
    storage: CountedStorage, handle: Handle, value: Any
) -> None:
    """An item of a set or a key of a dict is refused with a path that leads to its container."""
    before = store(storage, fields)
    with pytest.raises(EncodeError) as caught:
        handle(put({"a": value}))
    assert (True, before) == ("new['a']" in caught.value.path, storage.get(KEY))


@pytest.mark.parametrize("initial", [dict, Order], ids=["mapping", "dataclass"])
@pytest.mark.parametrize("lifetime", [0, 30], ids=["for ever", "with a lifetime"])
def test_value_that_cannot_be_compared_is_stored(
    storage: CountedStorage, handle: Handle, initial: Any, lifetime: int
) -> None:
    """What pickle brings back is stored, whether or not it knows how to be compared."""
    handle(setting(anything=ttl([Incomparable()], lifetime)), initial=initial)
    handle(lambda session: session.anything.append(Incomparable()), initial=initial)
    assert [Incomparable] * 2 == [type(item) for item in stored(storage)["anything"]]


@pytest.mark.parametrize("initial", [dict, Order], ids=["mapping", "dataclass"])
@pytest.mark.parametrize("lifetime", [0, 30], ids=["for ever", "with a lifetime"])
@pytest.mark.parametrize("depth", [2000, 12_000])
def test_deep_nesting_comes_back_or_is_refused(
    storage: CountedStorage, handle: Handle, initial: Any, lifetime: int, depth: int
) -> None:
    """A value nested deeper than can be encoded is an EncodeError that names its field."""
    before = store(storage, lambda: {"counter": 1})
    refused = []
    try:
        handle(setting(anything=ttl(nest(depth), lifetime)), initial=initial)
    except EncodeError as error:
        refused.append(error.path.partition("[")[0])
    whole = (
        before == storage.get(KEY) if refused else depth == depth_of(stored(storage)["anything"])
    )
    assert (True, []) == (whole, [path for path in refused if path != "anything"])
    assert 0 == locks_kept(storage)


def test_cycle_of_plain_data_comes_back(storage: CountedStorage, handle: Handle) -> None:
    """What you save is what you load: pickle keeps a dict that contains itself."""
    handle(setting(anything=make_cycle(name="anna")))
    loaded = handle(lambda session: session.anything)
    assert ("anna", True) == (loaded["name"], loaded["itself"] is loaded)


@pytest.mark.parametrize("make", [make_cycle, make_wide_cycle])
def test_cycle_in_a_typed_session_comes_back_or_is_refused(
    storage: CountedStorage, handle: Handle, make: Any
) -> None:
    """A cyclic value of a dataclass is stored or an EncodeError with its field, nothing else."""
    before = store(storage, lambda: {"counter": 1})
    refused = []
    try:
        handle(setting(anything=make(name="anna")), initial=Order)
    except EncodeError as error:
        refused.append(error.path.partition("[")[0])
    whole = before == storage.get(KEY) if refused else "anna" == stored(storage)["anything"]["name"]
    assert (True, []) == (whole, [path for path in refused if path != "anything"])


TYPED_UNENCODABLE: dict[str, tuple[Change, str, str]] = {
    "the wrong type": (setting(counter="one"), "counter", "str"),
    "a lambda for anything": (setting(anything=lambda: 1), "anything", "function"),
    "a lambda in a list": (lambda session: session.log.append(lambda: 1), "log[0]", "function"),
    "a lambda in a changed default": (
        lambda session: session.cart.__setitem__("f", lambda: 1),
        "cart['f']",
        "function",
    ),
    "a nested ttl": (lambda session: session.log.append(ttl(1, 30)), "log[0]", MARKED),
    "the session": (lambda session: setting(anything=session)(session), "anything", "Order"),
    "the session in a list": (lambda session: session.log.append(session), "log[0]", "Order"),
    "what does not come back": (setting(anything=Unloadable()), "anything", "Unloadable"),
}


@pytest.mark.parametrize(
    ("change", "path", "type_name"), TYPED_UNENCODABLE.values(), ids=TYPED_UNENCODABLE
)
def test_typed_session_refuses_what_cannot_be_encoded(
    storage: CountedStorage, handle: Handle, change: Change, path: str, type_name: str
) -> None:
    """A value that a dataclass cannot get back is an EncodeError, and the old record stays."""
    before = store(storage, lambda: {"counter": 1})
    with pytest.raises(EncodeError) as caught:
        handle(lambda session: (setting(note="new")(session), change(session)), initial=Order)
    assert (KEY, path, type_name) == (caught.value.key, caught.value.path, caught.value.type_name)
    assert (before, [], 0) == (storage.get(KEY), storage.calls, locks_kept(storage))


UNENCODABLE_INITIALS: dict[str, tuple[Callable[[], Any], str]] = {
    "a lambda": (lambda: lambda: 1, "function"),
    "a lock": (threading.Lock, type(threading.Lock()).__name__),
    "a generator": (lambda: (number for number in range(3)), "generator"),
}


@pytest.mark.parametrize(
    ("make", "type_name"), UNENCODABLE_INITIALS.values(), ids=UNENCODABLE_INITIALS
)
def test_initial_that_cannot_be_encoded_is_refused_with_its_path(
    storage: CountedStorage, handle: Handle, make: Callable[[], Any], type_name: str
) -> None:
    """A field that `initial` computed and that would not come back is an EncodeError, too."""
    with pytest.raises(EncodeError) as caught:
        handle(nothing, initial=lambda: {"counter": 0, "odd": {"one": make()}})
    assert (KEY, "odd['one']") == (caught.value.key, caught.value.path)
    assert (type_name, [], 0) == (caught.value.type_name, list(storage.keys()), locks_kept(storage))


def test_refused_first_session_is_not_stored(storage: CountedStorage, handle: Handle) -> None:
    """A new session that cannot be encoded was never there."""
    with pytest.raises(EncodeError):
        handle(put(lambda: 1), initial=fields)
    assert ([], [], 0) == (list(storage.keys()), storage.calls, locks_kept(storage))


def test_refused_save_does_not_move_a_deadline(
    storage: CountedStorage, handle: Handle, clock: FrozenDateTimeFactory
) -> None:
    """A field with a lifetime is gone that long after its last update, whatever `save` did."""
    store(storage, lambda: {"code": ttl("1234", 300)})

    def handler(session: Session) -> None:
        session.code = "9876"
        session.bad = lambda: None
        with pytest.raises(EncodeError):
            save(session)
        del session.bad
        clock.tick(100)

    handle(handler)
    assert 200.0 == handle(lambda session: ttl_left(session, "code"))


# A storage that fails


class FlakyStore(dict[str, bytes]):
    """
    A store of which some operations may fail.

    `failing` has their names; `"read back"` is the first read after a write of the same key.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()
        self._written: str | None = None

    def __getitem__(self, key: str) -> bytes:
        operation = "read back" if key == self._written else "read"
        self._written = None
        self._fail_if(operation)
        return super().__getitem__(key)

    def __setitem__(self, key: str, payload: bytes) -> None:
        self._fail_if("write")
        self._written = key
        super().__setitem__(key, payload)

    def __delitem__(self, key: str) -> None:
        self._fail_if("delete")
        super().__delitem__(key)

    def __contains__(self, key: object) -> bool:
        self._fail_if("look up")
        return super().__contains__(key)

    def _fail_if(self, operation: str) -> None:
        if operation in self.failing:
            raise OSError(f"cannot {operation}")


@pytest.fixture
def flaky() -> FlakyStore:
    return FlakyStore()


FAILURES: dict[str, tuple[str, Change, dict[str, Any]]] = {
    "read": ("read", nothing, {}),
    "write": ("write", setting(counter=2), {}),
    "write with a lifetime": ("write", setting(counter=2), {"lifetime": 60}),
    "write of save": ("write", lambda session: (setting(counter=2)(session), save(session)), {}),
    "delete of what was cleared": ("delete", lambda session: session.clear(), {}),
    "delete of what was forgotten": ("delete", forget, {}),
    "touch": ("look up", nothing, {"lifetime": 60}),
    "write of a raising handler": (
        "write",
        after(setting(counter=2)),
        {"commit_on_error": True},
    ),
}


@pytest.mark.parametrize(("operation", "change", "options"), FAILURES.values(), ids=FAILURES)
def test_failing_storage_is_an_error_and_leaves_the_old_record_whole(
    flaky: FlakyStore, operation: str, change: Change, options: dict[str, Any]
) -> None:
    """A backend's exception leaves as StorageError; the old record is whole, the session free."""
    storage = MemoryStorage(flaky)
    before = store(storage, fields)

    @with_session(storage=storage, **options)
    def handler(message: types.Message, session: Session) -> object:
        return change(session)

    flaky.failing = {operation}
    with pytest.raises(StorageError) as caught:
        handler(UPDATE.message)
    flaky.failing = set()
    assert (KEY, OSError) == (caught.value.key, type(caught.value.__cause__))
    assert (before, 0) == (storage.get(KEY), locks_kept(storage))
    with Sessions(storage=storage).open(KEY) as session:
        session.counter += 1
    assert 2 == stored(storage)["counter"]


def test_failed_read_is_never_a_new_user(flaky: FlakyStore) -> None:
    """Where nobody knows whether there is a record, neither `initial` nor the handler runs."""
    storage, ran = MemoryStorage(flaky), []
    store(storage, fields)

    @with_session(storage=storage, initial=lambda: ran.append("initial") or {})
    def handler(message: types.Message, session: Session) -> None:
        ran.append("handler")

    flaky.failing = {"read"}
    with pytest.raises(StorageError):
        handler(UPDATE.message)
    assert [] == ran


def test_failed_first_write_stores_nothing(flaky: FlakyStore) -> None:
    """A new session that could not be written is made anew by the next update."""
    storage = MemoryStorage(flaky)

    @with_session(storage=storage, initial={"counter": 0})
    def handler(message: types.Message, session: Session) -> int:
        session.counter += 1
        return session.counter

    flaky.failing = {"write"}
    with pytest.raises(StorageError):
        handler(UPDATE.message)
    flaky.failing = set()
    assert ([], 0, 1) == (list(storage.keys()), locks_kept(storage), handler(UPDATE.message))


def test_failed_delete_of_a_session_leaves_it(flaky: FlakyStore) -> None:
    """`sessions.delete` that fails is a StorageError, and the record is whole and free."""
    storage = MemoryStorage(flaky)
    before = store(storage, fields)
    flaky.failing = {"delete"}
    with pytest.raises(StorageError) as caught:
        Sessions(storage=storage).delete(KEY)
    flaky.failing = set()
    assert (KEY, before, 0) == (caught.value.key, storage.get(KEY), locks_kept(storage))


def test_write_that_fails_after_it_was_done_is_whole_either_way(flaky: FlakyStore) -> None:
    """A write is reported as failed and the old record is there, or as done and the new one is."""
    storage = MemoryStorage(flaky)
    before = store(storage, fields)
    flaky.failing = {"read back"}
    failed = False
    try:
        with Sessions(storage=storage).open(KEY) as session:
            session.counter = 2
    except StorageError:
        failed = True
    flaky.failing = set()
    assert failed is (before == storage.get(KEY))


def test_handler_may_go_on_after_a_failed_save(flaky: FlakyStore) -> None:
    """A `save` that failed changes nothing; the return of the handler writes everything."""
    storage = MemoryStorage(flaky)
    before = store(storage, fields)

    @with_session(storage=storage)
    def handler(message: types.Message, session: Session) -> bytes | None:
        session.counter = 2
        flaky.failing = {"write"}
        with pytest.raises(StorageError):
            save(session)
        flaky.failing = set()
        during = storage.get(KEY)
        session.log.append("second")
        return during

    assert before == handler(UPDATE.message)
    assert {**fields(), "counter": 2, "log": ["first", "second"]} == stored(storage)


@pytest.mark.parametrize("value", ["9876", "1234"], ids=["another value", "the same value"])
def test_failed_save_does_not_move_a_deadline(
    flaky: FlakyStore, clock: FrozenDateTimeFactory, value: str
) -> None:
    """A field with a lifetime is gone that long after its last update, whatever `save` did."""
    storage = MemoryStorage(flaky)
    store(storage, lambda: {"code": ttl("1234", 300)})
    clock.tick(50)

    @with_session(storage=storage)
    def handler(message: types.Message, session: Session) -> None:
        session.code = value
        flaky.failing = {"write"}
        with pytest.raises(StorageError):
            save(session)
        flaky.failing = set()
        clock.tick(100)

    handler(UPDATE.message)
    with Sessions(storage=storage).open(KEY) as session:
        assert 200.0 == ttl_left(session, "code")


def test_initial_that_raises_stores_nothing_and_frees_the_session(
    storage: CountedStorage, handle: Handle
) -> None:
    """An `initial` that raises is a SessionError that names the key, and nothing is left of it."""
    with pytest.raises(SessionError) as caught:
        handle(nothing, initial=lambda: {}["nowhere"])
    assert (True, KeyError) == (KEY in str(caught.value), type(caught.value.__cause__))
    assert ([], [], 0) == (list(storage.keys()), storage.calls, locks_kept(storage))
    assert 1 == handle(lambda session: session.counter, initial=fields)


# A session is closed when its handler is done

WRITES: dict[str, Change] = {
    "set an attribute": setting(counter=2),
    "set the same value": setting(counter=1),
    "set a new attribute": setting(fresh=2),
    "set an item": lambda session: session.__setitem__("counter", 2),
    "set a ttl": setting(counter=ttl(2, 30)),
    "unset a ttl": setting(code=ttl("1234", 0)),
    "add in place": lambda session: setattr(session, "counter", session.counter + 1),
    "delete an attribute": removing("counter"),
    "delete an item": lambda session: session.__delitem__("counter"),
    "pop": lambda session: session.pop("counter"),
    "pop with a default": lambda session: session.pop("counter", None),
    "popitem": lambda session: session.popitem(),
    "setdefault": lambda session: session.setdefault("fresh", 1),
    "update from a mapping": lambda session: session.update({"counter": 2}),
    "update from pairs": lambda session: session.update([("counter", 2)]),
    "update from keywords": lambda session: session.update(counter=2),
    "update in place": lambda session: session.__ior__({"counter": 2}),
    "clear": lambda session: session.clear(),
    "save": save,
    "forget": forget,
}

TYPED_WRITES: dict[str, Change] = {
    "set an attribute": setting(counter=2),
    "set an attribute at its default": setting(note="fresh"),
    "set a ttl": setting(counter=ttl(2, 30)),
    "delete an attribute": removing("counter"),
    "call a method that writes": lambda session: session.add("apple"),
    "save": save,
    "forget": forget,
}


def keep_after_return(handle: Handle, **options: Any) -> Any:
    return handle(lambda session: session, **options)


def keep_after_raise(handle: Handle, **options: Any) -> Any:
    kept: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        handle(after(kept.append), **options)
    return kept[0]


def keep_after_refusal(handle: Handle, **options: Any) -> Any:
    kept: list[Any] = []
    with pytest.raises(EncodeError):
        handle(
            lambda session: (kept.append(session), setting(anything=lambda: 1)(session)), **options
        )
    session = kept[0]
    assert "anything" in as_dict(session)
    return session


def keep_after_forget(handle: Handle, **options: Any) -> Any:
    return handle(lambda session: (forget(session), session)[1], **options)


def keep_after_inner(handle: Handle, **options: Any) -> Any:
    return handle(lambda outer: handle(lambda inner: inner, **options), **options)


KEEPERS = [
    keep_after_return,
    keep_after_raise,
    keep_after_refusal,
    keep_after_forget,
    keep_after_inner,
]


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_writing_to_a_closed_session_is_refused(
    storage: CountedStorage, handle: Handle, begin: Any, keep: Any, write: Change
) -> None:
    """After its handler is done, whatever would change a session raises SessionClosedError."""
    before = store(storage, begin)
    session = keep(handle)
    fields_before = as_dict(session)
    with pytest.raises(SessionClosedError) as caught:
        write(session)
    assert (KEY, True) == (caught.value.key, caught.value.attempt in str(caught.value))
    assert (before, fields_before) == (storage.get(KEY), as_dict(session))
    assert ([], 0) == (storage.calls, locks_kept(storage))


@pytest.mark.parametrize("initial", [dict, Order], ids=["mapping", "dataclass"])
@pytest.mark.parametrize("write", [setting(counter=2), removing("counter"), save, forget])
@pytest.mark.parametrize("keep", KEEPERS)
def test_session_is_closed_however_its_handler_ended(
    storage: CountedStorage, handle: Handle, initial: Any, keep: Any, write: Change
) -> None:
    """A session is closed after a return, a raise, a failed commit, and after nested calls."""
    store(storage, lambda: {"counter": 1})
    session = keep(handle, initial=initial)
    before = storage.get(KEY)
    with pytest.raises(SessionClosedError):
        write(session)
    assert (before, 1, 0) == (storage.get(KEY), session.counter, locks_kept(storage))


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
@pytest.mark.parametrize("write", TYPED_WRITES.values(), ids=TYPED_WRITES)
def test_writing_to_a_closed_typed_session_is_refused(
    storage: CountedStorage, handle: Handle, keep: Any, write: Change
) -> None:
    """After its handler is done, whatever would change a dataclass raises SessionClosedError."""
    store(storage, lambda: {"counter": 1, "code": ttl("1234", 300)})
    session = keep(handle, initial=Order)
    before, fields_before = storage.get(KEY), as_dict(session)
    with pytest.raises(SessionClosedError) as caught:
        write(session)
    assert (KEY, True) == (caught.value.key, caught.value.attempt in str(caught.value))
    assert (before, fields_before) == (storage.get(KEY), as_dict(session))


READS: dict[str, tuple[Change, Any]] = {
    "attribute": (lambda session: session.counter, 1),
    "item": (lambda session: session["counter"], 1),
    "in": (lambda session: ("counter" in session, "nowhere" in session), (True, False)),
    "get": (lambda session: (session.get("counter"), session.get("nowhere", 5)), (1, 5)),
    "setdefault of what is there": (lambda session: session.setdefault("counter", 2), 1),
    "pop of what is not there": (lambda session: session.pop("nowhere", 5), 5),
    "len": (len, 5),
    "iter": (list, list(fields())),
    "reversed": (lambda session: list(reversed(session)), list(fields())[::-1]),
    "keys": (lambda session: list(session.keys()), list(fields())),
    "values": (lambda session: list(session.values()), list(fields().values())),
    "items": (lambda session: list(session.items()), list(fields().items())),
    "dict": (dict, fields()),
    "unpacking": (lambda session: {**session}, fields()),
    "==": (lambda session: session == fields(), True),
    "|": (lambda session: session | {"fresh": 2}, fields() | {"fresh": 2}),
    "copy": (lambda session: session.copy(), fields()),
    "as_dict": (as_dict, fields()),
    "session_key": (session_key, KEY),
    "ttl_left": (lambda session: ttl_left(session, "counter"), None),
    "repr": (
        lambda session: [name for name in [KEY, *fields()] if name in repr(session)],
        [KEY, *fields()],
    ),
    "isinstance": (lambda session: isinstance(session, Session | Mapping), True),
}


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
@pytest.mark.parametrize(("read", "expected"), READS.values(), ids=READS)
def test_closed_session_can_still_be_read(
    storage: CountedStorage, handle: Handle, keep: Any, read: Change, expected: object
) -> None:
    """Reading a session still works after its handler is done."""
    store(storage, fields)
    assert expected == read(keep(handle))


def test_closed_session_still_loses_its_expired_fields(
    storage: CountedStorage, handle: Handle, clock: FrozenDateTimeFactory
) -> None:
    """A field with a lifetime is gone from a closed session at its deadline."""
    store(storage, fields_with_lifetimes)
    session = keep_after_return(handle)
    assert ("1234", 300.0) == (session.code, ttl_left(session, "code"))
    clock.tick(300)
    assert (list(fields()), 0.0) == (list(session), ttl_left(session, "code"))


@pytest.mark.parametrize("keep", [keep_after_return, keep_after_raise], ids=["return", "raise"])
def test_closed_typed_session_can_still_be_read(
    storage: CountedStorage, handle: Handle, keep: Any
) -> None:
    """A dataclass can be read as one after its handler is done, defaults included."""
    store(storage, lambda: {"counter": 1, "cart": {"apple": 1}})
    session = keep(handle, initial=Order)
    expected = Order(counter=1, cart={"apple": 1}, code="0000")
    assert (1, "none", [], "0000") == (session.counter, session.note, session.log, session.code)
    assert (dataclasses.asdict(expected), expected) == (dataclasses.asdict(session), session)
    assert ({"counter": 1, "cart": {"apple": 1}}, KEY) == (as_dict(session), session_key(session))


def test_thread_that_kept_a_session_is_told(storage: CountedStorage, handle: Handle) -> None:
    """A thread that outlives its handler gets SessionClosedError instead of losing its write."""
    returned = threading.Event()

    def write_late(session: Session) -> None:
        assert returned.wait(PATIENCE)
        session.counter = 2

    with ThreadPoolExecutor(1) as thread:
        writing = handle(lambda session: thread.submit(write_late, session), initial=fields)
        returned.set()
        error = writing.exception(PATIENCE)
    assert (SessionClosedError, 1) == (type(error), stored(storage)["counter"])


def test_session_of_a_block_is_closed_after_it(storage: CountedStorage) -> None:
    """A session that was opened by its key is closed when its block ends."""
    with Sessions(storage=storage, initial=fields).open(KEY) as session:
        pass
    with pytest.raises(SessionClosedError):
        session.counter = 2
    assert 1 == session.counter


# Decorated handlers that call each other


def test_inner_handler_gets_the_very_session_of_the_outer(
    storage: CountedStorage, handle: Handle
) -> None:
    """A decorated handler called for the same storage and key shares the object itself."""
    assert True is handle(lambda outer: handle(lambda inner: inner is outer))
    assert True is handle(
        lambda outer: handle(lambda inner: inner is outer, initial=Order), initial=Order
    )


@pytest.mark.parametrize("depth", [1, 2, 10])
def test_outermost_call_commits_once(storage: CountedStorage, handle: Handle, depth: int) -> None:
    """However deep handlers call each other, the record is written once, by the outermost."""
    store(storage, fields)

    def go(session: Session, left: int) -> None:
        session.counter += 1
        if left:
            handle(lambda inner: go(inner, left - 1))
        session.counter += 1
        assert ([], True) == (storage.calls, is_held(storage))

    handle(lambda session: go(session, depth))
    assert (1 + 2 * (depth + 1), ["set"]) == (stored(storage)["counter"], storage.calls)
    assert 0 == locks_kept(storage)


def test_mapping_and_dataclass_are_two_views_of_the_same_fields(
    storage: CountedStorage, handle: Handle
) -> None:
    """Where two handlers want different types, each sees what the other does at once."""

    def as_mapping(session: Session) -> None:
        assert 1 == session.counter
        session.counter = 2
        session.log.append("mapping")
        handle(as_order, initial=Order)
        assert (3, "inner") == (session.counter, session.note)

    def as_order(session: Order) -> None:
        assert isinstance(session, Order)
        assert (2, ["first", "mapping"]) == (session.counter, session.log)
        session.counter, session.note = 3, "inner"
        session.log.append("dataclass")

    store(storage, fields)
    handle(as_mapping)
    expected = {**fields(), "counter": 3, "log": ["first", "mapping", "dataclass"], "note": "inner"}
    assert (expected, ["set"]) == (stored(storage), storage.calls)


def test_outer_handler_that_catches_the_inner_exception_commits(
    storage: CountedStorage, handle: Handle
) -> None:
    """The outermost call commits: an exception that it caught is no reason not to."""
    store(storage, fields)

    def outer(session: Session) -> None:
        session.log.append("before")
        with pytest.raises(ZeroDivisionError):
            handle(after(setting(counter=2)))
        session.log.append("after")

    handle(outer)
    expected = {**fields(), "counter": 2, "log": ["first", "before", "after"]}
    assert (expected, ["set"]) == (stored(storage), storage.calls)


@pytest.mark.parametrize("catches", [True, False], ids=["outer raises", "inner raises"])
def test_nothing_is_stored_if_the_outermost_call_raises(
    storage: CountedStorage, handle: Handle, catches: bool
) -> None:
    """Changes of an inner handler go with those of the outer, wherever the exception came from."""
    before = store(storage, fields)

    def outer(session: Session) -> None:
        session.counter = 2
        handle(setting(plain="inner") if catches else after(setting(plain="inner")))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle(outer)
    assert (before, [], 0) == (storage.get(KEY), storage.calls, locks_kept(storage))


def test_inner_save_writes_what_the_outer_did_so_far(
    storage: CountedStorage, handle: Handle
) -> None:
    """`save` in an inner handler writes the shared session, which stays if the outer raises."""
    store(storage, fields)

    def call_inner(outer: Session) -> None:
        handle(lambda inner: (setting(plain="inner")(inner), save(inner)))

    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=2), call_inner, setting(counter=3)))
    assert {**fields(), "counter": 2, "plain": "inner"} == stored(storage)


@pytest.mark.parametrize(
    ("error", "calls"), [(None, ["delete"]), (ZeroDivisionError, [])], ids=["returns", "raises"]
)
def test_inner_forget_is_for_the_outermost_to_do(
    storage: CountedStorage, handle: Handle, error: Any, calls: list[str]
) -> None:
    """`forget` in an inner handler deletes the record when the outermost returns, and only then."""
    before = store(storage, fields)

    def outer(session: Session) -> None:
        handle(forget)
        assert before == storage.get(KEY)
        if error:
            raise error

    with pytest.raises(error) if error else nullcontext():
        handle(outer)
    assert (before if error else None, calls) == (storage.get(KEY), storage.calls)


def test_delete_inside_its_own_handler_is_forget(storage: CountedStorage, handle: Handle) -> None:
    """`sessions.delete` of the session in use says that it was stored, and waits for the return."""
    before = store(storage, fields)
    sessions = Sessions(storage=storage)
    assert (True, before) == handle(lambda session: (sessions.delete(KEY), storage.get(KEY)))
    assert None is storage.get(KEY)


def test_open_inside_its_own_handler_is_the_handlers_session(
    storage: CountedStorage, handle: Handle
) -> None:
    """`sessions.open` of the session in use gives it, and leaves the commit to the handler."""
    store(storage, fields)

    def handler(outer: Session) -> None:
        with Sessions(storage=storage).open(KEY) as inner:
            assert inner is outer
            inner.counter = 2
        assert [] == storage.calls
        outer.counter += 1

    handle(handler)
    assert (3, ["set"]) == (stored(storage)["counter"], storage.calls)


@pytest.mark.parametrize("inner_option", [True, False])
@pytest.mark.parametrize("outer_option", [True, False])
def test_outermost_call_decides_about_commit_on_error(
    storage: CountedStorage, handle: Handle, outer_option: bool, inner_option: bool
) -> None:
    """The outermost call commits, by its own commit_on_error."""
    store(storage, fields)

    def call_inner(outer: Session) -> None:
        handle(after(setting(counter=2)), commit_on_error=inner_option)

    with pytest.raises(ZeroDivisionError):
        handle(call_inner, commit_on_error=outer_option)
    assert (2 if outer_option else 1) == stored(storage)["counter"]


def test_outermost_call_gives_the_lifetime(
    storage: CountedStorage, handle: Handle, clock: FrozenDateTimeFactory
) -> None:
    """The outermost call commits, with its own lifetime."""
    handle(lambda outer: handle(setting(counter=2), lifetime=10), lifetime=60)
    clock.tick(59)
    assert {"counter": 2} == stored(storage)
    clock.tick(1)
    assert None is stored(storage)


SEPARATE: dict[str, Callable[[], dict[str, Any]]] = {
    "another prefix": lambda: {"prefix": "other:"},
    "another storage": lambda: {"storage": CountedStorage()},
    "another key": lambda: {"get_storage_key": lambda message: "boris"},
}


@pytest.mark.parametrize("make_options", SEPARATE.values(), ids=SEPARATE)
def test_handlers_for_different_sessions_do_not_share(
    storage: CountedStorage, handle: Handle, make_options: Any
) -> None:
    """With another prefix, storage or key the inner handler has its own session and commits it."""
    before = store(storage, fields)
    options = make_options()

    def outer(session: Session) -> None:
        session.counter = 2
        assert False is handle(lambda inner: "counter" in inner, **options)
        handle(setting(counter=7), **options)
        assert 2 == session.counter
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle(outer)
    assert before == storage.get(KEY)
    assert {"counter": 7} == handle(as_dict, **options)


@pytest.mark.parametrize("make_options", SEPARATE.values(), ids=SEPARATE)
def test_inner_exception_takes_nothing_of_another_session_with_it(
    storage: CountedStorage, handle: Handle, make_options: Any
) -> None:
    """An inner handler that raises loses its own changes, and an outer that catches it none."""
    options = make_options()

    def outer(session: Session) -> None:
        session.counter = 2
        with pytest.raises(ZeroDivisionError):
            handle(after(setting(counter=7)), **options)

    handle(outer)
    assert ({"counter": 2}, {}) == (stored(storage), handle(as_dict, **options))


def test_another_thread_does_not_share(storage: CountedStorage, handle: Handle) -> None:
    """A handler that is called in another thread waits for the session, instead of sharing it."""
    with ThreadPoolExecutor(1) as thread:

        def outer(session: Session) -> type[BaseException]:
            session.counter = 2
            inner = thread.submit(handle, setting(counter=3), lock_timeout=0)
            return type(inner.exception(PATIENCE))

        assert LockTimeoutError is handle(outer)
        thread.submit(handle, lambda session: setting(counter=session.counter + 1)(session)).result(
            PATIENCE
        )
    assert ({"counter": 3}, 0) == (stored(storage), locks_kept(storage))


def test_thread_is_free_to_take_the_session_again(storage: CountedStorage, handle: Handle) -> None:
    """After a raise, at whatever depth, the next call in the same thread starts afresh."""
    with pytest.raises(ZeroDivisionError):
        handle(lambda outer: handle(after(setting(counter=2))), initial={"counter": 1})
    assert {"counter": 1} == handle(as_dict, initial={"counter": 1})


class _UnsureHold(Hold):
    """Combines writes with the unlock, and fails to flush them before."""

    note: bytes | None = None

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        self.note = payload

    def flush(self) -> None:
        self.note = None
        raise StorageError("write", self._key, "the server is down")

    def __exit__(self, *exc: object) -> None:
        if self.note is not None:
            self._storage.set(self._key, self.note)
        super().__exit__(None, None, None)


class _UnsureStorage(MemoryStorage):
    def hold(self, key: str, timeout: float | None = None) -> Hold:
        return _UnsureHold(self, key, timeout)


def test_what_a_failed_save_did_not_write_is_written_at_the_end() -> None:
    """A handler that goes on after a `save` that failed at the flush loses none of its changes."""
    sessions = Sessions(storage=_UnsureStorage())

    with sessions.open(1) as session:
        session.counter = 1
        with pytest.raises(StorageError):
            save(session)

    assert {"counter": 1} == sessions.peek(1)
