"""A session does what a dict does, whatever its fields are named and whichever have expired."""

from __future__ import annotations

import json
import operator
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from support.clocks import examples
from support.sessions import MAKERS, METHOD_NAMES, READINGS, Make, every_make, every_reading
from telesession import MemoryStorage, Session, Sessions, as_dict, ttl

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

pytestmark = pytest.mark.usefixtures("frozen_module")

# The clock may go on from one example to the next.
MANY_EXAMPLES = settings(
    max_examples=examples(100),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


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


@every_make
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
@MANY_EXAMPLES
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


@MANY_EXAMPLES
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
