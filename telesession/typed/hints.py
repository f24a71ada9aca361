"""Annotations, and the forms that they declare."""

from __future__ import annotations

import types
import typing
from typing import Any

from telesession.typed.containers import DictForm, ItemsForm, TupleForm
from telesession.typed.form import Form
from telesession.typed.layouts import Layout, layout_of
from telesession.typed.records import RecordForm
from telesession.typed.scalars import SCALARS, AnyForm, BytearrayForm, ScalarForm, real_type
from telesession.typed.unions import union_of


def form_of(hint: Any) -> Form:
    """
    The form of an annotation, resolved: no part of it is a `str`.

    Raises:
        TypeError: It declares values that would not come back. The text begins with the
            declaration, and says what to declare instead.
        NameError: The annotation of a nested class names something that is not there.
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
    return _Builder().build_record(layout, cls, ())


class _Builder:
    """Builds the forms of one annotation, in which classes may refer to themselves."""

    def __init__(self) -> None:
        self._records: dict[Any, RecordForm] = {}

    def build(self, hint: Any) -> Form:
        if hint is Any or hint is object:
            return AnyForm(text_of(hint))
        if hint is None or hint is types.NoneType:
            return ScalarForm(frozenset((types.NoneType,)), "None")
        if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
            return self._build_class(hint)
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            return union_of([self.build(arg) for arg in args])
        if origin is typing.Annotated:
            return self.build(args[0])
        if origin in _GENERICS:
            return self._build_container(origin, args)
        raise TypeError(f"{text_of(hint)} declares values that nothing converts")

    def _build_class(self, cls: type) -> Form:
        cls = real_type(cls)
        if cls in SCALARS:
            return ScalarForm(_WIDER.get(cls, frozenset((cls,))), cls.__name__)
        if cls is bytearray:
            return BytearrayForm()
        if cls in _GENERICS:
            return self._build_container(cls, ())
        layout = layout_of(cls)
        if layout is not None:
            return self.build_record(layout, cls, ())
        raise TypeError(
            f"{cls.__name__} is a class that nothing converts; make it a dataclass, or declare Any "
            "and give the storage a PickleCodec"
        )

    def _build_container(self, kind: Any, args: tuple[Any, ...]) -> Form:
        parts = tuple(self.build(arg) for arg in args if arg is not ...)
        text = f"{kind.__name__}[{', '.join(part.text for part in parts)}]"
        if kind is dict:
            key, value = parts or (AnyForm(), AnyForm())
            return DictForm(key, value, text if parts else "dict")
        if kind is tuple and args and args[-1] is not ...:
            return TupleForm(parts, text)
        (item,) = parts or (AnyForm(),)
        if kind is tuple and parts:
            text = f"tuple[{item.text}, ...]"
        return ItemsForm(kind, item, text if parts else kind.__name__)

    def build_record(self, layout: Layout, hint: Any, args: tuple[Any, ...]) -> RecordForm:
        key = (hint, args)
        if key in self._records:
            return self._records[key]
        cls = layout.cls
        form = RecordForm(layout, cls.__name__, cls.__qualname__, form_of)
        self._records[key] = form
        hints = {**typing.get_type_hints(cls, include_extras=True), **layout.hints}
        fields = {}
        for name in layout.names:
            try:
                fields[name] = self.build(hints[name])
            except TypeError as error:
                raise TypeError(f"the annotation of {cls.__name__}.{name}: {error}") from error
        form.complete(fields)
        return form


# An int is a float to annotations, and both are complex; they come back as what they are.
_WIDER = types.MappingProxyType(
    {float: frozenset((float, int)), complex: frozenset((complex, float, int))}
)
_GENERICS = frozenset((dict, frozenset, list, set, tuple))


def text_of(hint: Any) -> str:
    """An annotation as text, with the names of classes only."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("collections.abc.", "")
