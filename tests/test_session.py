"""The session object: fields that are attributes and items, its life, and what it never tells."""

from __future__ import annotations

import contextlib
import copy
import enum
import functools
import itertools
import json
import operator
import pickle
import pprint
import reprlib
import traceback
from collections import ChainMap, OrderedDict, UserDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import freezegun
import pytest
from cachetools import LRUCache, TTLCache
from counted import CountedStore
from freezegun.api import FrozenDateTimeFactory
from hypothesis import given, settings, strategies as st
from telebot import types
from test import mapping_tests
from updates import ANNA, BORIS, message, private

from telesession import (
    DecodeError,
    EncodeError,
    LockTimeoutError,
    MemoryStorage,
    NoSessionKeyError,
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

METHOD_NAMES = sorted(name for name in dir(dict) if not name.startswith("_"))


@pytest.fixture(scope="module")
def clock() -> Iterator[FrozenDateTimeFactory]:
    """A clock that only `clock.tick(seconds)` moves; freezing it for each test would be slow."""
    with freezegun.freeze_time("2026-01-01", ignore=["_pytest.timing"]) as clock:
        yield clock


@pytest.fixture
def storage() -> MemoryStorage:
    """An empty storage."""
    return MemoryStorage()


def fail_in(sessions: Sessions[Session], key: int, change: Callable[[Session], Any]) -> None:
    """Open a session, change it and raise."""
    with sessions.open(key) as session:
        change(session)
        raise ZeroDivisionError


@pytest.fixture
def sessions(storage: MemoryStorage) -> Sessions[Session]:
    """Sessions without an initial field in that storage, keyed by whatever the update is."""
    return Sessions(storage=storage, get_storage_key=lambda update: update)


class Mood(enum.StrEnum):
    """Names of fields as some bots have them."""

    GOOD = "good"


def message_of(person: dict[str, Any]) -> types.Message:
    """A message as telebot reads it off the wire."""
    return types.Message.de_json(message(private(person), person))


# Fields are attributes and items at once


def test_a_field_set_as_an_attribute_is_an_item() -> None:
    """Fields are attributes and mapping items at once: set as the one, read as the other."""
    session = Session()
    session.counter = 1
    assert (1, {"counter": 1}) == (session["counter"], dict(session))


def test_a_field_set_as_an_item_is_an_attribute() -> None:
    """Fields are attributes and mapping items at once: set as an item, read as an attribute."""
    session = Session()
    session["counter"] = 1
    session.counter += 1
    assert (2, 2) == (session.counter, session["counter"])


def test_a_field_deleted_as_an_attribute_is_no_item() -> None:
    """`del session.counter` takes the field from the mapping."""
    session = Session(counter=1, name="Anna")
    del session.counter
    assert ({"name": "Anna"}, False) == (dict(session), "counter" in session)


def test_a_field_deleted_as_an_item_is_no_attribute() -> None:
    """`del session["counter"]` takes the attribute away."""
    session = Session(counter=1)
    del session["counter"]
    assert hasattr(session, "counter") is False


def test_nested_values_stay_what_they_are() -> None:
    """Nothing wraps the nested values: they stay plain `dict` and `list`, the very objects."""
    cart, log = {"apple": 1}, ["hello"]
    session = Session(cart=cart, log=log)
    assert (True, True) == (session.cart is cart, session["log"] is log)


def test_whatever_takes_a_dict_takes_a_session() -> None:
    """A session is a `dict` and a mutable mapping, to `isinstance`, `match` and formatting."""
    session = Session(name="Anna", counter=2)
    match session:
        case {"counter": int(counter), **others}:
            matched = counter, others
    assert (True, True, True) == (
        isinstance(session, dict),
        isinstance(session, Mapping),
        isinstance(session, MutableMapping),
    )
    assert (2, {"name": "Anna"}) == matched
    assert "Anna: 2" == "{name}: {counter}".format_map(session)


# The standard library's own mapping tests


class _Opened:
    """Sessions that `Sessions.open` gives, each of a key of its own."""

    def _empty_mapping(self) -> Session:
        return self.enterContext(Sessions(storage=MemoryStorage()).open(1))  # type: ignore[attr-defined]


class _Expiring:
    """Sessions that have a mark of `ttl` and, untouched since, a field that has just expired."""

    @pytest.fixture(autouse=True)
    def _clock(self, clock: FrozenDateTimeFactory) -> None:
        self.clock = clock

    def _empty_mapping(self) -> Session:
        session: Session = super()._empty_mapping()  # type: ignore[misc]
        session.expired = ttl("1234", 10)
        self.clock.tick(10)
        return session


class TestBasicProtocol(mapping_tests.BasicTestMappingProtocol):
    """Sessions made by hand pass `BasicTestMappingProtocol` as it is."""

    type2test = Session


class TestBasicProtocolOpened(_Opened, TestBasicProtocol):
    """Opened sessions pass it as well."""


class TestBasicProtocolExpiring(_Expiring, TestBasicProtocol):
    """So do sessions whose fields may expire."""


class TestBasicProtocolOpenedExpiring(_Expiring, _Opened, TestBasicProtocol):
    """So do opened sessions whose fields may expire."""


class TestMappingProtocols(mapping_tests.TestHashMappingProtocol):
    """
    Sessions pass `TestMappingProtocol` and `TestHashMappingProtocol`, with names that are `str`.

    The second extends the first. Where a test needs keys that are no `str`, which a session
    refuses, it runs here with `str`; what it asks beyond that is asked here, too.
    """

    type2test = Session

    def test_values(self) -> None:
        """The original has a mapping with the key 1."""
        mapping_tests.BasicTestMappingProtocol.test_values(self)
        assert [2] == list(self._full_mapping({"one": 2}).values())

    def test_items(self) -> None:
        """The original has a mapping with the key 1."""
        mapping_tests.BasicTestMappingProtocol.test_items(self)
        assert [("one", 2)] == list(self._full_mapping({"one": 2}).items())

    def test_clear(self) -> None:
        """The original has a mapping with the keys 1, 2 and 3."""
        session = self._full_mapping({"1": 1, "2": 2, "3": 3})
        session.clear()
        assert {} == session
        with pytest.raises(TypeError):
            session.clear(None)

    def test_update(self) -> None:
        """The original has mappings with the keys 1, 2 and 3."""
        mapping_tests.BasicTestMappingProtocol.test_update(self)
        session = self._empty_mapping()
        session.update({"1": 100})
        session.update({"2": 20})
        session.update({"1": 1, "2": 2, "3": 3})
        session.update()
        assert {"1": 1, "2": 2, "3": 3} == session
        session = self._empty_mapping()
        session.update(x=100)
        session.update(y=20)
        session.update(x=1, y=2, z=3)
        assert {"x": 1, "y": 2, "z": 3} == session
        session = self._empty_mapping()
        session.update([("x", 100), ("y", 20)])
        assert {"x": 100, "y": 20} == session
        session.update([("x", 100), ("y", 20)], x=1, y=2)
        assert {"x": 1, "y": 2} == session
        session = self._full_mapping({"1": 3, "2": 4})
        session.update(self._full_mapping({"1": 2, "3": 4, "5": 6}).items())
        assert {"1": 2, "2": 4, "3": 4, "5": 6} == session

    def test_fromkeys(self) -> None:
        """The original has int keys, and subclasses, which a handler's session never is."""
        session = self._empty_mapping()
        assert {"a": None, "b": None, "c": None} == self.type2test.fromkeys("abc")
        assert {"a": None, "b": None, "c": None} == session.fromkeys("abc")
        assert {"4": 0, "5": 0} == session.fromkeys(("4", "5"), 0)
        assert {} == session.fromkeys([])
        assert {"a": None} == session.fromkeys(name for name in "a")
        assert {} == session
        with pytest.raises(TypeError):
            session.fromkeys(3)
        with pytest.raises(TypeError):
            self.type2test.fromkeys()
        with pytest.raises(ZeroDivisionError):
            session.fromkeys(1 / 0 for _ in "a")

    def test_copy(self) -> None:
        """The original wants a session, but a copy belongs to no record and is a plain dict."""
        session = self._full_mapping({"1": 1, "2": 2, "3": 3})
        assert ({"1": 1, "2": 2, "3": 3}, dict) == (session.copy(), type(session.copy()))
        assert {} == self._empty_mapping().copy()
        with pytest.raises(TypeError):
            session.copy(None)

    def test_getitem(self) -> None:
        """The original stores under keys that are no `str`, whose __eq__ or __hash__ fail."""
        mapping_tests.TestMappingProtocol.test_getitem(self)
        with pytest.raises(KeyError):
            self._empty_mapping()[23]
        with pytest.raises(TypeError):
            self._empty_mapping()[[]]

    def test_pop(self) -> None:
        """The original stores under a key that is no `str`, whose __hash__ fails."""
        mapping_tests.TestMappingProtocol.test_pop(self)
        with pytest.raises(KeyError):
            self._empty_mapping().pop(23)
        with pytest.raises(TypeError):
            self._empty_mapping().pop([])

    def test_setdefault(self) -> None:
        """The original stores under a key that is no `str`, whose __hash__ fails."""
        mapping_tests.TestMappingProtocol.test_setdefault(self)
        with pytest.raises(TypeError):
            self._empty_mapping().setdefault([], 1)

    def test_mutatingiteration(self) -> None:
        """The original adds the key i + 1: an error at once, or the fields of one instant."""
        session = self._empty_mapping()
        session["1"] = 1
        seen = []
        with contextlib.suppress(RuntimeError):
            for name in session:
                seen.append(name)
                session[name + "1"] = 1
        assert ["1"] == seen

    def test_repr(self) -> None:
        """The original wants the values, which a session never shows, nor even asks."""

        class BadRepr:
            def __repr__(self) -> str:
                raise AssertionError

        session = self._empty_mapping()
        empty = repr(session)
        session["a"] = session
        session["b"] = BadRepr()
        full = repr(session)
        session.clear()
        assert ("no fields>", "a, b>") == (empty.rpartition(": ")[2], full.rpartition(": ")[2])

    def test_repr_deep(self) -> None:
        """The original wants a RecursionError, but repr does not go into the values."""
        session = self._empty_mapping()
        for _ in range(2000):
            session = Session(inner=session)
        assert "<Session '(none)': inner>" == repr(session)

    def test_eq(self) -> None:
        """The original has keys that are no `str`, one of which fails to compare."""

        class BadCmp:
            def __eq__(self, other: object) -> bool:
                raise ZeroDivisionError

            __hash__ = None  # type: ignore[assignment]

        one, other = self._full_mapping({"1": 2}), self._full_mapping({"1": 2})
        assert (True, True) == (one == other, self._empty_mapping() == self._empty_mapping())
        one["1"] = BadCmp()
        for compare, left, right in ((operator.eq, one, other), (operator.ne, other, one)):
            with pytest.raises(ZeroDivisionError):
                compare(left, right)
        one.clear()


class TestMappingProtocolsOpened(_Opened, TestMappingProtocols):
    """Opened sessions pass them as well."""


class TestMappingProtocolsExpiring(_Expiring, TestMappingProtocols):
    """So do sessions whose fields may expire."""


class TestMappingProtocolsOpenedExpiring(_Expiring, _Opened, TestMappingProtocols):
    """So do opened sessions whose fields may expire."""


# A field wins over a method of the same name

Make = Callable[[FrozenDateTimeFactory, dict[str, Any]], Session]


def make_plain(_clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session in which no field has a lifetime."""
    return Session(fields)


def make_with_ttl(_clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session of these fields, all of which will expire some day."""
    return Session({name: ttl(value, 10**9) for name, value in fields.items()})


def make_with_expired(clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session in which another field has expired and nobody has looked since."""
    session = Session(expired=ttl("1234", 10), **fields)
    clock.tick(10)
    return session


def make_stored(clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session that was stored and loaded before another field expired; it is closed."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.update(fields, expired=ttl("1234", 10))
    with sessions.open(1) as session:
        pass
    clock.tick(10)
    return session


MAKERS = [make_plain, make_with_ttl, make_with_expired, make_stored]

every_make = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def collect(**fields: Any) -> dict[str, Any]:
    """The fields as a function gets them from `f(**session)`."""
    return fields


def updated(session: Session) -> dict[str, Any]:
    """The fields as `dict.update` and `|=` get them."""
    fields: dict[str, Any] = {}
    fields.update(session)
    fields |= session
    return fields


READINGS: dict[str, Callable[[Session], Any]] = {
    "dict": dict,
    "displayed": lambda session: {**session},
    "passed": lambda session: collect(**session),
    "copied": copy.copy,
    "deepcopied": copy.deepcopy,
    "as_dict": as_dict,
    "or": lambda session: session | {},
    "ror": lambda session: {} | session,
    "updated": updated,
    "a session": lambda session: dict(Session(session)),
    "a defaultdict": lambda session: dict(defaultdict(int, session)),
    "a defaultdict or": lambda session: dict(defaultdict(int) | session),
    "a UserDict": lambda session: dict(UserDict(session)),
    "a ChainMap": lambda session: dict(ChainMap(session)),
    "listed": lambda session: {name: session[name] for name in list(session)},
    "sorted": lambda session: {name: session[name] for name in sorted(session)},
    "iterated": lambda session: {name: session[name] for name in iter(session)},
    "reversed": lambda session: dict([(name, session[name]) for name in reversed(session)][::-1]),
    "class items": lambda session: dict(type(session).items(session)),
    "class values": lambda session: dict(
        zip(type(session).keys(session), type(session).values(session), strict=True)
    ),
}

every_reading = pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)


@every_make
def test_a_field_wins_over_a_method_of_the_same_name(
    clock: FrozenDateTimeFactory, make: Make
) -> None:
    """A field always wins over a method of the same name, as attribute and as item."""
    for name in METHOD_NAMES:
        session = make(clock, {name: ["apple"]})
        getattr(session, name).append("pear")
        assert (name, ["apple", "pear"], True) == (name, session[name], name in session)


@pytest.mark.parametrize("make", MAKERS[:3], ids=lambda make: make.__name__)
def test_a_method_is_back_once_its_field_is_deleted(
    clock: FrozenDateTimeFactory, make: Make
) -> None:
    """Fields named like a method can be set, read and deleted, and then the method is back."""
    session = make(clock, {"other": 1})
    for name in METHOD_NAMES:
        setattr(session, name, None)
        as_field = getattr(session, name)
        delattr(session, name)
        is_method = callable(getattr(session, name))
        assert (name, None, True, {"other": 1}) == (name, as_field, is_method, dict(session))


@every_make
@every_reading
def test_a_mapping_reads_right_whatever_its_fields_are_named(
    clock: FrozenDateTimeFactory, make: Make, reading: Callable[[Session], Any]
) -> None:
    """`dict(session)`, `{**session}`, `f(**session)`, copies, `|` and `|=` see the live fields."""
    wrong = {}
    for name in ["other", *METHOD_NAMES]:
        fields = {"first": 1, name: ["value"], "last": 3}
        # That one is another matter; see below.
        if name == "keys" and make not in MAKERS[:2]:
            continue
        actual = reading(make(clock, fields))
        if fields != actual:
            wrong[name] = actual
    assert {} == wrong


BESIDE_KEYS: dict[str, tuple[Callable[[Session], Any], Any]] = {
    "dict": (dict, {"first": 1, "keys": 2}),
    "as_dict": (as_dict, {"first": 1, "keys": 2}),
    "len": (len, 2),
    "in": (lambda session: "expired" in session, False),
    "item": (lambda session: session.get("expired"), None),
    "attribute": (lambda session: hasattr(session, "expired"), False),
    "keys": (lambda session: (session.keys, session["keys"]), (2, 2)),
    "repr": (lambda session: repr(session).partition(": ")[2], "first, keys>"),
}


@pytest.mark.parametrize("make", MAKERS[2:], ids=lambda make: make.__name__)
@pytest.mark.parametrize(("reading", "expected"), BESIDE_KEYS.values(), ids=BESIDE_KEYS)
def test_an_expired_field_is_gone_beside_a_field_named_keys(
    clock: FrozenDateTimeFactory, make: Make, reading: Callable[[Session], Any], expected: Any
) -> None:
    """Where C code asks a mapping for its `keys()` and finds a field, nothing expired shows."""
    assert expected == reading(make(clock, {"first": 1, "keys": 2}))


@pytest.mark.parametrize("make", MAKERS[:2], ids=lambda make: make.__name__)
def test_one_field_of_every_name_at_once(clock: FrozenDateTimeFactory, make: Make) -> None:
    """A session may have a field for each method there is, and every reading still works."""
    fields: dict[str, Any] = {name: [name] for name in METHOD_NAMES}
    wrong = {how for how, read in READINGS.items() if fields != read(make(clock, fields))}
    assert set() == wrong


@every_make
def test_json_dumps_a_session(clock: FrozenDateTimeFactory, make: Make) -> None:
    """`json.dumps(session)` works, also with indentation, whatever its fields are named."""
    for name in {*METHOD_NAMES, "other"} - {"items"}:
        expected = {"first": 1, name: ["value"]}
        session = make(clock, expected)
        assert expected == json.loads(json.dumps(session))
        assert expected == json.loads(json.dumps(session, indent=1))


@every_make
def test_json_needs_the_items_method(clock: FrozenDateTimeFactory, make: Make) -> None:
    """The `json` module calls `items()`, so with such a field it takes `dict(session)` instead."""
    session = make(clock, {"items": ["apple"]})
    with pytest.raises(TypeError, match="not callable"):
        json.dumps(session)
    assert '{"items": ["apple"]}' == json.dumps(dict(session))


@every_make
def test_sessions_compare_like_dicts(clock: FrozenDateTimeFactory, make: Make) -> None:
    """`==` and `!=` with a mapping are right in both directions, whatever the fields are named."""
    for name in METHOD_NAMES:
        fields = {"first": 1, name: ["value"]}
        others = fields | {"first": 2}
        session = make(clock, fields)
        assert (name, True, True, False, False) == (
            name,
            session == fields,
            fields == session,
            session != fields,
            fields != session,
        )
        assert (name, False, False, True, True) == (
            name,
            session == others,
            others == session,
            session != others,
            others != session,
        )


@pytest.mark.parametrize("other", MAKERS, ids=lambda make: make.__name__)
@every_make
def test_sessions_of_any_kind_compare_with_each_other(
    clock: FrozenDateTimeFactory, make: Make, other: Make
) -> None:
    """Two sessions are equal exactly when their live fields are."""
    one, same, different = make(clock, {"a": 1}), other(clock, {"a": 1}), other(clock, {"a": 2})
    assert (True, False) == (one == same, one != same)
    assert (False, True) == (one == different, one != different)
    assert (False, True) == (one == 1, one != 1)


@pytest.mark.parametrize("make", MAKERS[:2], ids=lambda make: make.__name__)
def test_a_subclass_of_dict_compares_from_its_side(
    clock: FrozenDateTimeFactory, make: Make
) -> None:
    """`==` is right where the other mapping is asked first, as an `OrderedDict` is."""
    fields = {"first": 1, "second": 2}
    assert OrderedDict(fields) == make(clock, fields)


@pytest.mark.parametrize("make", MAKERS[:3], ids=lambda make: make.__name__)
def test_ior_changes_the_session_itself(clock: FrozenDateTimeFactory, make: Make) -> None:
    """`session |= mapping` and `session |= pairs` set fields and leave the very same session."""
    session = before = make(clock, {"a": 1, "update": 2})
    session |= {"a": 3}
    session |= [("b", 4)]
    assert (True, {"a": 3, "update": 2, "b": 4}) == (session is before, dict(session))


@every_make
def test_or_makes_a_dict_that_belongs_to_no_session(
    clock: FrozenDateTimeFactory, make: Make
) -> None:
    """`session | mapping` and `mapping | session` are plain dicts; the right side wins."""
    session = make(clock, {"a": 1})
    left, right = session | {"a": 2, "b": 3}, {"a": 2, "b": 3} | session
    assert ({"a": 2, "b": 3}, {"a": 1, "b": 3}) == (left, right)
    assert (dict, dict, {"a": 1}) == (type(left), type(right), dict(session))


@every_make
def test_the_class_of_a_session_makes_sessions(clock: FrozenDateTimeFactory, make: Make) -> None:
    """`type(session)(mapping)`, an idiom of code that rebuilds dicts, makes one that works."""
    kind = type(make(clock, {"a": 1}))
    made = kind({"a": 1})
    made.b = 2
    assert ({"a": 1, "b": 2}, {"c": 3}) == (dict(made), {**kind.fromkeys("c", 3)})


@every_make
def test_sessions_are_unhashable_like_dicts(clock: FrozenDateTimeFactory, make: Make) -> None:
    """A session changes, so it has no hash."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(make(clock, {"a": 1}))


@every_make
def test_popitem_gives_the_youngest_live_field(clock: FrozenDateTimeFactory, make: Make) -> None:
    """`popitem` is last in, first out, and never gives an expired field."""
    session = Session(make(clock, {"first": 1, "pop": 2, "popitem": 3}))
    taken = [dict.fromkeys([type(session).popitem(session)]) for _ in range(3)]
    assert [{("popitem", 3): None}, {("pop", 2): None}, {("first", 1): None}] == taken
    with pytest.raises(KeyError, match="has no fields"):
        session.popitem()


# Names


@every_make
def test_names_with_an_underscore_are_items_only(clock: FrozenDateTimeFactory, make: Make) -> None:
    """A name that starts with `_` is a field through `[...]` and only there."""
    session = make(clock, {"_hidden": 1, "__class__": "mine"})
    assert (1, "mine") == (session["_hidden"], session["__class__"])
    assert (False, True) == (hasattr(session, "_hidden"), isinstance(session, Session))
    assert {"_hidden": 1, "__class__": "mine"} == dict(session)


UNDERSCORED: dict[str, Callable[[Session], Any]] = {
    "read": lambda session: session._hidden,
    "set": lambda session: setattr(session, "_hidden", 2),
    "delete": lambda session: delattr(session, "_hidden"),
}


@pytest.mark.parametrize("access", UNDERSCORED.values(), ids=UNDERSCORED)
def test_an_attribute_with_an_underscore_says_what_to_write_instead(
    access: Callable[[Session], Any],
) -> None:
    """Reading, setting or deleting `session._hidden` says to use `session['_hidden']`."""
    session = Session(_hidden=1)
    with pytest.raises(AttributeError, match=r"use session\['_hidden'\]"):
        access(session)
    assert {"_hidden": 1} == dict(session)


def test_a_member_of_a_str_enum_names_the_field_of_its_value() -> None:
    """A StrEnum member as a name is its plain string, to set, read, test and delete."""
    session = Session({Mood.GOOD: 1})
    session[Mood.GOOD] += 1
    names = [type(name) for name in session]
    assert (2, 2, True, [str]) == (session.good, session["good"], Mood.GOOD in session, names)
    del session[Mood.GOOD]
    assert {} == dict(session)


def test_a_member_of_a_str_enum_names_a_field_with_a_lifetime(
    clock: FrozenDateTimeFactory,
) -> None:
    """The lifetime of a field that was named by a StrEnum member is that of its plain name."""
    session = Session()
    session[Mood.GOOD] = ttl(1, 10)
    left = ttl_left(session, "good"), ttl_left(session, Mood.GOOD)
    clock.tick(10)
    assert ((10, 10), {}) == (left, dict(session))


NOT_STR: dict[str, Any] = {
    "int": 1,
    "None": None,
    "bytes": b"a",
    "tuple": ("a",),
    "bool": True,
    "member": enum.Enum("Other", "A").A,
}

WAYS_TO_SET: dict[str, Callable[[Session, Any], Any]] = {
    "item": lambda session, name: operator.setitem(session, name, 1),
    "update": lambda session, name: session.update({name: 1}),
    "pairs": lambda session, name: session.update([(name, 1)]),
    "ior": lambda session, name: operator.ior(session, {name: 1}),
    "setdefault": lambda session, name: session.setdefault(name, 1),
    "constructor": lambda _session, name: Session({name: 1}),
    "fromkeys": lambda _session, name: Session.fromkeys([name]),
}


@pytest.mark.parametrize("way", WAYS_TO_SET.values(), ids=WAYS_TO_SET)
def test_names_of_fields_are_str(way: Callable[[Session, Any], Any]) -> None:
    """Field names are `str`; any other is refused at once, naming its type."""
    session = Session(a=1)
    for name in NOT_STR.values():
        with pytest.raises(TypeError, match=f"names of fields are str, not {type(name).__name__}"):
            way(session, name)
        assert {"a": 1} == dict(session)


@pytest.mark.parametrize(
    "name", ["", " ", "two words", "имя", "1", "self", "class", "\n", "\ud800"]
)
def test_any_str_names_a_field(sessions: Sessions[Session], name: str) -> None:
    """Any string can name a field, in every way to set or read one, and comes back."""
    with sessions.open(1) as session:
        setattr(session, name, 1)
        session.update({name: session[name] + 1})
        session.update(**{name: getattr(session, name) + 1})
        assert (3, 3, True) == (getattr(session, name), session[name], hasattr(session, name))
    assert {name: 3} == sessions.peek(1)


# A missing field

MISSING_ATTRIBUTE: dict[str, Callable[[Session], Any]] = {
    "read": lambda session: session.code,
    "delete": lambda session: delattr(session, "code"),
    "add to": lambda session: exec("session.code += 1", {"session": session}),
}

MISSING_ITEM: dict[str, Callable[[Session], Any]] = {
    "read": lambda session: session["code"],
    "delete": lambda session: operator.delitem(session, "code"),
    "pop": lambda session: session.pop("code"),
    "format": "{code}".format_map,
}


MISSING = "give it in initial=..., or read it with session.get('code')"
EXPIRED = "read it with session.get('code') where it may have"


def said_to(access: Callable[[Session], Any], fault: str, advice: str) -> str:
    """What whoever wants a field is told: who reads it, also what to do."""
    writes = (MISSING_ATTRIBUTE["delete"], MISSING_ITEM["delete"], MISSING_ITEM["pop"])
    return fault if access in writes else f"{fault}; {advice}"


@pytest.mark.parametrize("access", MISSING_ATTRIBUTE.values(), ids=MISSING_ATTRIBUTE)
def test_a_missing_attribute_says_which(
    sessions: Sessions[Session], access: Callable[[Session], Any]
) -> None:
    """A missing field is an `AttributeError` that says which field of which session."""
    with sessions.open("anna") as session, pytest.raises(AttributeError) as caught:
        access(session)
    assert said_to(access, "session 'anna' has no field 'code'", MISSING) == str(caught.value)
    assert ("code", session) == (caught.value.name, caught.value.obj)


@pytest.mark.parametrize("access", MISSING_ITEM.values(), ids=MISSING_ITEM)
def test_a_missing_item_says_which(
    sessions: Sessions[Session], access: Callable[[Session], Any]
) -> None:
    """A missing field is a `KeyError` that says which field of which session."""
    with sessions.open("anna") as session, pytest.raises(KeyError) as caught:
        access(session)
    assert (said_to(access, "session 'anna' has no field 'code'", MISSING),) == caught.value.args


@pytest.mark.parametrize(
    ("access", "kind"),
    [
        *((access, AttributeError) for access in MISSING_ATTRIBUTE.values()),
        *((access, KeyError) for access in MISSING_ITEM.values()),
    ],
    ids=[*MISSING_ATTRIBUTE, *MISSING_ITEM],
)
def test_an_expired_field_says_so(
    clock: FrozenDateTimeFactory,
    sessions: Sessions[Session],
    access: Callable[[Session], Any],
    kind: type[Exception],
) -> None:
    """An expired field is an `AttributeError` or `KeyError` that says which, and that it did."""
    with sessions.open("anna") as session:
        session.code = ttl("1234", 300)
        clock.tick(300)
        with pytest.raises(kind) as caught:
            access(session)
    expected = "field 'code' of session 'anna' expired, 300 s after its update"
    assert (said_to(access, expected, EXPIRED),) == caught.value.args


def test_a_deleted_field_has_not_expired(clock: FrozenDateTimeFactory) -> None:
    """A field that was deleted before its time is missing, not expired."""
    session = Session(code=ttl("1234", 300))
    del session.code
    clock.tick(300)
    with pytest.raises(AttributeError, match="has no field 'code'"):
        _ = session.code


# No value is ever shown

VALUES = st.recursive(
    st.text(max_size=10) | st.integers() | st.binary(max_size=10) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=3,
)

NAMES = st.text(max_size=8) | st.sampled_from([*METHOD_NAMES, "_hidden", "code"])


@settings(max_examples=40, deadline=None)
@given(fields=st.dictionaries(NAMES, VALUES), lifetime=st.sampled_from([0, 60]))
def test_repr_depends_on_the_names_alone(fields: dict[str, Any], lifetime: int) -> None:
    """`repr` shows the key and field names, never values: other values change nothing in it."""
    session = Session({name: ttl(value, lifetime) for name, value in fields.items()})
    blank = Session({name: ttl(None, lifetime) for name in fields})
    for show in (
        repr,
        str,
        ascii,
        format,
        pprint.pformat,
        reprlib.repr,
        "{!r}".format,
        "%s".__mod__,
    ):
        assert show(blank) == show(session)


def test_repr_shows_key_and_names(clock: FrozenDateTimeFactory) -> None:
    """`repr` shows the key and the names of the live fields, and whether the session is closed."""
    with Sessions(storage=MemoryStorage(), prefix="shop-").open("anna") as session:
        session.update(name="Anna", code=ttl("1234", 10), items=[])
        live = repr(session)
        clock.tick(10)
        expired = repr(session)
        session.clear()
        empty = repr(session)
    assert "<Session 'shop-anna': name, code, items>" == live
    assert "<Session 'shop-anna': name, items>" == expired
    assert "<Session 'shop-anna': no fields>" == empty
    assert "<Session 'shop-anna' (closed): no fields>" == repr(session)


@settings(max_examples=40, deadline=None)
@given(value=VALUES, lifetime=st.integers(0, 10**6))
def test_the_repr_of_a_ttl_mark_shows_no_value(value: Any, lifetime: int) -> None:
    """A `ttl(...)` on its way shows its lifetime and the type of its value, but not the value."""
    mark: Any = ttl(value, lifetime)
    expected = f"ttl(<{type(value).__name__}>, {lifetime:g})"
    assert (expected, expected, expected) == (repr(mark), str(mark), f"{mark}")


@pytest.mark.parametrize(
    "make_store",
    [dict, lambda: LRUCache(10), lambda: TTLCache(10, 60), UserDict],
    ids=["dict", "LRUCache", "TTLCache", "UserDict"],
)
def test_the_repr_of_a_storage_shows_no_value(
    make_store: Callable[[], MutableMapping[str, bytes]],
) -> None:
    """The `repr` of storages and of `Sessions` are the same whatever the records hold."""

    def shown(value: str) -> tuple[str, str]:
        storage = MemoryStorage(make_store())
        sessions = Sessions(initial={"text": value}, storage=storage, prefix="shop-")
        with sessions.open(1) as session:
            session.other = value
        return repr(storage), repr(sessions)

    storage_repr, sessions_repr = shown("a private message")
    assert shown("") == (storage_repr, sessions_repr)
    assert (True, True) == ("MemoryStorage" in storage_repr, "'shop-'" in sessions_repr)


class Loud:
    """A value that quotes itself in every exception of its own, as a careless class does."""

    def __init__(self, text: str, kind: type[Exception]) -> None:
        self.text = text
        self.kind = kind

    def __reduce__(self) -> Any:
        raise self.kind(self.text)


class LoudWhenLoaded:
    """A value that can be stored once, and quotes itself when it is loaded after that."""

    broken = False

    def __init__(self, text: str, kind: type[Exception]) -> None:
        self.text = text
        self.kind = kind

    def __setstate__(self, state: dict[str, Any]) -> None:
        if LoudWhenLoaded.broken:
            raise state["kind"](state["text"])
        vars(self).update(state)


def closed_session(**fields: Any) -> Session:
    """A session whose handler has returned."""
    with Sessions(storage=MemoryStorage()).open(1) as session:
        session.update(fields)
    return session


def commit(value: Any) -> None:
    """Save a session with this value, below some others."""
    with Sessions(storage=MemoryStorage()).open(1) as session:
        session.log = [1, {"deep": value}]


def load_loud(value: str, kind: type[Exception]) -> None:
    """Load a session with an object that can no longer be loaded."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.loud = LoudWhenLoaded(value, kind)
    try:
        LoudWhenLoaded.broken = True
        sessions.peek(1)
    finally:
        LoudWhenLoaded.broken = False


def load_damaged(value: str, damage: Callable[[bytes], bytes]) -> None:
    """Load a session whose record was damaged."""
    storage = MemoryStorage()
    with Sessions(storage=storage).open(1) as session:
        session.text = value
    payload = storage.get("1")
    assert payload is not None
    storage.set("1", damage(payload))
    with Sessions(storage=storage).open(1):
        pass


def lock_twice(value: str) -> None:
    """Wait in vain for a session that somebody holds."""
    storage = MemoryStorage()
    Sessions(initial={"text": value}, storage=storage).open(1).__enter__()
    with storage.hold("1", 0):
        pass


def fill_up(value: str) -> None:
    """Store a record that the store refuses."""
    with Sessions(storage=MemoryStorage(LRUCache(1, getsizeof=len))).open(1) as session:
        session.text = value


FAILURES: dict[str, tuple[type[Exception], Callable[[str], Any]]] = {
    "no attribute": (AttributeError, lambda value: Session(text=value).code),
    "no item": (KeyError, lambda value: Session(text=value)["code"]),
    "no pop": (KeyError, lambda value: Session(text=value).pop("code")),
    "underscore": (AttributeError, lambda value: Session(_text=value)._text),
    "set underscore": (AttributeError, lambda value: setattr(Session(), "_text", value)),
    "set closed": (SessionClosedError, lambda value: setattr(closed_session(), "text", value)),
    "clear closed": (SessionClosedError, lambda value: closed_session(text=value).clear()),
    "save closed": (SessionClosedError, lambda value: save(closed_session(text=value))),
    "name": (TypeError, lambda value: Session({(value,): value})),
    "nested name": (TypeError, lambda value: Session(text=value).update({1: value})),
    "pairs": (ValueError, lambda value: Session([(value, value, value)])),
    "unsavable": (EncodeError, lambda value: commit([value, (letter for letter in value)])),
    "loud": (EncodeError, lambda value: commit(Loud(value, ValueError))),
    "loud import": (EncodeError, lambda value: commit(Loud(value, ImportError))),
    "nested mark": (EncodeError, lambda value: commit(ttl(value, 5))),
    "another session": (EncodeError, lambda value: commit(Session(text=value))),
    "truncated": (DecodeError, lambda value: load_damaged(value, lambda payload: payload[:-1])),
    "foreign": (DecodeError, lambda value: load_damaged(value, lambda payload: payload[2:])),
    "loud value": (DecodeError, lambda value: load_loud(value, ValueError)),
    "loud attribute": (DecodeError, lambda value: load_loud(value, AttributeError)),
    "loud module": (DecodeError, lambda value: load_loud(value, ImportError)),
    "by hand": (SessionError, lambda value: save(Session(text=value))),
    "pickled": (TypeError, lambda value: pickle.dumps(Session(text=value))),
    "pickled mark": (TypeError, lambda value: pickle.dumps(ttl(value))),
    "two marks": (TypeError, lambda value: ttl(ttl(value))),
    "lifetime": (TypeError, lambda value: ttl(value, value)),  # type: ignore[arg-type]
    "negative": (ValueError, lambda value: ttl(value, -1)),
    "no session": (TypeError, lambda value: as_dict({"text": value})),
    "initial": (TypeError, lambda value: Sessions(initial=value)),  # type: ignore[call-overload]
    "initial returns": (
        TypeError,
        lambda value: Sessions(initial=lambda: value, storage=MemoryStorage()).open(1).__enter__(),
    ),  # type: ignore[arg-type, return-value]
    "key": (TypeError, lambda value: Sessions().peek((value,))),  # type: ignore[arg-type]
    "no key": (
        NoSessionKeyError,
        lambda value: with_session(get_storage_key=lambda _: (value,))(
            lambda update, session: None
        )(1),
    ),  # type: ignore[arg-type, return-value]
    "locked": (LockTimeoutError, lock_twice),
}


def report(kind: type[Exception], fail: Callable[[str], Any], value: str) -> str:
    """What a bot would log of a failure."""
    with pytest.raises(kind) as caught:
        fail(value)
    return "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("failure", FAILURES)
@settings(max_examples=10, deadline=None)
@given(value=st.text(min_size=1))
def test_no_message_and_no_traceback_shows_a_value(failure: str, value: str) -> None:
    """No message shows a stored value: the whole traceback is the same whatever it was."""
    kind, fail = FAILURES[failure]
    assert report(kind, fail, "a") == report(kind, fail, value)


def test_a_storage_error_says_nothing_of_the_value(storage: MemoryStorage) -> None:
    """The message of a `StorageError` names the action, the key and the kind of failure only."""

    def message_for(value: str) -> str:
        with pytest.raises(StorageError) as caught:
            fill_up(value)
        return str(caught.value)

    assert message_for("a") == message_for("a private message")


# Pickling, copying


@every_make
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_session_cannot_be_pickled(
    clock: FrozenDateTimeFactory, make: Make, protocol: int
) -> None:
    """Pickling a session is refused with what to do instead; it belongs to its handler."""
    with pytest.raises(TypeError, match=r"cannot be pickled; store or send as_dict\(session\)"):
        pickle.dumps(make(clock, {"a": 1}), protocol)


@pytest.mark.parametrize(
    "fields",
    [{}, {"items": []}, {"keys": 3}, {"code": ttl(1, 60)}],
    ids=["", "items", "keys", "ttl"],
)
def test_a_session_inside_a_session_cannot_be_saved(
    sessions: Sessions[Session], fields: dict[str, Any]
) -> None:
    """A session as a value is an `EncodeError` with its path, whatever its fields are."""
    with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
        session.log = [Session(fields)]
    assert ("1", "log[0]", None) == (caught.value.key, caught.value.path, sessions.peek(1))


def test_a_session_inside_itself_cannot_be_saved(sessions: Sessions[Session]) -> None:
    """A session that holds itself is an `EncodeError` with the path, and not an endless loop."""
    with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
        session.me = session
    assert "me" == caught.value.path


@every_make
def test_a_copy_is_a_plain_dict(clock: FrozenDateTimeFactory, make: Make) -> None:
    """`copy.copy` is a plain dict of the same values, `copy.deepcopy` one that shares none."""
    session = make(clock, {"log": [["a"]], "copy": 1})
    shallow, deep = copy.copy(session), copy.deepcopy(session)
    assert (dict, dict) == (type(shallow), type(deep))
    assert (True, False) == (shallow["log"] is session["log"], deep["log"] is session["log"])
    deep["log"][0].append("b")
    assert [["a"]] == session["log"]


# A closed session

CHANGES: dict[str, Callable[[Session], Any]] = {
    "set attribute": lambda session: setattr(session, "a", 2),
    "set item": lambda session: operator.setitem(session, "a", 2),
    "set a mark": lambda session: setattr(session, "a", ttl(2, 60)),
    "unmark": lambda session: setattr(session, "code", ttl("1234", 0)),
    "delete attribute": lambda session: delattr(session, "a"),
    "delete item": lambda session: operator.delitem(session, "a"),
    "update": lambda session: session.update(a=2),
    "setdefault": lambda session: session.setdefault("b", 2),
    "ior": lambda session: operator.ior(session, {"a": 2}),
    "pop": lambda session: session.pop("a"),
    "popitem": lambda session: session.popitem(),
    "clear": lambda session: session.clear(),
    "save": save,
    "forget": forget,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("fields", [{}, {"code": ttl("1234", 10**6)}], ids=["plain", "ttl"])
def test_a_closed_session_cannot_be_changed(
    sessions: Sessions[Session], fields: dict[str, Any], change: Callable[[Session], Any]
) -> None:
    """After the handler returned, writing to its session raises and changes nothing."""
    with sessions.open(1) as session:
        session.update({"a": 1, **fields})
    before = dict(session)
    with pytest.raises(SessionClosedError) as caught:
        change(session)
    assert ("1", before, before) == (caught.value.key, dict(session), sessions.peek(1))


def test_a_closed_session_can_be_read(
    clock: FrozenDateTimeFactory, sessions: Sessions[Session]
) -> None:
    """After the handler returned reading still works, and fields still expire."""
    with sessions.open(1) as session:
        session.update(a=1, code=ttl("1234", 10))
    assert (1, 1, 1, "1234") == (session.a, session["a"], session.get("a"), session.code)
    assert ({"a": 1, "code": "1234"}, "1", 10) == (
        as_dict(session),
        session_key(session),
        ttl_left(session, "code"),
    )
    clock.tick(10)
    assert ({"a": 1}, 0) == (dict(session), ttl_left(session, "code"))


def test_a_session_is_closed_by_the_error_of_its_handler(sessions: Sessions[Session]) -> None:
    """A handler that raised has left a closed session, too."""
    with pytest.raises(ZeroDivisionError), sessions.open(1) as session:
        session.a = 1 / 0
    with pytest.raises(SessionClosedError, match="set field 'a' of session '1'"):
        session.a = 1


def test_a_session_is_closed_by_a_commit_that_fails(sessions: Sessions[Session]) -> None:
    """A session whose commit failed is closed as well."""
    with pytest.raises(EncodeError), sessions.open(1) as session:
        session.a = (letter for letter in "a")
    with pytest.raises(SessionClosedError):
        del session.a


def test_an_inner_handler_leaves_the_session_open(sessions: Sessions[Session]) -> None:
    """A shared session is closed by the outermost call, not by an inner one that returns."""

    @sessions.with_session
    def inner(update: int, session: Session) -> Session:
        session.inner = 1
        return session

    @sessions.with_session
    def outer(update: int, session: Session) -> bool:
        same = inner(update) is session
        session.outer = 1
        return same

    assert (True, {"inner": 1, "outer": 1}) == (outer(7), sessions.peek(7))


# initial

Handler = Callable[[types.Message], Any]


def appender(**options: Any) -> Handler:
    """A handler that adds to the list every session begins with, and returns all of it."""

    @with_session(**{"storage": MemoryStorage(), **options})
    def handler(message: types.Message, session: Session) -> list[Any]:
        session.log.append(message.from_user.first_name)
        return list(session.log)

    return handler


SHARED: dict[str, Any] = {"log": []}

INITIALS: dict[str, Any] = {
    "mapping": {"log": []},
    "read-only mapping": MappingProxyType({"log": []}),
    "session": Session(log=[]),
    "with a mark": {"log": ttl([], 10**6)},
    "nested": {"log": [], "other": {"deep": [[]]}},
    "callable": lambda: {"log": []},
    "callable with a shared object": lambda: SHARED,
    "callable with a shared value": lambda: {"log": SHARED["log"]},
    "callable with a shared mark": functools.partial(dict, SHARED, log=ttl(SHARED["log"], 10**6)),
}


@pytest.mark.parametrize("initial", INITIALS.values(), ids=INITIALS)
def test_users_share_nothing_of_initial(initial: Any) -> None:
    """`initial` is copied for each new session, deeply, so nothing leaks between users."""
    handler = appender(initial=initial)
    results = [handler(message_of(person)) for person in (ANNA, BORIS, ANNA)]
    assert [["Anna"], ["Boris"], ["Anna", "Anna"]] == results
    assert {"log": []} == SHARED


def test_a_handler_cannot_change_a_given_mapping() -> None:
    """The mapping that was given as `initial` stays as it is."""
    initial = {"log": [["a"]]}
    sessions = Sessions(initial=initial, storage=MemoryStorage())
    with sessions.open(1) as session:
        session.log[0].append("b")
        session.other = 1
    assert {"log": [["a"]]} == initial


def test_initial_gets_the_update_if_it_takes_a_required_argument() -> None:
    """A callable with a required argument gets the update."""

    @with_session(
        initial=lambda message: {"name": message.from_user.first_name}, storage=MemoryStorage()
    )
    def handler(message: types.Message, session: Session) -> str:
        return str(session.name)

    assert ["Anna", "Boris"] == [handler(message_of(person)) for person in (ANNA, BORIS)]


def take_keyword(*, counter: int = 3) -> dict[str, int]:
    """An `initial` that requires nothing, by keyword."""
    return {"counter": counter}


class Template:
    """An object that makes the first fields."""

    def __call__(self, *_args: Any, counter: int = 3) -> dict[str, int]:
        return {"counter": counter}


@pytest.mark.parametrize(
    "initial",
    [
        lambda counter=3: {"counter": counter},
        lambda *_args, **_more: {"counter": 3},
        take_keyword,
        Template(),
        functools.partial(lambda _message, counter: {"counter": counter}, None, 3),
    ],
    ids=["default", "variadic", "keyword", "object", "partial"],
)
def test_initial_gets_nothing_if_it_requires_nothing(initial: Any) -> None:
    """A callable without a required argument is called without any."""
    with Sessions(initial=initial, storage=MemoryStorage()).open(1, update="update") as session:
        assert {"counter": 3} == dict(session)


@pytest.mark.parametrize("initial", [dict, OrderedDict, Session, UserDict])
def test_a_mapping_class_makes_an_empty_session(initial: Any) -> None:
    """A class such as `dict` is called without the update."""
    with Sessions(initial=initial, storage=MemoryStorage()).open(1, update=[("a", 1)]) as session:
        assert {} == dict(session)


@pytest.mark.parametrize(
    "initial",
    [3, "text", ["a"], None, int, object, lambda one, two: {}, lambda *, one: {}],
    ids=["int", "str", "list", "None", "type", "object", "two arguments", "required keyword"],
)
def test_another_initial_is_refused_at_decoration(initial: Any) -> None:
    """`initial` that is neither mapping, dataclass nor callable: `TypeError` at decoration."""
    with pytest.raises(TypeError, match="initial must"):
        with_session(initial=initial)


@pytest.mark.parametrize("made", [3, None, ["a"], [("a", 1)]], ids=lambda made: type(made).__name__)
def test_initial_must_return_a_mapping(made: Any) -> None:
    """`initial` that returns something else is a `TypeError` that names the option and type."""
    sessions = Sessions(initial=lambda: made, storage=MemoryStorage())
    with pytest.raises(TypeError, match=f"initial must return .* not {type(made).__name__}"):
        sessions.open(1).__enter__()
    assert [] == list(sessions.keys())


def test_an_initial_that_raises_leaves_nothing() -> None:
    """A raising `initial`: an error naming key and option, nothing stored, the lock released."""
    answers = iter([ZeroDivisionError("no"), None])

    def initial() -> dict[str, int]:
        if error := next(answers):
            raise error
        return {"counter": 1}

    sessions = Sessions(initial=initial, storage=MemoryStorage(), lock_timeout=0)
    with pytest.raises(SessionError, match="session 'anna': initial raised ZeroDivision") as caught:
        sessions.open("anna").__enter__()
    assert (ZeroDivisionError, None) == (type(caught.value.__cause__), sessions.peek("anna"))
    with sessions.open("anna") as session:
        assert 1 == session.counter


@pytest.mark.parametrize(
    ("initial", "error"),
    [({1: 2}, TypeError), ({"lock": (x for x in "a")}, SessionError)],
    ids=["name", "value"],
)
def test_an_initial_that_cannot_be_kept_leaves_nothing(
    initial: Any, error: type[Exception]
) -> None:
    """An `initial` with a bad name or value is refused, and the lock is released."""
    sessions = Sessions(initial=lambda: initial, storage=MemoryStorage(), lock_timeout=0)
    for _ in range(2):
        with pytest.raises(error), sessions.open(1):
            pass
    assert [] == list(sessions.keys())


def test_initial_is_asked_only_for_a_new_session() -> None:
    """The first update of a key makes the session from `initial`; later ones load it."""
    numbers = itertools.count(1)
    sessions = Sessions(initial=lambda: {"number": next(numbers)}, storage=MemoryStorage())
    seen = []
    for key in (1, 1, 2, 1):
        with sessions.open(key) as session:
            seen.append(session.number)
    assert [1, 1, 2, 1] == seen


# The functions on a session


def test_as_dict_is_a_snapshot(sessions: Sessions[Session]) -> None:
    """`as_dict` is a plain-dict snapshot: it shares no object with the session."""
    with sessions.open(1) as session:
        session.update(log=[["a"]], items=1)
        snapshot = as_dict(session)
        session.log[0].append("b")
        snapshot["log"].append("c")
        snapshot["new"] = 1
    assert (dict, {"log": [["a"], "c"], "items": 1, "new": 1}) == (type(snapshot), snapshot)
    assert {"log": [["a", "b"]], "items": 1} == sessions.peek(1)


def test_as_dict_has_the_live_fields_only(clock: FrozenDateTimeFactory) -> None:
    """An expired field is not in the snapshot, and stays in the one that was made before."""
    session = Session(a=1, code=ttl("1234", 10))
    before = as_dict(session)
    clock.tick(10)
    assert ({"a": 1, "code": "1234"}, {"a": 1}) == (before, as_dict(session))


def test_session_key_is_the_storage_key(storage: MemoryStorage) -> None:
    """`session_key` gives the storage key that the session was loaded from, prefix included."""

    @with_session(storage=storage, prefix="shop-")
    def handler(message: types.Message, session: Session) -> str:
        session.a = 1
        return session_key(session)

    key = handler(message_of(ANNA))
    assert (f"shop-{ANNA['id']}", [key]) == (key, list(storage.keys()))


@pytest.mark.parametrize("function", [as_dict, save, forget, session_key])
@pytest.mark.parametrize("value", [{}, None, 1, object], ids=["dict", "None", "int", "class"])
def test_the_functions_take_sessions_only(function: Callable[[Any], Any], value: Any) -> None:
    """What is no session is refused by name of its type."""
    with pytest.raises(TypeError, match=f"of type {type(value).__name__}"):
        function(value)
    with pytest.raises(TypeError, match=f"of type {type(value).__name__}"):
        ttl_left(value, "a")


WAYS_TO_MARK: dict[str, Callable[[Session, Any], Any]] = {
    "attribute": lambda session, mark: setattr(session, "code", mark),
    "item": lambda session, mark: operator.setitem(session, "code", mark),
    "update": lambda session, mark: session.update({"code": mark}),
    "update pairs": lambda session, mark: session.update([("code", mark)]),
    "update keyword": lambda session, mark: session.update(code=mark),
    "update with another": lambda session, mark: session.update(UserDict(code=mark)),
    "setdefault": lambda session, mark: session.setdefault("code", mark),
    "ior": lambda session, mark: operator.ior(session, {"code": mark}),
    "ior pairs": lambda session, mark: operator.ior(session, [("code", mark)]),
}


@pytest.mark.parametrize("way", WAYS_TO_MARK.values(), ids=WAYS_TO_MARK)
@pytest.mark.parametrize("name", ["other", "update", "setdefault"])
def test_a_mark_is_unwrapped_however_it_comes(
    clock: FrozenDateTimeFactory, way: Callable[[Session, Any], Any], name: str
) -> None:
    """`ttl(...)` marks a field in every way to set one, and the field holds the bare value."""
    session = Session({"other": 1})
    way(session, ttl("1234", 10))
    setattr(session, name, 2)
    live = session.code, session["code"], dict(session)["code"], ttl_left(session, "code")
    clock.tick(10)
    assert (("1234", "1234", "1234", 10), False) == (live, "code" in session)


MARKED: dict[str, Callable[[Any], Session]] = {
    "mapping": lambda mark: Session({"code": mark}),
    "pairs": lambda mark: Session([("code", mark)]),
    "keyword": lambda mark: Session(code=mark),
    "fromkeys": lambda mark: Session.fromkeys(["code"], mark),
    "initial": lambda mark: (
        Sessions(initial={"code": mark}, storage=MemoryStorage()).open(1).__enter__()
    ),
    "initial callable": lambda mark: (
        Sessions(initial=lambda: {"code": mark}, storage=MemoryStorage()).open(1).__enter__()
    ),
}


@pytest.mark.parametrize("make_session", MARKED.values(), ids=MARKED)
def test_a_new_session_unwraps_marks(
    clock: FrozenDateTimeFactory, make_session: Callable[[Any], Session]
) -> None:
    """A field that is marked from the beginning holds the bare value and expires."""
    session = make_session(ttl("1234", timedelta(minutes=1)))
    live = session.code, ttl_left(session, "code")
    clock.tick(60)
    assert (("1234", 60), False) == (live, hasattr(session, "code"))


def test_setdefault_returns_the_bare_value() -> None:
    """`setdefault` returns what the field holds, and leaves a live field alone."""
    session = Session()
    made = session.setdefault("code", ttl("1234", 60))
    again = session.setdefault("code", ttl("9876", 600))
    assert ("1234", "1234", True) == (made, again, (ttl_left(session, "code") or 0) <= 60)


def test_a_session_made_by_hand_has_no_storage() -> None:
    """A session that somebody makes works like any other, but there is nowhere to save it."""
    session = Session({"a": 1}, b=2)
    with pytest.raises(SessionError, match="made by hand"):
        save(session)
    assert ({"a": 1, "b": 2}, "(none)") == (dict(session), session_key(session))


# Its life


def test_a_new_session_is_stored_untouched() -> None:
    """It is stored when that handler returns, touched or not: what `initial` computed stays."""
    sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())
    with sessions.open(1):
        pass
    assert {"counter": 0} == sessions.peek(1)


def test_an_empty_new_session_is_not_stored(storage: MemoryStorage) -> None:
    """A new session that stays empty is not stored."""
    with Sessions(storage=storage).open(1) as session:
        assert {} == dict(session)
    assert [] == list(storage.keys())


def empty_by_clear(session: Session) -> None:
    """Leave no field."""
    session.clear()


def empty_by_deleting(session: Session) -> None:
    """Leave no field, one by one."""
    for name in list(session):
        del session[name]


def empty_by_popping(session: Session) -> None:
    """Leave no field, youngest first."""
    while session:
        session.popitem()


@pytest.mark.parametrize("empty", [empty_by_clear, empty_by_deleting, empty_by_popping, forget])
def test_a_session_left_empty_is_deleted(
    storage: MemoryStorage, empty: Callable[[Session], None]
) -> None:
    """A session that a handler leaves empty is deleted; the next one starts from `initial`."""
    sessions = Sessions(initial={"counter": 0, "code": ttl("1234", 10**6)}, storage=storage)
    with sessions.open(1) as session:
        session.counter = 5
    with sessions.open(1) as session:
        empty(session)
    keys = list(storage.keys())
    with sessions.open(1) as session:
        assert ([], 0) == (keys, session.counter)


def test_a_session_whose_last_field_expired_is_deleted(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A session of which nothing is left but an expired field is empty."""
    sessions = Sessions(storage=storage)
    with sessions.open(1) as session:
        session.code = ttl("1234", 10)
    clock.tick(10)
    with sessions.open(1) as session:
        assert {} == dict(session)
    assert [] == list(storage.keys())


@pytest.mark.parametrize(
    "read",
    [
        lambda session: None,
        as_dict,
        repr,
        dict,
        lambda session: (session.log, session.get("none"), "code" in session, list(session)),
        lambda session: session.setdefault("log", []),
        lambda session: session.update(),
        lambda session: session.update(log=["a"]),
        lambda session: ttl_left(session, "code"),
    ],
    ids=["nothing", "as_dict", "repr", "dict", "fields", "setdefault", "update", "same", "left"],
)
def test_a_handler_that_only_reads_writes_nothing(read: Callable[[Session], Any]) -> None:
    """Later handlers write only what changed; one that only reads writes nothing."""
    store = CountedStore()
    sessions = Sessions(
        initial={"log": ["a"], "code": ttl("1234", 10**6)}, storage=MemoryStorage(store)
    )
    with sessions.open(1):
        pass
    with sessions.open(1) as session:
        read(session)
    assert 1 == store.writes


def test_nested_changes_count(sessions: Sessions[Session]) -> None:
    """`session.cart["apple"] += 1` and `session.log.append(x)` are saved."""
    with sessions.open(1) as session:
        session.update(cart={"apple": 1}, log=[])
    with sessions.open(1) as session:
        session.cart["apple"] += 1
        session.log.append({"deep": []})
    with sessions.open(1) as session:
        session.log[0]["deep"].append("x")
    assert {"cart": {"apple": 2}, "log": [{"deep": ["x"]}]} == sessions.peek(1)


@settings(max_examples=40, deadline=None)
@given(fields=st.dictionaries(NAMES, VALUES, min_size=1))
def test_what_is_saved_comes_back(fields: dict[str, Any]) -> None:
    """What was saved is what comes back, in the order it was set."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.update(fields)
    with sessions.open(1) as session:
        assert list(fields.items()) == list(type(session).items(session))


# open, peek, delete, keys


def test_open_and_a_handler_see_one_session(storage: MemoryStorage) -> None:
    """Outside a handler `sessions.open(key)` gives the session that handlers get."""
    sessions = Sessions(initial={"counter": 0}, storage=storage)

    @sessions.with_session
    def handler(message: types.Message, session: Session) -> int:
        session.counter += 1
        return int(session.counter)

    handler(message_of(ANNA))
    with sessions.open(ANNA["id"]) as session:
        session.counter += 10
    with sessions.open(str(ANNA["id"])) as session:
        session.counter += 100
    assert 112 == handler(message_of(ANNA))


def test_open_discards_what_a_block_did_before_it_raised(sessions: Sessions[Session]) -> None:
    """An exception in the block discards its changes, nested ones included."""
    with sessions.open(1) as session:
        session.log = ["a"]
    with pytest.raises(ZeroDivisionError):
        fail_in(sessions, 1, lambda session: session.update(log=session.log.append("b"), other=1))
    assert {"log": ["a"]} == sessions.peek(1)


def test_open_takes_the_update_that_initial_wants(storage: MemoryStorage) -> None:
    """`open(key, update=...)` is for an `initial` that wants the update."""
    sessions = Sessions(initial=lambda message: {"name": message.chat.id}, storage=storage)
    with sessions.open(1, update=message_of(ANNA)) as session:
        assert ANNA["id"] == session.name


def test_open_without_the_update_that_initial_wants_is_refused(storage: MemoryStorage) -> None:
    """An `initial` that wants the update cannot do without; a stored session can."""
    sessions = Sessions(initial=lambda message: {"name": message}, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"pass it as Sessions\.open"):
            sessions.open(1).__enter__()
    with sessions.open(1, update="Anna"):
        pass
    with sessions.open(1) as session:
        assert "Anna" == session.name


@pytest.mark.parametrize("key", [None, "", 1.5, b"a", True, ("a",)], ids=repr)
def test_other_keys_are_refused(sessions: Sessions[Session], key: Any) -> None:
    """The key of a session is a non-empty `str` or an `int`, wherever it is given."""
    for use in (sessions.open, sessions.peek, sessions.delete):
        with pytest.raises(TypeError, match="key of a session is a non-empty str or an int"):
            use(key)


def test_open_inside_a_handler_is_the_session_of_the_handler(storage: MemoryStorage) -> None:
    """Inside a handler that has this very session, `open` gives it, and the handler saves it."""
    sessions = Sessions(initial={"counter": 0}, storage=storage)

    @sessions.with_session
    def handler(message: types.Message, session: Session) -> tuple[Any, ...]:
        with sessions.open(message.from_user.id) as opened:
            opened.counter += 1
        return opened is session, session.counter, sessions.peek(message.from_user.id)

    assert (True, 1, None) == handler(message_of(ANNA))
    assert {"counter": 1} == sessions.peek(ANNA["id"])


def test_open_of_another_key_inside_a_handler_is_another_session(storage: MemoryStorage) -> None:
    """A handler may open the session of somebody else; each is saved on its own."""
    sessions = Sessions(initial={"counter": 0}, storage=storage)

    def change(mine: Session) -> None:
        mine.counter += 10
        with sessions.open(2) as theirs:
            theirs.counter += 1

    with pytest.raises(ZeroDivisionError):
        fail_in(sessions, 1, change)
    assert (None, {"counter": 1}) == (sessions.peek(1), sessions.peek(2))


def test_a_prefix_keeps_purposes_apart(storage: MemoryStorage) -> None:
    """Sessions with different prefixes share a storage and nothing else."""
    shop, game = (Sessions(storage=storage, prefix=prefix) for prefix in ("shop-", "game-"))
    for sessions in (shop, game):
        with sessions.open(1) as session:
            session.update(prefix=session_key(session))
    assert (["1"], ["1"]) == (list(shop.keys()), list(game.keys()))
    assert (["game-1", "shop-1"], {"prefix": "shop-1"}) == (sorted(storage.keys()), shop.peek(1))
    assert (True, False, None, {"prefix": "game-1"}) == (
        shop.delete(1),
        shop.delete(1),
        shop.peek(1),
        game.peek(1),
    )


def test_keys_are_those_of_stored_sessions(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """`keys` iterates over the stored sessions, without the prefix, and not over expired ones."""
    brief = Sessions(initial={"a": 1}, storage=storage, prefix="p", lifetime=10)
    lasting = Sessions(initial={"a": 1}, storage=storage, prefix="p")
    for sessions, key in ((brief, "brief"), (lasting, "p"), (lasting, 1)):
        with sessions.open(key):
            before = sorted(lasting.keys())
    clock.tick(10)
    assert (["brief", "p"], ["1", "p"]) == (before, sorted(lasting.keys()))


def test_peek_reads_what_was_saved(clock: FrozenDateTimeFactory, storage: MemoryStorage) -> None:
    """`peek(key)` is a dict of the live fields, or `None`, and creates and renews nothing."""
    sessions = Sessions(initial={"a": [1], "code": ttl("1234", 10)}, storage=storage, lifetime=20)
    unknown, keys = sessions.peek(1), list(sessions.keys())
    with sessions.open(1):
        during = sessions.peek(1)
    peeked = sessions.peek(1)
    assert (None, [], None, {"a": [1], "code": "1234"}) == (unknown, keys, during, peeked)
    clock.tick(10)
    assert ({"a": [1]}, dict) == (sessions.peek(1), type(sessions.peek(1)))
    clock.tick(10)
    assert None is sessions.peek(1)


def test_peek_gives_a_dict_of_its_own(sessions: Sessions[Session]) -> None:
    """What a caller does to a peeked dict reaches no session."""
    with sessions.open(1) as session:
        session.log = ["a"]
    peeked = sessions.peek(1)
    assert peeked is not None
    peeked["log"].append("b")
    assert {"log": ["a"]} == sessions.peek(1)


def test_peek_inside_a_handler_shows_the_last_save(sessions: Sessions[Session]) -> None:
    """`peek` inside the handler that has the session shows what was saved, and takes no lock."""
    with sessions.open(1) as session:
        session.a = 1
        save(session)
        session.a = 2
        assert {"a": 1} == sessions.peek(1)
    assert {"a": 2} == sessions.peek(1)


def test_delete_inside_a_handler_is_forget(sessions: Sessions[Session]) -> None:
    """Inside a handler that has this very session, `delete` happens when the handler returns."""
    with sessions.open(1) as session:
        session.a = 1
    with sessions.open(1) as session:
        deleted, still = sessions.delete(1), sessions.peek(1)
        session.a = 2
    assert (True, {"a": 1}, None) == (deleted, still, sessions.peek(1))


def test_delete_inside_a_handler_that_raises_is_undone(sessions: Sessions[Session]) -> None:
    """If the handler raises, the record stays."""
    with sessions.open(1) as session:
        session.a = 1
    with pytest.raises(ZeroDivisionError):
        fail_in(sessions, 1, lambda session: sessions.delete(1))
    assert {"a": 1} == sessions.peek(1)


def test_delete_inside_the_first_handler_finds_nothing(sessions: Sessions[Session]) -> None:
    """A session that was never stored is not there to be deleted, and is not stored then."""
    with sessions.open(1) as session:
        session.a = 1
        assert False is sessions.delete(1)
    assert None is sessions.peek(1)


def test_delete_of_another_session_inside_a_handler_is_at_once(
    sessions: Sessions[Session],
) -> None:
    """A handler may delete somebody else's session, and that does not wait for its return."""
    with sessions.open(2) as session:
        session.a = 1
    with sessions.open(1) as session:
        session.a = 1
        assert (True, None) == (sessions.delete(2), sessions.peek(2))
    assert {"a": 1} == sessions.peek(1)


def test_keys_inside_a_handler_are_those_stored_so_far(sessions: Sessions[Session]) -> None:
    """The session of a handler is listed once it has been saved."""
    with sessions.open(1) as session:
        session.a = 1
        before = list(sessions.keys())
        save(session)
        assert ([], ["1"]) == (before, list(sessions.keys()))


# A session against a dict


def read_field(mapping: Any, name: str) -> Any:
    """Read a field by its attribute where there are any."""
    return getattr(mapping, name) if isinstance(mapping, Session) else mapping[name]


def set_field(mapping: Any, name: str, value: Any) -> None:
    """Set a field by its attribute where there are any."""
    if isinstance(mapping, Session):
        setattr(mapping, name, value)
    else:
        mapping[name] = value


def delete_field(mapping: Any, name: str) -> None:
    """Delete a field by its attribute where there are any."""
    if isinstance(mapping, Session):
        delattr(mapping, name)
    else:
        del mapping[name]


def mark_field(mapping: Any, name: str, value: Any) -> None:
    """Set a field, with a lifetime that outlasts the test where there are any."""
    mapping[name] = ttl(value, 10**9) if isinstance(mapping, Session) else value


def method(name: str) -> Callable[..., Any]:
    """Call a method of the class, whatever fields there are."""
    return lambda mapping, *args, **more: getattr(type(mapping), name)(mapping, *args, **more)


MODEL_NAMES = st.sampled_from([*METHOD_NAMES, "a", "b", "c"])
MODEL_FIELDS = st.dictionaries(MODEL_NAMES | st.just("_a"), st.integers(), max_size=3)
NUMBERS = st.integers()

OPERATIONS = st.one_of(
    st.tuples(st.just(method("__setitem__")), st.tuples(MODEL_NAMES | st.just("_a"), NUMBERS)),
    st.tuples(st.just(method("__getitem__")), st.tuples(MODEL_NAMES)),
    st.tuples(st.just(method("__delitem__")), st.tuples(MODEL_NAMES)),
    st.tuples(st.just(method("__contains__")), st.tuples(MODEL_NAMES)),
    st.tuples(st.just(method("get")), st.tuples(MODEL_NAMES)),
    st.tuples(st.just(method("get")), st.tuples(MODEL_NAMES, NUMBERS)),
    st.tuples(st.just(method("pop")), st.tuples(MODEL_NAMES)),
    st.tuples(st.just(method("pop")), st.tuples(MODEL_NAMES, NUMBERS)),
    st.tuples(st.just(method("popitem")), st.just(())),
    st.tuples(st.just(method("setdefault")), st.tuples(MODEL_NAMES, NUMBERS)),
    st.tuples(st.just(method("setdefault")), st.tuples(MODEL_NAMES)),
    st.tuples(st.just(method("update")), st.tuples(MODEL_FIELDS)),
    st.tuples(st.just(method("update")), st.tuples(MODEL_FIELDS.map(lambda f: [*f.items()]))),
    st.tuples(st.just(method("__or__")), st.tuples(MODEL_FIELDS)),
    st.tuples(st.just(method("__eq__")), st.tuples(MODEL_FIELDS)),
    st.tuples(st.just(method("copy")), st.just(())),
    st.tuples(st.just(method("clear")), st.just(())),
    st.tuples(
        st.just(lambda mapping, more: operator.ior(mapping, more) == {}), st.tuples(MODEL_FIELDS)
    ),
    st.tuples(st.just(mark_field), st.tuples(MODEL_NAMES, NUMBERS)),
    st.tuples(st.just(set_field), st.tuples(MODEL_NAMES, NUMBERS)),
    st.tuples(st.just(delete_field), st.tuples(MODEL_NAMES)),
    st.tuples(st.just(read_field), st.tuples(st.sampled_from("abc"))),
)

NAMES_BUT_KEYS = MODEL_NAMES.filter(lambda name: name != "keys")

STEPS = st.lists(st.tuples(OPERATIONS, st.sampled_from(sorted(READINGS))), max_size=12)


def outcome(operation: Callable[..., Any], mapping: Any, args: tuple[Any, ...]) -> Any:
    """What an operation returned, or that there was no such field."""
    try:
        return operation(mapping, *args)
    except (AttributeError, KeyError):
        return "missing"


@pytest.mark.parametrize("marked", [False, True], ids=["plain", "expiring"])
@settings(max_examples=100, deadline=None)
@given(steps=STEPS, fields=MODEL_FIELDS)
def test_a_session_behaves_like_a_dict(
    clock: FrozenDateTimeFactory, marked: bool, steps: list[Any], fields: dict[str, int]
) -> None:
    """Any sequence of operations on a session does and returns what it does on a dict."""
    sessions, model = Sessions(initial=fields, storage=MemoryStorage()), dict(fields)
    with sessions.open(1) as session:
        if marked:
            session.expired = ttl("1234", 10)
            clock.tick(10)
            assert model == session
        for (operation, args), reading in steps:
            assert outcome(operation, model, args) == outcome(operation, session, args)
            assert model == READINGS[reading](session)
            assert (len(model), bool(model)) == (len(session), bool(session))
    assert (model or None) == sessions.peek(1)


@settings(max_examples=100, deadline=None)
@given(
    fields=st.dictionaries(NAMES_BUT_KEYS, NUMBERS, min_size=1),
    expiring=st.sets(NAMES_BUT_KEYS, min_size=1),
    reading=st.sampled_from(sorted(READINGS)),
)
def test_expired_fields_are_in_no_reading(
    clock: FrozenDateTimeFactory, fields: dict[str, int], expiring: set[str], reading: str
) -> None:
    """Whatever reads a session first after a deadline sees the live fields and no others."""
    session = Session({n: ttl(v, 10) if n in expiring else v for n, v in fields.items()})
    clock.tick(10)
    live = {name: value for name, value in fields.items() if name not in expiring}
    assert live == READINGS[reading](session)
