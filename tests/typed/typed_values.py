"""Classes for the fields of typed sessions, and values that fit them."""

from __future__ import annotations

import enum
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict


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

FITTING: dict[str, tuple[Any, Any]] = {
    "int": (int, 7),
    "big int": (int, 2**200),
    "str": (str, "text"),
    "bool": (bool, True),
    "float": (float, 1.5),
    "infinity": (float, float("inf")),
    "bytes": (bytes, b"text"),
    "complex": (complex, 1j),
    "None": (None, None),
    "optional, None": (Optional[Item], None),  # noqa: UP045
    "optional": (Optional[Item], Item("apple")),  # noqa: UP045
    "union, int": (int | str | None, 1),
    "union, str": (int | str | None, "1"),
    "union, None": (int | str | None, None),
    "union, enum": (Color | int, Color.BLUE),
    "literal": (Literal["a", "b"], "b"),
    "Any": (Any, {"a": [1, (2,), {3}, None]}),
    "object": (object, [1]),
    "annotated": (Annotated[int, "a number"], 7),
    "datetime": (datetime, NOON),
    "aware datetime": (datetime, NOON.replace(tzinfo=UTC)),
    "date": (date, date(2026, 1, 1)),
    "time": (time, time(12, 30, 15, 5)),
    "timedelta": (timedelta, timedelta(days=1, microseconds=1)),
    "Decimal": (Decimal, Decimal("1.50")),
    "UUID": (uuid.UUID, UNIQUE),
    "Enum": (Color, Color.BLUE),
    "IntEnum": (Size, Size.LARGE),
    "StrEnum": (Mood, Mood.BAD),
    "Flag": (Right, Right.READ),
    "Flag, several": (Right, Right.READ | Right.WRITE),
    "Flag, none": (Right, Right(0)),
    "IntFlag": (Bit, Bit.HIGH),
    "IntFlag, several": (Bit, Bit.LOW | Bit.HIGH),
    "dataclass": (Item, Item("apple", 2)),
    "frozen dataclass": (Tag, Tag("old", Color.BLUE)),
    "slotted dataclass": (Slotted, Slotted(count=3)),
    "dataclass with a result": (Doubled, Doubled(4)),
    "recursive dataclass": (Tree, Tree([Tree(), Tree([Tree()])], Tree())),
    "list": (list, [1, "a", None]),
    "list of int": (list[int], [1, 2]),
    "list of float": (list[float], [1, 1.5]),
    "list of dataclasses": (list[Item], [Item("a"), Item("b")]),
    "list of enums": (list[Mood], [Mood.GOOD]),
    "dict of dataclasses": (dict[str, Item], {"a": Item("a")}),
    "dict by int": (dict[int, Item], {1: Item("a")}),
    "dict by enum": (dict[Color, int], {Color.BLUE: 1}),
    "tuple of dataclasses": (tuple[Item, ...], (Item("a"),)),
    "tuple of two": (tuple[Item, int], (Item("a"), 1)),
    "set of int": (set[int], {1, 2}),
    "set of enums": (set[Color], {Color.RED, Color.BLUE}),
    "set of dataclasses": (set[Tag], {Tag("a"), Tag("b")}),
    "frozenset of dataclasses": (frozenset[Tag], frozenset({Tag("a")})),
    "deep": (dict[str, list[tuple[Item, ...]]], {"a": [(Item("a"),), ()]}),
    "NamedTuple": (Point, Point(1, 2)),
    "NamedTuple of dataclasses": (Line, Line(Item("a"), Color.BLUE)),
    "list of NamedTuples": (list[Point], [Point(1)]),
    "TypedDict": (Options, {"size": 1, "label": "a"}),
    "TypedDict, less": (Options, {"size": 1}),
    "TypedDict of dataclasses": (Order, {"item": Item("a")}),
    "custom": (Money, Money(5)),
    "list of custom": (list[Money], [Money(5)]),
    "optional custom": (Money | None, Money(5)),
    "sequence": (Sequence[int], [1, 2]),
    "mapping": (Mapping[str, int], {"a": 1}),
    "OrderedDict": (OrderedDict[str, int], OrderedDict(b=1, a=2)),
    "defaultdict": (defaultdict[str, int], defaultdict(int, a=1)),
    "Counter": (Counter[str], Counter("tea")),
    "deque": (deque[int], deque([1, 2])),
}
