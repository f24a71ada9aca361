"""The fields of typed sessions as attributes of the instance, and the end of the instance."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ref

import pytest
from telebot import types  # noqa: TC002 -- with_session resolves annotations

from support.sessions import Cart, stored_untyped, typed_sessions
from support.storages import SpyStore
from support.updates import ANNA, message_of
from support.values import Item
from telesession import (
    EncodeError,
    MemoryStorage,
    Session,
    Sessions,
    save,
    ttl,
    ttl_left,
    with_session,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


@dataclass
class Visits:
    """A session of plain data."""

    count: int = 0
    names: dict[str, int] = field(default_factory=dict)
    note: str = "none"


CHANGES: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda session: setattr(session, "note", "hello"),
    "item": lambda session: session.__setitem__("note", "hello"),
    "update": lambda session: session.update(note="hello"),
    "operator": lambda session: session.__ior__({"note": "hello"}),
    "setdefault": lambda session: (session.pop("note"), session.setdefault("note", "hello")),
    "after a clear": lambda session: (session.clear(), session.update(note="hello")),
    "ttl": lambda session: setattr(session, "note", ttl("hello", 60)),
    "ttl and back": lambda session: (
        setattr(session, "note", ttl("bye", 60)),
        setattr(session, "note", ttl("hello", 0)),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_instance_shows_changes_of_the_mapping(
    clock: FrozenDateTimeFactory, storage: MemoryStorage, change: Callable[[Any], Any]
) -> None:
    """A field that was set through the mapping is read from the instance at once."""
    with (
        typed_sessions(Visits, storage).open(1) as session,
        Sessions(storage=storage).open(1) as mapping,
    ):
        change(mapping)
        assert ("hello", "hello") == (session.note, mapping["note"])
    with typed_sessions(Visits, storage).open(1) as session:
        assert "hello" == session.note


DELETIONS: dict[str, Callable[[Any], Any]] = {
    "attribute": lambda session: delattr(session, "note"),
    "item": lambda session: session.__delitem__("note"),
    "pop": lambda session: session.pop("note"),
    "popitem": lambda session: session.popitem(),
    "clear": lambda session: session.clear(),
}


@pytest.mark.parametrize("delete", DELETIONS.values(), ids=DELETIONS)
def test_an_instance_shows_deletions_of_the_mapping(
    storage: MemoryStorage, delete: Callable[[Any], Any]
) -> None:
    """A field that was deleted through the mapping reads as its default at once."""
    with (
        typed_sessions(Visits, storage).open(1) as session,
        Sessions(storage=storage).open(1) as mapping,
    ):
        session.note = "hello"
        delete(mapping)
        assert ("none", False) == (session.note, "note" in mapping)


def test_the_mapping_shows_changes_of_an_instance(storage: MemoryStorage) -> None:
    """A field that was set or deleted through the instance is another one in the mapping."""
    with (
        typed_sessions(Visits, storage).open(1) as session,
        Sessions(storage=storage).open(1) as mapping,
    ):
        session.count = 5
        del session.note
        assert (5, 5, {"count": 5, "names": {}}) == (mapping.count, mapping["count"], mapping)


def test_lifetimes_may_come_and_go_in_a_handler(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A field gets a lifetime, expires and is an ordinary field again, beside other fields."""
    with typed_sessions(Visits, storage).open(1) as session:
        session.note = ttl("hello", 60)
        session.count += 1
        before = session.note, session.count, ttl_left(session, "note")
        clock.tick(60)
        expired = session.note
        session.note = ttl("bye", 0)
        session.count += 1
        after = session.note, session.count, ttl_left(session, "note")
    assert (("hello", 1, 60), "none", ("bye", 2, None)) == (before, expired, after)
    assert {"count": 2, "names": {}, "note": "bye"} == stored_untyped(storage)


def test_an_instance_stays_one_of_its_class_with_a_lifetime(storage: MemoryStorage) -> None:
    """With a lifetime or without, the instance has the name and the methods of its dataclass."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
        names = session.names
        session.owner = ttl("Anna", 60)
        assert ("Cart", True, True, 1) == (
            type(session).__name__,
            isinstance(session, Cart),
            session.names is names,
            session.total,
        )


def test_a_cached_property_is_no_attribute_of_the_mapping(storage: MemoryStorage) -> None:
    """The mapping shows fields only, whatever the instance keeps beside them."""
    with (
        typed_sessions(Cart, storage).open(1) as session,
        Sessions(storage=storage).open(1) as mapping,
    ):
        assert ([], False) == (session.names, hasattr(mapping, "names"))


def test_a_cached_property_can_be_deleted(storage: MemoryStorage) -> None:
    """Deleting a cached property lets it be computed again."""
    with typed_sessions(Cart, storage).open(1) as session:
        before = session.names
        session.add("apple")
        del session.names
        assert ([], ["apple"]) == (before, session.names)


PAST_SETATTR: dict[str, Callable[[Any], Any]] = {
    "object.__setattr__": lambda session: object.__setattr__(session, "count", 5),
    "vars": lambda session: vars(session).update(count=5),
    "an equal default": lambda session: (
        vars(session).update(names={}),
        session.names.update(a=1),
        vars(session).update(count=5),
    ),
}


@pytest.mark.parametrize("change", PAST_SETATTR.values(), ids=PAST_SETATTR)
def test_a_field_that_was_set_past_setattr_is_saved(
    storage: MemoryStorage, change: Callable[[Any], Any]
) -> None:
    """Changes of the instance's `__dict__` count, so that no value is dropped in silence."""
    with typed_sessions(Visits, storage).open(1) as session:
        session.note = "hello"
    with typed_sessions(Visits, storage).open(1) as session:
        change(session)
        expected = session.count, session.names, session.note
        save(session)
    with typed_sessions(Visits, storage).open(1) as session:
        assert expected == (session.count, session.names, session.note)


def test_a_lifetime_that_was_set_past_setattr_is_saved(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A marked value in the instance's `__dict__` is a field with a lifetime at the commit."""
    with typed_sessions(Visits, storage).open(1) as session:
        vars(session).update(count=5, note=ttl("hello", 60))
    with typed_sessions(Visits, storage).open(1) as session:
        assert (5, "hello", 60) == (session.count, session.note, ttl_left(session, "note"))


@dataclass
class Counter:
    """A session of one number."""

    count: int = 0


USES: dict[str, Callable[[Any], Any]] = {
    "reads": lambda session: session.count,
    "assigns the same": lambda session: setattr(session, "count", 0),
    "changes it back": lambda session: (setattr(session, "count", 1), setattr(session, "count", 0)),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_handler_that_changes_nothing_writes_nothing(use: Callable[[Any], Any]) -> None:
    """A session of scalars is written by the first handler only, if all others change nothing."""
    records = SpyStore()
    sessions = typed_sessions(Counter, MemoryStorage(records))
    for _ in range(3):
        with sessions.open(1) as session:
            use(session)
    assert 1 == records.writes


# Its end

HANDLERS: dict[str, Callable[[Any], Any]] = {
    "reads": lambda session: session.owner,
    "changes": lambda session: session.add("apple"),
    "reads a default": lambda session: (
        setattr(session, "items", []),
        delattr(session, "items"),
        session.items,
    ),
    "caches": lambda session: session.names,
    "marks": lambda session: setattr(session, "owner", ttl("Anna", 60)),
    "marks and back": lambda session: (
        setattr(session, "owner", ttl("Anna", 60)),
        setattr(session, "owner", ttl("Anna", 0)),
    ),
    "saves": save,
    "raises": lambda session: 1 // 0,
}


@pytest.mark.parametrize("act", HANDLERS.values(), ids=HANDLERS)
def test_a_session_is_free_after_its_handler(
    storage: MemoryStorage, act: Callable[[Any], Any]
) -> None:
    """Reference counting alone frees a typed session, so it does not wait for the collector."""

    @with_session(initial=Cart, storage=storage)
    def handler(message: types.Message, session: Cart) -> None:
        act(session)

    def instances() -> int:
        return sum(issubclass(type(thing), Session | Cart) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = instances()
        for _ in range(2):
            with suppress(ZeroDivisionError):
                handler(message_of(ANNA))
        assert before == instances()
    finally:
        gc.enable()


@pytest.mark.parametrize("marked", [False, True], ids=["plain", "with a lifetime"])
def test_a_session_that_is_only_read_is_free_when_it_is_dropped(
    storage: MemoryStorage, marked: bool
) -> None:
    """Reference counting frees what `peek` gave as well."""
    sessions = typed_sessions(Cart, storage)
    with sessions.open(1) as session:
        session.items = [Item("apple", 1)]
        session.owner = ttl("Anna", 60 if marked else 0)
    gc.disable()
    try:
        peeked = sessions.peek(1)
        instance = ref(peeked)
        seen = peeked.owner, peeked.items
        del peeked
        assert (("Anna", [Item("apple", 1)]), None) == (seen, instance())
    finally:
        gc.enable()


def test_an_instance_that_was_kept_can_be_read(storage: MemoryStorage) -> None:
    """An instance that a handler returns shows its fields for as long as it is kept."""

    @with_session(initial=Visits, storage=storage)
    def visit(message: types.Message, session: Visits) -> Visits:
        session.count += 1
        return session

    kept = visit(message_of(ANNA))
    assert (2, 1, {}) == (visit(message_of(ANNA)).count, kept.count, kept.names)


@dataclass
class Strict:
    """A session whose fields do not take any value."""

    number: int = 0
    pair: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("name", "value"), [("number", "5"), ("pair", [1, 2])], ids=["text", "a list for a tuple"]
)
def test_a_value_that_does_not_fit_is_refused_after_another_block(name: str, value: Any) -> None:
    """A second block does not take the values of the first for those of the record."""
    sessions = typed_sessions(Strict, MemoryStorage())

    def handle() -> None:
        with sessions.open(1):
            with sessions.open(2) as session:
                setattr(session, name, value)
            del session
            with sessions.open(2):
                pass

    with pytest.raises(EncodeError) as caught:
        handle()
    assert name == caught.value.path


def test_a_value_can_be_repaired_in_another_block() -> None:
    """A second block gets the value that the first has set, and may set another one."""
    sessions = typed_sessions(Strict, MemoryStorage())
    with sessions.open(1):
        with sessions.open(2) as session:
            session.number = "5"  # type: ignore[assignment]
        del session
        with sessions.open(2) as session:
            session.number = int(session.number)
    stored = sessions.peek(2)
    assert stored is not None
    assert 5 == stored.number


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (0.0, -0.0)], ids=["a bool", "minus zero"]
)
def test_an_equal_value_of_another_kind_that_was_set_past_setattr_is_saved(
    before: Any, after: Any
) -> None:
    """A value set by `object.__setattr__` is saved, though it is equal to the old one."""

    @dataclass
    class Loose:
        value: Any = None

    sessions = typed_sessions(Loose, MemoryStorage())
    with sessions.open(1) as session:
        session.value = before
    with sessions.open(1) as session:
        object.__setattr__(session, "value", after)
    stored = sessions.peek(1)
    assert stored is not None
    assert repr(after) == repr(stored.value)


def test_a_field_that_was_set_past_setattr_outlives_a_lifetime() -> None:
    """A mark that comes in the same handler takes nothing away."""
    sessions = typed_sessions(Visits, MemoryStorage())
    with sessions.open(1) as session:
        object.__setattr__(session, "count", 7)
        session.note = ttl("hello", 300)
    stored = sessions.peek(1)
    assert stored is not None
    assert (7, "hello") == (stored.count, stored.note)


def test_an_instance_gets_no_other_dict() -> None:
    """Another `__dict__` would hide the fields that are set later, so it is refused."""
    sessions = typed_sessions(Visits, MemoryStorage())
    with sessions.open(1) as session:
        with pytest.raises(AttributeError, match="declares no field '__dict__'"):
            session.__dict__ = {"count": 9}
        session.count = 1
        assert 1 == session.count


def test_a_dataclass_is_subclassed_once() -> None:
    """A dataclass that refuses two subclasses of one name can be declared."""
    names = []

    @dataclass
    class Registered:
        count: int = 0

        def __init_subclass__(cls) -> None:
            names.append(cls.__name__)

    typed_sessions(Registered, MemoryStorage())
    assert ["Registered"] == names
