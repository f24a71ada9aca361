"""Forms of values that codecs keep as they are."""

from __future__ import annotations

import datetime
from collections.abc import Collection
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID

from telesession.typed.form import Form, Reading


def is_of_freezegun(kind: type) -> bool:
    """Whether values are those of a frozen clock, instead of a `datetime` or a `date`."""
    return kind.__module__ == "freezegun.api"


def real_type(kind: type) -> type:
    """The class of the standard library that a class stands for while the clock is frozen."""
    if is_of_freezegun(kind):
        return next((base for base in kind.__mro__ if base.__module__ == "datetime"), kind)
    return kind


#: The types of scalars that JSON has a word for.
JSON: frozenset[type] = frozenset((bool, float, int, str, NoneType))
# The clock may be frozen while this is imported.
_DATES = frozenset(map(real_type, (datetime.datetime, datetime.date)))
_OTHERS = (complex, bytes, datetime.time, datetime.timedelta, Decimal, UUID)
#: The types of immutable values that every codec keeps.
SCALARS: frozenset[type] = JSON | _DATES | frozenset(_OTHERS)


class ScalarForm(Form):
    """
    Values of one of some scalar types.

    Args:
        types: The exact types.
        text: The annotation.
    """

    is_native = True
    is_hashable = True
    has_quick = True

    def __init__(self, types: frozenset[type], text: str) -> None:
        self.text = text
        self.types = self.scalars = self.plain_types = types
        self.writes_plain = types <= JSON

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        kind = type(value)
        if kind in self.scalars:
            return value
        if is_of_freezegun(kind) and real_type(kind) in self.scalars:
            real: Any = real_type(kind)
            return real(*value.__reduce__()[1])
        raise self.type_misfit(value)

    def unpack(self, plain: Any, reading: Reading) -> Any:  # noqa: ARG002 -- nothing to note
        """See `Form.unpack`."""
        return plain if type(plain) in self.scalars else self.pack(plain)

    def accepts(self, value: Any) -> bool:
        """See `Form.accepts`."""
        return real_type(type(value)) in self.scalars

    def all_surely_fit(self, values: Collection[Any]) -> bool:
        """See `Form.all_surely_fit`."""
        return self.scalars.issuperset(map(type, values))


class BytearrayForm(Form):
    """The type `bytearray`, whose values can change inside."""

    text = "bytearray"
    types = plain_types = frozenset((bytearray,))
    is_native = True

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not bytearray:
            raise self.type_misfit(value)
        return value

    def unpack(self, plain: Any, reading: Reading) -> Any:  # noqa: ARG002 -- nothing to note
        """See `Form.unpack`."""
        return self.pack(plain)


class AnyForm(Form):
    """Values whose annotation gives no type: the codec converts them."""

    is_native = True
    is_hashable = True
    has_quick = True
    is_open = True

    def __init__(self, text: str = "Any") -> None:
        self.text = text

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        return value

    def unpack(self, plain: Any, reading: Reading) -> Any:  # noqa: ARG002 -- nothing to note
        """See `Form.unpack`."""
        return plain

    def accepts(self, value: Any) -> bool:  # noqa: ARG002 -- all of them
        """See `Form.accepts`."""
        return True

    def all_surely_fit(self, values: Collection[Any]) -> bool:  # noqa: ARG002 -- all of them
        """See `Form.all_surely_fit`."""
        return True
