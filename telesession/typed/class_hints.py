"""The annotations that classes have, read as forms need them."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

_QUALIFIERS = frozenset(("Final", "NotRequired", "ReadOnly", "Required"))


def hints_of(cls: type) -> dict[str, Any]:
    """
    The annotations of a class, resolved.

    Raises:
        NameError: An annotation uses a name that is not defined.
        TypeError: An annotation cannot be read.
    """
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        text = f"{error}, in an annotation of {cls.__name__}"
        raise NameError(text, name=error.name) from None
    except Exception as error:
        raise TypeError(f"{cls.__name__} has annotations that cannot be read: {error}") from error


def value_of_alias(alias: Any) -> Any:
    """
    The annotation that an alias stands for, resolved where the alias is defined.

    Raises:
        NameError: The annotation uses a name that is not defined.
        TypeError: The annotation cannot be read.
    """
    namespace = {"__annotations__": {"value": alias.__value__}, "__module__": alias.__module__}
    return hints_of(type(alias.__name__, (), namespace))["value"]


def refuse_init_vars(cls: Any) -> None:
    """
    Check that all parameters of a dataclass are fields.

    Raises:
        TypeError: It has a parameter that is no field.
    """
    pseudo = set(getattr(cls, "__dataclass_fields__", ()))
    # The other pseudo-fields are of ClassVar, which every dataclass may have.
    pseudo -= {field.name for field in dataclasses.fields(cls)} if pseudo else set()
    hints = hints_of(cls) if pseudo else {}
    for name in sorted(pseudo):
        if isinstance(hints[name], dataclasses.InitVar) or hints[name] is dataclasses.InitVar:
            raise TypeError(
                f"{cls.__name__} has the InitVar {name}, which is not kept, so it would be gone "
                "when the object comes back; make it a field"
            )


def required_keys(cls: Any, hints: dict[str, Any]) -> frozenset[str]:
    """
    The required keys of a typed dict.

    Args:
        cls: The class.
        hints: Its annotations, resolved: the class itself misses qualifiers inside text.
    """
    said = {name: _qualifiers(hint) for name, hint in hints.items()}
    return frozenset(
        name
        for name in hints
        if "Required" in said[name]
        or (name in cls.__required_keys__ and "NotRequired" not in said[name])
    )


def is_qualified(hint: Any) -> bool:
    """Whether an annotation qualifies the name of a value, as `Required[int]` around `int`."""
    return _name_of_form(hint) in _QUALIFIERS


def _name_of_form(hint: Any) -> str:
    """The name of the special form of an annotation, such as `Required`; empty without one."""
    origin = typing.get_origin(hint)
    # By the name, because typing_extensions has those of later Pythons. A class may have it, too.
    return "" if isinstance(origin, type) else getattr(origin, "__name__", "")


def _qualifiers(hint: Any) -> frozenset[str]:
    found = set()
    while is_qualified(hint):
        found.add(_name_of_form(hint))
        hint = typing.get_args(hint)[0]
    return frozenset(found)
