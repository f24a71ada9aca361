"""What the fields of typed sessions take and bring back, and what they refuse."""

from __future__ import annotations

import enum
import traceback
import uuid
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import freezegun
import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from support.forms import AgeStep, NameStep
from support.sessions import (
    Cart,
    Login,
    assign,
    holder_of,
    store_untyped,
    stored_untyped,
    typed_sessions,
)
from support.values import (
    NOON,
    UNIQUE,
    Color,
    Doubled,
    Item,
    Mood,
    Options,
    OtherItem,
    Point,
    Right,
    Size,
    Strict,
    Tag,
    Tree,
    logged_failure,
    told_by,
)
from telesession import DecodeError, EncodeError, JSONCodec, MemoryStorage, Sessions

# What fits


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


class Misfit(NamedTuple):
    """
    A value that an annotation does not allow.

    Attributes:
        hint: The annotation.
        default: A default that fits.
        value: The value, which has the digits 7310 somewhere.
        path: The path of the element that does not fit, seen from the field.
        kind: The name of its type.
        fault: A part of the reason.
    """

    hint: Any
    default: Any
    value: Any
    path: str
    kind: str
    fault: str = "the value does not fit"


BACK, NOT_ALLOWED = "the value would not come back", "the value is none of the allowed"

MISFITS: dict[str, Misfit] = {
    "int, str": Misfit(int, 0, "7310", "", "str"),
    "int, bool": Misfit(int, 0, True, "", "bool"),
    "int, float": Misfit(int, 0, 7310.0, "", "float"),
    "int, None": Misfit(int, 0, None, "", "NoneType"),
    "int, IntEnum": Misfit(int, 0, Size.LARGE, "", "Size", BACK),
    "str, int": Misfit(str, "", 7310, "", "int"),
    "str, bytes": Misfit(str, "", b"7310", "", "bytes"),
    "str, StrEnum": Misfit(str, "", Mood.GOOD, "", "Mood", BACK),
    "bool, int": Misfit(bool, False, 1, "", "int"),
    "float, str": Misfit(float, 0.0, "7310", "", "str"),
    "float, bool": Misfit(float, 0.0, True, "", "bool"),
    "bytes, str": Misfit(bytes, b"", "7310", "", "str"),
    "bytes, bytearray": Misfit(bytes, b"", bytearray(b"7310"), "", "bytearray"),
    "optional, str": Misfit(int | None, None, "7310", "", "str"),
    "union, neither": Misfit(NameStep | AgeStep, NameStep(), Item("7310"), "", "Item"),
    "union, field": Misfit(
        NameStep | AgeStep,
        NameStep(),
        NameStep(7310),  # type: ignore[arg-type]
        ".name",
        "int",
    ),
    "literal": Misfit(Literal["a", "b"], "a", "7310", "", "str", NOT_ALLOWED),
    "literal, type": Misfit(Literal["a", "b"], "a", 7310, "", "int"),
    "constraint": Misfit(
        Annotated[int, msgspec.Meta(le=5)], 0, 7310, "", "int", f"{NOT_ALLOWED}: "
    ),
    "list, items": Misfit(list[int], [], [1, "7310"], "[1]", "str"),
    "list, tuple": Misfit(list[int], [], (7310,), "", "tuple"),
    "list, set": Misfit(list[int], [], {7310}, "", "set"),
    "set, list": Misfit(set[int], set(), [7310], "", "list"),
    "set, items": Misfit(set[int], set(), {"7310"}, "[<str>]", "str"),
    "tuple, list": Misfit(tuple[int, ...], (), [7310], "", "list"),
    "tuple, length": Misfit(tuple[int, int], (0, 0), (7310,), "", "tuple", "length is 1, not 2"),
    "tuple, item": Misfit(tuple[int, int], (0, 0), (7310, "7310"), "[1]", "str"),
    "dict, values": Misfit(dict[str, int], {}, {"a": "7310"}, "[<str>]", "str"),
    "dict, keys": Misfit(dict[str, int], {}, {7310: 1}, "[<int>]", "int", "it is a key"),
    "dict, OrderedDict": Misfit(dict[str, int], {}, OrderedDict(a=7310), "", "OrderedDict", BACK),
    "defaultdict, factory": Misfit(
        defaultdict[str, int], defaultdict(int), defaultdict(str), "", "defaultdict", BACK
    ),
    "deque, items": Misfit(deque[int], deque(), deque(["7310"]), "[0]", "str"),
    "deep": Misfit(dict[str, list[Item]], {}, {"a": [7310]}, "[<str>][0]", "int"),
    "dataclass, dict": Misfit(Item, Item(), {"name": "7310"}, "", "dict"),
    "dataclass, another": Misfit(Item, Item(), OtherItem("7310"), "", "OtherItem"),
    "dataclass, field": Misfit(
        Item,
        Item(),
        Item("tea", "7310"),  # type: ignore[arg-type]
        ".count",
        "str",
    ),
    "dataclasses, field": Misfit(
        list[Item],
        [],
        [Item(), Item(count=None)],  # type: ignore[arg-type]
        "[1].count",
        "NoneType",
    ),
    "Enum, value": Misfit(Color, Color.RED, "blue", "", "str"),
    "Enum, another": Misfit(Color, Color.RED, Mood.GOOD, "", "Mood"),
    "IntEnum, int": Misfit(Size, Size.SMALL, 2, "", "int"),
    "datetime, str": Misfit(datetime, NOON, "2026-01-01T12:00:00", "", "str"),
    "datetime, date": Misfit(datetime, NOON, date(2026, 7, 31), "", "date"),
    "date, datetime": Misfit(date, date(2026, 1, 1), datetime(2026, 7, 31), "", "datetime"),
    "Decimal, str": Misfit(Decimal, Decimal(0), "7310.5", "", "str"),
    "Decimal, int": Misfit(Decimal, Decimal(0), 7310, "", "int"),
    "UUID, str": Misfit(uuid.UUID, uuid.UUID(int=0), str(UNIQUE), "", "str"),
    "Path, str": Misfit(Path, Path(), "7310", "", "str"),
    "NamedTuple, tuple": Misfit(Point, Point(0), (7310, 1), "", "tuple"),
    "NamedTuple, field": Misfit(Point, Point(0), Point("7310"), ".x", "str"),  # type: ignore[arg-type]
    "TypedDict, more": Misfit(Options, {"size": 1}, {"size": 1, "extra": 7310}, "", "dict"),
    "TypedDict, less": Misfit(Options, {"size": 1}, {"label": "7310"}, "", "dict", "lacks the key"),
    "TypedDict, value": Misfit(Options, {"size": 1}, {"size": "7310"}, "['size']", "str"),
}


every_misfit = pytest.mark.parametrize("misfit", MISFITS.values(), ids=MISFITS)


def check_refusal(error: EncodeError, misfit: Misfit) -> None:
    """See that an error has the element, its type, the declaration and the fault, and no value."""
    there = f", with {error.reason.partition(', with ')[2].partition(' there')[0]} there"
    declared = f"Holder declares value: {error.reason.partition('value: ')[2].partition(';')[0]}"
    assert (f"value{misfit.path}", misfit.kind) == (error.path, error.type_name)
    assert (True, True, bool(misfit.path), False) == (
        misfit.fault in error.reason,
        declared in error.reason,
        there in error.reason,
        "7310" in told_by(error),
    )


@every_misfit
def test_assigning_what_does_not_fit_is_refused_at_commit(
    storage: MemoryStorage, misfit: Misfit
) -> None:
    """A value that would not come back as it is: `EncodeError`, and the record stays."""
    sessions = typed_sessions(holder_of(misfit.hint, misfit.default), storage)
    with sessions.open(1):
        pass
    before = storage.get("1")
    with pytest.raises(EncodeError) as caught:
        assign(sessions, misfit.value)
    check_refusal(caught.value, misfit)
    assert ("1", before) == (caught.value.key, storage.get("1"))


@every_misfit
def test_what_a_function_gives_must_fit(storage: MemoryStorage, misfit: Misfit) -> None:
    """`initial` is a function that returns a value which does not fit: nothing is stored."""
    kind = holder_of(misfit.hint, misfit.default)
    sessions = typed_sessions(lambda: kind(misfit.value), storage)
    with pytest.raises(EncodeError) as caught, sessions.open(1):
        pass
    check_refusal(caught.value, misfit)
    assert None is storage.get("1")


# The default of a field says what the default_factory of its values is.
DEFAULTS = {name: misfit for name, misfit in MISFITS.items() if name != "defaultdict, factory"}


@pytest.mark.parametrize("misfit", DEFAULTS.values(), ids=DEFAULTS)
def test_a_default_that_does_not_fit_is_refused_at_decoration(
    storage: MemoryStorage, misfit: Misfit
) -> None:
    """A default that does not fit: `TypeError` at decoration, with the element and its type."""
    with pytest.raises(TypeError) as caught:
        typed_sessions(holder_of(misfit.hint, misfit.value), storage)
    element = f"value{misfit.path} is of type {misfit.kind}, and the value "
    assert (True, True, False) == (
        f"the default of Holder.value cannot be stored: {element}" in str(caught.value),
        misfit.fault in str(caught.value),
        "7310" in told_by(caught.value),
    )


class Quoting(enum.Enum):
    """An enum that quotes the value that it does not have."""

    ONE = 1

    @classmethod
    def _missing_(cls, value: object) -> Any:
        raise ValueError(f"there is no {value}")


class Unfit(NamedTuple):
    """
    Stored data that an annotation does not allow.

    Attributes:
        hint: The annotation.
        default: A default that fits.
        value: The data.
        path: The path of the element that does not fit, seen from the field.
        kind: The name of its type.
    """

    hint: Any
    default: Any
    value: Any
    path: str
    kind: str


UNFIT: dict[str, Unfit] = {
    "int, str": Unfit(int, 0, "7310", "", "str"),
    "int, float": Unfit(int, 0, 7310.5, "", "float"),
    "int, bool": Unfit(int, 0, True, "", "bool"),
    "str, int": Unfit(str, "", 7310, "", "int"),
    "str, bytes": Unfit(str, "", b"7310", "", "bytes"),
    "bytes, str": Unfit(bytes, b"", "7310", "", "str"),
    "datetime, str": Unfit(datetime, NOON, "2026-01-01T12:00:00", "", "str"),
    "Decimal, str": Unfit(Decimal, Decimal(0), "7310", "", "str"),
    "UUID, str": Unfit(uuid.UUID, uuid.UUID(int=0), str(UNIQUE), "", "str"),
    "Fraction": Unfit(Fraction, Fraction(0), "7310/a", "", "str"),
    "IPv4Address": Unfit(IPv4Address, IPv4Address(0), "7310", "", "str"),
    "literal": Unfit(Literal["a"], "a", "7310", "", "str"),
    "optional": Unfit(int | None, None, "7310", "", "str"),
    "constraint": Unfit(Annotated[int, msgspec.Meta(le=5)], 0, 7310, "", "int"),
    "list, items": Unfit(list[int], [], [1, "7310"], "[1]", "str"),
    "list, str": Unfit(list[str], [], "7310", "", "str"),
    "set of lists": Unfit(set[Any], set(), [["7310"]], "", "list"),
    "dict, values": Unfit(dict[str, int], {}, {"a": "7310"}, "[<str>]", "str"),
    "dict, pairs": Unfit(dict[Tag, int], {}, ["7310"], "", "list"),
    "dataclass, field": Unfit(Item, Item(), {"name": "tea", "count": "7310"}, ".count", "str"),
    "dataclass, list": Unfit(Item, Item(), ["7310"], "", "list"),
    "dataclass, missing": Unfit(Login, Login("", ""), {"user": "7310"}, "", "dict"),
    "dataclasses, field": Unfit(list[Item], [], [{"name": 7310}], "[0].name", "int"),
    "dataclass, class": Unfit(Item, Item(), {"class": "7310"}, "", "dict"),
    "union, missing": Unfit(Point | Login | None, None, {"user": "7310"}, "", "dict"),
    "Enum": Unfit(Color, Color.RED, "7310", "", "str"),
    "Enum, quoting": Unfit(Quoting, Quoting.ONE, 7310, "", "int"),
    "IntEnum": Unfit(Size, Size.SMALL, 7310, "", "int"),
    "Flag": Unfit(Right, Right.READ, 7310, "", "int"),
    "NamedTuple": Unfit(Point, Point(0), ["7310"], ".x", "str"),
    "NamedTuple, length": Unfit(Point, Point(0), [1, 2, 7310], "", "list"),
    "TypedDict": Unfit(Options, {"size": 1}, {"size": "7310"}, "['size']", "str"),
    "deque": Unfit(deque[int], deque(), {"maxlen": 1, "items": [1, 7310]}, "", "dict"),
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
def test_stored_data_that_does_not_fit_is_a_decode_error(
    storage: MemoryStorage, unfit: Unfit
) -> None:
    """A `DecodeError` names element and types but never the value, and the record is unchanged."""
    store_untyped(storage, first="fits", value=unfit.value)
    before = storage.get("1")
    kind = holder_of(unfit.hint, unfit.default)
    sessions = Sessions(initial=kind, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            sessions.open(1).__enter__()
        text = "".join(traceback.format_exception(caught.value)) + told_by(caught.value)
        field = f"value{unfit.path}"
        assert ("1", True, True, False, before) == (
            caught.value.key,
            f"its field {field!r} holds an object of type {unfit.kind}, and " in str(caught.value),
            "Holder declares value" in str(caught.value),
            "7310" in text,
            storage.get("1"),
        )


def test_post_init_does_not_run_when_an_object_is_loaded(storage: MemoryStorage) -> None:
    """A `__post_init__` that would refuse or change stored data is called for new objects only."""
    store_untyped(storage, value={"text": "ada"})
    with typed_sessions(holder_of(Strict, Strict()), storage).open(1) as session:
        assert "ada" == session.value.text
    doubled = Doubled(4)
    doubled.double = 9
    sessions = typed_sessions(holder_of(Doubled, Doubled()), MemoryStorage())
    assign(sessions, doubled)
    assert 9 == sessions.peek(1).value.double


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
            holder_of(Annotated[str, msgspec.Meta(pattern="^ada$")], "ada"),
            lambda s: setattr(s, "value", f"a{value}"),
        ),
    ),
    "unsavable": (
        EncodeError,
        lambda value: fail_in(
            holder_of(list, []), lambda s: s.value.extend([value, (x for x in value)])
        ),
    ),
    "initial": (EncodeError, lambda value: fail_in(lambda: Doubled(value), repr)),  # type: ignore[arg-type]
    "default": (TypeError, lambda value: fail_in(holder_of(int, value), repr)),
}


def fail_in(initial: Any, change: Callable[[Any], Any]) -> None:
    """Change a new typed session."""
    with typed_sessions(initial, MemoryStorage()).open(1) as session:
        change(session)


@pytest.mark.parametrize("failure", FAILURES)
@settings(max_examples=10)
@given(value=st.text())
def test_no_message_and_no_traceback_shows_a_value(failure: str, value: str) -> None:
    """No message shows a value: the whole traceback is the same whatever it was."""
    kind, fail = FAILURES[failure]
    assert logged_failure(kind, fail, "") == logged_failure(kind, fail, value)


def test_a_value_that_contains_itself_is_refused_where_the_codec_cannot_keep_it() -> None:
    """An endless list is an `EncodeError` of the JSON codec; pickle keeps it."""
    endless: list[Any] = []
    endless.append(endless)
    storage = MemoryStorage(codec=JSONCodec())
    sessions = typed_sessions(holder_of(list, ["a"]), storage)
    with sessions.open(1):
        pass
    with pytest.raises(EncodeError, match="holds itself; store it flat"):
        assign(sessions, endless)
    assert {"value": ["a"]} == stored_untyped(storage)
    pickled = typed_sessions(holder_of(list, []), MemoryStorage())
    assign(pickled, endless)
    with pickled.open(1) as session:
        assert session.value[0] is session.value


def test_an_object_that_contains_itself_is_refused(storage: MemoryStorage) -> None:
    """An endless object of a declared class is an `EncodeError`, and the record stays."""
    endless = Tree()
    endless.children.append(endless)
    sessions = typed_sessions(holder_of(Tree, Tree()), storage)
    with sessions.open(1):
        pass
    with pytest.raises(
        EncodeError, match="nested more than 198 levels deep or in a cycle; store it flat"
    ):
        assign(sessions, endless)
    assert {"value": {"children": [], "parent": None}} == stored_untyped(storage)
