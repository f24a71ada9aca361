"""Annotations of containers, and the forms that they declare."""

from __future__ import annotations

import collections
import collections.abc
import inspect
import typing
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from telesession.typed.containers import DictForm, ItemsForm, TupleForm
from telesession.typed.mappings import DefaultdictForm, DequeForm, MappingForm
from telesession.typed.other_layouts import layout_of
from telesession.typed.scalars import AnyForm, ScalarForm
from telesession.typed.unions import union_of

if TYPE_CHECKING:
    from telesession.typed.form import Form

#: Makes the form of an annotation inside another.
Build = Callable[[Any], "Form"]
Args = tuple[Any, ...]

_ABSTRACT: MappingProxyType[Any, tuple[type, ...]] = MappingProxyType(
    {
        collections.abc.Sequence: (list, tuple, str),
        collections.abc.MutableSequence: (list,),
        collections.abc.Collection: (list, tuple, set, frozenset, str),
        collections.abc.Iterable: (list, tuple, set, frozenset, str),
        collections.abc.Set: (set, frozenset),
        collections.abc.MutableSet: (set,),
    }
)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_FACTORIES = frozenset(
    (bool, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
) | frozenset((collections.Counter, collections.OrderedDict, collections.deque))


def container_form(kind: Any, args: Args, build: Build) -> Form | None:
    """
    The form of a container; `None` of any other type.

    Args:
        kind: The type, or an abstract class of types.
        args: The annotations of its parts; none if there are no such annotations.
        build: Makes the forms of the parts.
    """
    make = _BUILDERS.get(kind)
    if make is None:
        return None
    count = 2 if make in _OF_PAIRS else 1
    if args and kind is not tuple and len(args) != count:
        shown = ", ".join(["..."] * count)
        raise TypeError(
            f"{kind.__name__} has {len(args)} parameters, and takes {count}; write "
            f"{kind.__name__}[{shown}]"
        )
    return make(kind, args, build)


def _items_form(kind: Any, args: Args, build: Build) -> Form:
    item = build(args[0]) if args else AnyForm()
    return ItemsForm(kind, item, _text(kind, (item,) if args else ()))


def _tuple_form(kind: Any, args: Args, build: Build) -> Form:
    if args and args[-1] is not ...:
        items = tuple(map(build, args))
        return TupleForm(items, _text(kind, items))
    item = build(args[0]) if args else AnyForm()
    return ItemsForm(kind, item, _text_of_items(kind, item) if args else "tuple")


def _dict_form(kind: Any, args: Args, build: Build) -> DictForm:
    parts = tuple(map(build, args))
    key, value = parts or (AnyForm(), AnyForm())
    return DictForm(key, value, _text(kind, parts))


def _ordered_form(kind: Any, args: Args, build: Build) -> Form:
    items = _dict_form(kind, args, build)
    return MappingForm(kind, items, items.text)


def _counter_form(kind: Any, args: Args, build: Build) -> Form:
    items = _dict_form(kind, (args[0] if args else Any, int), build)
    return MappingForm(kind, items, _text(kind, items.parts()[:1] if args else ()))


def _defaultdict_form(kind: Any, args: Args, build: Build) -> Form:
    items = _dict_form(kind, args, build)
    return DefaultdictForm(items, _factory_of(args[1]) if args else None, items.text)


def _deque_form(kind: Any, args: Args, build: Build) -> Form:
    item = build(args[0]) if args else AnyForm()
    return DequeForm(item, _text(kind, (item,) if args else ()))


def _abstract_form(kind: Any, args: Args, build: Build) -> Form:
    item = build(args[0]) if args else AnyForm()
    kinds = [each for each in _ABSTRACT[kind] if each is not str]
    members: list[Form] = [ItemsForm(each, item, _text_of_items(each, item)) for each in kinds]
    # The items of a str are str.
    if str in _ABSTRACT[kind] and item.accepts(""):
        members.append(ScalarForm(frozenset((str,)), "str"))
    return union_of(members, _text(kind, (item,) if args else ()))


def _factory_of(hint: Any) -> Callable[[], Any] | None:
    """The usual `default_factory` for values of an annotation; `None` if there is none."""
    kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is collections.defaultdict:
        return partial(collections.defaultdict, _factory_of(args[1]) if args else None)
    if not isinstance(kind, type):
        return None
    if kind in _FACTORIES or (layout_of(kind) is not None and not _requires_arguments(kind)):
        return kind
    return None


def _requires_arguments(cls: type) -> bool:
    parameters = inspect.signature(cls).parameters.values()
    return any(each.default is each.empty and each.kind not in _VARIADIC for each in parameters)


def _text(kind: Any, parts: tuple[Form, ...]) -> str:
    return f"{kind.__name__}[{', '.join(part.text for part in parts)}]" if parts else kind.__name__


def _text_of_items(kind: Any, item: Form) -> str:
    return f"tuple[{item.text}, ...]" if kind is tuple else _text(kind, (item,))


_OF_PAIRS = (_dict_form, _ordered_form, _defaultdict_form)
_BUILDERS: MappingProxyType[Any, Callable[[Any, Args, Build], Form]] = MappingProxyType(
    {
        **dict.fromkeys((frozenset, list, set), _items_form),
        tuple: _tuple_form,
        **dict.fromkeys(
            (dict, collections.abc.Mapping, collections.abc.MutableMapping), _dict_form
        ),
        collections.OrderedDict: _ordered_form,
        collections.Counter: _counter_form,
        collections.defaultdict: _defaultdict_form,
        collections.deque: _deque_form,
        **dict.fromkeys(_ABSTRACT, _abstract_form),
    }
)
