"""Announced dataclasses: those of which `initial` may return instances, by its annotation."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from telesession.typed.subclasses import iter_subclasses


class Announced:
    """
    The dataclasses that the sessions of one kind may be instances of.

    Immutable; any thread may use it.

    Args:
        classes: The classes of the annotation.
        are_final: Whether instances of subclasses are excluded.

    Attributes:
        classes: See above.
        are_final: See above.
    """

    def __init__(self, classes: tuple[type, ...], *, are_final: bool = False) -> None:
        self.classes = classes
        self.are_final = are_final

    def __str__(self) -> str:
        return " | ".join(cls.__name__ for cls in self.classes)

    @property
    def only(self) -> type | None:
        """The class of records that name none; `None` if each record names its class."""
        only = self.classes[0]
        return only if len(self.classes) == 1 and is_dataclass(only) else None

    def admits(self, cls: type) -> bool:
        """Whether a session may be an instance of a class."""
        return cls in self.classes or (not self.are_final and issubclass(cls, self.classes))

    def name_of(self, cls: type) -> str | None:
        """The name of a class in the records; `None` if they do not name it."""
        return None if cls is self.only else cls.__qualname__

    def clash_of(self, cls: type) -> bool:
        """Whether records would name another class by the name of this one."""
        return self.name_of(cls) is not None and self.named(cls.__qualname__) is not cls

    def named(self, name: str) -> type | None:
        """The class that a record names; `None` if it is not announced or not imported."""
        found = None
        for cls in self.classes:
            for each in (cls,) if self.are_final else (cls, *iter_subclasses(cls)):
                # The last one, because a reload defines a class again.
                if each.__qualname__ == name and is_dataclass(each):
                    found = each
        return found


def announced_by(initial: Any) -> Announced | type[Mapping[str, Any]] | None:
    """
    The classes that `initial` is or says that it returns.

    Returns:
        `Mapping` for a mapping; `None` if it does not say.

    Raises:
        NameError: Its annotation names a class that is not defined yet.
    """
    if isinstance(initial, type) and is_dataclass(initial):
        return Announced((initial,), are_final=True)
    classes = _declared_classes(initial)
    if classes and all(issubclass(cls, Mapping) for cls in classes):
        return Mapping
    # The dataclasses below a class of the user may be defined later.
    if classes and all(is_dataclass(cls) or _is_of_user(cls) for cls in classes):
        return Announced(classes)
    return None


def _declared_classes(initial: Any) -> tuple[type, ...]:
    """The classes that `initial` is, or of which it declares to return an instance."""
    hint: Any = initial
    if isinstance(initial, Mapping):
        hint = type(initial)
    elif not isinstance(initial, type):
        hint = _declared_return(initial)
    # Python has aliases since 3.12, and typing_extensions before.
    while type(hint).__name__ == "TypeAliasType":
        hint = hint.__value__
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    hints: tuple[Any, ...] = typing.get_args(hint) if is_union else (hint,)
    classes = tuple(typing.get_origin(each) or each for each in hints)
    is_known = object not in classes and all(isinstance(cls, type) for cls in classes)
    return classes if is_known else ()


def _declared_return(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__annotations__"):
        function = type(function).__call__
    try:
        return typing.get_type_hints(function).get("return")
    except TypeError:
        return None


def _is_of_user(cls: type) -> bool:
    """Whether a class may be the base of dataclasses, and is no class of Python itself."""
    is_of_python = cls.__module__ in ("builtins", "typing", "collections.abc", "types")
    return not (is_of_python or getattr(cls, "_is_protocol", False))
