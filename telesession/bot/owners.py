"""Owners: the processes that handle the updates of an inbox, and the proof that they live."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from telesession.errors import LockLostError, LockTimeoutError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from telesession.bot.inbox import Inbox
    from telesession.storage.base import Hold

# Numbers of updates that a process remembers.
_KNOWN = 10_000


class Owner:
    """
    The process, as the owner of records in an inbox.

    It locks a key of its own from `begin` to `end`. A process that died has no lock: a lock of
    SQLite is free at once, and one on a server after its lease.

    Args:
        inbox: The inbox.

    Attributes:
        name: Made up, and different for each process and each worker pool.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.name = secrets.token_hex(8)
        self._inbox = inbox
        self._manager: AbstractContextManager[Hold] | None = None
        self._hold: Hold | None = None
        # Ordered: the numbers of the updates that were handed to the workers, or have ended.
        self._known: dict[int, None] = {}

    def begin(self) -> None:
        """Take the lock."""
        self._manager = self._inbox.storage.hold(self._inbox.owner_key(self.name), None)
        self._hold = self._manager.__enter__()

    def renew(self) -> None:
        """Take the lock again if it was lost, as after an outage of the server."""
        if self._hold is None:
            return
        try:
            # A write is the only way to learn whether the lock is there.
            self._hold.set(b"", self._inbox.storage.lease)
            self._hold.flush()
        except LockLostError:
            self.end()
            self.begin()

    def end(self) -> None:
        """Leave the lock, so that other processes take the records over."""
        manager, self._manager, self._hold = self._manager, None, None
        if manager is not None:
            manager.__exit__(None, None, None)

    def lives(self, name: str) -> bool:
        """Whether the process of a name lives, as far as its lock tells."""
        if name == self.name:
            return True
        try:
            with self._inbox.storage.hold(self._inbox.owner_key(name), 0):
                return False
        except LockTimeoutError:
            return True

    def knows(self, number: int) -> bool:
        """Whether an update was handed to the workers of this process, or has ended."""
        return number in self._known

    def know(self, number: int) -> None:
        """Remember the number of an update, and forget the oldest one of many."""
        self._known[number] = None
        if len(self._known) > _KNOWN:
            # Another thread may be faster.
            self._known.pop(next(iter(self._known)), None)

    def forget(self, number: int) -> None:
        """Do not remember the number of an update any more."""
        self._known.pop(number, None)
