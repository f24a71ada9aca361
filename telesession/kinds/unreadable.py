"""Unreadable records: kept under a key of their own, so that their sessions can begin anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.keys import room_of
from telesession.storage.base import Change

if TYPE_CHECKING:
    from telesession.storage.base import Hold

#: The beginning of the keys of all records that were set aside. No sessions have this room.
ASIDE = room_of("set-aside")


def set_aside(hold: Hold, payload: bytes) -> str:
    """
    Move a record to a key of its own in one commit, while its key is locked.

    The key is `@set-aside:`, a number from 1 on, a colon, and the key that the record had. Records
    of one key get different numbers, so none replaces another. The record is kept for ever.

    Args:
        hold: The hold of the record, in which nothing is noted.
        payload: The record.

    Returns:
        The new key in the storage.

    Raises:
        LockLostError: The record was changed by another process; nothing was moved.
        StorageError: The storage failed. The record is under one of the two keys, or under both.
    """
    storage, number = hold.storage, 1
    while storage.has(place := f"{ASIDE}{number}:{hold.key}"):
        number += 1
    # The copy first: a storage without transactions must not lose the record between the two.
    storage.commit([], [Change(place, None, payload), Change(hold.key, payload, None)])
    # The hold still has the record that it has read, so it notes the deletion, too.
    hold.delete()
    hold.flush()
    return place
