"""Names that stand for annotations: aliases, type variables, and the names of later Pythons."""

from __future__ import annotations

import typing
from collections import defaultdict, namedtuple
from dataclasses import dataclass
from typing import Generic, NamedTuple, Self

import typing_extensions

from support.packing import pack_misfit, unpacked
from telesession.typed.hints import form_of

T = typing.TypeVar("T")
Several = typing_extensions.TypeAliasType("Several", list[T] | T, type_params=(T,))
Number = typing_extensions.TypeAliasType("Number", int | float)


# The parts of an alias that name itself are text before Python 3.12.
Json = typing_extensions.TypeAliasType(
    "Json", dict[str, "Json"] | list["Json"] | str | float | bool | None
)
Deep = typing_extensions.TypeAliasType("Deep", list[typing.Union["Deep", int]])


class Film(typing_extensions.TypedDict):
    """A typed dict of typing_extensions, whose annotations are text."""

    title: typing_extensions.ReadOnly[str]
    year: typing_extensions.NotRequired[int]
    sequel: typing_extensions.NotRequired[Film]


class Labelled(NamedTuple, Generic[T]):
    """A generic named tuple."""

    label: str
    content: T


class Branch(NamedTuple):
    """A named tuple that refers to itself."""

    branches: tuple[Branch, ...] = ()


@dataclass
class Pair(Generic[T]):
    """A generic dataclass that refers to itself, in two ways."""

    left: T
    right: Self | None = None
    others: list[Pair[T]] | None = None


def test_an_alias_may_refer_to_itself() -> None:
    """An alias stands for its annotation, at each place inside it as well."""
    form = form_of(Json)
    value = {"a": [1.5, [True, None, {}]]}

    assert value == unpacked(Json, form.pack(value))[0]
    assert (True, False) == (form.is_plain, form.is_untyped)
    assert "[<str>][1]" == pack_misfit(Json, {"a": [1, {2}]}).path


def test_an_alias_can_be_named_twice() -> None:
    """Each use of an alias is the same form."""
    form = form_of(dict[Number, Number])

    assert (True, "dict[int | float, int | float]") == (form.is_native, form.text)


def test_a_union_may_have_an_alias_of_itself() -> None:
    """A member whose data may be of any type is marked."""
    packed = form_of(Deep).pack([1, [2]])

    assert [1, {"class": "Deep", "value": [2]}] == packed
    assert [1, [2]] == unpacked(Deep, packed)[0]


def test_a_generic_alias_has_its_arguments() -> None:
    """The arguments of an alias are put into its annotation."""
    assert "list[int] | int" == form_of(Several[int]).text


def test_typed_dicts_of_typing_extensions_work() -> None:
    """`NotRequired` and `ReadOnly` are found inside text, and in any package."""
    form = form_of(Film)
    film = {"title": "a", "sequel": {"title": "b", "year": 1}}

    assert film == form.pack(film)
    assert "it lacks the key 'title'; set it, or declare it as NotRequired" == (
        pack_misfit(Film, {"year": 1}).reason
    )


def test_generic_named_tuples_have_their_arguments() -> None:
    """A generic named tuple is of the types that it is given."""
    assert ("a", 1) == form_of(Labelled[int]).pack(Labelled("a", 1))
    assert ".content" == pack_misfit(Labelled[int], Labelled("a", "b")).path


def test_named_tuples_may_refer_to_themselves() -> None:
    """A named tuple can have others of its class inside."""
    value = Branch((Branch(), Branch((Branch(),))))

    assert value == unpacked(Branch, form_of(Branch).pack(value))[0]


def test_generic_classes_may_refer_to_themselves() -> None:
    """`Self` and the name of the class have the arguments of the whole."""
    value = Pair(1, Pair(2), [Pair(3)])

    assert value == unpacked(Pair[int], form_of(Pair[int]).pack(value))[0]
    assert ".right.left" == pack_misfit(Pair[int], Pair(1, Pair("a"))).path  # type: ignore[arg-type]
    assert ".others[0].left" == pack_misfit(Pair[int], Pair(1, None, [Pair("a")])).path  # type: ignore[list-item]


def test_the_class_of_a_generic_instance_may_be_noted_in_it() -> None:
    """Python notes the arguments with which an instance was made, which are no field."""
    assert {"left": 1, "right": None, "others": None} == form_of(Pair[int]).pack(Pair[int](1))


def test_a_namedtuple_without_types_takes_anything() -> None:
    """The fields of `collections.namedtuple` have no annotations."""
    pair = namedtuple("pair", "left right")  # noqa: PYI024 -- it is about that

    assert form_of(pair).is_untyped


def test_a_defaultdict_without_types_has_no_factory() -> None:
    """Without an annotation of the values, only a default says what to make."""
    value = defaultdict(list, a=[1])
    form = form_of(defaultdict)

    assert "" == pack_misfit(defaultdict, value).path
    assert {"a": [1]} == form.with_default(value).pack(value)
    assert form.pack(defaultdict(None)) == form_of(defaultdict[str, T]).pack(defaultdict(None))  # type: ignore[valid-type]
