"""Values for codecs and typed sessions, and payloads, also damaged ones."""

from __future__ import annotations

import dataclasses
import enum
import json
import random
import struct
import traceback
import uuid
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time as clock, timedelta, timezone
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    NotRequired,
    TypedDict,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings, strategies as st

from support.clocks import examples
from telesession import (
    DecodeError,
    JSONCodec,
    MemoryStorage,
    Sessions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


class Color(enum.Enum):
    """An enum of strings."""

    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    """An enum of ints that are ints."""

    SMALL = 1
    LARGE = 2


class Mood(enum.StrEnum):
    """An enum of strings that are strings."""

    GOOD = "good"
    BAD = "bad"


class Right(enum.Flag):
    """Flags."""

    READ = 1
    WRITE = 2


class Bit(enum.IntFlag):
    """Flags that are ints."""

    LOW = 1
    HIGH = 2


class Planet(enum.Enum):
    """An enum of values that msgspec does not take."""

    EARTH = (5.97, 6.37)


@dataclass
class Item:
    """A nested dataclass."""

    name: str = "tea"
    count: int = 0


@dataclass
class SpecialItem(Item):
    """The same with more."""

    gift: bool = True


@dataclass
class OtherItem:
    """Another class with the same fields."""

    name: str = "tea"
    count: int = 0


@dataclass(frozen=True)
class Tag:
    """A nested dataclass that can be in a set."""

    text: str = "new"
    color: Color = Color.RED


@dataclass(slots=True, kw_only=True)
class Slotted:
    """A nested dataclass with slots."""

    count: int = 0


@dataclass
class Doubled:
    """A nested dataclass with a field that is not a parameter."""

    count: int = 1
    double: int = field(init=False)

    def __post_init__(self) -> None:
        self.double = self.count * 2


@dataclass
class Tree:
    """A nested dataclass that refers to itself."""

    children: list[Tree] = field(default_factory=list)
    parent: Tree | None = None


@dataclass(eq=False)
class Place:
    """A dataclass whose instances are equal to themselves only, and may be a default."""

    x: int = 0


@dataclass
class Note:
    """A dataclass that compares by one of its fields."""

    number: int = 0
    text: str = field(default="", compare=False)


@dataclass
class Strict:
    """A nested dataclass that quotes what it refuses."""

    text: str = ""

    def __post_init__(self) -> None:
        if self.text:
            raise ValueError(f"cannot have {self.text}")


@dataclass
class Seeded:
    """A dataclass with a parameter that is no field."""

    count: int = 1
    seed: InitVar[int] = 3

    def __post_init__(self, seed: int) -> None:
        self.count += seed


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: int = 0


class Line(NamedTuple):
    """A named tuple with a dataclass and an enum in it."""

    item: Item
    color: Color


class Options(TypedDict):
    """A typed dict."""

    size: int
    label: NotRequired[str]


class Order(TypedDict):
    """A typed dict with a dataclass in it."""

    item: Item


class Money:
    """A class of the user, without fields."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and self.amount == other.amount

    __hash__ = None  # type: ignore[assignment]


UNIQUE = uuid.UUID("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
NOON = datetime(2026, 1, 1, 12)


SECRET = "hunter2"
BERLIN = ZoneInfo("Europe/Berlin")
CODEC = JSONCodec()


def shape(value: Any) -> Any:
    """A value as what can be compared by `==` down to the types, NaN and -0.0 included."""
    kind = type(value)
    if kind in (set, frozenset):
        return kind, sorted(repr(shape(item)) for item in value)
    if kind is dict:
        return kind, [(shape(name), shape(item)) for name, item in value.items()]
    if kind in (list, tuple):
        return kind, [shape(item) for item in value]
    if kind is float:
        return kind, "nan" if value != value else struct.pack("d", value)  # noqa: PLR0124
    if kind in (datetime, clock):
        zone = value.tzinfo
        name = zone.key if isinstance(zone, ZoneInfo) else repr(zone)
        return kind, value.replace(tzinfo=None).isoformat(), type(zone), name, value.fold
    return kind, hex(value) if kind is int else repr(value)


def encode(value: Any) -> bytes:
    return CODEC.encode({"fields": {"value": value}}, "1")


def written(value: Any) -> Any:
    """A field's value as it stands in the JSON text."""
    return json.loads(encode(value))["fields"]["value"]


def decode(payload: bytes) -> dict[str, Any]:
    return CODEC.decode(payload, "1")


def decode_value(text: str) -> Any:
    return decode(b'{"fields":{"value":%s}}' % text.encode())["fields"]["value"]


def undecodable(payload: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(payload)
    assert "1" == caught.value.key
    return caught.value


OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
FIXED = st.one_of(
    st.just(UTC),
    OFFSETS.map(timezone),
    st.builds(timezone, OFFSETS, st.text(st.characters(codec="utf-8"), max_size=5)),
)
ZONES = st.sampled_from([BERLIN, ZoneInfo("UTC"), ZoneInfo("America/St_Johns")])
TZ = st.one_of(st.none(), FIXED, ZONES)
MARKS = ["$", "$set", "$dict", "$tuple", "$int", "$x", "fields", "ttl", '{"$', "\\", '"', "\x00"]
TEXT = st.one_of(st.text(st.characters(exclude_categories=[]), max_size=8), st.sampled_from(MARKS))
NAMES = st.one_of(st.text(st.characters(codec="utf-8"), max_size=8), st.sampled_from(MARKS))
HARD_FLOATS = [-0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 1e16, 2.0**63]
HARD_INTS = [2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 2**53 + 1]
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**60, 2**70),
    st.sampled_from(HARD_INTS),
    st.integers(4999, 5000).map(lambda digits: -(10**digits)),
    st.floats(),
    st.sampled_from(HARD_FLOATS),
    st.complex_numbers(),
    TEXT,
    st.binary(max_size=8),
    st.dates(),
    st.times().flatmap(lambda t: TZ.map(lambda z: t.replace(tzinfo=z))),
    st.datetimes().flatmap(lambda t: TZ.map(lambda z: t.replace(tzinfo=z))),
    st.datetimes().map(lambda t: t.replace(fold=1, tzinfo=BERLIN)),
    st.timedeltas(),
    st.decimals(),
    st.sampled_from([Decimal("-0E+7"), Decimal("1E+999999"), Decimal("NaN123"), Decimal("-sNaN7")]),
    st.uuids(),
)


def is_hashable(value: Any) -> bool:
    try:
        return isinstance(hash(value), int)
    except (TypeError, ValueError, OverflowError):
        return False


HASHABLE = st.recursive(
    ATOMS.filter(is_hashable),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)
    ),
    max_leaves=4,
).filter(is_hashable)
VALUES = st.recursive(
    st.one_of(ATOMS, st.binary(max_size=4).map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.sets(HASHABLE, max_size=5),
        st.frozensets(HASHABLE, max_size=5),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.dictionaries(TEXT, inner, max_size=3),
        st.dictionaries(st.sampled_from(MARKS), inner, min_size=1, max_size=1),
    ),
    max_leaves=12,
)
FIELDS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=4)
many = settings(max_examples=examples(150))


TAGGED: dict[str, tuple[Any, Any]] = {
    "tuple": ((1, "a"), {"$tuple": [1, "a"]}),
    "set": ({"b", "a", "c"}, {"$set": ["a", "b", "c"]}),
    "frozenset": (frozenset({2, 1}), {"$frozenset": [1, 2]}),
    "bytes": (b"\x00\xff", {"$bytes": "AP8="}),
    "bytearray": (bytearray(b"\x00\xff"), {"$bytearray": "AP8="}),
    "date": (date(2026, 1, 2), {"$date": "2026-01-02"}),
    "naive": (datetime(2026, 1, 2, 3, 4), {"$datetime": "2026-01-02T03:04:00"}),
    "utc": (datetime(2026, 1, 2, tzinfo=UTC), {"$datetime": "2026-01-02T00:00:00+00:00"}),
    "zone": (
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        {"$datetime": ["2026-10-25T02:30:00", {"zone": "Europe/Berlin", "fold": 1}]},
    ),
    "named-offset": (
        clock(1, tzinfo=timezone(timedelta(hours=1), "CET")),
        {"$time": ["01:00:00+01:00", {"name": "CET"}]},
    ),
    "time": (clock(1, 2, 3, 4), {"$time": "01:02:03.000004"}),
    "timedelta": (timedelta(-1, 2, 3), {"$timedelta": [-1, 2, 3]}),
    "decimal": (Decimal("1.50"), {"$decimal": "1.50"}),
    "uuid": (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
    "complex": (1 - 2j, {"$complex": "(1-2j)"}),
    "nan": (float("nan"), {"$float": "nan"}),
    "infinity": (float("-inf"), {"$float": "-inf"}),
    "large-int": (2**64, {"$int": "0x10000000000000000"}),
    "half-an-emoji": ("a\ud83d", {"$str": "Ye2gvQ=="}),
    "keys": ({1: "a", "b": 2}, {"$dict": [[1, "a"], ["b", 2]]}),
    "like-a-tag": ({"$set": [1]}, {"$dict": [["$set", [1]]]}),
}


class PickledColor(enum.Enum):
    RED = 1
    BLUE = "blue"


class PickledSize(enum.StrEnum):
    SMALL = "small"
    LARGE = "large"


class PickledMoney(NamedTuple):
    amount: int
    currency: str


@dataclasses.dataclass
class PickledItem:
    name: str = "apple"
    tags: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class PickledPoint:
    x: int
    y: int


class Basket:
    """A class without `==` or a hash of its own."""

    def __init__(self, content: object) -> None:
        self.content = content


class Tags(set[str]):
    """A subclass of a builtin, with attributes."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(names)
        self.order = sorted(names)


def write_pickled(store: Any, fields: dict[str, Any]) -> None:
    """A handler that saves these fields under the key 1."""
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        session.update(fields)


def read_pickled(store: Any) -> dict[str, Any]:
    """A handler that only reads the session with the key 1."""
    with Sessions(storage=MemoryStorage(store)).open(1) as session:
        return dict(session)


def payload_of(fields: dict[str, Any]) -> bytes:
    store: dict[str, bytes] = {}
    write_pickled(store, fields)
    return store["1"]


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


def mutated(
    payload: bytes, others: list[bytes], rng: random.Random, alphabet: bytes = bytes(range(256))
) -> bytes:
    """
    The payload after one to four accidents.

    Args:
        payload: What happens to be damaged.
        others: Where pieces may come from.
        rng: What decides.
        alphabet: Of what bytes insertions are made.
    """
    damaged = bytearray(payload)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(damaged) + 1)
        accident = rng.randrange(7)
        if accident == 0:
            damaged[at : at + 1] = rng.randbytes(1)
        elif accident == 1 and at < len(damaged):
            damaged[at] ^= 1 << rng.randrange(8)
        elif accident == 2:
            del damaged[at:]
        elif accident == 3:
            del damaged[at : at + rng.randrange(1, 6)]
        elif accident == 4:
            damaged[at:at] = bytes(rng.choices(alphabet, k=rng.randrange(1, 6)))
        elif accident == 5:
            damaged[at:at] = damaged[at : at + rng.randrange(1, 12)]
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            damaged[at : at + 8] = other[start : start + 8]
    return bytes(damaged)


def logged_failure(kind: type[Exception], fail: Callable[[str], Any], value: str) -> str:
    """All that a bot could log of a failure: its traceback, and the texts of errors behind it."""
    with pytest.raises(kind) as caught:
        fail(value)
    return "".join(traceback.format_exception(caught.value)) + told_by(caught.value)


def told_by(error: BaseException | None) -> str:
    """The texts of an exception and of all behind it, those that Python does not print included."""
    if error is None:
        return ""
    return f"{error} {error!r} {told_by(error.__cause__)} {told_by(error.__context__)}"
