"""Annotations that no storage can keep, and the way out for each."""

from __future__ import annotations

import collections.abc
import re
import types
import typing
from typing import Any

_ONCE = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
    collections.abc.Awaitable,
    collections.abc.Coroutine,
)


def refusal_of(hint: Any) -> TypeError:
    """The error for an annotation that has no form: its text, the reason and the way out."""
    return TypeError(f"{text_of(hint)} {_reason(typing.get_origin(hint) or hint)}")


def _reason(kind: Any) -> str:
    if kind in (collections.abc.Callable, typing.Callable, types.FunctionType):
        return "is code, which is not stored; store a name, and look the function up by it"
    if kind in (typing.Never, typing.NoReturn):
        return "fits no value; declare the type of the values"
    if kind is type:
        return "is a class, which is not stored; store its name, or a Literal or an Enum"
    if kind is re.Pattern:
        return "is not stored; store the pattern as str, and compile it where it is used"
    if kind in _ONCE:
        return "can be read only once; declare list[...]"
    if not isinstance(kind, type):
        return "is no annotation with a known form; declare classes and containers"
    if getattr(kind, "_is_protocol", False):
        return "is a protocol, which says nothing of what to store; declare the classes that fit"
    if kind.__module__.partition(".")[0] == "telebot":
        return "is of telebot, which changes its classes; store its to_dict(), json or id"
    return (
        "is a class that nothing converts; make it a dataclass, or declare Any and give the "
        "storage a PickleCodec"
    )


def text_of(hint: Any) -> str:
    """An annotation as text, with short names where there is one."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=\w)", "", str(hint))
