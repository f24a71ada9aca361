"""What the fields of typed sessions take and bring back, and what they refuse."""

from __future__ import annotations

import copy
import traceback
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import freezegun
import pytest
from hypothesis import given, settings, strategies as st

from support.sessions import (
    Cart,
    Login,
    assign,
    holder_of,
    store_untyped,
    stored_untyped,
    typed_sessions,
)
from support.storages import SpyStore
from support.values import (
    FITTING,
    NOON,
    UNIQUE,
    Color,
    Doubled,
    Item,
    Money,
    Mood,
    Options,
    OtherItem,
    Point,
    Right,
    Size,
    SpecialItem,
    Strict,
    Tag,
    logged_failure,
)
from telesession import DecodeError, EncodeError, MemoryStorage, Sessions

# What fits

every_fitting = pytest.mark.parametrize(("hint", "value"), FITTING.values(), ids=FITTING)


@every_fitting
def test_what_fits_comes_back(storage: MemoryStorage, hint: Any, value: Any) -> None:
    """What was saved is what comes back, equal and of the same type."""
    sessions = typed_sessions(holder_of(hint | None if hint is not None else None, None), storage)
    assign(sessions, copy.deepcopy(value))
    with sessions.open(1) as session:
        assert (value, type(value)) == (session.value, type(session.value))


@every_fitting
def test_what_initial_gives_is_what_handlers_get(hint: Any, value: Any) -> None:
    """Each handler sees what `initial` made, of the same type, and only the first one writes."""
    records = SpyStore()
    sessions = typed_sessions(holder_of(hint, value), MemoryStorage(records))
    for _ in range(3):
        with sessions.open(1) as session:
            assert (value, type(value)) == (session.value, type(session.value))
    assert 1 == records.writes


def test_values_that_are_not_equal_to_themselves_fit(storage: MemoryStorage) -> None:
    """NaN fits `float` and `Decimal`, in lists as well, though it is not equal to itself."""

    @dataclass
    class NotANumber:
        number: float = float("nan")
        numbers: list[float] = field(default_factory=lambda: [float("nan")])
        decimal: Decimal = Decimal("NaN")
        signal: Decimal = Decimal("sNaN")

    for _ in range(2):
        with typed_sessions(NotANumber, storage).open(1) as session:
            seen = session.number, *session.numbers, session.decimal, session.signal
            assert ["nan", "nan", "NaN", "sNaN"] == [str(number) for number in seen]


def test_a_datetime_of_a_frozen_clock_fits(storage: MemoryStorage) -> None:
    """A test that freezes the clock can store `datetime.now()` and `date.today()`."""

    @dataclass
    class Visit:
        at: datetime = NOON
        on: date = date(2025, 1, 1)

    sessions = typed_sessions(Visit, storage)
    with freezegun.freeze_time("2026-02-03 04:05:06"), sessions.open(1) as session:
        session.at = datetime.now()
        session.on = date.today()
    with sessions.open(1) as session:
        assert (datetime(2026, 2, 3, 4, 5, 6), date(2026, 2, 3)) == (session.at, session.on)


def test_nested_changes_count(storage: MemoryStorage) -> None:
    """Changes inside nested dataclasses are saved."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
    with typed_sessions(Cart, storage).open(1) as session:
        session.items[0].count += 4
    with typed_sessions(Cart, storage).open(1) as session:
        assert Cart(items=[Item("apple", 5)]) == session


def test_records_are_plain_data(storage: MemoryStorage) -> None:
    """Nested dataclasses and enums are stored as plain data that needs no class to be read."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
    assert {
        "owner": "nobody",
        "items": [{"name": "apple", "count": 1}],
        "color": "red",
        "_hidden": 0,
    } == stored_untyped(storage)


# What does not fit

MISFITS: dict[str, tuple[Any, Any, Any]] = {
    "int, str": (int, 0, "7310"),
    "int, bool": (int, 0, True),
    "int, float": (int, 0, 7310.0),
    "int, None": (int, 0, None),
    "str, int": (str, "", 7310),
    "str, bytes": (str, "", b"7310"),
    "str, StrEnum": (str, "", Mood.GOOD),
    "bool, int": (bool, False, 1),
    "float, str": (float, 0.0, "7310"),
    "float, too long an int": (float, 0.0, 2**53 + 1),
    "float, too big an int": (float, 0.0, 10**400),
    "bytes, str": (bytes, b"", "7310"),
    "bytes, bytearray": (bytes, b"", bytearray(b"7310")),
    "optional, str": (int | None, None, "7310"),
    "literal": (Literal["a", "b"], "a", "7310"),
    "list, items": (list[int], [], ["7310"]),
    "list, tuple": (list[int], [], (7310,)),
    "list, set": (list[int], [], {7310}),
    "set, list": (set[int], set(), [7310]),
    "tuple, list": (tuple[int, ...], (), [7310]),
    "tuple, length": (tuple[int, int], (0, 0), (7310,)),
    "dict, values": (dict[str, int], {}, {"a": "7310"}),
    "dict, keys": (dict[str, int], {}, {7310: 1}),
    "dict, OrderedDict": (dict[str, int], {}, OrderedDict(a=7310)),
    "dataclass, dict": (Item, Item(), {"name": "7310"}),
    "dataclass, subclass": (Item, Item(), SpecialItem("7310")),
    "dataclass, another": (Item, Item(), OtherItem("7310")),
    "dataclass, field": (Item, Item(), Item("tea", "7310")),  # type: ignore[arg-type]
    "dataclasses, subclass": (list[Item], [], [Item(), SpecialItem("7310")]),
    "dict, dataclass as key": (dict[Tag, int], {}, {Tag("7310"): 1}),
    "Any, dataclass": (Any, None, Item("7310")),
    "Any, enum": (Any, None, Color.BLUE),
    "Enum, value": (Color, Color.RED, "blue"),
    "Enum, another": (Color, Color.RED, Mood.GOOD),
    "IntEnum, int": (Size, Size.SMALL, 2),
    "datetime, str": (datetime, NOON, "2026-01-01T12:00:00"),
    "datetime, date": (datetime, NOON, date(2026, 7, 31)),
    "date, datetime": (date, date(2026, 1, 1), datetime(2026, 7, 31)),
    "Decimal, str": (Decimal, Decimal(0), "7310.5"),
    "Decimal, int": (Decimal, Decimal(0), 7310),
    "UUID, str": (uuid.UUID, uuid.UUID(int=0), str(UNIQUE)),
    "NamedTuple, tuple": (Point, Point(0), (7310, 1)),
    "TypedDict, more": (Options, {"size": 1}, {"size": 1, "extra": 7310}),
    "TypedDict, less": (Options, {"size": 1}, {"label": "7310"}),
    "custom, another": (Money, Money(1), Item("7310")),
}


every_misfit = pytest.mark.parametrize(("hint", "default", "value"), MISFITS.values(), ids=MISFITS)


@every_misfit
def test_assigning_what_does_not_fit_is_refused_at_commit(
    storage: MemoryStorage, hint: Any, default: Any, value: Any
) -> None:
    """A value that would not come back as it is: `EncodeError`, and the record stays."""
    sessions = typed_sessions(holder_of(hint, default), storage)
    with sessions.open(1):
        pass
    before = storage.get("1")
    with pytest.raises(EncodeError) as caught:
        assign(sessions, value)
    assert ("1", "value", type(value).__name__) == (
        caught.value.key,
        caught.value.path,
        caught.value.type_name,
    )
    assert (True, False, before) == (
        "Holder declares value" in str(caught.value),
        "7310" in str(caught.value),
        storage.get("1"),
    )


@every_misfit
def test_an_initial_that_does_not_fit_is_refused(
    storage: MemoryStorage, hint: Any, default: Any, value: Any
) -> None:
    """What `initial` makes must fit as well: `EncodeError`, and nothing is stored."""
    sessions = typed_sessions(holder_of(hint, value), storage)
    with pytest.raises(EncodeError) as caught, sessions.open(1):
        pass
    assert ("value", False, None) == (
        caught.value.path,
        "7310" in str(caught.value),
        storage.get("1"),
    )


UNFIT: dict[str, tuple[Any, Any, Any]] = {
    "int, str": (int, 0, "7310"),
    "int, float": (int, 0, 7310.5),
    "int, bool": (int, 0, True),
    "str, int": (str, "", 7310),
    "str, bytes": (str, "", b"7310"),
    "bytes, str": (bytes, b"", "7310"),
    "datetime, str": (datetime, NOON, "2026-01-01T12:00:00"),
    "Decimal, str": (Decimal, Decimal(0), "7310"),
    "UUID, str": (uuid.UUID, uuid.UUID(int=0), str(UNIQUE)),
    "literal": (Literal["a"], "a", "7310"),
    "optional": (int | None, None, "7310"),
    "list, items": (list[int], [], [1, "7310"]),
    "list, str": (list[str], [], "7310"),
    "dict, values": (dict[str, int], {}, {"a": "7310"}),
    "dataclass, field": (Item, Item(), {"name": "tea", "count": "7310"}),
    "dataclass, list": (Item, Item(), ["7310"]),
    "dataclass, missing": (Point | Login | None, None, {"user": "7310"}),
    "dataclass, refused": (Strict, Strict(), {"text": "7310"}),
    "dataclasses, field": (list[Item], [], [{"name": 7310}]),
    "Enum": (Color, Color.RED, "7310"),
    "IntEnum": (Size, Size.SMALL, 7310),
    "Flag": (Right, Right.READ, 7310),
    "NamedTuple": (Point, Point(0), ["7310"]),
    "TypedDict": (Options, {"size": 1}, {"size": "7310"}),
    "custom": (Money, Money(1), {"amount": 7310}),
}


@pytest.mark.parametrize(("hint", "default", "value"), UNFIT.values(), ids=UNFIT)
def test_stored_data_that_does_not_fit_is_a_decode_error(
    storage: MemoryStorage, hint: Any, default: Any, value: Any
) -> None:
    """A `DecodeError` names field and types but never the value, and the record is unchanged."""
    store_untyped(storage, first="fits", value=value)
    before = storage.get("1")
    sessions = Sessions(initial=holder_of(hint, default), storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            sessions.open(1).__enter__()
        text = "".join(traceback.format_exception(caught.value))
        assert ("1", True, True, True, False, before) == (
            caught.value.key,
            "'value'" in str(caught.value),
            f"of type {type(value).__name__}" in str(caught.value),
            "Holder declares value" in str(caught.value),
            "7310" in text,
            storage.get("1"),
        )


FAILURES: dict[str, tuple[type[Exception], Callable[[str], Any]]] = {
    "undeclared": (
        AttributeError,
        lambda value: fail_in(Cart, lambda s: setattr(s, "ownr", value)),
    ),
    "missing": (
        AttributeError,
        lambda value: fail_in(lambda: Login(value, value), lambda s: (delattr(s, "code"), s.code)),
    ),
    "misfit": (EncodeError, lambda value: fail_in(Doubled, lambda s: setattr(s, "count", value))),
    "nested misfit": (
        EncodeError,
        lambda value: fail_in(Cart, lambda s: setattr(s.add("tea"), "count", value)),
    ),
    "refused": (
        EncodeError,
        lambda value: fail_in(
            holder_of(Strict, Strict()), lambda s: setattr(s.value, "text", f"a{value}")
        ),
    ),
    "unsavable": (
        EncodeError,
        lambda value: fail_in(
            holder_of(list, []), lambda s: s.value.extend([value, (x for x in value)])
        ),
    ),
    "initial": (EncodeError, lambda value: fail_in(holder_of(int, value), repr)),
}


def fail_in(initial: Any, change: Callable[[Any], Any]) -> None:
    """Change a new typed session."""
    with typed_sessions(initial, MemoryStorage()).open(1) as session:
        change(session)


@pytest.mark.parametrize("failure", FAILURES)
@settings(max_examples=10, deadline=None)
@given(value=st.text())
def test_no_message_and_no_traceback_shows_a_value(failure: str, value: str) -> None:
    """No message shows a value: the whole traceback is the same whatever it was."""
    kind, fail = FAILURES[failure]
    assert logged_failure(kind, fail, "") == logged_failure(kind, fail, value)


def test_a_value_that_contains_itself_is_refused(storage: MemoryStorage) -> None:
    """An endless value is an `EncodeError`, not an endless loop, and the record stays."""
    endless: list[Any] = []
    endless.append(endless)
    sessions = typed_sessions(holder_of(list, ["a"]), storage)
    with sessions.open(1):
        pass
    with pytest.raises(EncodeError):
        assign(sessions, endless)
    assert {"value": ["a"]} == stored_untyped(storage)
