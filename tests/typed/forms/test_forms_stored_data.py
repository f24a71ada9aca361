"""Stored data: of records that are older than a form, that lack fields, or that do not fit."""

from __future__ import annotations

import traceback
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest

from support.forms import (
    Account,
    Cell,
    Coin,
    Listed,
    NameStep,
    OpenAccount,
    Seat,
    Ticket,
    alike,
    counts,
)
from support.packing import unpack_misfit, unpacked
from support.values import (
    NOON,
    SECRET,
    Color,
    Doubled,
    Item,
    Line,
    Options,
    Point,
    Right,
    Size,
    SpecialItem,
    Strict,
    Tag,
    Tree,
    told_by,
)
from telesession.typed.form import DOES_NOT_FIT, NOT_ALLOWED
from telesession.typed.hints import form_of

# Data as it was stored before forms followed annotations: plain data, and objects in pickles.
OLD: dict[str, tuple[Any, Any, Any]] = {
    "dataclass": (Item, {"name": "a", "count": 2}, Item("a", 2)),
    "frozen dataclass": (Tag, {"text": "a", "color": "blue"}, Tag("a", Color.BLUE)),
    "recursive dataclass": (
        Tree,
        {"children": [{"children": [], "parent": None}], "parent": None},
        Tree([Tree()]),
    ),
    "optional": (Item | None, {"name": "a", "count": 2}, Item("a", 2)),
    "list of dataclasses": (list[Item], [{"name": "a", "count": 2}], [Item("a", 2)]),
    "dict of dataclasses": (
        dict[str, Item],
        {"k": {"name": "a", "count": 2}},
        {"k": Item("a", 2)},
    ),
    "tuple of two": (tuple[Item, int], ({"name": "a", "count": 2}, 1), (Item("a", 2), 1)),
    "set of dataclasses": (set[Tag], [{"text": "a", "color": "red"}], {Tag("a")}),
    "frozenset of dataclasses": (
        frozenset[Tag],
        [{"text": "a", "color": "red"}],
        frozenset({Tag("a")}),
    ),
    "Enum": (Color, "blue", Color.BLUE),
    "Enum or int": (Color | int, "blue", Color.BLUE),
    "Enum in an object of a pickle": (Color, Color.RED, Color.RED),
    "IntEnum": (Size, 2, Size.LARGE),
    "Flag": (Right, 3, Right.READ | Right.WRITE),
    "dict by enum": (dict[Color, int], {"blue": 1}, {Color.BLUE: 1}),
    "set of enums": (set[Color], {"blue"}, {Color.BLUE}),
    "datetime": (datetime, NOON, NOON),
    "TypedDict": (Options, {"size": 1}, {"size": 1}),
    "Path": (Path, Path("a"), Path("a")),
    "list of Path": (list[Path], [Path("a")], [Path("a")]),
    "Fraction": (Fraction, Fraction(1, 2), Fraction(1, 2)),
    "NamedTuple": (Point, Point(1, 2), Point(1, 2)),
    "NamedTuple of dataclasses": (
        Line,
        Line(Item("a"), Color.RED),
        Line(Item("a"), Color.RED),
    ),
    "deque of dataclasses": (deque[Item], deque([Item("a")], 3), deque([Item("a")], 3)),
    "OrderedDict": (OrderedDict[str, int], OrderedDict(a=1), OrderedDict(a=1)),
    "Counter": (Counter[str], Counter("tea"), Counter("tea")),
    "defaultdict": (defaultdict[str, int], defaultdict(int, a=1), defaultdict(int, a=1)),
    "attrs": (Ticket, Ticket(1, [Item()]), Ticket(1, [Item()])),
    "Struct": (Coin, Coin(1, ["a"]), Coin(1, ["a"])),
    "pydantic model": (Account, Account(name="a"), Account(name="a")),
    "dataclass with a Struct": (
        list[Coin | None],
        [Coin(1), None],
        [Coin(1), None],
    ),
}


@pytest.mark.parametrize(("hint", "plain", "value"), OLD.values(), ids=OLD)
def test_older_data_is_read(hint: Any, plain: Any, value: Any) -> None:
    """Older data becomes the value that it was; it is noted if that packs to other data."""
    packed = form_of(hint).pack(value)
    back, reading = unpacked(hint, plain)

    assert alike(value, back)
    expected = not alike(packed, plain), False, set()
    assert expected == (reading.filled, reading.made, reading.undeclared)


def test_one_dict_in_two_places_becomes_two_objects() -> None:
    """A pickle may hold the same dict twice, but two fields are two objects."""
    plain = {"name": "tea", "count": 1}
    first, second = unpacked(list[Item], [plain, plain])[0]
    first.count = 2

    assert ({"name": "tea", "count": 1}, Item("tea", 1)) == (plain, second)


@dataclass
class Raising:
    """A dataclass whose hash quotes it."""

    text: str = ""

    def __hash__(self) -> int:
        raise TypeError(f"no hash for {self.text}")


class Case(NamedTuple):
    """Data that does not fit, and its refusal."""

    hint: Any
    plain: Any
    path: str = ""
    kind: str = ""
    fault: str = DOES_NOT_FIT


UNFIT: dict[str, Case] = {
    "int": Case(int, SECRET, "", "str"),
    "bytearray": Case(bytearray, SECRET, "", "str"),
    "list": Case(list[int], SECRET, "", "str"),
    "list, items": Case(list[int], [1, SECRET], "[1]", "str"),
    "dict": Case(dict[str, int], [], "", "list"),
    "dict, values": Case(dict[str, Item], {SECRET: {"count": SECRET}}, "[<str>].count", "str"),
    "dict, keys": Case(dict[int, int], {SECRET: 1}, "[<str>]", "str"),
    "dict of pairs": Case(dict[Tag, int], [[{"text": SECRET}]], "", "list"),
    "dict of pairs, key": Case(dict[Tag, int], [[{"text": 7}, 1]], "[<dict>].text", "int"),
    "set, items that raise": Case(set[Raising], [{"text": SECRET}], "", "list"),
    "dict of pairs, keys that raise": Case(dict[Raising, int], [[{"text": SECRET}, 1]], "", "list"),
    "dict of pairs, unhashable": Case(dict[Item, int], [[{}, 1]], "", "list"),
    "set, unhashable": Case(set[Item], [{}], "", "list"),
    "tuple": Case(tuple[int, int], SECRET, "", "str"),
    "tuple, items": Case(tuple[int, int], (1, SECRET), "[1]", "str"),
    "tuple, length": Case(tuple[int, int], (1,), "", "tuple"),
    "enum": Case(Color, SECRET, "", "str", NOT_ALLOWED),
    "enum, type": Case(Size, True, "", "bool"),
    "enum by name": Case(Listed, SECRET, "", "str", NOT_ALLOWED),
    "flag": Case(Right, 64, "", "int", NOT_ALLOWED),
    "literal": Case(Literal["a"], SECRET, "", "str", NOT_ALLOWED),
    "Meta": Case(Annotated[int, msgspec.Meta(lt=3)], 7, "", "int", NOT_ALLOWED),
    "Path": Case(Path, 7, "", "int"),
    "Fraction": Case(Fraction, SECRET, "", "str"),
    "ZoneInfo": Case(ZoneInfo, SECRET, "", "str"),
    "deque": Case(deque[int], SECRET, "", "str"),
    "deque, items": Case(deque[int], [1, SECRET], "[1]", "str"),
    "deque with a length": Case(deque[int], {"maxlen": 1, "items": [1, 2]}, "", "dict"),
    "deque in a pickle": Case(deque[int], deque([1, SECRET]), "[1]", "str"),
    "Counter": Case(Counter[str], [SECRET], "", "list"),
    "NamedTuple": Case(Point, SECRET, "", "str"),
    "NamedTuple, field": Case(Point, (1, SECRET), ".y", "str"),
    "NamedTuple, more": Case(Point, (1, 2, SECRET), "", "tuple"),
    "NamedTuple, less": Case(Point, (), "", "tuple"),
    "NamedTuple in a pickle": Case(Point, Point(1, SECRET), ".y", "str"),  # type: ignore[arg-type]
    "TypedDict": Case(Options, [SECRET], "", "list"),
    "TypedDict, value": Case(Options, {"size": SECRET}, "['size']", "str"),
    "TypedDict, less": Case(Options, {"label": SECRET}, "", "dict"),
    "dataclass": Case(Item, [SECRET], "", "list"),
    "dataclass, field": Case(Item, {"name": "a", "count": SECRET}, ".count", "str"),
    "dataclass in a pickle": Case(list[Item], [Item(SECRET, 7.5)], "[0].count", "float"),  # type: ignore[arg-type]
    "dataclass, missing": Case(list[Doubled], [{"count": 7}], "[0]", "dict"),
    "attrs, field": Case(Ticket, {"items": [{"name": 7}]}, ".items[0].name", "int"),
    "Struct, field": Case(Coin, {"value": SECRET}, ".value", "str"),
    "model, field": Case(Account, {"name": 7}, ".name", "int"),
    "sequence": Case(Sequence[int], {SECRET: 1}, "", "dict"),
    "union": Case(Item | list[int], SECRET, "", "str"),
    "unknown subclass": Case(Item, {"class": SECRET, "name": "a"}, "", "dict", NOT_ALLOWED),
    "a mark that is no text": Case(Item, {"class": [SECRET]}, "", "dict", NOT_ALLOWED),
}

every_unfit = pytest.mark.parametrize("case", UNFIT.values(), ids=UNFIT)


@every_unfit
def test_data_that_does_not_fit_is_refused(case: Case) -> None:
    """The path leads to the element, and no word of the data is shown."""
    misfit = unpack_misfit(case.hint, case.plain)
    shown = "".join(traceback.format_exception(misfit)) + misfit.path + told_by(misfit)

    expected = case.path, case.kind, case.fault
    assert expected == (misfit.path, misfit.kind, misfit.fault)
    assert SECRET not in shown


# Fields that came and went


@dataclass(eq=False)
class Part:
    """A dataclass that can be a default, though it can change."""

    sizes: list[int] = field(default_factory=list)


@dataclass
class Whole:
    """A dataclass whose default can change."""

    part: Part = Part()  # noqa: RUF009 -- only one such object


def test_a_missing_field_without_a_default_is_named() -> None:
    """A field that was added later needs a default or a migration."""
    expected = (
        "it lacks the field double, which Doubled declares without a default; give double a "
        "default, or write a migration"
    )
    assert expected == unpack_misfit(Doubled, {"count": 1}).reason


def test_a_missing_field_has_its_default() -> None:
    """The default is taken, which is noted."""
    value, reading = unpacked(list[Item], [{"name": "a"}])

    assert [Item("a", 0)] == value
    assert (True, False, set()) == (reading.filled, reading.made, reading.undeclared)


def test_a_default_that_was_made_is_noted() -> None:
    """A function may make another default each time, so that it has to be stored."""

    @dataclass
    class Login:
        token: uuid.UUID = field(default_factory=uuid.uuid4)

    value, reading = unpacked(Login, {})

    assert isinstance(value.token, uuid.UUID)
    assert (True, True) == (reading.filled, reading.made)


def test_an_empty_container_is_the_same_whenever_it_is_made() -> None:
    """An empty list or dict as a default is filled in, but does not differ the next time."""
    value, reading = unpacked(Tree, {})

    assert Tree() == value
    assert (True, False) == (reading.filled, reading.made)


def test_defaults_are_not_shared() -> None:
    """Each value has a copy of a default that can change."""

    one, other = unpacked(Whole, {})[0], unpacked(Whole, {})[0]

    assert one.part is not other.part
    assert one.part.sizes is not other.part.sizes


@pytest.mark.parametrize("cls", [Item, Ticket, Coin, Account, Seat, Cell])
def test_an_undeclared_field_is_left_out_and_named(cls: Any) -> None:
    """The names of fields that no longer exist are collected, and no value."""
    form = form_of(cls)
    plain = {**form.pack(cls()), "old": SECRET}
    value, reading = unpacked(cls, plain)

    assert alike(cls(), value)
    assert (True, {f"{cls.__name__}.old"}) == (reading.filled, reading.undeclared)


def test_undeclared_keys_of_typed_dicts_are_left_out() -> None:
    """A typed dict has its declared keys only."""
    value, reading = unpacked(list[Options], [{"size": 1, "old": SECRET}])

    assert [{"size": 1}] == value
    assert {"Options.old"} == reading.undeclared


def test_a_model_that_keeps_more_keeps_it() -> None:
    """Fields that a pydantic model allows beside the declared ones are kept as they are."""
    value, reading = unpacked(OpenAccount, {"name": "ada", "old": [1]})

    assert {"old": [1]} == value.model_extra
    assert (False, set()) == (reading.filled, reading.undeclared)


def test_the_shorter_tuple_of_a_named_tuple_is_filled() -> None:
    """A field that was added at the end has its default."""
    value, reading = unpacked(Point, (1,))

    assert (Point(1, 0), True) == (value, reading.filled)


def test_attrs_defaults_may_need_the_fields_before() -> None:
    """A default that takes the object gets one with the fields that come first."""

    @attrs.define
    class Range:
        start: int = 0
        stop: int = attrs.Factory(lambda self: self.start + 5, takes_self=True)
        steps: list[int] = attrs.Factory(list)

    assert Range(2, 7, []) == unpacked(Range, {"start": 2})[0]


def test_model_defaults_may_need_the_fields_before() -> None:
    """A default of pydantic that takes the data gets the fields that come first."""

    class Range(pydantic.BaseModel):
        start: int = 0
        stop: int = pydantic.Field(default_factory=lambda data: data["start"] + 5)

    assert Range(start=2, stop=7) == unpacked(Range, {"start": 2})[0]


def test_a_field_without_a_default_in_other_classes() -> None:
    """Classes of attrs, msgspec and pydantic may have required fields, too."""

    @attrs.define
    class OfAttrs:
        number: int

    class OfMsgspec(msgspec.Struct):
        number: int

    class OfPydantic(pydantic.BaseModel):
        number: int

    for cls in (OfAttrs, OfMsgspec, OfPydantic):
        assert "it lacks the field number" in unpack_misfit(cls, {}).reason


# Lists in the place of other containers


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (tuple[int, ...], (1,)),
        (tuple[int], (1,)),
        (set[int], {1}),
        (frozenset[int], frozenset({1})),
    ],
    ids=["tuple", "tuple of one", "set", "frozenset"],
)
def test_a_list_becomes_what_is_declared_now(hint: Any, value: Any) -> None:
    """A field that was a list and is declared otherwise now is read, and written anew."""
    back, reading = unpacked(hint, [1])

    assert alike(value, back)
    assert reading.filled


def test_the_default_of_a_field_gives_the_factory() -> None:
    """The `default_factory` of a default is what loaded values have."""

    @dataclass
    class Votes:
        counts: defaultdict[str, defaultdict[str, int]] = field(
            default_factory=lambda: defaultdict(counts)
        )
        lists: defaultdict[str, list[int]] | None = None

    form = form_of(Votes)
    votes = unpacked(Votes, form.pack(Votes()))[0]
    votes.counts["tea"]["ada"] += 1

    assert {"tea": {"ada": 1}} == form.pack(votes)["counts"]
    assert votes.counts.default_factory is counts


def test_a_missing_value_of_a_defaultdict_is_made_as_declared() -> None:
    """The `default_factory` is that of the values' annotation."""
    value = unpacked(defaultdict[str, defaultdict[str, list[int]]], {})[0]
    value["a"]["b"].append(1)

    assert {"a": {"b": [1]}} == value


# Objects that are loaded


def test_loading_runs_no_code_of_the_class() -> None:
    """Neither `__init__` nor `__post_init__` runs: what was stored is what comes back."""
    runs: list[str] = []

    @dataclass
    class OfDataclasses:
        number: int = 1

        def __post_init__(self) -> None:
            runs.append("dataclass")

    @attrs.define
    class OfAttrs:
        number: int = attrs.field(default=1, validator=lambda *_: runs.append("validator"))

        def __attrs_post_init__(self) -> None:
            runs.append("attrs")

    class OfMsgspec(msgspec.Struct):
        number: int = 1

        def __post_init__(self) -> None:
            runs.append("msgspec")

    class OfPydantic(pydantic.BaseModel):
        number: int = 1

        def model_post_init(self, _context: object) -> None:
            runs.append("pydantic")

    for cls in (OfDataclasses, OfAttrs, OfMsgspec, OfPydantic):
        assert 7 == unpacked(cls, {"number": 7})[0].number
        assert 7 == unpacked(cls, form_of(cls).pack(unpacked(cls, {"number": 7})[0]))[0].number
    assert [] == runs


def test_an_object_that_would_refuse_is_loaded() -> None:
    """A class may refuse new objects with data that older ones have."""
    assert "ada" == unpacked(Strict, {"text": "ada"})[0].text


def test_loaded_objects_have_their_hash() -> None:
    """Objects that keep their hash compute it when it is needed."""

    class Key(msgspec.Struct, frozen=True, cache_hash=True):
        number: int = 0

    seat = unpacked(Seat, {"row": 1, "color": "red"})[0]

    assert hash(Seat(1)) == hash(seat)
    assert hash(Key(1)) == hash(unpacked(Key, {"number": 1})[0])


def test_a_frozen_object_stays_frozen() -> None:
    """A loaded object refuses changes as every other one."""
    with pytest.raises(AttributeError):
        unpacked(Cell, {"x": 1, "y": 1})[0].x = 2


def test_a_subclass_is_read_by_its_name() -> None:
    """Data with the name of a subclass becomes an instance of it."""
    value = unpacked(list[Item], [{"class": "SpecialItem", "name": "a", "count": 1, "gift": False}])

    assert alike([SpecialItem("a", 1, False)], value[0])


def test_a_class_that_names_itself_is_read() -> None:
    """The name of the declared class is no mistake: it is stored where a union was declared."""
    assert NameStep("a") == unpacked(NameStep, {"class": "NameStep", "name": "a"})[0]
