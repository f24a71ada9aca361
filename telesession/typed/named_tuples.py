"""Forms of named tuples."""

from __future__ import annotations

import copy
from typing import Any

from telesession.typed.form import WOULD_NOT_COME_BACK, Form, Misfit, Reading


class NamedTupleForm(Form):
    """
    A named tuple, packed as a tuple.

    Args:
        cls: The class.
    """

    plain_types = frozenset((tuple,))

    def __init__(self, cls: Any) -> None:
        self.text = cls.__name__
        self.types = frozenset((cls,))
        self._cls = cls
        self._forms: dict[str, Form] = {}

    def complete(self, fields: dict[str, Form]) -> None:
        """Set the forms of the fields, which may refer to this form."""
        self._forms.update(fields)
        self.is_hashable = all(form.is_hashable for form in fields.values())

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return tuple(self._forms.values())

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not self._cls:
            raise self.type_misfit(value)
        for name in getattr(value, "__dict__", ()):
            reason = f"its attribute {name} is no field, so it would not come back; declare it"
            misfit = Misfit(getattr(value, name), self.text, WOULD_NOT_COME_BACK, reason)
            raise misfit.inside(f".{name}")
        packed: list[Any] = []
        try:
            for form, item in zip(self._forms.values(), value, strict=True):
                packed.append(form.pack(item))
        except Misfit as misfit:
            raise misfit.inside(f".{self._cls._fields[len(packed)]}") from None
        return tuple(packed)

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is self._cls:
            return self.take(plain, reading)
        if type(plain) not in (tuple, list):
            return self.unpack_other(plain, reading)
        reading.filled |= type(plain) is list or len(plain) < len(self._forms)
        if len(plain) > len(self._forms):
            reason = f"its length is {len(plain)}, not {len(self._forms)}; write a migration"
            raise self.misfit(plain, reason)
        items: list[Any] = []
        try:
            for form, item in zip(self._forms.values(), plain, strict=False):
                items.append(form.unpack(item, reading))
        except Misfit as misfit:
            raise misfit.inside(f".{self._cls._fields[len(items)]}") from None
        items += [self._default(name, plain) for name in self._cls._fields[len(items) :]]
        return tuple.__new__(self._cls, items)

    def _default(self, name: str, plain: Any) -> Any:
        if name not in self._cls._field_defaults:
            raise self.misfit(
                plain,
                f"it lacks the field {name}, which {self.text} declares without a default; give "
                f"{name} a default, or write a migration",
            )
        return copy.deepcopy(self._cls._field_defaults[name])
