"""Annotations, and the forms that they declare."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from telesession.typed.aliases import AliasForm
from telesession.typed.constraints import ConstrainedForm
from telesession.typed.containers import DictForm, ItemsForm, TupleForm
from telesession.typed.enums import EnumForm, LiteralForm
from telesession.typed.form import Form
from telesession.typed.generics import bind, field_hints
from telesession.typed.layouts import Layout
from telesession.typed.mappings import DefaultdictForm, DequeForm, MappingForm
from telesession.typed.named_tuples import NamedTupleForm
from telesession.typed.other_layouts import layout_of
from telesession.typed.records import RecordForm
from telesession.typed.refusals import refusal_of, text_of
from telesession.typed.scalars import SCALARS, AnyForm, BytearrayForm, ScalarForm, real_type
from telesession.typed.texts import TextForm, is_text_class
from telesession.typed.typed_dicts import TypedDictForm
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
    return _Builder().build_record(layout, ())


class _Builder:
    """Builds the forms of one annotation, in which classes and aliases may refer to themselves."""

    def __init__(self) -> None:
        # By class or alias, and arguments; a form is there before those of its parts.
        self._forms: dict[Any, Any] = {}
        # The classes whose fields are being built, the innermost last: what `Self` stands for.
        self._owners: list[Any] = []

    def build(self, hint: Any) -> Form:
        """See `form_of`."""
        if hint in (Any, object, typing.Final):
            return AnyForm(text_of(hint))
        if hint is None:
            return self._build_class(types.NoneType, ())
        if hint is typing.LiteralString:
            return self._build_class(str, ())
        if hint is typing.Self and self._owners:
            return self.build(self._owners[-1])
        if isinstance(hint, typing.ForwardRef):
            name = hint.__forward_arg__
            raise NameError(f"name {name!r} is not defined", name=name)
        if isinstance(hint, typing.NewType):
            return self.build(hint.__supertype__)
        if isinstance(hint, typing.TypeVar):
            return self._build_variable(hint)
        if _is_alias(hint):
            return self._build_alias(hint, hint, ())
        if isinstance(hint, type):
            return self._build_class(hint, ())
        return self._build_special(hint, typing.get_origin(hint), typing.get_args(hint))

    def build_record(self, layout: Layout, args: tuple[Any, ...]) -> RecordForm:
        """The form of a class with declared fields, and with these arguments if it is generic."""
        cls = layout.cls
        if (cls, args) in self._forms:
            known: RecordForm = self._forms[cls, args]
            return known
        of_args = f"[{', '.join(map(text_of, args))}]" if args else ""
        form = RecordForm(layout, cls.__name__ + of_args, cls.__qualname__ + of_args, _class_form)
        self._forms[cls, args] = form
        own = dict(layout.hints)
        if not own.keys() >= set(layout.names):
            own |= _hints(cls)
        hints = field_hints(cls, own, args)
        fields = self._build_fields(cls, args, {name: hints[name] for name in layout.names})
        for name, field in fields.items():
            if field.takes_default and name in layout.defaults:
                # A factory may need something that is there only later.
                with suppress(Exception):
                    fields[name] = field.with_default(layout.defaults[name].make({}))
        form.complete(fields)
        return form

    def _build_fields(
        self, cls: Any, args: tuple[Any, ...], hints: dict[str, Any]
    ) -> dict[str, Form]:
        forms = {}
        self._owners.append(cls[args] if args else cls)
        for name, hint in hints.items():
            try:
                forms[name] = self.build(hint)
            except TypeError as error:
                raise TypeError(f"the annotation of {cls.__name__}.{name}: {error}") from None
        self._owners.pop()
        return forms

    def _build_variable(self, variable: typing.TypeVar) -> Form:
        if variable.__constraints__:
            return union_of(map(self.build, variable.__constraints__))
        return self.build(Any if variable.__bound__ is None else variable.__bound__)

    def _build_alias(self, hint: Any, alias: Any, args: tuple[Any, ...]) -> Form:
        if hint in self._forms:
            known: Form = self._forms[hint]
            return known
        form = self._forms[hint] = AliasForm(text_of(hint))
        arguments = dict(zip(alias.__type_params__, args, strict=False))
        form.form = self.build(bind(alias.__value__, arguments))
        return form.form

    def _build_special(self, hint: Any, origin: Any, args: tuple[Any, ...]) -> Form:
        if origin in (typing.Union, types.UnionType):
            return union_of(map(self.build, args))
        if origin is typing.Annotated:
            return self._build_annotated(args[0], args[1:])
        if origin is typing.Literal:
            return _literal(args)
        if _qualifier(hint):
            return self.build(args[0])
        if _is_alias(origin):
            return self._build_alias(hint, origin, args)
        if not isinstance(origin, type):
            raise refusal_of(hint)
        # Without arguments, typing.Tuple is any tuple, and tuple[()] the empty one.
        is_empty = origin is tuple and not args and hasattr(hint, "__args__")
        return TupleForm((), "tuple[()]") if is_empty else self._build_class(origin, args, hint)

    def _build_annotated(self, hint: Any, metadata: tuple[Any, ...]) -> Form:
        form = self.build(hint)
        constraints = [each for each in metadata if isinstance(each, msgspec.Meta)]
        checked = hint if form.is_native else typing.get_origin(hint)
        if not constraints or (checked not in _CHECKED and not form.is_native):
            return form
        return ConstrainedForm(form, checked, constraints)

    def _build_class(self, cls: Any, args: tuple[Any, ...], hint: Any = None) -> Form:
        cls = real_type(cls)
        if cls in SCALARS:
            return ScalarForm(_WIDER.get(cls, frozenset((cls,))), _TEXTS.get(cls, cls.__name__))
        if cls is bytearray:
            return BytearrayForm()
        if cls in _CONTAINERS:
            return _CONTAINERS[cls](self, cls, args)
        if is_text_class(cls):
            return TextForm(cls)
        if issubclass(cls, enum.Enum) and cls.__members__:
            return EnumForm(cls)
        if issubclass(cls, dict) and hasattr(cls, "__required_keys__"):
            return self._build_typed_dict(cls, args)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            return self._build_named_tuple(cls, args)
        layout = layout_of(cls)
        if layout is None:
            raise refusal_of(cls if hint is None else hint)
        _refuse_init_vars(cls)
        return self.build_record(layout, args)

    def _build_typed_dict(self, cls: Any, args: tuple[Any, ...]) -> Form:
        if (cls, args) in self._forms:
            known: TypedDictForm = self._forms[cls, args]
            return known
        form = self._forms[cls, args] = TypedDictForm(cls.__name__)
        hints = _hints(cls)
        # What the class itself says is wrong if its annotations are text.
        said = {name: _qualifiers(hint) for name, hint in hints.items()}
        required = {
            name
            for name in hints
            if "Required" in said[name]
            or (name in cls.__required_keys__ and "NotRequired" not in said[name])
        }
        forms = self._build_fields(cls, args, field_hints(cls, hints, args))
        form.complete(forms, frozenset(required))
        return form

    def _build_named_tuple(self, cls: Any, args: tuple[Any, ...]) -> Form:
        if (cls, args) in self._forms:
            known: NamedTupleForm = self._forms[cls, args]
            return known
        form = self._forms[cls, args] = NamedTupleForm(cls)
        hints = {**dict.fromkeys(cls._fields, Any), **_hints(cls)}
        hints = field_hints(cls, {name: hints[name] for name in cls._fields}, args)
        form.complete(self._build_fields(cls, args, hints))
        return form

    def build_items(self, kind: Any, args: tuple[Any, ...]) -> Form:
        """The form of a list, a set or a frozenset."""
        item = self.build(args[0]) if args else AnyForm()
        return ItemsForm(kind, item, _text(kind, (item,) if args else ()))

    def build_tuple(self, kind: Any, args: tuple[Any, ...]) -> Form:
        """The form of a tuple."""
        if args and args[-1] is not ...:
            items = tuple(self.build(arg) for arg in args)
            return TupleForm(items, _text(kind, items))
        item = self.build(args[0]) if args else AnyForm()
        return ItemsForm(kind, item, f"tuple[{item.text}, ...]" if args else "tuple")

    def build_dict(self, kind: Any, args: tuple[Any, ...]) -> Form:
        """The form of a dict, or of an abstract mapping."""
        return self._items(kind, args)

    def build_ordered(self, kind: Any, args: tuple[Any, ...]) -> Form:
        """The form of an `OrderedDict`."""
        items = self._items(kind, args)
        return MappingForm(kind, items, items.text)

    def build_counter(self, kind: Any, args: tuple[Any, ...]) -> Form:
        """The form of a `Counter`."""
        items = self._items(kind, (*(args or (Any,)), int))
        return MappingForm(kind, items, _text(kind, items.parts()[:1] if args else ()))

    def build_defaultdict(self, kind: Any, args: tuple[Any, ...]) -> Form:
        """The form of a `defaultdict`."""
        items = self._items(kind, args)
        return DefaultdictForm(items, _factory_of(args[1]) if args else None, items.text)

    def build_deque(self, kind: Any, args: tuple[Any, ...]) -> Form:
        """The form of a `deque`."""
        item = self.build(args[0]) if args else AnyForm()
        return DequeForm(item, _text(kind, (item,) if args else ()))

    def build_abstract(self, kind: Any, args: tuple[Any, ...]) -> Form:
        """The form of an abstract container of items: one of the containers that are its kind."""
        item = self.build(args[0]) if args else AnyForm()
        members: list[Form] = []
        for concrete in _ABSTRACT[kind]:
            if concrete is not str:
                text = f"tuple[{item.text}, ...]" if concrete is tuple else _text(concrete, (item,))
                members.append(ItemsForm(concrete, item, text))
            elif item.accepts(""):
                members.append(self.build(str))
        return union_of(members, _text(kind, (item,) if args else ()))

    def _items(self, kind: Any, args: tuple[Any, ...]) -> DictForm:
        parts = [self.build(arg) for arg in args]
        key, value = parts or (AnyForm(), AnyForm())
        return DictForm(key, value, _text(kind, tuple(parts)))


def _class_form(cls: type) -> RecordForm:
    """The form of a class that is used as a subclass of a declared one."""
    form = form_of(cls)
    if not isinstance(form, RecordForm):
        raise refusal_of(cls)
    return form


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError:
        raise
    except Exception as error:
        raise TypeError(f"{cls.__name__} has annotations that cannot be read: {error}") from error


def _refuse_init_vars(cls: Any) -> None:
    if not dataclasses.is_dataclass(cls):
        return
    # The others are InitVar or ClassVar.
    if others := cls.__dataclass_fields__.keys() - {each.name for each in dataclasses.fields(cls)}:
        hints = _hints(cls)
        for name in sorted(others):
            if isinstance(hints[name], dataclasses.InitVar) or hints[name] is dataclasses.InitVar:
                raise TypeError(
                    f"{cls.__name__} has the InitVar {name}, which is not kept; make it a field, "
                    "or pass a field that is computed before"
                )


def _literal(values: tuple[Any, ...]) -> Form:
    pairs = [
        (each, EnumForm(type(each)).pack(each) if isinstance(each, enum.Enum) else each)
        for each in values
    ]
    shown = [str(each) if isinstance(each, enum.Enum) else repr(each) for each in values]
    return LiteralForm(pairs, f"Literal[{', '.join(shown)}]")


def _qualifiers(hint: Any) -> frozenset[str]:
    """The names of the qualifiers around an annotation, such as `Required`."""
    found = set()
    while name := _qualifier(hint):
        found.add(name)
        hint = typing.get_args(hint)[0]
    return frozenset(found)


def _qualifier(hint: Any) -> str:
    # By the name, because typing_extensions has those of later Pythons.
    name = getattr(typing.get_origin(hint), "_name", None)
    return name if name in _QUALIFIERS else ""


def _is_alias(hint: Any) -> bool:
    # Python has the class since 3.12, and typing_extensions another one for those before.
    return type(hint).__name__ == "TypeAliasType"


def _factory_of(hint: Any) -> Callable[[], Any] | None:
    """The usual `default_factory` for values of an annotation; `None` if there is none."""
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is collections.defaultdict:
        return partial(collections.defaultdict, _factory_of(args[1]) if args else None)
    if kind in _FACTORIES:
        factory: Callable[[], Any] = kind
        return factory
    is_record = isinstance(kind, type) and layout_of(kind) is not None
    return kind if is_record and not _required_parameters(kind) else None


def _required_parameters(cls: type) -> bool:
    parameters = inspect.signature(cls).parameters.values()
    return any(each.default is each.empty and each.kind not in _VARIADIC for each in parameters)


def _text(kind: Any, parts: tuple[Form, ...]) -> str:
    return f"{kind.__name__}[{', '.join(part.text for part in parts)}]" if parts else kind.__name__


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_QUALIFIERS = frozenset(("Final", "NotRequired", "ReadOnly", "Required"))
_CHECKED = frozenset((dict, frozenset, list, set, tuple))
_FACTORIES = frozenset(
    (bool, bytes, complex, float, int, str, dict, frozenset, list, set, tuple)
    + (collections.Counter, collections.OrderedDict, collections.deque)
)
# An int is a float to annotations, and both are complex; they come back as what they are.
_WIDER = types.MappingProxyType(
    {float: frozenset((float, int)), complex: frozenset((complex, float, int))}
)
_TEXTS = types.MappingProxyType({types.NoneType: "None"})
_ABSTRACT = types.MappingProxyType(
    {
        collections.abc.Sequence: (list, tuple, str),
        collections.abc.MutableSequence: (list,),
        collections.abc.Collection: (list, tuple, set, frozenset, str),
        collections.abc.Iterable: (list, tuple, set, frozenset, str),
        collections.abc.Set: (set, frozenset),
        collections.abc.MutableSet: (set,),
    }
)
_CONTAINERS: types.MappingProxyType[Any, Callable[[_Builder, Any, tuple[Any, ...]], Form]] = (
    types.MappingProxyType(
        {
            **dict.fromkeys((frozenset, list, set), _Builder.build_items),
            tuple: _Builder.build_tuple,
            **dict.fromkeys(
                (dict, collections.abc.Mapping, collections.abc.MutableMapping),
                _Builder.build_dict,
            ),
            collections.OrderedDict: _Builder.build_ordered,
            collections.Counter: _Builder.build_counter,
            collections.defaultdict: _Builder.build_defaultdict,
            collections.deque: _Builder.build_deque,
            **dict.fromkeys(_ABSTRACT, _Builder.build_abstract),
        }
    )
)
