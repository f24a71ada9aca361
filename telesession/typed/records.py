"""Forms of classes with declared fields: dataclasses and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from telesession.typed.form import (
    WOULD_NOT_COME_BACK,
    Form,
    Misfit,
    Reading,
)
from telesession.typed.layouts import Layout
from telesession.typed.quick import make_quick

_MISSING: Any = object()


class RecordForm(Form):
    """
    Instances of a class with declared fields, packed as the dict of the fields.

    Args:
        layout: The fields of the class.
        text: The annotation.
        mark: The name of the class in packed data, where that has to say it.
        form_of_class: Makes the form of a subclass.

    Attributes:
        cls: The class.
        fields: `name -> form`, in the order of the declaration.
        defaults: `name -> default`, for the fields that have one.
    """

    plain_types = frozenset((dict,))
    writes_plain = True

    def __init__(
        self, layout: Layout, text: str, mark: str, form_of_class: Callable[[type], Form]
    ) -> None:
        self.text = text
        self.mark = mark
        self.cls = layout.cls
        self.types = frozenset((layout.cls,))
        self.defaults = layout.defaults
        self.fields: dict[str, Form] = {}
        self._layout = layout
        self._form_of_class = form_of_class
        self._forms: dict[type, RecordForm] = {}

    def complete(self, fields: dict[str, Form]) -> None:
        """Set the forms of the fields, which may refer to this form."""
        self.fields.update(fields)
        if self._layout.is_bare and all(form.scalars for form in fields.values()):
            quick: Any = make_quick(
                self.cls, fields, self._layout.set_dict, (self.pack, self.unpack)
            )
            self.pack, self.unpack = quick  # type: ignore[method-assign]

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        return tuple(self.fields.values())

    def accepts(self, value: Any) -> bool:
        """See `Form.accepts`."""
        return isinstance(value, self.cls)

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not self.cls:
            raise self.type_misfit(value)
        for name in self._layout.others(value):
            reason = f"its attribute {name} is no field, so it would not come back; declare it"
            misfit = Misfit(getattr(value, name), self.text, WOULD_NOT_COME_BACK, reason)
            raise misfit.inside(f".{name}")
        try:
            fields = self._layout.read(value)
        except AttributeError as error:
            reason = f"its field {error.name} is not set; set it, or give it a default"
            raise self.misfit(value, reason, WOULD_NOT_COME_BACK) from None
        packed, name = {}, ""
        try:
            for name, form in self.fields.items():
                item = fields[name]
                packed[name] = item if type(item) in form.scalars else form.pack(item)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None
        return packed

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is not dict:
            if not self.accepts(plain):
                raise self.type_misfit(plain)
            self.pack(plain)
            return plain
        made: dict[str, Any] = {}
        name, found = "", 0
        try:
            for name, form in self.fields.items():
                item = plain.get(name, _MISSING)
                if item is _MISSING:
                    made[name] = self._default(name, made, plain, reading)
                else:
                    found += 1
                    made[name] = item if type(item) in form.scalars else form.unpack(item, reading)
        except Misfit as misfit:
            raise misfit.inside("" if name not in plain else f".{name}") from None
        if found != len(plain):
            reading.filled = True
            reading.undeclared.update(
                f"{self.cls.__name__}.{name}" for name in plain if name not in self.fields
            )
        return self._layout.make(made)

    def _default(self, name: str, made: dict[str, Any], plain: Any, reading: Reading) -> Any:
        default = self.defaults.get(name)
        if default is None:
            raise self.misfit(
                plain,
                f"it lacks the field {name}, which {self.text} declares without a default; give "
                f"{name} a default, or write a migration",
            )
        value = default.make(made)
        reading.filled = True
        if default.factory is not None and not _is_empty(value):
            reading.made = True
        return value


def _is_empty(value: Any) -> bool:
    """Whether a value is an empty container, which is the same whenever it is made."""
    return hasattr(type(value), "__len__") and not len(value)
