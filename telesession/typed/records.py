"""Forms of classes with declared fields: dataclasses and their kin."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from telesession.typed.defaults import is_steady
from telesession.typed.form import (
    MARK,
    NOT_ALLOWED,
    UNKNOWN_CLASS,
    WOULD_NOT_COME_BACK,
    Form,
    Misfit,
    Reading,
    are_of,
)
from telesession.typed.scalars import AnyForm
from telesession.typed.subclasses import iter_subclasses

if TYPE_CHECKING:
    from telesession.typed.layouts import Layout

_MISSING: Any = object()
_new = object.__new__


class RecordForm(Form):
    """
    Instances of a class with declared fields, packed as the dict of the fields.

    An instance of a subclass is marked with the name of its class: `{"class": "Sub", ...}`.

    Args:
        layout: The fields of the class.
        text: The annotation.
        mark: The name of the class in packed data that needs a mark.
        form_of_class: Makes the form of a subclass.

    Attributes:
        cls: The class.
        fields: `name -> form`, in the order of the declaration.
        defaults: `name -> default` of the fields that have one.
    """

    plain_types = frozenset((dict,))
    writes_plain = True

    def __init__(
        self, layout: Layout, text: str, mark: str, form_of_class: Callable[[type], RecordForm]
    ) -> None:
        self.text = text
        self.mark = mark
        self.cls = layout.cls
        self.types = frozenset((layout.cls,))
        self.defaults = layout.defaults
        self.fields: dict[str, Form] = {}
        self._names = frozenset(layout.names)
        self._layout = layout
        self._form_of_class = form_of_class
        self._forms: dict[type, RecordForm] = {}
        # The fields with the types of values that are stored as they are.
        self._scalars: tuple[tuple[str, frozenset[type]], ...] = ()
        # The same with the methods of the forms, which check the other values.
        self._packers: tuple[tuple[str, frozenset[type], Callable[[Any], Any]], ...] = ()
        self._unpackers: tuple[tuple[str, frozenset[type], Callable[..., Any]], ...] = ()
        # Instances are no more than a `__dict__`, the values in which may all be scalars.
        self._is_bare, self._is_scalar = layout.is_bare, False
        self._set_dict = layout.set_dict if layout.is_bare else None

    def complete(self, fields: dict[str, Form]) -> None:
        """Set the forms of the fields, which may refer to this form."""
        self.fields.update(fields)
        self._is_scalar = self._is_bare and all(form.scalars for form in fields.values())
        self.has_quick = self._is_bare and all(form.has_quick for form in fields.values())
        self._scalars = tuple((name, form.scalars) for name, form in fields.items())
        self._packers = tuple((name, form.scalars, form.pack) for name, form in fields.items())
        self._unpackers = tuple((name, form.scalars, form.unpack) for name, form in fields.items())

    def parts(self) -> tuple[Form, ...]:
        """See `Form.parts`."""
        more = (AnyForm(),) if self._layout.takes_more else ()
        return (*self.fields.values(), *more)

    def accepts(self, value: Any) -> bool:
        """See `Form.accepts`."""
        # isinstance() would ask the value itself, which may raise.
        return self.cls in type(value).__mro__

    def knows(self, mark: str) -> bool:
        """Whether a mark is that of this class, or of a subclass."""
        return mark == self.mark or self._subclass_of(mark) is not None

    def pack(self, value: Any) -> Any:
        """See `Form.pack`."""
        if type(value) is not self.cls:
            return self._pack_subclass(value)
        fields: dict[str, Any] = value.__dict__ if self._is_bare else {}
        if self._is_scalar and self._are_scalars(fields):
            return fields.copy()
        if not self._is_bare or fields.keys() != self._names:
            fields = self._read(value)
        packed, name = {}, ""
        try:
            for name, scalars, pack in self._packers:
                item = fields[name]
                packed[name] = item if type(item) in scalars else pack(item)
        except Misfit as misfit:
            raise misfit.inside(f".{name}") from None
        if len(fields) > len(packed):
            if MARK in fields:
                reason = f"it has a field named {MARK}; give it another name"
                raise self.misfit(value, reason, WOULD_NOT_COME_BACK)
            return {**fields, **packed}
        return packed

    def unpack(self, plain: Any, reading: Reading) -> Any:
        """See `Form.unpack`."""
        if type(plain) is not dict:
            if not self.accepts(plain):
                raise self.type_misfit(plain)
            return self.take(plain, reading)
        if plain.keys() == self._names:
            return self._made_of(plain, reading)
        if MARK in plain:
            plain = dict(plain)
            mark = plain.pop(MARK)
            if mark != self.mark:
                return self._form_of_mark(mark, plain).unpack(plain, reading)
            # It was stored where it needed a mark.
            reading.filled = True
        return self._layout.make(self._unpack_fields(plain, reading))

    def pack_many(self, values: Collection[Any]) -> list[Any] | None:
        """See `Form.pack_many`."""
        if not are_of(self.cls, values):
            return None
        return self._convert_many([value.__dict__ for value in values], is_packing=True)

    def unpack_many(self, plain: Collection[Any]) -> list[Any] | None:
        """See `Form.unpack_many`."""
        records = list(plain)
        made = self._convert_many(records, is_packing=False) if are_of(dict, records) else None
        return None if made is None else list(map(self._layout.make, made))

    def _convert_many(self, records: list[Any], *, is_packing: bool) -> list[Any] | None:
        """The fields of many records, packed or unpacked field by field."""
        if list(map(len, records)).count(len(self.fields)) < len(records):
            return None
        converted = list(map(dict.copy, records))
        for name, form in self.fields.items():
            try:
                values = [record[name] for record in records]
            except KeyError:
                return None
            if form.is_native and form.all_surely_fit(values):
                continue
            many = form.pack_many(values) if is_packing else form.unpack_many(values)
            if many is None:
                return None
            for record, value in zip(converted, many, strict=True):
                record[name] = value
        return converted

    def _are_scalars(self, fields: dict[str, Any]) -> bool:
        """Whether all fields exist, and have types that are stored as they are."""
        if len(fields) != len(self._scalars):
            return False
        for name, scalars in self._scalars:  # noqa: SIM110 -- a generator costs more than the rest
            if type(fields.get(name, _MISSING)) not in scalars:
                return False
        return True

    def _made_of(self, plain: dict[str, Any], reading: Reading) -> Any:
        """The object of data with all fields, and no others."""
        # A pickle may hold one dict in two places.
        made = plain.copy()
        if not (self._is_scalar and self._are_scalars(plain)):
            name = ""
            try:
                for name, scalars, unpack in self._unpackers:
                    item = plain[name]
                    if type(item) not in scalars:
                        made[name] = unpack(item, reading)
            except Misfit as misfit:
                raise misfit.inside(f".{name}") from None
        if self._set_dict is None:
            return self._layout.make(made)
        instance = _new(self.cls)
        self._set_dict(instance, made)
        return instance

    def _unpack_fields(self, plain: dict[str, Any], reading: Reading) -> dict[str, Any]:
        made: dict[str, Any] = {}
        missing, name = 0, ""
        try:
            for name, scalars, unpack in self._unpackers:
                item = plain.get(name, _MISSING)
                if item is _MISSING:
                    missing += 1
                    made[name] = self._default(name, made, reading)
                else:
                    made[name] = item if type(item) in scalars else unpack(item, reading)
        except Misfit as misfit:
            raise misfit.inside(f".{name}" if name in plain else "") from None
        note = self._layout.note
        if note is not None and note in plain:
            made[note] = plain[note]
        if len(plain) > len(made) - missing:
            more = {name: plain[name] for name in plain if name not in made}
            if self._layout.takes_more:
                made.update(more)
            else:
                reading.filled = True
                reading.undeclared.update(f"{self.cls.__name__}.{name}" for name in more)
        return made

    def _read(self, value: Any) -> dict[str, Any]:
        for name in self._layout.others(value):
            reason = f"its attribute {name} is no field; declare it"
            found = getattr(value, name) if isinstance(name, str) else vars(value)[name]
            misfit = self.misfit(found, reason, WOULD_NOT_COME_BACK)
            raise misfit.inside(f".{name}")
        try:
            return self._layout.read(value)
        except AttributeError as error:
            reason = f"its field {error.name} is not set; set it, or delete the object"
        raise self.misfit(value, reason, WOULD_NOT_COME_BACK)

    def _default(self, name: str, made: dict[str, Any], reading: Reading) -> Any:
        default = self.defaults.get(name)
        if default is None:
            raise self.misfit(
                {},
                f"it lacks the field {name}, which {self.text} declares without a default; give "
                f"{name} a default, or write a migration",
            )
        value = default.make(made)
        reading.filled = True
        if default.factory is not None and not is_steady(
            self.fields[name], value, partial(default.make, made)
        ):
            reading.made = True
        return value

    def _pack_subclass(self, value: Any) -> Any:
        kind = type(value)
        if not self.accepts(value) or _is_generated(kind):
            raise self.type_misfit(value)
        form = self._form_of_subclass(kind, value)
        if form.mark == self.mark or self._subclass_of(form.mark) is not kind:
            reason = f"another class of {self.text} has the same name; rename one of them"
            raise self.misfit(value, reason, WOULD_NOT_COME_BACK)
        return {MARK: form.mark, **form.pack(value)}

    def _form_of_subclass(self, kind: type, value: Any) -> RecordForm:
        form = self._forms.get(kind)
        if form is not None:
            return form
        try:
            form = self._forms[kind] = self._form_of_class(kind)
        except (NameError, TypeError) as error:
            reason = f"its class cannot be kept: {error}"
        else:
            return form
        raise self.misfit(value, reason, WOULD_NOT_COME_BACK)

    def _form_of_mark(self, mark: object, plain: Any) -> RecordForm:
        kind = self._subclass_of(mark)
        if kind is None:
            reason = f"it is of a subclass of {self.text} that is not known here; {UNKNOWN_CLASS}"
            raise self.misfit(plain, reason, NOT_ALLOWED)
        return self._form_of_subclass(kind, plain)

    def _subclass_of(self, mark: object) -> type | None:
        """The subclass of a name; of several the newest, since decorators make classes anew."""
        found: type | None = None
        for kind in iter_subclasses(self.cls):
            if kind.__qualname__ == mark:
                found = kind
        return found


def _is_generated(cls: type) -> bool:
    return "_telesession_dataclass" in vars(cls)
