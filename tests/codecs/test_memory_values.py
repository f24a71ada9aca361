"""Sessions in memory bring back what was saved, whether it is packed or pickled."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.storages import SpyStore
from telesession import DecodeError, MemoryStorage, Sessions, ttl

SHORT = 32


class Text(str):
    """Text of a class of its own."""

    __slots__ = ()


class Number(enum.IntEnum):
    """Numbers that are equal to ints."""

    ONE = 1


def shape(value: Any) -> Any:
    """A value as what can be compared by `==` down to the types and the order of items."""
    kind = type(value)
    if isinstance(value, dict):
        return kind, [(shape(name), shape(item)) for name, item in value.items()]
    if isinstance(value, list | tuple):
        return kind, [shape(item) for item in value]
    return kind, repr(value)


def saved(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a session that another handler loads."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.update(fields)
    with sessions.open(1) as session:
        return dict(session)


VALUES: dict[str, Any] = {
    "empty list": [],
    "empty dict": {},
    "scalars": [1, 1.5, True, None, "a", b"a", -0.0],
    "dict": {"a": 1, "b": "c"},
    "tuple": (1, 2),
    "tuple in a list": [(1, 2)],
    "list in a list": [[1], [2]],
    "dict of lists": {"a": [1], "b": []},
    "number as key": {1: 2},
    "text of its own class": Text("a"),
    "such texts": [Text("a")],
    "such texts as keys": {Text("a"): 1},
    "enum": [Number.ONE],
    "bytearray": [bytearray(b"a")],
    "ordered dict": OrderedDict(a=1),
    "long integer": [2**64],
    "half an emoji": ["\ud83d"],
    "half an emoji as key": {"\ud83d": 1},
    "NaN": [float("nan")],
    "at the limit": list(range(SHORT)),
    "beyond the limit": list(range(SHORT + 1)),
    "dict beyond the limit": {str(number): number for number in range(SHORT + 1)},
    "set": {1},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_value_comes_back_with_its_types(value: Any) -> None:
    """A session comes back as it was saved, down to the types of the items."""
    fields = {"value": value, "other": 1, "_hidden": 2}
    assert shape(fields) == shape(saved(fields))


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_handler_that_only_reads_a_value_writes_nothing(value: Any) -> None:
    """A record is written once, if later handlers only read."""
    records = SpyStore()
    sessions = Sessions(initial={"value": value, "other": 1}, storage=MemoryStorage(records))
    for _ in range(3):
        with sessions.open(1) as session:
            assert shape(value) == shape(session.value)
    assert 1 == records.writes


ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
NESTED = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=examples(100))
@given(fields=st.dictionaries(st.text(min_size=1), NESTED, max_size=5))
def test_plain_data_comes_back(fields: dict[str, Any]) -> None:
    """All plain data comes back as it is, nested or not, whatever the fields are named."""
    assert shape(fields) == shape(saved(fields))


SHARED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "two fields": lambda value: {"a": value, "b": value},
    "a field and an item": lambda value: {"a": value, "b": [value]},
    "two items": lambda value: {"a": [value, value]},
}


@pytest.mark.parametrize("value", [[], {}, [1], {"a": 1}], ids=["[]", "{}", "list", "dict"])
@pytest.mark.parametrize("share", SHARED.values(), ids=SHARED)
def test_a_shared_object_stays_shared(share: Callable[[Any], dict[str, Any]], value: Any) -> None:
    """An object that occurs twice in a session is one object after loading."""

    def occurrences(fields: dict[str, Any]) -> list[Any]:
        nested = [item for part in fields.values() if part for item in part]
        return [part for part in (*fields.values(), *nested) if shape(part) == shape(value)]

    one, *others = occurrences(saved(share(value)))
    assert [True] == [other is one for other in others]


CHANGES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "to bool": ([1], lambda value: value.__setitem__(0, True)),
    "to float": ({"a": 1}, lambda value: value.update(a=1.0)),
    "to an enum": ([1], lambda value: value.__setitem__(0, Number.ONE)),
    "to text of its own class": (["a"], lambda value: value.__setitem__(0, Text("a"))),
    "of order": ({"a": 1, "b": 2}, lambda value: value.update(a=value.pop("a"))),
    "to nested": ([1], lambda value: value.append([1])),
}


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
def test_a_nested_change_to_an_equal_value_is_saved(
    case: tuple[Any, Callable[[Any], Any]],
) -> None:
    """A change inside a value is saved, also where it is to an equal one of another type."""
    value, change = case
    sessions = Sessions(initial={"value": value}, storage=MemoryStorage())
    with sessions.open(1):
        pass
    with sessions.open(1) as session:
        change(session.value)
        expected = shape(session.value)
    with sessions.open(1) as session:
        assert expected == shape(session.value)


def test_a_value_that_is_no_longer_shared_is_a_change() -> None:
    """Where two fields had one list, the copy in one of them is saved as a copy."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.a = session.b = [1]
    with sessions.open(1) as session:
        session.b = [1]
    with sessions.open(1) as session:
        assert ([1], [1], False) == (session.a, session.b, session.a is session.b)


def test_a_nested_value_may_stand_beside_a_lifetime() -> None:
    """Nested data comes back from a record with lifetimes, and from one that had some."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.update(value=[1, {}], code=ttl("a", 60))
    with sessions.open(1) as session:
        seen = dict(session)
        session.code = ttl("b", 0)
    with sessions.open(1) as session:
        assert ({"value": [1, {}], "code": "a"}, {"value": [1, {}], "code": "b"}) == (seen, session)


@pytest.mark.parametrize("payload", [b"\x91", b"\x91\x05", b"\x93\x80\x80\x80", b"\xc1", b"\x90"])
def test_foreign_bytes_are_a_decode_error(payload: bytes) -> None:
    """Bytes that the storage did not write are refused, and stay."""
    storage = MemoryStorage()
    storage.set("1", payload)
    with pytest.raises(DecodeError):
        Sessions(storage=storage).open(1).__enter__()
    assert payload == storage.get("1")
