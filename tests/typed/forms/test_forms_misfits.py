"""Values that do not fit: the path, the type and the declaration there, and the fault."""

from __future__ import annotations

import enum
import traceback
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from importlib.resources import files
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest

from support.forms import Account, Box, Coin, Loose, NameStep, OpenAccount, Seat, Step, Ticket
from support.packing import pack_misfit
from support.values import (
    NOON,
    SECRET,
    Color,
    Doubled,
    Item,
    Mood,
    Options,
    OtherItem,
    Point,
    Size,
    Slotted,
    Tag,
    Tree,
    told_by,
)
from telesession import ttl
from telesession.typed.form import DOES_NOT_FIT, NOT_ALLOWED, WOULD_NOT_COME_BACK, Misfit
from telesession.typed.hints import form_of


class Name(str):
    """A subclass of `str`."""

    __slots__ = ()


class WideItem(Item):
    """A subclass that adds an attribute outside its fields."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.width = 1


class LongPoint(Point):
    """A named tuple with a `__dict__`."""


class Sort(Item, enum.Enum):
    """An enum whose members are dataclasses."""

    TEA = "tea", 1


class Invented(enum.Enum):
    """An enum of lists that makes members up."""

    KNOWN = [1]  # noqa: RUF012 -- it is about such enums

    @classmethod
    def _missing_(cls, value: object) -> Invented:
        made = object.__new__(cls)
        made._value_ = [value]
        made._name_ = "MADE"
        return made


def having(target: Any, name: str, value: Any = SECRET) -> Any:
    """An object after an attribute was set, past the methods of its class."""
    object.__setattr__(target, name, value)
    return target


def without(target: Any, name: str) -> Any:
    """An object after an attribute was deleted."""
    delattr(target, name)
    return target


def nameless_zone() -> ZoneInfo:
    """A time zone that was read from a file."""
    with files("tzdata.zoneinfo").joinpath("UTC").open("rb") as file:
        return ZoneInfo.from_file(file)


class Quoting(enum.Enum):
    """An enum of strings that makes members up."""

    KNOWN = "known"

    @classmethod
    def _missing_(cls, value: object) -> Quoting:
        made = object.__new__(cls)
        made._value_ = value
        made._name_ = "KNOWN"
        return made


class Base:
    """A class with a slot."""

    __slots__ = ("total",)


@attrs.define
class SlottedTicket(Base):
    """A class of attrs with a base that has a slot."""

    number: int = 0


class WideTicket(Ticket):
    """A subclass of a class of attrs, with a slot."""

    __slots__ = ("total",)


class SlottedAccount(Account):
    """A model with a slot."""

    __slots__ = ("total",)


@dataclass(slots=True)
class Priced:
    """A dataclass with a field that a property computes."""

    price: str = ""


def quote(priced: Any) -> str:
    raise AttributeError(f"no price is {SECRET}", name="price")


Priced.price = property(quote)  # type: ignore[assignment]


class Case(NamedTuple):
    """A value that does not fit, and its refusal."""

    hint: Any
    value: Any
    path: str = ""
    kind: str = ""
    declared: str = ""
    fault: str = DOES_NOT_FIT


MISFITS: dict[str, Case] = {
    "int, str": Case(int, SECRET, "", "str", "int"),
    "int, bool": Case(int, True, "", "bool", "int"),
    "int, float": Case(int, 7.5, "", "float", "int"),
    "float, bool": Case(float, True, "", "bool", "float"),
    "bool, int": Case(bool, 1, "", "int", "bool"),
    "optional": Case(int | None, SECRET, "", "str", "int | None"),
    "None": Case(None, 0, "", "int", "None"),
    "str, bytes": Case(str, b"a", "", "bytes", "str"),
    "str, subclass": Case(str, Name(SECRET), "", "Name", "str", WOULD_NOT_COME_BACK),
    "str, StrEnum": Case(str, Mood.GOOD, "", "Mood", "str", WOULD_NOT_COME_BACK),
    "bytes, bytearray": Case(bytes, bytearray(), "", "bytearray", "bytes"),
    "date, datetime": Case(date, NOON, "", "datetime", "date"),
    "datetime, date": Case(datetime, date(2026, 1, 1), "", "date", "datetime"),
    "Decimal, int": Case(Decimal, 1, "", "int", "Decimal"),
    "UUID, str": Case(UUID, SECRET, "", "str", "UUID"),
    "Path, str": Case(Path, SECRET, "", "str", "Path"),
    "PurePath, Path": Case(
        PurePath, Path(SECRET), "", "PosixPath", "PurePath", WOULD_NOT_COME_BACK
    ),
    "ZoneInfo without a key": Case(
        ZoneInfo, nameless_zone(), "", "ZoneInfo", "ZoneInfo", WOULD_NOT_COME_BACK
    ),
    "literal": Case(Literal["a", "b"], SECRET, "", "str", "Literal['a', 'b']", NOT_ALLOWED),
    "literal, type": Case(Literal[1], True, "", "bool", "Literal[1]"),
    "literal, unhashable": Case(Literal[1], [SECRET], "", "list", "Literal[1]"),
    "literal, enum": Case(Literal[Color.RED], Color.BLUE, "", "Color", fault=NOT_ALLOWED),
    "Meta": Case(Annotated[int, msgspec.Meta(gt=9)], 7, "", "int", "int", NOT_ALLOWED),
    "Meta, items": Case(
        list[Annotated[str, msgspec.Meta(max_length=3)]],
        ["a", SECRET],
        "[1]",
        "str",
        "str",
        NOT_ALLOWED,
    ),
    "Meta, list of classes": Case(
        Annotated[list[Item], msgspec.Meta(max_length=1)],
        [Item()] * 2,
        "",
        "list",
        "list[Item]",
        NOT_ALLOWED,
    ),
    "Enum, value": Case(Color, "red", "", "str", "Color"),
    "Enum, another": Case(Color, Mood.GOOD, "", "Mood", "Color"),
    "IntEnum, int": Case(Size, 2, "", "int", "Size"),
    "Enum, no member": Case(
        Invented, Invented(SECRET), "", "Invented", "Invented", WOULD_NOT_COME_BACK
    ),
    "Enum, made up": Case(Quoting, Quoting(SECRET), "", "Quoting", fault=WOULD_NOT_COME_BACK),
    "Fraction, digits": Case(
        Fraction, Fraction(10**5000), "", "Fraction", "Fraction", WOULD_NOT_COME_BACK
    ),
    "list of enums, another": Case(list[Color], [Color.RED, Mood.GOOD], "[1]", "Mood", "Color"),
    "list of enums, made up": Case(
        list[Quoting],
        [Quoting.KNOWN, Quoting(SECRET)],
        "[1]",
        "Quoting",
        "Quoting",
        WOULD_NOT_COME_BACK,
    ),
    "list of dataclasses, enum": Case(
        list[Step], [Step(), Step(color=SECRET)], "[1].color", "str", "Color"
    ),  # type: ignore[arg-type]
    "list of dataclasses, tuple": Case(
        list[Step], [Step(), Step(path=((1,), (SECRET,)))], "[1].path[1][0]", "str", "int"
    ),  # type: ignore[arg-type]
    "list of dataclasses, another tuple": Case(
        list[Step], [Step(path=((1,), [1]))], "[0].path[1]", "list", "tuple[int, ...]"
    ),  # type: ignore[arg-type]
    "list of dataclasses, another field": Case(
        list[Step],
        [Step(), having(without(Step(), "number"), "total")],
        "[1].total",
        "str",
        "Step",
        WOULD_NOT_COME_BACK,
    ),
    "defaultdict, no usual factory": Case(
        defaultdict[str, Box[int]],
        defaultdict(lambda: Box(1)),
        "",
        "defaultdict",
        "defaultdict[str, Box[int]]",
        WOULD_NOT_COME_BACK,
    ),
    "dataclass, enum of such": Case(Item, Sort.TEA, "", "Sort", "Item", WOULD_NOT_COME_BACK),
    "list, tuple": Case(list[int], (1,), "", "tuple", "list[int]"),
    "list, items": Case(list[int], [1, SECRET], "[1]", "str", "int"),
    "list, subclass": Case(
        list[int], type("Numbers", (list,), {})(), "", "Numbers", "list[int]", WOULD_NOT_COME_BACK
    ),
    "list of lists": Case(list[list[int]], [[], [1, 2, SECRET]], "[1][2]", "str", "int"),
    "set, list": Case(set[int], [1], "", "list", "set[int]"),
    "set, items": Case(set[int], {SECRET}, "[<str>]", "str", "int"),
    "tuple, list": Case(tuple[int, ...], [1], "", "list", "tuple[int, ...]"),
    "tuple, items": Case(tuple[int, ...], (1, SECRET), "[1]", "str", "int"),
    "tuple, length": Case(tuple[int, int], (1,), "", "tuple", "tuple[int, int]"),
    "tuple of two, list": Case(tuple[int, int], [1, 2], "", "list", "tuple[int, int]"),
    "tuple of two, items": Case(tuple[int, int], (1, SECRET), "[1]", "str", "int"),
    "dict, values": Case(dict[str, int], {SECRET: "a"}, "[<str>]", "str", "int"),
    "dict, keys": Case(dict[int, int], {SECRET: 1}, "[<str>]", "str", "int"),
    "dict, OrderedDict": Case(
        dict[str, int], OrderedDict(), "", "OrderedDict", "dict[str, int]", WOULD_NOT_COME_BACK
    ),
    "dict, deep": Case(
        dict[str, list[Item]], {SECRET: [Item(), Item("a", "b")]}, "[<str>][1].count", "str", "int"
    ),  # type: ignore[arg-type]
    "dict by classes": Case(dict[Tag, int], {Tag(SECRET): "a"}, "[<Tag>]", "str", "int"),
    "sequence": Case(Sequence[int], {1}, "", "set", "Sequence[int]"),
    "sequence, items": Case(Sequence[int], (1, SECRET), "[1]", "str", "int"),
    "Counter, values": Case(Counter[str], Counter({SECRET: 1.5}), "[<str>]", "float", "int"),
    "Counter, dict": Case(Counter[str], {SECRET: 1}, "", "dict", "Counter[str]"),
    "deque, items": Case(deque[int], deque([1, SECRET]), "[1]", "str", "int"),
    "deque, list": Case(deque[int], [1], "", "list", "deque[int]"),
    "defaultdict, factory": Case(
        defaultdict[str, int],
        defaultdict(lambda: 7),
        "",
        "defaultdict",
        "defaultdict[str, int]",
        WOULD_NOT_COME_BACK,
    ),
    "defaultdict, no factory": Case(
        defaultdict[str, int], defaultdict(None), "", "defaultdict", fault=WOULD_NOT_COME_BACK
    ),
    "defaultdict, inner factory": Case(
        defaultdict[str, defaultdict[str, int]],
        defaultdict(lambda: defaultdict(list)),
        "",
        "defaultdict",
        fault=WOULD_NOT_COME_BACK,
    ),
    "NamedTuple, tuple": Case(Point, (1, 2), "", "tuple", "Point"),
    "NamedTuple, field": Case(list[Point], [Point(1, SECRET)], "[0].y", "str", "int"),  # type: ignore[arg-type]
    "NamedTuple, attribute": Case(
        LongPoint, having(LongPoint(1), "total"), ".total", "str", "LongPoint", WOULD_NOT_COME_BACK
    ),
    "TypedDict, list": Case(Options, [SECRET], "", "list", "Options"),
    "TypedDict, less": Case(Options, {"label": SECRET}, "", "dict", "Options"),
    "TypedDict, more": Case(Options, {"size": 1, SECRET: 2}, "", "dict", "Options"),
    "TypedDict, value": Case(Options, {"size": SECRET}, "['size']", "str", "int"),
    "dataclass, dict": Case(Item, {"name": SECRET}, "", "dict", "Item"),
    "dataclass, another": Case(Item, OtherItem(SECRET), "", "OtherItem", "Item"),
    "dataclass, None": Case(Item, None, "", "NoneType", "Item"),
    "dataclass, field": Case(Item, Item("tea", SECRET), ".count", "str", "int"),  # type: ignore[arg-type]
    "dataclass, deep": Case(
        Tree, Tree([Tree(), Tree([SECRET])]), ".children[1].children[0]", "str", "Tree"
    ),  # type: ignore[list-item]
    "dataclass, attribute": Case(
        list[Item],
        [Item(), having(Item(), "total")],
        "[1].total",
        "str",
        "Item",
        WOULD_NOT_COME_BACK,
    ),
    "dataclass, field gone": Case(
        Doubled, without(Doubled(), "double"), "", "Doubled", "Doubled", WOULD_NOT_COME_BACK
    ),
    "dataclass with slots, field gone": Case(
        Slotted, without(Slotted(), "count"), "", "Slotted", "Slotted", WOULD_NOT_COME_BACK
    ),
    "dataclass, subclass with an attribute": Case(
        list[Item], [WideItem(SECRET)], "[0].width", "int", "WideItem", WOULD_NOT_COME_BACK
    ),
    "generic dataclass": Case(Box[int], Box(1, [SECRET]), ".more[0]", "str", "int"),  # type: ignore[list-item]
    "attrs, field": Case(Ticket, Ticket(1, [Item(SECRET, 7.5)]), ".items[0].count", "float", "int"),  # type: ignore[arg-type]
    "attrs, attribute": Case(
        Loose, having(Loose(), "total"), ".total", "str", "Loose", WOULD_NOT_COME_BACK
    ),
    "attrs, slot of a base": Case(
        SlottedTicket,
        having(SlottedTicket(), "total"),
        ".total",
        "str",
        "SlottedTicket",
        WOULD_NOT_COME_BACK,
    ),
    "attrs, slot of a subclass": Case(
        Ticket, having(WideTicket(), "total"), ".total", "str", "WideTicket", WOULD_NOT_COME_BACK
    ),
    "model, slot": Case(
        SlottedAccount,
        having(SlottedAccount(), "total"),
        ".total",
        "str",
        "SlottedAccount",
        WOULD_NOT_COME_BACK,
    ),
    "dataclass, field that raises": Case(
        Priced, object.__new__(Priced), "", "Priced", "Priced", WOULD_NOT_COME_BACK
    ),
    "attrs, frozen": Case(Seat, having(Seat(), "row"), ".row", "str", "int"),
    "Struct, field": Case(Coin, Coin(SECRET), ".value", "str", "int"),  # type: ignore[arg-type]
    "model, field": Case(Account, Account.model_construct(name=7), ".name", "int", "str"),
    "model, attribute": Case(
        Account,
        having(Account(), "__dict__", {**vars(Account()), "total": SECRET}),
        ".total",
        "str",
        "Account",
        WOULD_NOT_COME_BACK,
    ),
    "model with more, a name of ours": Case(
        OpenAccount,
        OpenAccount(**{"class": SECRET}),
        "",
        "OpenAccount",
        "OpenAccount",
        WOULD_NOT_COME_BACK,
    ),
    "union": Case(Item | list[int], {SECRET}, "", "set", "Item | list[int]"),
    "union, one of its forms": Case(Item | list[int], [1, SECRET], "[1]", "str", "int"),
    "union, each of its forms": Case(list[str] | list[int], [SECRET, 1], "[1]", "int", "str"),
    "union, the deepest fault": Case(
        list[tuple[int, ...]] | list[Item], [Item(SECRET, "a")], "[0].count", "str", "int"
    ),  # type: ignore[arg-type]
    "union, no deeper fault": Case(
        tuple[int, int] | tuple[str, int],
        (SECRET,),
        "",
        "tuple",
        "tuple[int, int] | tuple[str, int]",
    ),
    "union, field": Case(NameStep | Item, Item(SECRET, "a"), ".count", "str", "int"),  # type: ignore[arg-type]
}
every_misfit = pytest.mark.parametrize("case", MISFITS.values(), ids=MISFITS)


@every_misfit
def test_a_misfit_says_what_is_wrong_and_where(case: Case) -> None:
    """The path leads to the element, whose type and declaration are told, with the fault."""
    misfit = pack_misfit(case.hint, case.value)

    expected = case.path, case.kind, case.fault
    assert expected == (misfit.path, misfit.kind, misfit.fault)
    assert case.declared in ("", misfit.declared)


@every_misfit
def test_a_misfit_shows_no_value_and_no_key(case: Case) -> None:
    """Neither its texts nor the exceptions behind it have a word of a user in them."""
    misfit = pack_misfit(case.hint, case.value)
    shown = "".join(traceback.format_exception(misfit)) + told_by(misfit)
    texts = f"{misfit} {misfit.path} {misfit.kind} {misfit.declared} {misfit.reason}"

    assert (False, False) == (SECRET in texts, SECRET in shown)


def test_an_attribute_that_is_no_field_is_named() -> None:
    """The reason says which attribute it is, and what to do."""
    misfit = pack_misfit(Item, having(Item(), "total"))

    expected = "its attribute total is no field; declare it"
    assert expected == misfit.reason


def test_a_subclass_of_a_builtin_is_told_what_to_use() -> None:
    """The reason names the class that would come back."""
    assert "it would come back as str; use str itself" == pack_misfit(str, Name()).reason


def test_what_ttl_made_is_told_where_to_put_it() -> None:
    """The reason for an object of the library itself is its own advice."""
    reason = pack_misfit(list[int], [ttl(1, 60)]).reason

    assert reason.startswith("it is made by ttl(...), which marks a whole field")


def test_results_of_cached_properties_are_left_out() -> None:
    """A cached result is no field, and can be computed again."""

    @dataclass
    class Basket:
        prices: list[int] = field(default_factory=list)

        @cached_property
        def total(self) -> int:
            return sum(self.prices)

    basket = Basket([1, 2])
    assert 3 == basket.total

    assert {"prices": [1, 2]} == form_of(Basket).pack(basket)


def test_private_attributes_of_models_are_as_they_begin() -> None:
    """A private attribute of a pydantic model that has changed would not come back."""

    class Counted(pydantic.BaseModel):
        name: str = ""
        _seen: list[int] = pydantic.PrivateAttr(default_factory=list)
        _unset: int = pydantic.PrivateAttr()

    form, counted = form_of(Counted), Counted(name="ada")
    assert {"name": "ada"} == form.pack(counted)
    counted._seen.append(1)
    with pytest.raises(Misfit) as caught:
        form.pack(counted)

    assert ("._seen", WOULD_NOT_COME_BACK) == (caught.value.path, caught.value.fault)


def test_a_misfit_deep_inside_is_found_at_once() -> None:
    """The way to a misfit is not searched for again at each level: 60 of them take no time."""
    tree = Tree([SECRET])  # type: ignore[list-item]
    for _ in range(60):
        tree = Tree([tree])

    assert ".children[0]" * 61 == pack_misfit(Tree, tree).path
