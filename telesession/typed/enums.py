"""Forms of enums, and of literals."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from telesession.typed.form import NOT_ALLOWED, WOULD_NOT_COME_BACK, Form, Reading
from telesession.typed.scalars import SCALARS


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
        members = cls.__members__.values()
        self._is_by_value = all(_is_kept(each.value) for each in members)
        plain = [each.value for each in members] if self._is_by_value else [""]
        self.plain_types = frozenset(map(type, plain))
        self.writes_plain = self.plain_types <= _JSON

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not self._cls:
            raise self.type_misfit(value)
        if self._is_by_value:
            return value.value
        if self._cls.__members__.get(value.name) is not value:
            raise self.misfit(value, "it has no name", WOULD_NOT_COME_BACK)
        return value.name

    def unpack(self, plain: Any, reading: Reading) -> Any:  # noqa: ARG002 -- nothing to note
        """See `Form.unpack`."""
        if type(plain) is self._cls:
            return plain
        if self.plain_types is None or type(plain) not in self.plain_types:
            raise self.type_misfit(plain)
        member = self._member_of(plain)
        if member is None:
            raise self.misfit(plain, fault=NOT_ALLOWED)
        return member

    def _member_of(self, plain: Any) -> enum.Enum | None:
        """The member of packed data; `None` if there is none."""
        # The caller raises, because the exceptions of an enum quote the value.
        try:
            return self._cls(plain) if self._is_by_value else self._cls[plain]
        except Exception:  # noqa: BLE001 -- an enum may raise what it likes
            return None


class LiteralForm(Form):
    """
    Values that an annotation lists.

    Args:
        values: The values, with their packed data.
        text: The annotation.

    Raises:
        TypeError: Two values are packed alike.
    """

    is_hashable = True

    def __init__(self, values: Iterable[tuple[Any, Any]], text: str) -> None:
        self.text = text
        pairs = list(values)
        self.types = frozenset(type(value) for value, _ in pairs)
        self._packed_types = frozenset(type(packed) for _, packed in pairs)
        self.plain_types = self._packed_types
        self.writes_plain = self._packed_types <= _JSON
        # With the types, because 1 and True are equal.
        self._packed = {(type(value), value): packed for value, packed in pairs}
        self._values = {(type(packed), packed): value for value, packed in pairs}
        self.is_native = all(value is packed for value, packed in pairs)
        if len(self._values) < len(self._packed):
            raise TypeError(f"{text} has two values that are stored alike; leave one out")

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        return self._find(self._packed, self.types, value)

    def unpack(self, plain: Any, reading: Reading) -> Any:  # noqa: ARG002 -- nothing to note
        """See `Form.unpack`."""
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
_JSON = frozenset((bool, float, int, str, type(None)))


def _is_kept(value: Any) -> bool:
    """Whether a value is immutable, and every codec keeps it."""
    if type(value) in (tuple, frozenset):
        return all(map(_is_kept, value))
    return type(value) in SCALARS
