"""Annotations that are refused: the declaration, the reason, and the way out."""

from __future__ import annotations

import enum
import re
import typing
from collections import ChainMap, UserDict, deque
from collections.abc import AsyncIterator, Callable, Generator, Hashable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol, TypedDict

import attrs
import msgspec
import pydantic
import pytest
import telebot

from support.packing import refusal, unpacked
from support.values import Item, Money, Seeded
from telesession.typed.hints import form_of, record_form


class Speaks(Protocol):
    """A protocol."""

    def speak(self) -> str: ...


class Text(str):
    """A subclass of a builtin."""

    __slots__ = ()


@dataclass
class Headers(dict[str, str]):
    """A dataclass that is a dict, too."""

    name: str = ""


@attrs.define
class Failure(Exception):
    """An exception made by attrs."""

    code: int = 0


@dataclass
class Holder:
    """A dataclass with a field that has no form."""

    callback: Callable[[], None] | None = None


class Parameters(typing.NamedTuple):
    """A named tuple with a field that has no form."""

    pattern: re.Pattern[str]


class Keys(TypedDict):
    """A typed dict with a value that has no form."""

    pattern: re.Pattern[str]


class OddStruct(msgspec.Struct):
    """A struct with a field that has no form."""

    kind: type[int] = int


class OddModel(pydantic.BaseModel, arbitrary_types_allowed=True):
    """A model with a field that has no form."""

    money: Money | None = None


@dataclass
class Unread:
    """A dataclass with an annotation that is no annotation."""

    number: typing.List[int, str]  # type: ignore[type-arg]  # noqa: UP006


KeywordModel: Any = pydantic.create_model("KeywordModel", **{"class": (str, "")})
KeywordStruct = msgspec.defstruct("KeywordStruct", [("class", str, "")])

P = typing.ParamSpec("P")
NOTHING = (
    "is a class that nothing converts; make it a dataclass, declare plain data such as str, or "
    "declare Any"
)

REFUSED: dict[str, tuple[Any, str, str]] = {
    "Callable": (Callable[[int], str], "Callable[[int], str] is code", "store a name"),
    "Callable of typing": (typing.Callable, "Callable is code", "store a name"),
    "Pattern": (re.Pattern[str], "Pattern[str] is not stored", "store the pattern as str"),
    "type": (type, "type is a class", "store its name"),
    "type[X]": (type[int], "type[int] is a class", "store its name"),
    "Iterator": (Iterator[int], "Iterator[int] can be read only once", "declare list[...]"),
    "Generator": (Generator[int, None, None], "Generator[int", "declare list[...]"),
    "AsyncIterator": (AsyncIterator[int], "AsyncIterator[int]", "declare list[...]"),
    "protocol": (Speaks, "Speaks is a protocol", "declare the classes that fit it"),
    "abstract class": (Hashable, "Hashable ", NOTHING),
    "telebot": (telebot.types.Message, "Message is of telebot", "to_dict(), json or id"),
    "list of telebot": (list[telebot.types.User], "User is of telebot", "to_dict(), json or id"),
    "Never": (typing.Never, "Never fits no value", "declare the type"),
    "class": (Money, "Money ", NOTHING),
    "optional class": (Money | None, "Money ", NOTHING),
    "range": (range, "range ", NOTHING),
    "subclass of str": (Text, "Text ", NOTHING),
    "ChainMap": (ChainMap[str, int], "ChainMap[str, int] ", NOTHING),
    "UserDict": (UserDict, "UserDict ", NOTHING),
    "ClassVar": (ClassVar[int], "ClassVar[int] is no type", "declare"),
    "ParamSpec": (P, "~P is no type", "declare"),
    "InitVar": (Seeded, "Seeded has the InitVar seed, which is not kept", "make it a field"),
    "dataclass and dict": (Headers, "Headers is a subclass of a builtin type", "make it a field"),
    "attrs and exception": (Failure, "Failure is a subclass of a builtin", "make it a field"),
    "field": (Holder, "the annotation of Holder.callback: Callable[[], None] is code", "name"),
    "named tuple": (Parameters, "the annotation of Parameters.pattern: Pattern[str] ", "str"),
    "typed dict": (list[Keys], "the annotation of Keys.pattern: Pattern[str] ", "as str"),
    "struct": (OddStruct, "the annotation of OddStruct.kind: type[int] is a class", "name"),
    "model": (OddModel, "the annotation of OddModel.money: Money ", NOTHING),
    "annotation that cannot be read": (Unread, "Unread has annotations that cannot be read", ""),
    "model with a keyword": (KeywordModel, "KeywordModel has a field named class", "rename it"),
    "struct with a keyword": (KeywordStruct, "KeywordStruct has a field named class", "rename it"),
    "Meta, dataclass": (
        Annotated[Item, msgspec.Meta(max_length=1)],
        "Item cannot have this msgspec.Meta, which holds for scalars, list, tuple",
        "put it at a part",
    ),
    "Meta, deque": (
        Annotated[deque[int], msgspec.Meta(max_length=1)],
        "deque[int] cannot have this msgspec.Meta",
        "check the value in your code",
    ),
    "Meta, union": (
        Annotated[list[Item] | None, msgspec.Meta(max_length=1)],
        "list[Item] | None cannot have this msgspec.Meta",
        "put it at a part",
    ),
    "Meta": (Annotated[int, msgspec.Meta(pattern="a")], "int cannot have this msgspec.Meta", ""),
}


@pytest.mark.parametrize(("hint", "begin", "remedy"), REFUSED.values(), ids=REFUSED)
def test_an_annotation_without_a_form_is_refused(hint: Any, begin: str, remedy: str) -> None:
    """The text begins with the declaration, gives the reason, and says what to write instead."""
    text = refusal(hint)

    assert text.startswith(begin), text
    assert remedy in text


def test_a_field_is_refused_with_its_class_and_name() -> None:
    """`record_form` says which field it is."""
    with pytest.raises(TypeError) as caught:
        record_form(Holder)

    assert (
        "the annotation of Holder.callback: Callable[[], None] is code, which is not stored; store "
        "a name, and look the function up by it"
    ) == str(caught.value)


def test_a_class_without_fields_is_no_record() -> None:
    """`record_form` takes classes with declared fields only."""
    with pytest.raises(TypeError, match="Money is no class with declared fields"):
        record_form(Money)


def test_the_outermost_class_may_have_an_init_var() -> None:
    """Only the fields of the session's own class are asked for, and it is not made anew."""
    assert ["count"] == list(record_form(Seeded).fields)


def test_a_description_is_no_constraint() -> None:
    """`msgspec.Meta` that only describes the values has no effect on any form."""
    hint = Annotated[deque[int], msgspec.Meta(title="numbers", description="numbers")]

    assert deque([1]) == unpacked(hint, [1])[0]


def test_a_class_variable_is_no_field() -> None:
    """A dataclass may have class variables of any type."""

    @dataclass
    class Counted:
        registry: ClassVar[Callable[[], None] | None] = None
        count: int = 0

    assert Counted(2) == unpacked(Counted, {"count": 2})[0]


def test_a_name_that_is_not_there_is_a_name_error() -> None:
    """The caller decides about names that may come later."""

    @dataclass
    class Early:
        later: Later  # type: ignore[name-defined]  # noqa: F821 -- it is about that

    for hint in (Early, list["Later"], list[typing.ForwardRef("Later")]):  # type: ignore[misc]  # noqa: F821
        with pytest.raises(NameError) as caught:
            form_of(hint)
        assert "Later" == caught.value.name


def test_an_enum_without_members_is_refused() -> None:
    """An enum without members has no values."""
    assert "Enum is a class that nothing converts" in refusal(enum.Enum)
