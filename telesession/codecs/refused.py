"""Refused values: the path of the value in a session that a codec cannot bring back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from telesession.codecs.text import CONTAINERS, DEEPEST

# The path of a value that does not come back, and the value.
Refused = tuple[str, Any]


def find_unpicklable(fields: dict[str, Any], comes_back: Callable[[Any], bool]) -> Refused:
    """
    The innermost value that pickle does not bring back, attributes of instances included.

    It looks at most `DEEPEST` levels deep, because each level costs another try.
    """
    # Not a recursion: a value that is too deep for pickle is too deep for Python, too.
    trail = [("", fields, _parts("", fields))]
    seen, entangled = {id(fields)}, set()
    while trail:
        path, value, parts = trail[-1]
        for part_path, part in parts:
            if comes_back(part):
                continue
            if id(part) in seen:
                entangled.add(id(value))
                continue
            if len(trail) > DEEPEST:
                return part_path, part
            seen.add(id(part))
            trail.append((part_path, part, _parts(part_path, part)))
            break
        else:
            if id(value) not in entangled:
                return path or "the session", value
            # It failed because of a part that it shares with a parent. The search goes on there.
            trail.pop()
            entangled.update(id(parent) for _, parent, _ in trail)
    return "the session", fields


def find_unwritable(fields: dict[str, Any], advice: Callable[[Any], str]) -> Refused | None:
    """
    The first value that JSON cannot hold. The search enters plain containers only.

    Args:
        fields: The fields of the session.
        advice: Gives the advice about a value; an empty text if it can be written.

    Returns:
        The path and the value, which is a container if it holds itself. `None` if each value
        can be written.
    """
    trail = [("", fields, _parts("", fields))]
    while trail:
        for path, value in trail[-1][2]:
            if any(value is holder for _, holder, _ in trail):
                return path, value
            if type(value) not in CONTAINERS:
                if advice(value):
                    return path, value
            elif len(trail) <= DEEPEST:
                trail.append((path, value, _parts(path, value)))
                break
        else:
            trail.pop()
    return None


def _parts(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """
    The parts of a value, each with its path; the path of the dict of fields is empty.

    The methods of the built-in classes give the parts, because those of a value may raise.
    """
    kind: Any = type(value)  # isinstance() would ask the value itself
    if kind.__reduce_ex__ is not object.__reduce_ex__:
        return
    if issubclass(kind, dict):
        for name, item in dict.items(value):
            yield f"(a key of {path or 'the session'})", name
            yield _item_path(path, name), item
    elif issubclass(kind, list | tuple):
        items = list.__iter__(value) if issubclass(kind, list) else tuple.__iter__(value)
        yield from ((f"{path}[{index}]", item) for index, item in enumerate(items))
    elif issubclass(kind, set | frozenset):
        items = set.__iter__(value) if issubclass(kind, set) else frozenset.__iter__(value)
        yield from ((f"(an item of {path})", item) for item in items)
    elif not issubclass(kind, type | ModuleType):
        yield from ((f"{path}.{name}", item) for name, item in attributes_of(value).items())


def refused_as(value: object) -> str:
    """The reason why an object of this library cannot be stored; empty for other objects."""
    return getattr(type(value), "_telesession_refusal", "")


def attributes_of(value: object) -> dict[str, Any]:
    """The attributes that `vars` gives; an empty dict if it raises."""
    try:
        return dict(vars(value))
    except Exception:  # noqa: BLE001 -- an object may raise at any access
        return {}


def _item_path(path: str, name: object) -> str:
    """The path of an item: the name of a field is shown, and only the type of a dict's key."""
    if not path and type(name) is str:
        return name
    kind = f"<{type(name).__name__}>"
    return f"{path}[{kind}]" if path else kind
