"""Pickles read as plain data: no file can run code."""

from __future__ import annotations

import datetime
import decimal
import pickle
import uuid
import zoneinfo
from types import MappingProxyType
from typing import Any, BinaryIO, NoReturn


class NotPlainError(Exception):
    """
    A pickle asks for something that is no plain data.

    Args:
        name: The name in the pickle, such as `os.system`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def load_plain(file: BinaryIO) -> Any:
    """
    The plain data in a pickle: builtin values, dates, numbers and UUIDs.

    telebot's `State` objects come as their names, and an `OrderedDict` as a `dict`. A hostile file
    can still use up memory, as one of JSON can.

    Raises:
        NotPlainError: The pickle asks for another object. Nothing was imported or called.
        Exception: The file is damaged, or no pickle. The exception may be of any class, and quote
            the file.
    """
    return _without_stand_ins(_PlainUnpickler(file).load())


class _State:
    """Takes the place of telebot's `State`, and keeps only its name."""

    named = "telebot.states.State"
    name: object = None

    def __setstate__(self, attributes: dict[str, object]) -> None:
        self.name = attributes["name"]


class _StandIn:
    """Takes the place of an object that is not admitted: a pickle may name it, and not use it."""

    named = ""

    def __new__(cls, *_: object, **__: object) -> NoReturn:
        raise NotPlainError(cls.named)


class _ZoneReader(_StandIn):
    """Takes the place of `getattr`: it only gives the reader of a `ZoneInfo`."""

    def __new__(cls, owner: object, name: str) -> Any:
        if (owner, name) == (zoneinfo.ZoneInfo, "_unpickle"):
            return getattr(owner, name)
        raise NotPlainError(cls.named)


# Only classes whose attributes a pickle cannot set: they are written in C, or have a __setstate__,
# which pickle calls instead.
_ADMITTED: MappingProxyType[tuple[str, str], type] = MappingProxyType(
    {
        **{(kind.__module__, kind.__name__): kind for kind in (
            bytearray, complex, frozenset, set,
            datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
            datetime.timezone, decimal.Decimal, uuid.UUID, zoneinfo.ZoneInfo,
        )},
        ("collections", "OrderedDict"): dict,
        ("telebot.states", "State"): _State,
        # The module of the class up to telebot 4.22.0.
        ("telebot.handler_backends", "State"): _State,
    }
)  # fmt: skip


class _PlainUnpickler(pickle.Unpickler):
    """Finds the admitted classes, and stand-ins for all others."""

    def find_class(self, module: str, name: str) -> Any:
        if kind := _ADMITTED.get((module, name)):
            return kind
        # Not refused at once, because a State names its class of states, too, which belongs to the
        # bot. A new class each time, because a pickle may set attributes of its objects.
        named = f"{module}.{name}"
        base = _ZoneReader if named == "builtins.getattr" else _StandIn
        return type(base.__name__, (base,), {"named": named})


def _without_stand_ins(value: Any) -> Any:
    """The value with names in the place of states; it has nothing that can be called."""
    kind = type(value)
    if kind is dict:
        return {_without_stand_ins(k): _without_stand_ins(v) for k, v in value.items()}
    if kind in (list, tuple, set, frozenset):
        return kind(map(_without_stand_ins, value))
    if kind is _State:
        return _without_stand_ins(value.name)
    if callable(value):
        raise NotPlainError(getattr(value, "named", value.__qualname__))
    return value
