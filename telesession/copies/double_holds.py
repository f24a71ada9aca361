"""The locks of one key in two storages, which are taken together."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from telesession.errors import DeadlockError, LockTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from telesession.storage.base import Hold, Storage


@contextmanager
def held_in_each(
    storages: Sequence[Storage], key: str, patience: float
) -> Iterator[dict[Storage, Hold]]:
    """
    Exclusive use of a key in one storage or in two, until the block is left.

    It waits only while it has no lock. If the second storage is busy, the lock of the first one is
    freed, and the next wait is for the second one. So no handler waits for a handler of another
    bot, and no circle of waits closes.

    Args:
        storages: The storages, which do not share their locks.
        key: Any string.
        patience: Seconds that all waits together may take.

    Returns:
        The holds, by storage.

    Raises:
        LockTimeoutError: On entering, when the key stayed busy for that long.
    """
    deadline = time.monotonic() + patience
    order = list(storages)
    while True:
        with ExitStack() as exits:
            first, *others = order
            left = max(0.0, deadline - time.monotonic())
            try:
                holds = {first: exits.enter_context(first.hold(key, left))}
            except DeadlockError:
                raise
            except LockTimeoutError as error:
                # This wait may not be the first one, so its seconds are too few.
                raise LockTimeoutError(key, patience, error.holder, error.held) from None
            if all(_take(storage, key, exits, holds) for storage in others):
                yield holds
                return
        order.reverse()


def _take(storage: Storage, key: str, exits: ExitStack, holds: dict[Storage, Hold]) -> bool:
    """Take a lock if it is free."""
    try:
        holds[storage] = exits.enter_context(storage.hold(key, 0))
    except LockTimeoutError:
        return False
    return True
