"""Generic classes: the annotations of their fields with the arguments put in."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

#: `class -> type variable -> argument` of a class and its bases.
Bindings = Mapping[type, Mapping[Any, Any]]


def bindings_of(cls: Any, args: tuple[Any, ...]) -> Bindings:
    """
    The arguments that a generic class and its generic bases have.

    Args:
        cls: The class.
        args: Its arguments, as in `Box[int]`; none if it is not generic, or named without any.
    """
    own = dict(zip(getattr(cls, "__parameters__", ()), args, strict=False))
    found: dict[type, Mapping[Any, Any]] = {cls: own}
    for base in vars(cls).get("__orig_bases__", cls.__bases__):
        origin = typing.get_origin(base) or base
        if isinstance(origin, type) and origin is not cls:
            inner = tuple(bind(arg, own) for arg in typing.get_args(base))
            found = {**bindings_of(origin, inner), **found}
    return found


def bind(hint: Any, arguments: Mapping[Any, Any]) -> Any:
    """An annotation with arguments in the place of its type variables."""
    if isinstance(hint, typing.TypeVar):
        return arguments.get(hint, hint)
    parameters: tuple[Any, ...]
    parameters = () if isinstance(hint, type) else getattr(hint, "__parameters__", ())
    if not any(parameter in arguments for parameter in parameters):
        return hint
    generic: Any = hint
    return generic[tuple(arguments.get(parameter, parameter) for parameter in parameters)]


def field_hints(cls: Any, hints: Mapping[str, Any], args: tuple[Any, ...]) -> dict[str, Any]:
    """The annotations of a class, each with the arguments of the class that declares it."""
    bindings = bindings_of(cls, args)
    bound = {}
    for name, hint in hints.items():
        owner = next((base for base in cls.__mro__ if name in _annotations(base)), cls)
        bound[name] = bind(hint, bindings.get(owner, {}))
    return bound


def _annotations(cls: type) -> Mapping[str, Any]:
    # Builtin classes have none; a class without any has an empty dict of its own.
    annotations: Mapping[str, Any] = getattr(cls, "__annotations__", {})
    return annotations
