"""Classes and annotations that Hypothesis makes up: no value of them is lost or changed."""

from __future__ import annotations

import copy
import enum
import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import make_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Network
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.forms import alike
from support.sessions import holder_of
from telesession import JSONCodec, MemoryStorage, PickleCodec, Sessions, SQLiteStorage, Storage

Hints = st.SearchStrategy[Any]

NUMBERS = itertools.count()
SCALARS: list[Any] = [
    int, str, bool, float, complex, bytes, bytearray, type(None), date, datetime, time, timedelta,
    Decimal, UUID, Fraction, IPv4Address, IPv6Network, ZoneInfo, Literal["a", 1, True],
]  # fmt: skip
HASHABLE: list[Any] = [int, str, bytes, date, UUID, Fraction, IPv4Address, ZoneInfo]
NAMES = ["count", "items", "name"]


def name_of_class() -> str:
    """Another name for each class, because a union does not have two of one name."""
    return f"Drawn{next(NUMBERS)}"


def fields_of(hints: Hints) -> st.SearchStrategy[dict[str, Any]]:
    """The fields of a class."""
    return st.dictionaries(st.sampled_from(NAMES), hints, min_size=1)


def dataclasses_of(hints: Hints, *, frozen: bool) -> Hints:
    """Dataclasses with fields of these annotations, with slots or without."""
    return st.builds(
        lambda fields, slots: make_dataclass(
            name_of_class(), [*fields.items()], frozen=frozen, slots=slots
        ),
        fields_of(hints),
        st.booleans(),
    )


def enums(base: type[enum.Enum], values: st.SearchStrategy[Any]) -> Hints:
    """Enums with up to three members."""
    several = st.lists(values, min_size=1, max_size=3, unique=True)
    return several.map(lambda each: base(name_of_class(), dict(zip("ABC", each, strict=False))))


ENUMS = st.one_of(
    enums(enum.Enum, st.one_of(st.integers(), st.text(), st.tuples(st.text(), st.integers()))),
    enums(enum.IntEnum, st.integers()),
    enums(enum.StrEnum, st.text()),
    enums(enum.Flag, st.sampled_from([1, 2, 4])),
)


def keys_of(inner: Hints) -> Hints:
    """Annotations whose values can be keys, with others inside."""
    return st.one_of(
        inner.map(lambda hint: tuple[hint, ...]),
        st.tuples(inner, inner).map(lambda pair: tuple[pair]),
        inner.map(lambda hint: frozenset[hint]),
        inner.map(lambda hint: hint | None),
        dataclasses_of(inner, frozen=True),
        fields_of(inner).map(lambda fields: NamedTuple(name_of_class(), [*fields.items()])),
    )


KEYS = st.recursive(st.one_of(st.sampled_from(HASHABLE), ENUMS), keys_of, max_leaves=3)


def hints_of(inner: Hints) -> Hints:
    """Annotations of containers, unions and classes, with others inside."""
    return st.one_of(
        inner.map(lambda hint: list[hint]),
        inner.map(lambda hint: deque[hint]),
        inner.map(lambda hint: tuple[hint, ...]),
        inner.map(lambda hint: hint | None),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        st.tuples(KEYS, inner).map(lambda pair: dict[pair]),
        st.tuples(KEYS, inner).map(lambda pair: OrderedDict[pair]),
        KEYS.map(lambda key: set[key]),
        KEYS.map(lambda key: Counter[key]),
        dataclasses_of(inner, frozen=False),
        fields_of(inner).map(lambda fields: NamedTuple(name_of_class(), [*fields.items()])),
        st.builds(
            lambda fields, total: TypedDict(name_of_class(), fields, total=total),
            fields_of(inner),
            st.booleans(),
        ),
    )


HINTS = st.recursive(st.one_of(st.sampled_from(SCALARS), ENUMS), hints_of, max_leaves=5)
many = settings(max_examples=examples(300))


@pytest.fixture(scope="module", params=["memory", "sqlite", "sqlite-pickle"])
def shared_storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    """A storage for all examples of a test, because a new database takes long."""
    if request.param == "memory":
        yield MemoryStorage()
        return
    codec = JSONCodec() if request.param == "sqlite" else PickleCodec()
    with SQLiteStorage(tmp_path_factory.mktemp("drawn") / "sessions.db", codec=codec) as storage:
        yield storage


def value_in(storage: Storage, kind: Any) -> Any:
    """The value that a handler sees, which only reads it."""
    with Sessions(initial=kind, storage=storage).open(1) as session:
        return session.value


@many
@given(data=st.data())
def test_no_drawn_value_is_lost_or_changed(shared_storage: Storage, data: st.DataObject) -> None:
    """A default and an assigned value come back of the same types, and reading writes nothing."""
    storage = shared_storage
    hint = data.draw(HINTS)
    default, value = data.draw(st.from_type(hint)), data.draw(st.from_type(hint))
    kind = holder_of(hint, default)
    storage.delete("1")
    assert alike(default, value_in(storage, kind))
    assert alike(default, value_in(storage, kind))
    with Sessions(initial=kind, storage=storage).open(1) as session:
        session.value = copy.deepcopy(value)
    before = storage.get("1")
    assert alike(value, value_in(storage, kind))
    assert before == storage.get("1")
