"""Declared dataclasses: no two kinds of sessions with unrelated fields share their records."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from telesession.storage.base import Storage

_mutex = threading.Lock()
# storage -> beginning of the keys -> the groups of dataclasses that sessions there have declared
_declared: WeakKeyDictionary[Storage, dict[str, list[WeakSet[type]]]] = WeakKeyDictionary()


def declare(classes: Sequence[type], storage: Storage, room: str, *, is_default: bool) -> None:
    """
    Note that the sessions of a room are instances of a dataclass, or of one of several.

    A class and its subclass may share records, as views of one session. So may a union and its
    classes, and a class and its successor of the same name, after a reload.

    Args:
        classes: The dataclasses.
        storage: The storage.
        room: The beginning of the keys.
        is_default: Whether it is the storage of all sessions without the option `storage`. If so,
            only classes side by side in one module or function are compared, because tests and
            scripts of one process declare their own.

    Raises:
        ValueError: An unrelated dataclass was declared there before.
    """
    with _mutex:
        groups = _declared.setdefault(storage, {}).setdefault(room, [])
        groups[:] = filter(None, groups)
        for group in groups:
            others = [other for other in group if not is_default or _are_near(other, classes)]
            if others and not any(_are_related(cls, other) for cls in classes for other in group):
                raise ValueError(
                    f"sessions of {_name(classes[0])} and of {_name(others[0])} would be one "
                    f"record for each user in {storage!r}; give one of them a name= or prefix= of "
                    "its own"
                )
        if (group := WeakSet(classes)) not in groups:
            groups.append(group)


def _are_related(cls: type, other: type) -> bool:
    return issubclass(cls, other) or issubclass(other, cls) or _name(cls) == _name(other)


def _are_near(other: type, classes: Sequence[type]) -> bool:
    """Whether a class stands side by side with others in a module or function."""
    return _place(other) in map(_place, classes)


def _place(cls: type) -> tuple[str, str]:
    """The module of a class, and the function in it, if any."""
    return cls.__module__, cls.__qualname__.rpartition("<locals>")[0]


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
