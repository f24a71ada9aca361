"""What annotations say about the values of fields, and the plain data that is stored for these."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from telesession.session import CORE

# What codecs bring back as it is, so that no str is taken for it. In a tuple freezegun does not
# replace the classes, and datetime, which is a date as well, has to come first.
_BUILTIN = (datetime, date, time, timedelta, Decimal, UUID, bytes, bytearray)
_SCALARS = frozenset((bool, complex, float, int, str, types.NoneType, *_BUILTIN)) - {bytearray}


class Annotation:
    """
    What a dataclass declares about one of its fields.

    Values fit it if they come back from their plain data as what they are.

    Args:
        hint: The annotation, resolved.

    Raises:
        TypeError: Plain data cannot be told by it.

    Attributes:
        scalars: The types of values that surely fit, if the annotation says no more than types.
        surely_fits: A check that is fast, and right when it says yes.
    """

    def __init__(self, hint: Any) -> None:
        self._hint = hint
        self.scalars = _scalar_types(hint)
        self.surely_fits = _make_quick_check(hint)
        try:
            self._convert(None)
        except msgspec.ValidationError:
            pass
        except Exception as error:
            raise TypeError(str(error)) from error

    def __str__(self) -> str:
        return self._hint.__name__ if isinstance(self._hint, type) else str(self._hint)

    def fit(self, value: Any) -> Any:
        """
        The value itself if it fits, or what the annotation makes of plain data.

        Raises:
            ValueError: It is neither.
            RecursionError: It is nested too deeply or in a cycle.
        """
        try:
            fitted = self._convert(value)
            return value if _alike(value, fitted) else fitted
        except Exception:  # noqa: BLE001 -- nested classes raise what they like
            if self.pack(value)[1]:
                return value
        raise ValueError

    def pack(self, value: Any) -> tuple[Any, bool]:
        """
        The plain data of a value, and whether the value fits.

        Raises:
            RecursionError: It is nested too deeply or in a cycle.
        """
        plain = value
        try:
            plain = _plain(value)
            return plain, _alike(value, self._convert(plain))
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 -- nested classes raise what they like
            return plain, False

    def _convert(self, plain: Any) -> Any:
        return msgspec.convert(plain, self._hint, builtin_types=_BUILTIN)


def _plain(value: Any) -> Any:
    """The value with its dataclasses and enums as dicts and values; the rest is for the codec."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {_plain(name): _plain(item) for name, item in value.items()}
    if kind in (list, tuple, set, frozenset):
        items = list(map(_plain, value))
        try:
            return kind(items)
        except TypeError:
            # No set takes the dict that a dataclass has become; msgspec makes sets of lists.
            return items
    return _plain_instance(kind, value)


def _plain_instance(kind: Any, value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if _is_of_freezegun(kind):
        real = next(builtin for builtin in _BUILTIN if issubclass(kind, builtin))
        return real(*value.__reduce__()[1])
    if dataclasses.is_dataclass(kind) and not hasattr(kind, CORE):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(kind)
        }
    return value


def _alike(value: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, all the way down."""
    kind = type(value)
    if value is other:
        return True
    if kind is not type(other):
        # An int is a float to annotations, and equal to it.
        is_counted_as_same = (kind is int and type(other) is float) or _is_of_freezegun(kind)
        return is_counted_as_same and bool(value == other)
    if dataclasses.is_dataclass(kind):
        return all(
            _alike(getattr(value, field.name), getattr(other, field.name))
            for field in dataclasses.fields(kind)
        )
    if kind is dict:
        return len(value) == len(other) and all(
            map(_alike, _flat(value.items()), _flat(other.items()))
        )
    if kind in (list, tuple):
        return len(value) == len(other) and all(map(_alike, value, other))
    return bool(value == other)


def _flat(pairs: Any) -> Any:
    return (part for pair in pairs for part in pair)


def _is_of_freezegun(kind: type) -> bool:
    """Whether values are what a frozen clock gives instead of a `datetime` or a `date`."""
    return kind.__module__ == "freezegun.api"


def _make_quick_check(hint: Any) -> Callable[[Any], bool]:
    """A check of scalars and of containers of scalars, which says no to everything else."""
    if scalars := _scalar_types(hint):
        return lambda value: type(value) in scalars
    kind, parts = typing.get_origin(hint), [_scalar_types(part) for part in typing.get_args(hint)]
    if kind in (list, set, frozenset) and all(parts):
        (items,) = parts
        return lambda value: (
            type(value) is kind and (not value or items.issuperset(map(type, value)))
        )
    if kind is dict and all(parts):
        names, items = parts
        return lambda value: (
            type(value) is dict
            and (
                not value
                or (
                    names.issuperset(map(type, value))
                    and items.issuperset(map(type, value.values()))
                )
            )
        )
    return lambda _value: False


def _scalar_types(hint: Any) -> frozenset[type]:
    """The types that a hint allows if they are all scalars, else none."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = typing.get_args(hint) if is_union else (hint,)
    are_scalars = all(isinstance(kind, type) and kind in _SCALARS for kind in kinds)
    return frozenset(kinds) if are_scalars else frozenset()
