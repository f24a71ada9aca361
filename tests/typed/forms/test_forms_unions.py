"""Unions and subclasses: the marks by which stored data tells its classes apart."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, make_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import attrs
import msgspec
import pydantic
import pytest

from support.forms import AgeStep, Box, Cat, Coin, Dog, NameStep, alike
from support.packing import pack_misfit, refusal, unpack_misfit, unpacked
from support.values import (
    NOON,
    Color,
    Item,
    Mood,
    Options,
    Order,
    Planet,
    Point,
    Right,
    Size,
    SpecialItem,
    Tag,
)
from telesession.typed.form import DOES_NOT_FIT, NOT_ALLOWED, WOULD_NOT_COME_BACK, Reading
from telesession.typed.hints import form_of


@dataclass
class Animal:
    """A base class."""

    name: str = ""


@dataclass
class Bird(Animal):
    """A subclass."""

    wings: int = 2


@dataclass(slots=True)
class Parrot(Bird):
    """A subclass of a subclass, which its decorator has made twice."""

    words: list[str] | None = None


class Plain(Animal):
    """A subclass that is no dataclass of its own, and adds no field."""


class Robot(Animal):
    """A subclass with an annotation that has no form."""

    code: type = int


Refused = make_dataclass("Refused", [("code", type, int)], bases=(Animal,))
Refused.__module__ = __name__


@attrs.define
class Vehicle:
    """A base class of attrs."""

    wheels: int = 0


@attrs.define
class Car(Vehicle):
    """A subclass of attrs."""

    doors: int = 0


class Shape(msgspec.Struct):
    """A base struct."""

    x: int = 0


class Circle(Shape):
    """A subclass of a struct."""

    r: int = 0


class Model(pydantic.BaseModel):
    """A base model."""

    x: int = 0


class SubModel(Model):
    """A subclass of a model."""

    y: int = 0


MARKED: dict[str, tuple[Any, Any, Any]] = {
    "none needed": (Item | None, Item("a"), {"name": "a", "count": 0}),
    "none needed, enum": (Color | int, Color.RED, "red"),
    "none needed, list": (Item | list[Item], [Item("a")], [{"name": "a", "count": 0}]),
    "none needed, natives": (str | datetime | list[int] | dict[str, int], {"a": 1}, {"a": 1}),
    "none needed, lists of natives": (list[int] | list[str], ["a"], ["a"]),
    "two dataclasses": (NameStep | AgeStep, AgeStep(7), {"class": "AgeStep", "age": 7}),
    "two dataclasses and a list": (NameStep | AgeStep | list[int], [1], [1]),
    "dataclass or dict, dataclass": (
        Item | dict[str, int],
        Item("a"),
        {"class": "Item", "name": "a", "count": 0},
    ),
    "dataclass or dict, dict": (
        Item | dict[str, int],
        {"a": 1},
        {"class": "dict", "value": {"a": 1}},
    ),
    "dataclass or typed dict": (
        Item | Options,
        {"size": 1},
        {"class": "Options", "value": {"size": 1}},
    ),
    "two typed dicts": (Order | Options, {"size": 1}, {"class": "Options", "value": {"size": 1}}),
    "enum or str, enum": (Color | str, Color.RED, {"class": "Color", "value": "red"}),
    "enum or str, str": (Color | str, "red", "red"),
    "two enums": (Color | Mood, Mood.GOOD, {"class": "Mood", "value": "good"}),
    "path or str": (Path | str, Path("a"), {"class": "Path", "value": "a"}),
    "two structs": (Cat | Dog, Cat("a"), {"class": "Cat", "cat_name": "a"}),
    "named tuple or tuple": (
        Point | tuple[int, ...],
        Point(1),
        {"class": "Point", "value": (1, 0)},
    ),
    "set or list of dataclasses": (
        set[Tag] | list[Tag],
        {Tag("a")},
        {"class": "set", "value": [{"text": "a", "color": "red"}]},
    ),
    "list of dataclasses or of int": (
        list[Item] | list[int],
        [Item("a")],
        {"class": "list", "value": [{"name": "a", "count": 0}]},
    ),
    "two lists of dataclasses": (
        list[Item] | list[Tag],
        [Item("a")],
        {"class": "list[Item]", "value": [{"name": "a", "count": 0}]},
    ),
    "literal of an enum and its value": (
        Literal[Color.RED, "red", 7],
        Color.RED,
        {"class": "Literal", "value": "red"},
    ),
    "literal of a value of an enum": (Literal[Color.RED, "red", 7], "red", "red"),
    "literal of two enums": (Literal[Color.RED, Mood.GOOD], Color.RED, "red"),
    "literal of two enums with one value": (
        Literal[Size.SMALL, Right.READ, 2],
        Right.READ,
        {"class": "Literal[Right.READ]", "value": 1},
    ),
    "two of a generic class": (
        Box[int] | Box[str],
        Box("a"),
        {"class": "Box[str]", "content": "a", "more": []},
    ),
    "base and subclass, subclass": (
        Animal | Bird,
        Bird("a"),
        {"class": "Bird", "name": "a", "wings": 2},
    ),
    "base and subclass, base": (Animal | Bird, Animal("a"), {"class": "Animal", "name": "a"}),
    "subclass of a member": (Item | Animal, Bird("a"), {"class": "Bird", "name": "a", "wings": 2}),
    "base": (Animal, Animal("a"), {"name": "a"}),
    "subclass": (Animal, Bird("a"), {"class": "Bird", "name": "a", "wings": 2}),
    "subclass of a subclass": (
        Animal,
        Parrot("a"),
        {"class": "Parrot", "name": "a", "wings": 2, "words": None},
    ),
    "subclass without fields": (Animal, Plain("a"), {"class": "Plain", "name": "a"}),
    "subclass of attrs": (Vehicle, Car(4, 2), {"class": "Car", "wheels": 4, "doors": 2}),
    "subclass of a struct": (Shape, Circle(1, 2), {"class": "Circle", "x": 1, "r": 2}),
    "subclass of a model": (Model, SubModel(x=1, y=0), {"class": "SubModel", "x": 1, "y": 0}),
    "iterable of dataclasses": (
        Iterable[Tag],
        (Tag("a"),),
        {"class": "tuple", "value": ({"text": "a", "color": "red"},)},
    ),
}


@pytest.mark.parametrize(("hint", "value", "packed"), MARKED.values(), ids=MARKED)
def test_marks_are_where_they_are_needed(hint: Any, value: Any, packed: Any) -> None:
    """Data says its class only if its type leaves that open, and always comes back."""
    form = form_of(hint)

    assert alike(packed, form.pack(value))
    assert alike(value, form.unpack(form.pack(value), Reading()))


UNMARKED: dict[str, tuple[Any, Any, Any]] = {
    "first member": (NameStep | AgeStep, {"name": "a"}, NameStep("a")),
    "second member": (NameStep | AgeStep, {"age": 7}, AgeStep(7)),
    "dict": (NameStep | dict[str, int], {"a": 7}, {"a": 7}),
    "dict with the key of a mark": (NameStep | dict[str, str], {"class": "a"}, {"class": "a"}),
    "enum": (Color | Mood, "good", Mood.GOOD),
    "the only member of dicts": (NameStep | Path | str, {"name": "a"}, NameStep("a")),
    "set": (set[Tag] | None, [{"text": "a"}], {Tag("a")}),
    "subclass": (Animal | Bird, {"name": "a", "wings": 1}, Bird("a", 1)),
}


@pytest.mark.parametrize(("hint", "plain", "value"), UNMARKED.values(), ids=UNMARKED)
def test_data_without_a_mark_is_of_the_member_with_a_place_for_it(
    hint: Any, plain: Any, value: Any
) -> None:
    """A record that is older than a union has no marks; the members are tried in order."""
    back, reading = unpacked(hint, plain)

    assert alike(value, back)
    assert set() == reading.undeclared


def test_data_without_a_mark_may_have_undeclared_fields() -> None:
    """If no member has a place for all of it, the first one is taken, and the rest is named."""
    back, reading = unpacked(NameStep | AgeStep, {"old": 1})

    assert NameStep() == back
    assert (True, {"NameStep.old"}) == (reading.filled, reading.undeclared)


def test_a_default_that_a_member_makes_is_noted() -> None:
    """The notes of the chosen member are the notes of the union."""

    @dataclass
    class Random:
        number: int = 0

    back, reading = unpacked(Random | Coin, {"class": "Coin"})

    assert (Coin(), True, False) == (back, reading.filled, reading.made)


def test_two_classes_of_one_name_are_refused() -> None:
    """Stored data could not tell them apart."""
    one, other = (make_dataclass("Same", [(name, int)]) for name in "ab")

    assert (
        "Same has two classes named Same, which stored data could not tell apart; rename one of "
        "them"
    ) == refusal(one | other)


def test_a_subclass_is_refused_if_it_has_no_form() -> None:
    """The reason is that of the subclass."""
    misfit = pack_misfit(list[Animal], [Animal(), Refused()])

    assert ("[1]", "Refused", WOULD_NOT_COME_BACK) == (misfit.path, misfit.kind, misfit.fault)
    assert "its class cannot be kept: the annotation of Refused.code: type is a class" in (
        misfit.reason
    )


def test_two_subclasses_of_one_name_are_refused() -> None:
    """Only the newest of the subclasses with one name would come back."""
    older, newer = (make_dataclass("Twin", [], bases=(Animal,)) for _ in range(2))
    misfit = pack_misfit(Animal, older("a"))

    assert {"class": "Twin", "name": "a"} == form_of(Animal).pack(newer("a"))
    assert "another class of Animal has the same name; rename one of them" == misfit.reason


def test_a_subclass_with_the_name_of_another_member_is_refused() -> None:
    """The mark of a subclass must not be that of another member."""
    other = make_dataclass("NameStep", [], bases=(Animal,))
    misfit = pack_misfit(NameStep | Animal, other("a"))

    assert "another class of the union has the same name; rename one" == misfit.reason


def test_an_unknown_subclass_says_what_to_import() -> None:
    """A subclass is known once its module is imported."""
    misfit = unpack_misfit(list[Animal], [{"class": "Gone", "name": "a"}])

    assert ("[0]", NOT_ALLOWED) == (misfit.path, misfit.fault)
    assert (
        "it is of a subclass of Animal that is not known here; import the module that defines it; "
        "if it was renamed, keep the old name as an empty subclass, or write a migration"
    ) == misfit.reason


@pytest.mark.parametrize(
    "plain", [{"class": "Gone", "name": "a"}, {"class": "Gone", "value": ["a"]}, {"class": "Gone"}]
)
def test_an_unknown_class_of_a_union_says_what_to_do(plain: Any) -> None:
    """A class that was renamed is found by its old name."""
    misfit = unpack_misfit(list[NameStep | list[Item] | Item], [plain])

    assert ("[0]", NOT_ALLOWED) == (misfit.path, misfit.fault)
    assert misfit.reason.startswith(
        "it is of a class that NameStep | list[Item] | Item does not declare; import the module"
    )


def test_a_renamed_class_keeps_its_old_name_as_a_subclass() -> None:
    """An empty subclass with the old name reads older records of a union, too."""
    old = make_dataclass("OldBird", [], bases=(Bird,))

    assert old("a", 1) == unpacked(Bird | Item, {"class": "OldBird", "name": "a", "wings": 1})[0]


class Texts(NamedTuple):
    """A named tuple of one text."""

    first: str


SPLIT: dict[str, tuple[Any, Any]] = {
    "list of paths or of str": (list[Path] | list[str], ["a"]),
    "empty list of paths or of str": (list[Path] | list[str], []),
    "deque or list": (deque[int] | list[int], [1]),
    "path or literal": (Path | Literal["auto"], "auto"),
    "list of dataclasses or of dicts": (list[NameStep] | list[dict[str, str]], [{"name": "a"}]),
    "tuple of paths or of str": (tuple[Path, ...] | tuple[str, str], ("a", "b")),
    "named tuple or tuple": (Texts | tuple[str], ("a",)),
    "sequence of paths or of str, list": (Sequence[Path] | Sequence[str], ["a"]),
    "sequence of paths or of str, tuple": (Sequence[Path] | Sequence[str], ("a",)),
    "dict by dataclass or OrderedDict": (
        dict[Tag, int] | OrderedDict[Planet, bool],
        OrderedDict(),
    ),
    "deep": (list[list[Path] | list[str]], [["a"], [Path("b")]]),
}


@pytest.mark.parametrize(("hint", "value"), SPLIT.values(), ids=SPLIT)
def test_data_without_a_mark_is_of_a_member_that_marks_nothing(hint: Any, value: Any) -> None:
    """A member that marks its data has not written data without a mark."""
    form = form_of(hint)

    assert alike(value, form.unpack(form.pack(value), Reading()))


EDITED: dict[str, tuple[Any, Any, Any]] = {
    "member of another item": (list[Item] | set[Tag], list[Item | None] | set[Tag], [Item("a")]),
    "one more of a container": (list[Item] | set[Tag], list[Item] | list[Tag], [Item("a")]),
    "one less of a container": (list[Item] | list[Tag], list[Item] | set[Tag], [Item("a")]),
    "other literals": (
        Literal[Color.RED] | str,
        Literal[Color.RED, Color.BLUE] | str,
        Color.RED,
    ),
    "path": (Path | str, Path, Path("a")),
    "path in a union": (Path | str, Path | int, Path("a")),
    "enum": (Color | str, Color, Color.RED),
    "literal": (Literal[Color.RED] | str, Literal[Color.RED], Color.RED),
    "list": (list[Item] | list[Tag], list[Item], [Item("a")]),
    "list in a dict": (dict[str, list[Item] | set[Tag]], dict[str, list[Item]], {"a": [Item()]}),
    "set": (list[Item] | set[Tag], set[Tag], {Tag("a")}),
    "tuple": (tuple[Path, int] | tuple[str, int], tuple[Path, int], (Path("a"), 1)),
    "named tuple": (Texts | tuple[str], Texts, Texts("a")),
    "deque": (deque[int] | list[int], deque[int], deque([1])),
    "dataclass": (Item | NameStep, Item, Item("a")),
}


@pytest.mark.parametrize(("old", "new", "value"), EDITED.values(), ids=EDITED)
def test_marked_data_outlives_its_union(old: Any, new: Any, value: Any) -> None:
    """The annotation of a member may change, and the union may become one of its members."""
    packed = form_of(old).pack(value)
    back, reading = unpacked(new, packed)

    assert alike(value, back)
    assert reading.filled is not alike(packed, form_of(new).pack(value))


@pytest.mark.parametrize("hint", [Path, list[Item], deque[Item], Color, Texts, Literal["a"]])
def test_the_mark_of_another_form_is_refused(hint: Any) -> None:
    """Only the own mark of a form leads to its data."""
    misfit = unpack_misfit(hint, {"class": "Gone", "value": []})

    assert ("", DOES_NOT_FIT) == (misfit.path, misfit.fault)


@dataclass
class Fork:
    """A dataclass with a union, two members of which may be right."""

    ends: tuple[Fork, ...] | tuple[Fork, Fork] | None = None
    number: int = 0


@dataclass
class Nest:
    """A dataclass with a union, the second member of which is right."""

    egg: tuple[Nest, list[int]] | tuple[Nest, list[str]] | None = None


def test_a_misfit_in_many_unions_is_found_at_once() -> None:
    """Each value is tried once with each member, however deep it is."""
    fork = Fork(number="a")  # type: ignore[arg-type]
    plain: Any = {"ends": None, "number": "a"}
    for _ in range(60):
        fork = Fork((fork, Fork()))
        plain = {"ends": ({"ends": None, "number": 1}, plain), "number": 1}

    assert ".ends[0]" * 60 + ".number" == pack_misfit(Fork, fork).path
    assert ".ends[1]" * 60 + ".number" == unpack_misfit(Fork, plain).path


def test_the_second_member_in_many_unions_is_found_at_once() -> None:
    """The member that took a value is known to the unions around it."""
    nest = Nest()
    for _ in range(40):
        nest = Nest((nest, ["a"]))
    form = form_of(Nest)

    assert nest == form.unpack(form.pack(nest), Reading())


def test_a_union_is_tried_anew_each_time() -> None:
    """The choice for a value does not hold after the value has changed."""
    form, value = form_of(list[Path] | list[Item]), [Path("a")]
    first = form.pack(value)
    value[0] = Item("a")  # type: ignore[call-overload]

    assert ("list[Path]", "list[Item]") == (first["class"], form.pack(value)["class"])


def test_a_union_with_any_is_any() -> None:
    """Nothing is known of the values of a union with `Any`."""
    form = form_of(Item | Any)

    assert (True, True) == (form.is_untyped, form.is_native)
    assert form.pack(NOON) is NOON


def test_a_union_takes_what_a_member_takes() -> None:
    """The factory of a `defaultdict` comes from a default in a union, too."""
    assert {"class": "SpecialItem", "name": "tea", "count": 0, "gift": True} == form_of(
        Item | None
    ).pack(SpecialItem())


def test_a_list_becomes_the_only_member_that_takes_it() -> None:
    """A field that was a list is read if an optional tuple is declared now."""
    assert ((1,), True) == (
        unpacked(tuple[int, ...] | None, [1])[0],
        unpacked(tuple[int, ...] | None, [1])[1].filled,
    )
