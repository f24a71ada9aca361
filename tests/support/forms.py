"""Forms of annotations that typed sessions keep on every storage, each with examples."""

from __future__ import annotations

import collections
import copy
import enum
import pathlib
import typing
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set as AbstractSet,
)
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Required,
    Self,
    TypedDict,
    TypeVar,
)
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic

from support.values import (
    BERLIN,
    NOON,
    UNIQUE,
    Bit,
    Color,
    Doubled,
    Item,
    Line,
    Mood,
    Note,
    Options,
    Order,
    Planet,
    Point,
    Right,
    Size,
    Slotted,
    SpecialItem,
    Strict,
    Tag,
    Tree,
)

T = TypeVar("T")
Number = TypeVar("Number", int, float)
Bounded = TypeVar("Bounded", bound=Item)
UserId = NewType("UserId", int)


class Shade(enum.Enum):
    """An enum of values that no codec keeps."""

    LIGHT = ("white", Color.RED)
    DARK = ("black", Color.BLUE)


class Level(enum.Enum):
    """An enum of values, one of which is not equal to itself."""

    NONE = float("nan")
    HIGH = 1.5


class Span(enum.Enum):
    """The same inside of tuples."""

    OPEN = (0, Decimal("NaN"))
    SHORT = (0, Decimal(1))


class Label(enum.Enum):
    """An enum whose members have another `value` and `name`."""

    NEW = "new"
    OLD = "old"

    @property
    def value(self) -> str:
        return "label"

    @property
    def name(self) -> str:
        return "name"


class Listed(enum.Enum):
    """An enum of values that can change."""

    ONE = [1]  # noqa: RUF012 -- it is about such enums
    TWO = [2]  # noqa: RUF012


@dataclass
class NameStep:
    """One step of a form."""

    name: str = ""


@dataclass
class AgeStep:
    """Another step of a form."""

    age: int = 0


@dataclass
class Box(Generic[T]):
    """A generic dataclass."""

    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class IntBox(Box[int]):
    """A dataclass that inherits from a generic one."""

    label: str = ""


@dataclass
class Chain:
    """A dataclass that refers to itself by `Self`."""

    name: str = ""
    after: Self | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A frozen dataclass with slots, for keys."""

    x: int = 0
    y: int = 0


@dataclass
class Shop:
    """A dataclass with a cached result."""

    prices: list[int] = field(default_factory=list)
    where: Path = Path("/")

    @cached_property
    def total(self) -> int:
        return sum(self.prices)


@dataclass(frozen=True)
class Board:
    """A frozen dataclass whose hash leaves a dict out."""

    name: str = ""
    pieces: dict[tuple[int, int], str] = field(default_factory=dict, hash=False)


@dataclass
class Profile:
    """A dataclass of scalars of several types."""

    name: str | None = None
    age: int | None = None
    score: float = 0.0


class Shape:
    """A class that is no dataclass, but whose subclass is."""

    def area(self) -> int:
        return 0


@dataclass
class Square(Shape):
    """A dataclass with a base that is none."""

    side: int = 1


Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024 -- the form without types


class Movie(TypedDict, total=False):
    """A typed dict without required keys, except one."""

    title: Required[str]
    year: int


@attrs.define
class Ticket:
    """An attrs class, which has slots."""

    number: int = 0
    items: list[Item] = attrs.field(factory=list)

    @cached_property
    def doubled(self) -> int:
        return self.number * 2


@attrs.frozen(cache_hash=True)
class Seat:
    """A frozen attrs class that keeps its hash."""

    row: int = 0
    color: Color = Color.RED


@attrs.define(slots=False)
class Loose:
    """An attrs class without slots."""

    number: int = 0


class Coin(msgspec.Struct):
    """A struct."""

    value: int = 0
    sides: list[str] = msgspec.field(default_factory=list)


class FrozenCoin(msgspec.Struct, frozen=True):
    """A frozen struct."""

    value: int = 0


class HashedCoin(msgspec.Struct, frozen=True, cache_hash=True):
    """A frozen struct that keeps its hash."""

    value: int = 0


class Cat(msgspec.Struct, tag=True, rename="camel"):
    """A tagged struct with other names in JSON."""

    cat_name: str = ""


class Dog(msgspec.Struct, tag=True):
    """Another tagged struct."""

    dog_name: str = ""
    owner: Item = msgspec.field(default_factory=Item)


class Account(pydantic.BaseModel):
    """A pydantic model."""

    name: str = ""
    items: list[Item] = pydantic.Field(default_factory=list)
    since: date | None = None


class OpenAccount(pydantic.BaseModel, extra="allow"):
    """A pydantic model that keeps other fields, too."""

    name: str = ""


class Names(pydantic.RootModel[list[str]]):
    """A pydantic model of a list."""


@pydantic.dataclasses.dataclass
class Checked:
    """A dataclass of pydantic."""

    count: int = 0
    tags: list[str] = pydantic.Field(default_factory=list)


class Form(NamedTuple):
    """
    A form of an annotation, and examples of it.

    Attributes:
        hint: The annotation.
        default: The default of a field.
        value: A value to assign, other than the default.
        change: Changes a value in place; `None` if its values cannot change.
    """

    hint: Any
    default: Any
    value: Any
    change: Callable[[Any], object] | None = None


def put(name: str, value: Any) -> Callable[[Any], None]:
    """A function that sets an attribute."""
    return lambda target: setattr(target, name, value)


def at(place: Any, change: Callable[[Any], object]) -> Callable[[Any], object]:
    """A function that changes an item in place."""
    return lambda target: change(target[place])


def add(*items: Any) -> Callable[[Any], None]:
    """A function that adds items to a list."""
    return lambda target: target.extend(copy.deepcopy(list(items)))


def give(key: Any, value: Any) -> Callable[[Any], None]:
    """A function that sets the item of a key."""
    return lambda target: target.__setitem__(key, copy.deepcopy(value))


def join(item: Any) -> Callable[[Any], None]:
    """A function that adds an item to a set."""
    return lambda target: target.add(item)


def alike(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, all the way down."""
    kind = type(one)
    if kind is not type(other):
        return False
    if issubclass(kind, dict):
        pairs = zip(one.items(), other.items(), strict=False)
        parts_are_alike = all(alike(*two) for pair in pairs for two in zip(*pair, strict=True))
        return len(one) == len(other) and parts_are_alike and alike(made_by(one), made_by(other))
    if issubclass(kind, list | tuple | deque):
        same_length = len(one) == len(other)
        same_limit = getattr(one, "maxlen", None) == getattr(other, "maxlen", None)
        return same_length and same_limit and all(map(alike, one, other))
    if issubclass(kind, set | frozenset):
        return {(type(item), item) for item in one} == {(type(item), item) for item in other}
    names = fields_of(kind)
    if names is None:
        # A NaN is not equal to itself, and 0.0 is equal to -0.0.
        return repr(one) == repr(other)
    return all(alike(getattr(one, name), getattr(other, name)) for name in names)


def made_by(value: dict[Any, Any]) -> Any:
    """The value that a `defaultdict` makes for a missing key; `None` of other dicts."""
    factory = getattr(value, "default_factory", None)
    return None if factory is None else factory()


def fields_of(kind: Any) -> list[str] | None:
    """The names of the fields of a class; `None` of a class without declared fields."""
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in attrs.fields(kind)]
    if issubclass(kind, msgspec.Struct):
        return list(kind.__struct_fields__)
    if issubclass(kind, pydantic.BaseModel):
        return [*kind.model_fields, "model_extra", "model_fields_set"]
    return [field.name for field in fields(kind)] if is_dataclass(kind) else None


def counts() -> defaultdict[str, int]:
    """The inner dict of a `defaultdict` of these."""
    return defaultdict(int)


renamed = put("name", "coffee")

FORMS: dict[str, Form] = {
    # Scalars
    "int": Form(int, 0, 7),
    "big int": Form(int, 0, 2**200),
    "str": Form(str, "", "text"),
    "bool": Form(bool, False, True),
    "float": Form(float, 0.0, 1.5),
    "float, int": Form(float, 0.0, 7),
    "infinity": Form(float, 0.0, float("inf")),
    "complex": Form(complex, 0j, 1j),
    "complex, float": Form(complex, 0j, 1.5),
    "None": Form(None, None, None),
    "bytes": Form(bytes, b"", b"text"),
    "bytearray": Form(bytearray, bytearray(), bytearray(b"text"), lambda value: value.append(33)),
    "datetime": Form(datetime, NOON, datetime(2026, 2, 3, 4)),
    "aware datetime": Form(datetime, NOON, NOON.replace(tzinfo=UTC)),
    "datetime in a zone": Form(datetime, NOON, NOON.replace(tzinfo=BERLIN)),
    "date": Form(date, date(2025, 1, 1), date(2026, 1, 1)),
    "time": Form(time, time(), time(12, 30, 15, 5)),
    "timedelta": Form(timedelta, timedelta(), timedelta(days=1, microseconds=1)),
    "Decimal": Form(Decimal, Decimal(0), Decimal("1.50")),
    "UUID": Form(uuid.UUID, uuid.UUID(int=0), UNIQUE),
    # Scalars and their kin that have their text in the record
    "Path": Form(Path, Path(), Path("/tmp/ada")),
    "PurePath": Form(PurePath, PurePath(), PurePath("ada")),
    "PurePosixPath": Form(PurePosixPath, PurePosixPath(), PurePosixPath("/ada")),
    "PureWindowsPath": Form(PureWindowsPath, PureWindowsPath(), PureWindowsPath("C:/ada")),
    "PosixPath or WindowsPath": Form(type(pathlib.Path()), Path(), Path("ada")),
    "list of Path": Form(list[Path], [], [Path("a")], add(Path("b"))),
    "dict by Path": Form(dict[Path, int], {}, {Path("a"): 1}, give(Path("b"), 2)),
    "Fraction": Form(Fraction, Fraction(0), Fraction(1, 3)),
    "ZoneInfo": Form(ZoneInfo, ZoneInfo("UTC"), BERLIN),
    "IPv4Address": Form(IPv4Address, IPv4Address(0), IPv4Address("10.0.0.1")),
    "IPv6Address": Form(IPv6Address, IPv6Address(0), IPv6Address("fe80::1%eth0")),
    "IPv4Network": Form(IPv4Network, IPv4Network(0), IPv4Network("10.0.0.0/8")),
    "IPv6Network": Form(IPv6Network, IPv6Network(0), IPv6Network("fe80::/10")),
    "IPv4Interface": Form(IPv4Interface, IPv4Interface(0), IPv4Interface("10.0.0.1/8")),
    "IPv6Interface": Form(IPv6Interface, IPv6Interface(0), IPv6Interface("fe80::1/10")),
    # Annotations that say more or less than a class
    "Any": Form(Any, None, {"a": [1, (2,), {3}, None]}, give("b", 1)),
    "object": Form(object, None, [1], add(2)),
    "annotated": Form(Annotated[int, "a number"], 0, 7),
    "annotated, Meta": Form(Annotated[int, msgspec.Meta(ge=0)], 0, 7),
    "annotated list, Meta": Form(
        Annotated[list[Item], msgspec.Meta(max_length=3)], [], [Item()], add(Item("b"))
    ),
    "Final": Form(Final[int], 0, 7),
    "NewType": Form(UserId, UserId(0), UserId(7)),
    "type variable": Form(T, 0, "text"),
    "type variable, bound": Form(Bounded, Item(), Item("b"), renamed),
    "type variable, constraints": Form(Number, 0, 1.5),
    "literal": Form(Literal["a", "b"], "a", "b"),
    "literal, several types": Form(Literal[1, True, "a", b"b"], "a", True),
    "literal, enums": Form(Literal[Color.RED, Color.BLUE, 3], 3, Color.BLUE),
    # Unions
    "optional, None": Form(Optional[Item], Item(), None),  # noqa: UP045
    "optional": Form(Optional[Item], None, Item("apple"), renamed),  # noqa: UP045
    "optional list": Form(list[Item] | None, None, [Item()], add(Item("b"))),
    "union, int": Form(int | str | None, None, 1),
    "union, str": Form(int | str | None, None, "1"),
    "union, None": Form(int | str | None, 1, None),
    "union, enum": Form(Color | int, 1, Color.BLUE),
    "union, bool or int": Form(bool | int, 1, True),
    "str | datetime": Form(str | datetime, "", NOON),
    "date | datetime": Form(date | datetime, date(2026, 1, 1), NOON),
    "Enum | str, enum": Form(Color | str, "red", Color.RED),
    "Enum | str, str": Form(Color | str, Color.RED, "red"),
    "two enums": Form(Color | Mood, Color.RED, Mood.GOOD),
    "Path | str": Form(Path | str, "ada", Path("ada")),
    "tuple | list": Form(tuple[int, ...] | list[int], (1,), [1], add(2)),
    "tuple | list of dataclasses": Form(
        tuple[Item, ...] | list[Item], (Item(),), [Item()], add(Item("b"))
    ),
    "set | list of dataclasses": Form(set[Tag] | list[Tag], [Tag()], {Tag()}, join(Tag("old"))),
    "list[int] | list[str]": Form(list[int] | list[str], [1], ["a"], add("b")),
    "list[Item] | list[int]": Form(list[Item] | list[int], [1], [Item()], at(0, renamed)),
    "two dataclasses": Form(NameStep | AgeStep, NameStep(), AgeStep(7), put("age", 8)),
    "two dataclasses or None": Form(NameStep | AgeStep | None, None, NameStep("a"), renamed),
    "list of two dataclasses": Form(
        list[NameStep | AgeStep], [], [NameStep("a"), AgeStep(1)], add(AgeStep(2))
    ),
    "dataclass | dict": Form(NameStep | dict[str, int], NameStep(), {"name": 1}, give("a", 2)),
    "dataclass and its subclass": Form(Item | SpecialItem, Item(), SpecialItem(), renamed),
    "Any in a union": Form(int | Any, None, [1], add(2)),  # type: ignore[operator]
    # Enums
    "Enum": Form(Color, Color.RED, Color.BLUE),
    "IntEnum": Form(Size, Size.SMALL, Size.LARGE),
    "StrEnum": Form(Mood, Mood.GOOD, Mood.BAD),
    "Flag": Form(Right, Right.WRITE, Right.READ),
    "Flag, several": Form(Right, Right.READ, Right.READ | Right.WRITE),
    "Flag, none": Form(Right, Right.READ, Right(0)),
    "IntFlag": Form(Bit, Bit.LOW, Bit.HIGH),
    "IntFlag, several": Form(Bit, Bit.LOW, Bit.LOW | Bit.HIGH),
    "enum of tuples": Form(Planet | None, None, Planet.EARTH),
    "enum of enums": Form(Shade, Shade.LIGHT, Shade.DARK),
    "enum with NaN": Form(Level, Level.HIGH, Level.NONE),
    "enum of tuples with NaN": Form(Span, Span.SHORT, Span.OPEN),
    "enum with other properties": Form(Label, Label.NEW, Label.OLD),
    "enum of lists": Form(Listed, Listed.ONE, Listed.TWO),
    # Containers
    "list": Form(list, [], [1, "a", None], add(2)),
    "dict": Form(dict, {}, {"a": [1], 2: (3,)}, give("b", 2)),
    "tuple": Form(tuple, (), (1, "a")),
    "set": Form(set, set(), {1, "a"}, join(2)),
    "frozenset": Form(frozenset, frozenset(), frozenset({1})),
    "list of int": Form(list[int], [], [1, 2], add(3)),
    "list of float": Form(list[float], [], [1, 1.5], add(2)),
    "list of Any": Form(list[Any], [], [1, [2]], add({"a": 1})),
    "list of optional": Form(list[int | None], [], [1, None], add(None)),
    "list of datetime": Form(list[datetime], [], [NOON], add(NOON.replace(tzinfo=UTC))),
    "list of lists": Form(list[list[int]], [], [[1], []], at(1, add(2))),
    "list of dataclasses": Form(list[Item], [], [Item("a"), Item("b")], at(1, renamed)),
    "list of enums": Form(list[Mood], [], [Mood.GOOD], add(Mood.BAD)),
    "dict of int": Form(dict[str, int], {}, {"a": 1}, give("b", 2)),
    "dict of dataclasses": Form(dict[str, Item], {}, {"a": Item("a")}, at("a", renamed)),
    "dict by int": Form(dict[int, Item], {}, {1: Item("a")}, give(2, Item())),
    "dict by enum": Form(dict[Color, int], {}, {Color.BLUE: 1}, give(Color.RED, 2)),
    "dict by date": Form(dict[date, int], {}, {date(2026, 1, 1): 1}, give(date(2026, 1, 2), 2)),
    "dict by tuple": Form(dict[tuple[int, int], str], {}, {(1, 2): "a"}, give((3, 4), "b")),
    "dict by dataclass": Form(dict[Tag, int], {}, {Tag("a"): 1}, give(Tag("b"), 2)),
    "dict by slotted dataclass": Form(
        dict[Cell, Item], {}, {Cell(1): Item()}, give(Cell(), Item())
    ),
    "dict by tuple of dataclasses": Form(
        dict[tuple[Tag, int], int], {}, {(Tag("a"), 1): 1}, give((Tag("b"), 1), 2)
    ),
    "tuple of int": Form(tuple[int, ...], (), (1, 2)),
    "tuple of dataclasses": Form(tuple[Item, ...], (), (Item("a"),), at(0, renamed)),
    "tuple of two": Form(tuple[Item, int], (Item(), 0), (Item("a"), 1), at(0, renamed)),
    "tuple of none": Form(tuple[()], (), ()),
    "set of int": Form(set[int], set(), {1, 2}, join(3)),
    "set of enums": Form(set[Color], set(), {Color.RED}, join(Color.BLUE)),
    "set of dataclasses": Form(set[Tag], set(), {Tag("a"), Tag("b")}, join(Tag("c"))),
    "frozenset of int": Form(frozenset[int], frozenset(), frozenset({1})),
    "frozenset of dataclasses": Form(frozenset[Tag], frozenset(), frozenset({Tag("a")})),
    "deep": Form(
        dict[str, list[tuple[Item, ...]]], {}, {"a": [(Item("a"),), ()]}, at("a", add((Item(),)))
    ),
    "names of typing": Form(typing.Dict[str, typing.List[int]], {}, {"a": [1]}, at("a", add(2))),  # noqa: UP006
    # Abstract containers
    "sequence, list": Form(Sequence[int], [], [1, 2], add(3)),
    "sequence, tuple": Form(Sequence[int], [], (1, 2)),
    "sequence, str": Form(Sequence[str], [], "text"),
    "sequence of dataclasses": Form(Sequence[Item], [], (Item("a"),), at(0, renamed)),
    "mutable sequence": Form(MutableSequence[int], [], [1], add(2)),
    "collection": Form(Collection[int], [], {1}, join(2)),
    "iterable": Form(Iterable[int], [], (1,)),
    "mapping": Form(Mapping[str, int], {}, {"a": 1}, give("b", 2)),
    "mutable mapping": Form(MutableMapping[str, Item], {}, {"a": Item()}, at("a", renamed)),
    "abstract set": Form(AbstractSet[int], set(), frozenset({1})),
    "mutable set": Form(MutableSet[int], set(), {1}, join(2)),
    # collections
    "defaultdict": Form(
        defaultdict[str, int], defaultdict(int), defaultdict(int, a=1), lambda value: value["b"]
    ),
    "defaultdict of lists": Form(
        defaultdict[str, list[int]],
        defaultdict(list),
        defaultdict(list, a=[1]),
        lambda value: value["b"].append(2),
    ),
    "defaultdict of dataclasses": Form(
        defaultdict[int, Item],
        defaultdict(Item),
        defaultdict(Item, {1: Item("a")}),
        lambda value: renamed(value[2]),
    ),
    "defaultdict of defaultdicts": Form(
        defaultdict[str, defaultdict[str, int]],
        defaultdict(counts),
        defaultdict(counts, a=defaultdict(int, b=1)),
        lambda value: value["a"]["c"],
    ),
    "OrderedDict": Form(
        OrderedDict[str, int],
        OrderedDict(),
        OrderedDict(b=1, a=2),
        lambda value: value.move_to_end("b"),
    ),
    "Counter": Form(Counter[str], Counter(), Counter("tea"), lambda value: value.update("tea")),
    "deque": Form(deque[int], deque(), deque([1, 2]), add(3)),
    "deque with a length": Form(deque[Item], deque(), deque([Item()], 2), add(Item("b"))),
    "namedtuple": Form(Pair, Pair(0, 0), Pair(1, "a")),
    "NamedTuple": Form(Point, Point(0), Point(1, 2)),
    "NamedTuple of dataclasses": Form(
        Line, Line(Item(), Color.RED), Line(Item("a"), Color.BLUE), at(0, renamed)
    ),
    "list of NamedTuples": Form(list[Point], [], [Point(1)], add(Point(2))),
    "dict by NamedTuple": Form(dict[Point, int], {}, {Point(1): 1}, give(Point(2), 2)),
    "TypedDict": Form(Options, {"size": 0}, {"size": 1, "label": "a"}, give("label", "b")),
    "TypedDict, less": Form(Options, {"size": 1, "label": "a"}, {"size": 1}),
    "TypedDict of dataclasses": Form(
        Order, {"item": Item()}, {"item": Item("a")}, at("item", renamed)
    ),
    "TypedDict, not total": Form(Movie, {"title": ""}, {"title": "a", "year": 1}, give("year", 2)),
    # Classes with fields
    "dataclass": Form(Item, Item(), Item("apple", 2), renamed),
    "frozen dataclass": Form(Tag, Tag(), Tag("old", Color.BLUE)),
    "dataclass of scalars": Form(Profile, Profile(), Profile("ada", None, 1), put("age", 36)),
    "list of dataclasses of scalars": Form(
        list[Profile], [], [Profile("ada"), Profile(None, 7, 1.5)], at(0, put("age", 36))
    ),
    "set of dataclasses with dicts": Form(
        set[Board], set(), {Board("a", {(1, 2): "king"}), Board("b")}, join(Board("c"))
    ),
    "slotted dataclass": Form(Slotted, Slotted(), Slotted(count=3), put("count", 4)),
    "frozen and slotted dataclass": Form(Cell, Cell(), Cell(1, 2)),
    "dataclass with a result": Form(Doubled, Doubled(), Doubled(4), put("double", 9)),
    "dataclass that refuses": Form(Strict, Strict(), Strict(), put("text", "ada")),
    "dataclass that compares in part": Form(Note, Note(), Note(1, "a"), put("number", 2)),
    "dataclass with a cached result": Form(
        Shop, Shop(), Shop([1], Path("a")), lambda value: value.prices.append(value.total)
    ),
    "dataclass with another base": Form(Square, Square(), Square(2), put("side", 3)),
    "recursive dataclass": Form(
        Tree, Tree(), Tree([Tree(), Tree([Tree()])], Tree()), lambda value: value.children.pop()
    ),
    "dataclass with Self": Form(Chain, Chain(), Chain("a", Chain("b")), renamed),
    "generic dataclass": Form(Box[int], Box(0), Box(1, [2]), put("content", 3)),
    "generic dataclass of dataclasses": Form(
        Box[Item], Box(Item()), Box(Item("a"), [Item()]), lambda value: renamed(value.content)
    ),
    "generic dataclass of anything": Form(Box, Box(0), Box("a", [1]), put("content", 3)),
    "subclass of a generic dataclass": Form(
        IntBox, IntBox(0), IntBox(1, [2], "a"), put("label", "b")
    ),
    "subclass where its base is declared": Form(Item, Item(), SpecialItem("a"), put("gift", False)),
    "list of a base": Form(list[Item], [], [Item(), SpecialItem("a")], at(1, put("gift", False))),
    "attrs": Form(Ticket, Ticket(), Ticket(1, [Item("a")]), put("number", 2)),
    "attrs, frozen": Form(Seat, Seat(), Seat(1, Color.BLUE)),
    "attrs, set": Form(set[Seat], set(), {Seat(1)}, join(Seat(2))),
    "attrs, without slots": Form(Loose, Loose(), Loose(1), put("number", 2)),
    "Struct": Form(Coin, Coin(), Coin(1, ["head"]), lambda value: value.sides.append("tail")),
    "Struct, frozen": Form(FrozenCoin, FrozenCoin(), FrozenCoin(1)),
    "Struct, with a hash": Form(set[HashedCoin], set(), {HashedCoin(1)}, join(HashedCoin(2))),
    "Struct, tagged union": Form(
        Cat | Dog, Cat(), Dog("a", Item("b")), lambda value: renamed(value.owner)
    ),
    "list of tagged structs": Form(list[Cat | Dog], [], [Cat("a"), Dog()], add(Dog("b"))),
    "pydantic model": Form(
        Account, Account(), Account(name="a", items=[Item("b")]), put("since", date(2026, 1, 1))
    ),
    "pydantic model with more": Form(
        OpenAccount, OpenAccount(), OpenAccount(name="a", age=7), put("age", 8)
    ),
    "pydantic root model": Form(
        Names, Names([]), Names(["a"]), lambda value: value.root.append("b")
    ),
    "pydantic dataclass": Form(Checked, Checked(), Checked(1, ["a"]), put("count", 2)),
}
