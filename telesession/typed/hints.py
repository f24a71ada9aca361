"""Annotations, and the forms that they declare."""

from __future__ import annotations

import enum
import types
import typing
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from telesession.typed.aliases import AliasForm
from telesession.typed.class_hints import (
    hints_of,
    is_qualified,
    refuse_init_vars,
    required_keys,
    value_of_alias,
)
from telesession.typed.constraints import ConstrainedForm, is_constraint
from telesession.typed.container_hints import container_form
from telesession.typed.containers import TupleForm
from telesession.typed.enums import EnumForm, LiteralForm
from telesession.typed.form import MARK
from telesession.typed.generics import bind, field_hints
from telesession.typed.named_tuples import NamedTupleForm
from telesession.typed.other_layouts import layout_of
from telesession.typed.records import RecordForm
from telesession.typed.refusals import refusal_of, text_of
from telesession.typed.scalars import SCALARS, AnyForm, BytearrayForm, ScalarForm, real_type
from telesession.typed.texts import TextForm, is_text_class
from telesession.typed.typed_dicts import TypedDictForm
from telesession.typed.unions import union_of

if TYPE_CHECKING:
    from telesession.typed.form import Form
    from telesession.typed.layouts import Layout

Args = tuple[Any, ...]


def form_of(hint: Any) -> Form:
    """
    The form of an annotation, resolved: no part of it is a `str`.

    Raises:
        TypeError: It declares values that would not come back. The text begins with the
            declaration, and proposes another one.
        NameError: The annotation of a nested class uses a name that is not defined.
    """
    return _Builder().build(hint)


def record_form(cls: type) -> RecordForm:
    """
    The form of a class with declared fields.

    Raises:
        TypeError: See `form_of`; the text names the class and the field.
        NameError: See `form_of`.
    """
    layout = layout_of(cls)
    if layout is None:
        raise TypeError(f"{cls.__name__} is no class with declared fields; make it a dataclass")
    return _Builder().build_record(layout, ())


class _Builder:
    """Builds the forms of one annotation, in which classes and aliases may refer to themselves."""

    def __init__(self) -> None:
        # By class and arguments, or alias. A form is in here before the forms of its parts.
        self._forms: dict[Any, Any] = {}
        # The classes whose fields are being built, the innermost last: `Self` stands for it.
        self._owners: list[Any] = []

    def build(self, hint: Any) -> Form:
        """See `form_of`."""
        if hint is typing.Self and self._owners:
            hint = self._owners[-1]
        hint = _meaning(hint)
        if hint is Any or hint is object:
            return AnyForm(text_of(hint))
        if _is_alias(hint):
            return self._build_alias(hint, hint, ())
        if isinstance(hint, type):
            return self._build_class(hint, (), hint)
        return self._build_special(hint, typing.get_origin(hint), typing.get_args(hint))

    def build_record(self, layout: Layout, args: Args) -> RecordForm:
        """The form of a class with declared fields, and with these arguments if it is generic."""
        cls = layout.cls
        known: RecordForm | None = self._forms.get((cls, args))
        if known is not None:
            return known
        if MARK in layout.names:
            raise TypeError(
                f"{cls.__name__} has a field named {MARK}, which is the name of a part of stored "
                "objects; rename it"
            )
        of_args = f"[{', '.join(map(text_of, args))}]" if args else ""
        form = RecordForm(layout, cls.__name__ + of_args, cls.__qualname__ + of_args, _class_form)
        self._forms[cls, args] = form
        hints = dict(layout.hints)
        if not hints.keys() >= set(layout.names):
            hints |= hints_of(cls)
        fields = self._build_fields(cls, args, {name: hints[name] for name in layout.names})
        for name, field in fields.items():
            if field.takes_default and name in layout.defaults:
                # A factory may need a name that is defined only later.
                with suppress(Exception):
                    fields[name] = field.with_default(layout.defaults[name].make({}))
        form.complete(fields)
        return form

    def _build_fields(self, cls: Any, args: Args, hints: dict[str, Any]) -> dict[str, Form]:
        forms = {}
        self._owners.append(cls[args] if args else cls)
        for name, hint in field_hints(cls, hints, args).items():
            try:
                forms[name] = self.build(hint)
            except TypeError as error:
                raise TypeError(f"the annotation of {cls.__name__}.{name}: {error}") from error
        self._owners.pop()
        return forms

    def _build_alias(self, hint: Any, alias: Any, args: Args) -> Form:
        if hint in self._forms:
            known: Form = self._forms[hint]
            return known
        form = self._forms[hint] = AliasForm(text_of(hint))
        arguments = dict(zip(alias.__type_params__, args, strict=False))
        form.form = self._forms[hint] = self.build(bind(value_of_alias(alias), arguments))
        return form.form

    def _build_special(self, hint: Any, origin: Any, args: Args) -> Form:
        if origin in (typing.Union, types.UnionType):
            return union_of(map(self.build, args))
        if origin is typing.Annotated:
            return self._build_annotated(args[0], args[1:])
        if origin is typing.Literal:
            return _literal(args)
        if is_qualified(hint):
            return self.build(args[0])
        if _is_alias(origin):
            return self._build_alias(hint, origin, args)
        return self._build_class(origin, args, hint)

    def _build_annotated(self, hint: Any, metadata: Args) -> Form:
        form = self.build(hint)
        constraints = [each for each in metadata if is_constraint(each)]
        if not constraints:
            return form
        checked = hint if form.is_native else typing.get_origin(hint)
        if not form.is_native and checked not in _CHECKED:
            raise TypeError(
                f"{form.text} cannot have this msgspec.Meta, which holds for scalars, list, tuple, "
                "set, frozenset and dict; put it at a part, or check the value in your code"
            )
        return ConstrainedForm(form, checked, constraints)

    def _build_class(self, cls: Any, args: Args, hint: Any) -> Form:
        """The form of a class, or of a special form of `typing`."""
        # typing.Tuple is any tuple, and tuple[()] the empty one.
        if cls is tuple and not args and hint not in (tuple, typing.Tuple):  # noqa: UP006
            return TupleForm((), "tuple[()]")
        form = container_form(cls, args, self.build)
        if form is None and isinstance(cls, type):
            form = _simple_form(real_type(cls)) or self._build_class_of_parts(cls, args)
        if form is None:
            raise refusal_of(hint)
        return form

    def _build_class_of_parts(self, cls: Any, args: Args) -> Form | None:
        """The form of a class whose parts have annotations; `None` of any other."""
        refuse_init_vars(cls)
        if issubclass(cls, dict) and hasattr(cls, "__required_keys__"):
            return self._forms.get((cls, args)) or self._build_typed_dict(cls, args)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self._forms.get((cls, args)) or self._build_named_tuple(cls, args)
        layout = layout_of(cls)
        return None if layout is None else self.build_record(layout, args)

    def _build_typed_dict(self, cls: Any, args: Args) -> Form:
        form = self._forms[cls, args] = TypedDictForm(cls.__name__)
        hints = hints_of(cls)
        form.complete(self._build_fields(cls, args, hints), required_keys(cls, hints))
        return form

    def _build_named_tuple(self, cls: Any, args: Args) -> Form:
        form = self._forms[cls, args] = NamedTupleForm(cls)
        hints = {**dict.fromkeys(cls._fields, Any), **hints_of(cls)}
        fields = self._build_fields(cls, args, {name: hints[name] for name in cls._fields})
        form.complete(fields)
        return form


def _class_form(cls: type) -> RecordForm:
    """The form of a class that is used as a subclass of a declared one."""
    form = form_of(cls)
    if not isinstance(form, RecordForm):
        raise refusal_of(cls)
    return form


def _simple_form(cls: Any) -> Form | None:
    """The form of a class without parts; `None` of any other."""
    if cls in SCALARS:
        text = "None" if cls is types.NoneType else cls.__name__
        return ScalarForm(_WIDER.get(cls, frozenset((cls,))), text)
    if cls is msgspec.UnsetType:
        return LiteralForm([(msgspec.UNSET, "UNSET")], cls.__name__)
    if cls is bytearray:
        return BytearrayForm()
    if is_text_class(cls):
        return TextForm(cls)
    return EnumForm(cls) if issubclass(cls, enum.Enum) and cls.__members__ else None


def _meaning(hint: Any) -> Any:
    """The annotation that another one stands for, which may be itself."""
    if isinstance(hint, typing.NewType):
        return _meaning(hint.__supertype__)
    if isinstance(hint, typing.TypeVar):
        if hint.__constraints__:
            return typing.Union[hint.__constraints__]  # noqa: UP007 -- there may be any number
        return Any if hint.__bound__ is None else _meaning(hint.__bound__)
    if isinstance(hint, str | typing.ForwardRef):
        name = hint if isinstance(hint, str) else hint.__forward_arg__
        raise NameError(f"name {name!r} is not defined", name=name)  # noqa: TRY004 -- as Python
    return next((meant for special, meant in _MEANINGS if hint is special), hint)


def _literal(values: Args) -> Form:
    shown = [str(each) if isinstance(each, enum.Enum) else repr(each) for each in values]
    text = f"Literal[{', '.join(shown)}]"
    packed = [_packed_literal(each) for each in values]
    if len({(type(each), each) for each in packed}) == len(values):
        return LiteralForm(zip(values, packed, strict=True), text)
    # A member of an enum is stored as another value of the literal, so each enum needs a mark.
    groups: dict[Any, list[Any]] = {}
    for each in values:
        groups.setdefault(type(each) if isinstance(each, enum.Enum) else None, []).append(each)
    return union_of((_literal(tuple(group)) for group in groups.values()), text)


def _packed_literal(value: Any) -> Any:
    return EnumForm(type(value)).pack(value) if isinstance(value, enum.Enum) else value


def _is_alias(hint: Any) -> bool:
    # Python has the class since 3.12, and typing_extensions has another one for older versions.
    return type(hint).__name__ == "TypeAliasType"


_MEANINGS = ((None, types.NoneType), (typing.LiteralString, str), (typing.Final, Any))
_CHECKED = frozenset((dict, frozenset, list, set, tuple))
# An int is a float to annotations, and both are complex; each comes back with its own type.
_WIDER: types.MappingProxyType[Any, frozenset[type]] = types.MappingProxyType(
    {float: frozenset((float, int)), complex: frozenset((complex, float, int))}
)
