"""Layouts: the fields of a class, and how its instances are taken apart and put together."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from inspect import getattr_static
from types import MappingProxyType, MemberDescriptorType
from typing import Any


@dataclasses.dataclass(frozen=True)
class Default:
    """
    The default of a field.

    Attributes:
        value: The default; not used if a function makes it.
        factory: Makes the default from the earlier fields; `None` if the default is `value`.
    """

    value: Any = None
    factory: Callable[[dict[str, Any]], Any] | None = None

    def make(self, fields: dict[str, Any]) -> Any:
        """A default of its own for an object with these other fields."""
        return copy.deepcopy(self.value) if self.factory is None else self.factory(fields)


class Layout:
    """
    The fields of a class whose instances have them in their `__dict__` or in slots.

    No method of the class is called, such as `__init__`, `__post_init__` or `__setattr__`. Keep one
    for as long as you like; any thread may use it.

    Args:
        cls: The class.
        names: The names of the fields, in the order of their declaration.
        defaults: `name -> default` of the fields that have one.

    Attributes:
        hints: `name -> annotation`, of fields whose annotations are not those of the class.
        set_dict: Sets the `__dict__` of an instance; `None` if instances have none.
        is_bare: Instances have no state outside of their `__dict__`.
        takes_more: Instances may have other fields than the declared ones.
        note: The key of an instance's note about its fields, which `read` gives and `make` takes;
            `None` if there is no such note. It is no identifier, and so no field's name.
    """

    takes_more = False
    note: str | None = None

    def __init__(self, cls: type, names: Iterable[str], defaults: Mapping[str, Default]) -> None:
        self.cls: Any = cls
        self.names = tuple(names)
        self.defaults = MappingProxyType(dict(defaults))
        self.hints: Mapping[str, Any] = MappingProxyType({})
        self.set_dict: Callable[[Any, Any], None] | None = None
        if cls.__dictoffset__:
            self.set_dict = getattr_static(cls, "__dict__").__set__
        slots = list(_slots(cls))
        self._other_slots = frozenset(
            name
            for owner, name in slots
            if name not in self.names and not self._is_internal(owner, name)
        )
        self.is_bare = self.set_dict is not None and not slots

    def read(self, value: Any) -> dict[str, Any]:
        """
        The fields of an instance; it may be the `__dict__` itself.

        Raises:
            AttributeError: A field is not set; the exception has its name.
        """
        return {name: getattr(value, name) for name in self.names}

    def others(self, value: Any) -> list[str]:
        """The names of the attributes that are no fields, except results of `cached_property`."""
        others = [name for name in self._other_slots if hasattr(value, name)]
        if self.set_dict is not None:
            others += [name for name in vars(value) if not self._is_kept(name)]
        return others

    def make(self, fields: dict[str, Any]) -> Any:
        """An instance with these fields, which may take the dict over."""
        instance = object.__new__(self.cls)
        if self.is_bare and self.set_dict is not None:
            self.set_dict(instance, fields)
        else:
            for name, value in fields.items():
                object.__setattr__(instance, name, value)
        return instance

    def _is_internal(self, owner: type, name: str) -> bool:  # noqa: ARG002 -- most have none
        """Whether a slot of a class is for its own use, and can be made again."""
        return False

    def _is_kept(self, name: str) -> bool:
        """Whether an attribute comes back, or can be made again."""
        if name in self.names or name == "__orig_class__":
            return True
        return isinstance(getattr_static(self.cls, name, None), cached_property)


def dataclass_layout(cls: Any) -> Layout:
    """The layout of a dataclass."""
    defaults = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = Default(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = Default(factory=without_fields(field.default_factory))
    return Layout(cls, (field.name for field in dataclasses.fields(cls)), defaults)


def without_fields(factory: Callable[[], Any]) -> Callable[[dict[str, Any]], Any]:
    """A function that takes the other fields and does not need them."""
    return lambda _fields: factory()


def _slots(cls: type) -> Iterable[tuple[type, str]]:
    """The slots of a class and of those it inherits from, each with the class that has it."""
    for base in cls.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, MemberDescriptorType):
                yield base, name
