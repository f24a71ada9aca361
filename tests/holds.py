"""A storage that counts its holds as well, and whether a key is held."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from counted import CountedStorage

from telesession import LockTimeoutError, Storage

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from telesession.storage.base import Hold


class HeldStorage(CountedStorage):
    """Counts also how often it is asked for a key."""

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        self.calls["hold"] += 1
        return super().hold(key, timeout)


# What it costs to load a session, and to save what has changed.
ONE_USE = Counter(hold=1, get=1, set=1)


def is_free(storage: Storage, key: str) -> bool:
    """Whether nobody holds the lock of a key, which is not reentrant."""
    try:
        with storage.hold(key, 0):
            return True
    except LockTimeoutError:
        return False


def is_held(storage: Storage, key: str) -> bool:
    """Whether somebody holds it."""
    return not is_free(storage, key)
