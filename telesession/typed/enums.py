"""Forms of enums, and of literals."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any

from telesession.typed.form import NOT_ALLOWED, WOULD_NOT_COME_BACK, Form, Reading, are_of
from telesession.typed.scalars import JSON, SCALARS


class EnumForm(Form):
    """
    The members of an enum, and combinations of flags.

    They are packed as their values if every codec keeps these, else as their names.

    Args:
        cls: The enum.
    """

    is_hashable = True

    def __init__(self, cls: type[enum.Enum]) -> None:
        self.text = cls.__name__
        self._cls = cls
        self.types = frozenset((cls,))
        self._members = cls.__members__
        # Combinations of flags have no name.
        self._is_flag = issubclass(cls, enum.Flag)
        # A class may have its own properties `name` and `value`.
        values = [each._value_ for each in self._members.values()]
        self._is_by_value = all(map(_is_kept, values))
        plain = values if self._is_by_value else [""]
        self.plain_types = frozenset(map(type, plain))
        self.writes_plain = self.plain_types <= JSON
        # packed data -> the member; without combinations of flags.
        names: Iterable[Any] = values if self._is_by_value else self._members
        self._found: dict[Any, enum.Enum] = dict(zip(names, self._members.values(), strict=True))
        # An enum that makes members up is asked each time.
        missing: Any = cls._missing_
        [self._plain_kind, *more] = self.plain_types
        self.has_quick = missing.__func__ is _MISSING and not more

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not self._cls:
            raise self.type_misfit(value)
        if not self._is_flag and self._members.get(value._name_) is not value:
            reason = f"{self.text} does not declare it as a member; declare it"
            raise self.misfit(value, reason, WOULD_NOT_COME_BACK)
        return value._value_ if self._is_by_value else value._name_

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is self._cls:
            return self.take(plain, reading)
        if self.plain_types is None or type(plain) not in self.plain_types:
            return self.unpack_other(plain, reading)
        member = self._member_of(plain)
        if member is None:
            raise self.misfit(plain, fault=NOT_ALLOWED)
        return member

    def pack_many(self, values: Collection[Any]) -> list[Any] | None:
        """See `Form.pack_many`."""
        if not are_of(self._cls, values):
            return None
        return [v._value_ for v in values] if self._is_by_value else [v._name_ for v in values]

    def unpack_many(self, plain: Collection[Any]) -> list[Any] | None:
        """See `Form.unpack_many`."""
        # Only text is equal to text, but True is equal to 1.
        if self._plain_kind is not str and not are_of(self._plain_kind, plain):
            return None
        try:
            return list(map(self._found.__getitem__, plain))
        except (KeyError, TypeError):
            return None

    def _member_of(self, plain: Any) -> enum.Enum | None:
        """The member of packed data; `None` if there is none."""
        # The caller raises, because the exceptions of an enum quote the value.
        try:
            if plain in self._found:
                return self._found[plain]
            return self._cls(plain) if self._is_by_value else self._cls[plain]
        except Exception:  # noqa: BLE001 -- an enum may raise any exception
            return None


class LiteralForm(Form):
    """
    Values that an annotation lists.

    Args:
        values: The values, with their packed data, which is another for each.
        text: The annotation.
    """

    is_hashable = True

    def __init__(self, values: Iterable[tuple[Any, Any]], text: str) -> None:
        self.text = text
        pairs = list(values)
        self.types = frozenset(type(value) for value, _ in pairs)
        self._packed_types = frozenset(type(packed) for _, packed in pairs)
        self.plain_types = self._packed_types
        self.writes_plain = self._packed_types <= JSON
        # With the types, because 1 and True are equal.
        self._packed = {(type(value), value): packed for value, packed in pairs}
        self._values = {(type(packed), packed): value for value, packed in pairs}
        self.is_native = all(value is packed for value, packed in pairs)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        return self._find(self._packed, self.types, value)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is dict:
            return self.unpack_other(plain, reading)
        return self._find(self._values, self._packed_types, plain)

    def _find(self, known: dict[Any, Any], kinds: frozenset[type], value: Any) -> Any:
        if type(value) not in kinds:
            raise self.misfit(value)
        # A KeyError would quote the value.
        found = known.get((type(value), value), _ABSENT)
        if found is _ABSENT:
            raise self.misfit(value, fault=NOT_ALLOWED)
        return found


_ABSENT: Any = object()
# The method of enums that make no members up.
_MISSING: Any = vars(enum.Enum)["_missing_"].__func__


def _is_kept(value: Any) -> bool:
    """Whether a value is immutable, every codec keeps it, and a member is found by it."""
    if type(value) in (tuple, frozenset):
        return all(map(_is_kept, value))
    if type(value) is Decimal and value.is_nan():
        return False
    return type(value) in SCALARS and value == value  # noqa: PLR0124 -- NaN is not
