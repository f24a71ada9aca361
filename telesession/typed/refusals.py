"""Annotations that no storage can keep, and the way out for each."""

from __future__ import annotations

import collections.abc
import re
import types
import typing
from typing import Any

_REASONS: tuple[tuple[tuple[Any, ...], str], ...] = (
    (
        (collections.abc.Callable, typing.Callable, types.FunctionType),
        "is code, which is not stored; store a name, and look the function up by it",
    ),
    ((typing.Never, typing.NoReturn), "fits no value; declare the type of the values"),
    ((type,), "is a class, which is not stored; store its name, or declare a Literal or an Enum"),
    ((re.Pattern,), "is not stored; store the pattern as str, and compile it where it is used"),
    (
        (
            collections.abc.Iterator,
            collections.abc.Generator,
            collections.abc.AsyncIterator,
            collections.abc.AsyncIterable,
            collections.abc.AsyncGenerator,
            collections.abc.Awaitable,
            collections.abc.Coroutine,
        ),
        "can be read only once; declare list[...]",
    ),
)


def refusal_of(hint: Any) -> TypeError:
    """The error for an annotation that has no form: its text, the reason and the way out."""
    kind = typing.get_origin(hint) or hint
    reason = next((reason for kinds, reason in _REASONS if kind in kinds), None)
    return TypeError(f"{text_of(hint)} {reason or _reason_of_class(kind)}")


def text_of(hint: Any) -> str:
    """An annotation as text, with short names where there is one."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=\w)", "", str(hint))


def _reason_of_class(kind: Any) -> str:
    if not isinstance(kind, type):
        return "is no type; declare a type, such as int, list[str] or a dataclass"
    if getattr(kind, "_is_protocol", False):
        return "is a protocol, which names no class to store; declare the classes that fit it"
    if kind.__module__.partition(".")[0] == "telebot":
        return "is of telebot, which changes its classes; store its to_dict(), json or id"
    return (
        "is a class that nothing converts; make it a dataclass, declare plain data such as str, or "
        "declare Any and give the storage a PickleCodec"
    )
