"""Pickles read as plain data: whatever a file says, it can run nothing."""

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
        name: What it asks for, such as `os.system`.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def load_plain(file: BinaryIO) -> Any:
    """
    The plain data in a pickle: what pickle needs no class for, dates, numbers and UUIDs.

    telebot's `State` objects come as their names, and an `OrderedDict` as a `dict`. A file made
    to do so can still use up memory, as one of JSON can.

    Raises:
        NotPlainError: It asks for anything else, of which nothing was imported or called.
        Exception: It is damaged, or no pickle. It may be of any class, and quote what it read.
    """
    return _without_stand_ins(_PlainUnpickler(file).load())


class _State:
    """Takes the place of telebot's `State`, of which only the name is wanted."""

    named = "telebot.states.State"
    name: object = None

    def __setstate__(self, attributes: dict[str, object]) -> None:
        self.name = attributes["name"]


class _StandIn:
    """Takes the place of what is not admitted: a pickle may name it, and not use it."""

    named = ""

    def __new__(cls, *_: object, **__: object) -> NoReturn:
        raise NotPlainError(cls.named)


class _ZoneReader(_StandIn):
    """What pickle wants `getattr` for in the case of a `ZoneInfo`, and nothing else of it."""

    def __new__(cls, owner: object, name: str) -> Any:
        if (owner, name) == (zoneinfo.ZoneInfo, "_unpickle"):
            return getattr(owner, name)
        raise NotPlainError(cls.named)


# Only what a pickle cannot change by setting its attributes: classes that are written in C, or
# have a __setstate__, which pickle calls instead.
_ADMITTED: MappingProxyType[tuple[str, str], type] = MappingProxyType(
    {
        **{(kind.__module__, kind.__name__): kind for kind in (
            bytearray, complex, frozenset, set,
            datetime.date, datetime.datetime, datetime.time, datetime.timedelta,
            datetime.timezone, decimal.Decimal, uuid.UUID, zoneinfo.ZoneInfo,
        )},
        ("collections", "OrderedDict"): dict,
        ("telebot.states", "State"): _State,
        # Where it was up to telebot 4.22.0.
        ("telebot.handler_backends", "State"): _State,
    }
)  # fmt: skip


class _PlainUnpickler(pickle.Unpickler):
    """Finds what is admitted, and stand-ins for everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if kind := _ADMITTED.get((module, name)):
            return kind
        # Not refused at once: next to its name, a State names the class that it is in, which is
        # the bot's own. And a new class each time, for a pickle may set attributes of what it gets.
        named = f"{module}.{name}"
        base = _ZoneReader if named == "builtins.getattr" else _StandIn
        return type(base.__name__, (base,), {"named": named})


def _without_stand_ins(value: Any) -> Any:
    """The value with the names of states instead of them, and nothing in it that can be called."""
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
