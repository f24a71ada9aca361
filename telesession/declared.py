"""Declared dataclasses: no two kinds of sessions with unrelated fields share their records."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from telesession.storage.base import Storage

_mutex = threading.Lock()
# storage -> beginning of the keys -> the dataclasses that sessions there have declared
_declared: WeakKeyDictionary[Storage, dict[str, WeakSet[type]]] = WeakKeyDictionary()


def declare(cls: type, storage: Storage, room: str, *, is_default: bool) -> None:
    """
    Note that the records of a room are those of a dataclass.

    A class and its subclass may share records, as views of one session. So may a class and its
    successor of the same name, after a reload.

    Args:
        cls: The dataclass.
        storage: The storage.
        room: The beginning of the keys.
        is_default: Whether it is the storage of all sessions that name none. There only classes
            count that stand side by side in one module or function, because tests and scripts
            declare theirs in the same process.

    Raises:
        ValueError: An unrelated dataclass was declared there before.
    """
    with _mutex:
        classes = _declared.setdefault(storage, {}).setdefault(room, WeakSet())
        for other in classes:
            if _are_related(cls, other) or (is_default and _place(cls) != _place(other)):
                continue
            raise ValueError(
                f"sessions of {_name(cls)} and of {_name(other)} would be one record for each "
                f"user in {storage!r}; give one of them a name= or prefix= of its own"
            )
        classes.add(cls)


def _are_related(cls: type, other: type) -> bool:
    return issubclass(cls, other) or issubclass(other, cls) or _name(cls) == _name(other)


def _place(cls: type) -> tuple[str, str]:
    """The module of a class, and the function in it, if any."""
    return cls.__module__, cls.__qualname__.rpartition("<locals>")[0]


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
