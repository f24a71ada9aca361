"""Layouts: the fields of a class, and how its instances are taken apart and put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from functools import cached_property
from inspect import getattr_static, isabstract
from types import MappingProxyType, MemberDescriptorType
from typing import Any

_set = object.__setattr__


@dataclasses.dataclass(frozen=True)
class Default:
    """
    The default of a field.

    Attributes:
        value: The default itself, unless a function makes it.
        factory: Makes it of the fields before; `None` if it is `value`.
    """

    value: Any = None
    factory: Callable[[dict[str, Any]], Any] | None = None

    def make(self, fields: dict[str, Any]) -> Any:
        """A default of its own for an object with these other fields."""
        return deepcopy(self.value) if self.factory is None else self.factory(fields)


class Layout:
    """
    The fields of a class whose instances have them in their `__dict__` or in slots.

    No method of the class is called: neither `__init__` nor `__post_init__`, `__setattr__` or the
    like. Keep one for as long as you like; any thread may use it.

    Args:
        cls: The class.
        names: The names of the fields, in the order of their declaration.
        defaults: `name -> default`, for the fields that have one.

    Attributes:
        hints: `name -> annotation` of fields that have one somewhere else than in the class.
        is_bare: Instances have all in their `__dict__`, and nothing else.
    """

    def __init__(self, cls: type, names: Iterable[str], defaults: Mapping[str, Default]) -> None:
        self.cls: Any = cls
        self.names = tuple(names)
        self.defaults = MappingProxyType(dict(defaults))
        self.hints: Mapping[str, Any] = MappingProxyType({})
        self.set_dict: Callable[[Any, Any], None] | None = None
        if (of_dict := getattr_static(cls, "__dict__", None)) is not None and cls.__dictoffset__:
            self.set_dict = of_dict.__set__
        slots = frozenset(_slots(cls))
        self._other_slots = slots - frozenset(self.names)
        self.is_bare = self.set_dict is not None and not slots

    def read(self, value: Any) -> dict[str, Any]:
        """
        The fields of an instance.

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
        """An instance with these fields, which takes the dict over."""
        instance = object.__new__(self.cls)
        if self.is_bare and self.set_dict is not None:
            self.set_dict(instance, fields)
        else:
            for name, value in fields.items():
                _set(instance, name, value)
        return instance

    def _is_kept(self, name: str) -> bool:
        """Whether an attribute comes back, or can be made again."""
        if name in self.names or name == "__orig_class__":
            return True
        return isinstance(getattr_static(self.cls, name, None), cached_property)


def layout_of(cls: type) -> Layout | None:
    """
    The layout of a class with declared fields; `None` of any other.

    Raises:
        TypeError: Its instances are more than their fields.
    """
    layout: Layout | None = None
    if dataclasses.is_dataclass(cls):
        layout = _dataclass_layout(cls)
    if layout is not None and not isabstract(cls):
        _probe(cls)
    return layout


def _probe(cls: type) -> None:
    try:
        object.__new__(cls)
    except TypeError:
        raise TypeError(
            f"{cls.__name__} is a subclass of a builtin type, whose content would be lost; give it "
            "a field for that instead"
        ) from None


def _dataclass_layout(cls: Any) -> Layout:
    fields = dataclasses.fields(cls)
    defaults = {}
    for field in fields:
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = Default(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = Default(factory=_without_fields(field.default_factory))
    return Layout(cls, (field.name for field in fields), defaults)


def _without_fields(factory: Callable[[], Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda _fields: factory()


def _slots(cls: type) -> Iterable[str]:
    """The names of the slots of a class, and of the classes it inherits from."""
    for base in cls.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, MemberDescriptorType):
                yield name
