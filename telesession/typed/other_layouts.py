"""Layouts of the classes of attrs, msgspec and pydantic, of which only msgspec is imported."""

from __future__ import annotations

import dataclasses
import sys
from copy import copy
from inspect import isabstract
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import structs

from telesession.typed.layouts import Default, Layout, dataclass_layout, without_fields

# The attribute in which attrs keeps the hash of an instance.
_HASH = "_attrs_cached_hash"
# The key of the note of the fields of a pydantic model that were never set.
_NOTE = "not set"


def layout_of(cls: Any) -> Layout | None:
    """
    The layout of a class with declared fields; `None` of any other.

    Raises:
        TypeError: Its instances are more than their fields.
    """
    if isinstance(cls, type(msgspec.Struct)):
        return _StructLayout(cls)
    if hasattr(cls, "__attrs_attrs__"):
        layout: Layout = _AttrsLayout(cls)
    elif hasattr(cls, "model_fields") and hasattr(cls, "__private_attributes__"):
        layout = _ModelLayout(cls)
    elif dataclasses.is_dataclass(cls):
        layout = _layout_of_dataclass(cls)
    else:
        return None
    if not isabstract(cls):
        _refuse_content(cls)
    return layout


class _AttrsLayout(Layout):
    """The layout of a class that attrs has made."""

    def __init__(self, cls: Any) -> None:
        attributes, defaults = cls.__attrs_attrs__, {}
        for each in attributes:
            if each.default is not sys.modules["attr"].NOTHING:
                defaults[each.name] = self._default(each.default)
        super().__init__(cls, (each.name for each in attributes), defaults)
        annotated = {name for base in cls.__mro__ for name in getattr(base, "__annotations__", ())}
        self.hints = MappingProxyType(
            {
                each.name: Any if each.type is None else each.type
                for each in attributes
                if each.name not in annotated
            }
        )
        self._has_hash = _HASH in getattr(getattr(cls.__hash__, "__code__", None), "co_names", ())
        self.is_bare = self.is_bare and not self._has_hash

    def make(self, fields: dict[str, Any]) -> Any:
        """See `Layout.make`."""
        return super().make({**fields, _HASH: None} if self._has_hash else fields)

    def _is_internal(self, owner: type, name: str) -> bool:  # noqa: ARG002 -- see `Layout`
        # attrs makes the slots of its classes: of fields, cached properties and the hash.
        return "__attrs_attrs__" in vars(owner)

    def _is_kept(self, name: str) -> bool:
        return name == _HASH or super()._is_kept(name)

    def _default(self, default: Any) -> Default:
        if not isinstance(default, sys.modules["attr"].Factory):
            return Default(default)
        if default.takes_self:
            return Default(factory=lambda fields: default.factory(self.make(dict(fields))))
        return Default(factory=without_fields(default.factory))


class _StructLayout(Layout):
    """The layout of a `msgspec.Struct`."""

    def __init__(self, cls: Any) -> None:
        fields, defaults = structs.fields(cls), {}
        for field in fields:
            if field.default is not msgspec.NODEFAULT:
                defaults[field.name] = Default(field.default)
            elif field.default_factory is not msgspec.NODEFAULT:
                defaults[field.name] = Default(factory=without_fields(field.default_factory))
        super().__init__(cls, (field.name for field in fields), defaults)
        self.is_bare = False
        self._blank = _blank(cls)

    def _is_internal(self, owner: type, name: str) -> bool:  # noqa: ARG002 -- see `Layout`
        return name == "__msgspec_cached_hash__"

    def make(self, fields: dict[str, Any]) -> Any:
        """See `Layout.make`."""
        instance = copy(self._blank)
        for name, value in fields.items():
            structs.force_setattr(instance, name, value)
        return instance


class _ModelLayout(Layout):
    """The layout of a pydantic `BaseModel`, which notes the fields that were never set."""

    note = _NOTE

    def __init__(self, cls: Any) -> None:
        fields = cls.model_fields
        super().__init__(cls, fields, _pydantic_defaults(fields))
        if cls.__pydantic_complete__:
            self.hints = MappingProxyType({name: each.annotation for name, each in fields.items()})
        self.is_bare = False
        self.takes_more = cls.model_config.get("extra") == "allow"
        self._has_private = bool(cls.__private_attributes__)
        self._private = _pydantic_defaults(cls.__private_attributes__)

    def read(self, value: Any) -> dict[str, Any]:
        """See `Layout.read`."""
        fields = {**super().read(value), **(value.__pydantic_extra__ or {})}
        unset = [name for name in fields if name not in value.__pydantic_fields_set__]
        return {**fields, _NOTE: unset} if unset else fields

    def _is_internal(self, owner: type, name: str) -> bool:  # noqa: ARG002 -- see `Layout`
        return name.startswith("__pydantic_")

    def others(self, value: Any) -> list[str]:
        """See `Layout.others`; private attributes that are as they begin do not count."""
        private, begin = value.__pydantic_private__ or {}, self._begin(vars(value))
        changed = [
            name
            for name, item in private.items()
            if name not in begin or type(begin[name]) is not type(item) or begin[name] != item
        ]
        if _NOTE in (value.__pydantic_extra__ or {}):
            changed.append(_NOTE)
        return changed + super().others(value)

    def make(self, fields: dict[str, Any]) -> Any:
        """See `Layout.make`."""
        instance = self.cls.__new__(self.cls)
        noted = fields.pop(_NOTE, None)
        unset = noted if type(noted) is list else []
        more = {name: fields.pop(name) for name in list(fields) if name not in self.names}
        state = {
            "__dict__": fields,
            "__pydantic_extra__": more if self.takes_more else None,
            "__pydantic_fields_set__": {name for name in (*fields, *more) if name not in unset},
            "__pydantic_private__": self._begin(fields) if self._has_private else None,
        }
        instance.__setstate__(state)
        return instance

    def _begin(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The private attributes of a new instance."""
        return {name: default.make(fields) for name, default in self._private.items()}


def _layout_of_dataclass(cls: Any) -> Layout:
    layout = dataclass_layout(cls)
    if hasattr(cls, "__pydantic_fields__"):
        # The defaults of a dataclass of pydantic are hidden in its own descriptions of fields.
        layout.defaults = _pydantic_defaults(cls.__pydantic_fields__)
    return layout


def _pydantic_defaults(fields: dict[str, Any]) -> MappingProxyType[str, Default]:
    undefined, defaults = sys.modules["pydantic_core"].PydanticUndefined, {}
    for name, field in fields.items():
        if field.default is not undefined:
            defaults[name] = Default(field.default)
        elif getattr(field, "default_factory_takes_validated_data", False):
            defaults[name] = Default(factory=field.default_factory)
        elif field.default_factory is not None:
            defaults[name] = Default(factory=without_fields(field.default_factory))
    return MappingProxyType(defaults)


def _blank(cls: Any) -> Any:
    """An instance of a `Struct` to copy; `__post_init__` has not seen it."""
    nothing = dict.fromkeys(cls.__struct_fields__)
    if not hasattr(cls, "__post_init__"):
        return cls(**nothing)
    methods = {
        "__post_init__": lambda _self: None,
        "__init_subclass__": classmethod(lambda _cls, **_options: None),
        # It is no class of the user's.
        "_telesession_dataclass": cls,
    }
    without = type(cls)(cls.__name__, (cls,), methods)
    blank = without(**nothing)
    vars(object)["__class__"].__set__(blank, cls)
    return blank


def _refuse_content(cls: Any) -> None:
    try:
        object.__new__(cls)
    except TypeError:
        raise TypeError(
            f"{cls.__name__} is a subclass of a builtin type, whose content is no field and would "
            "be lost; make it a field"
        ) from None
