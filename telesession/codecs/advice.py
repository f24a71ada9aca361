"""Advice: the data to store instead of a value that a codec cannot bring back."""

from __future__ import annotations

from collections.abc import Coroutine, ItemsView, Iterator, KeysView, ValuesView
from enum import Enum
from functools import partial
from inspect import getattr_static
from io import IOBase
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

_DECLARE = (
    "declare its type, and not Any or a bare container, in a typed session (initial=a dataclass), "
    "or store plain data"
)
# Attributes of classes with declared fields. With these names, no package has to be imported.
_MARKS = (
    "__dataclass_fields__",
    "__attrs_attrs__",
    "__struct_fields__",
    "__pydantic_core_schema__",
)
# Classes of the standard library that typed sessions keep, and modules in which they keep all.
_KEPT = frozenset(
    (
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.deque",
        "fractions.Fraction",
        "zoneinfo.ZoneInfo",
    )
)
_KEPT_MODULES = ("ipaddress", "pathlib")
# Attributes of telebot's objects that are plain data, as users write them.
_OF_TELEBOT = (
    ("to_dict", "to_dict()"),
    ("json", "json"),
    ("id", "id"),
    ("file_id", "file_id"),
    ("name", "name"),
)
_OF_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((type,), "store its name, or an instance of it"),
    ((ModuleType,), "store its name"),
    ((Coroutine,), "await it, or run it by asyncio.run(), and store its result"),
    (
        (FunctionType, BuiltinFunctionType, MethodType, partial),
        "call it and store its result, or store its name",
    ),
    ((IOBase,), "store the name of the file, or its content"),
    ((Iterator, ItemsView, KeysView, ValuesView, range), "store its items as list(...)"),
    ((memoryview,), "store its content as bytes(...)"),
)


def advice_for(value: object, otherwise: str) -> str:
    """
    The advice for a value that a codec cannot bring back.

    No method of the value is called, because it may raise.

    Args:
        value: The value, which is no plain container.
        otherwise: The advice for a value of a type that this module does not know.
    """
    return way_out(value) or (_DECLARE if _can_be_declared(type(value)) else otherwise)


def way_out(value: object) -> str:
    """
    The advice for a value that no declaration admits; empty for other values.

    No method of the value is called, because it may raise.
    """
    kind = type(value)
    if _is_of(kind, "telebot"):
        return f"store {_plain_parts(value)}"
    if _can_be_declared(kind):
        return ""
    return next((advice for kinds, advice in _OF_KINDS if issubclass(kind, kinds)), "")


def _can_be_declared(kind: type) -> bool:
    """Whether a typed session keeps the values of a type if its declaration names the type."""
    return (
        issubclass(kind, Enum)
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
        or any(hasattr(kind, mark) for mark in _MARKS)
        or f"{kind.__module__}.{kind.__qualname__}" in _KEPT
        or any(_is_of(kind, module) for module in _KEPT_MODULES)
    )


def _is_of(kind: type, package: str) -> bool:
    return str(kind.__module__).partition(".")[0] == package


def _plain_parts(value: object) -> str:
    """The attributes of an object of telebot that can be stored."""
    parts = [part for name, part in _OF_TELEBOT if getattr_static(value, name, None) is not None]
    return f"its {' or '.join(parts)}" if parts else "plain data of it"
