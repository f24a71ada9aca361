"""Owners: the processes that handle the updates of an inbox, and the proof that they live."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from telesession.bot.inbox import MEMORY
from telesession.errors import LockLostError, LockTimeoutError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from telesession.bot.inbox import Inbox
    from telesession.storage.base import Hold

# The record of a process that was stopped, and not killed.
_STOPPED = b"stopped"


class Owner:
    """
    The process, as the owner of records in an inbox.

    It locks a key of its own from `begin` to `end`. A process that died has no lock: a lock of
    SQLite is free at once, and one on a server after its lease. Any thread may use it.

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
        self._has_ended = False
        self._record = b""
        # Reentrant: the handler of a signal may end the owner in the thread that begins it.
        self._mutex = threading.RLock()

    def begin(self) -> None:
        """Take the lock, unless it is taken or the owner has ended."""
        with self._mutex:
            if self._manager is None and not self._has_ended:
                manager = self._inbox.storage.hold(self._inbox.owner_key(self.name), None)
                self._hold = manager.__enter__()
                self._manager = manager
                self._leave_if_ended()

    def renew(self) -> None:
        """Take the lock again if it was lost, as after an outage of the server."""
        with self._mutex:
            if self._hold is not None:
                try:
                    # A write is the only way to learn whether the lock is there.
                    self._write(self._record)
                except LockLostError:
                    self._leave()
            self.begin()

    def stop(self) -> None:
        """Note that the process is stopped and not killed, and keep the lock for its handlers."""
        with self._mutex:
            self._record = _STOPPED
            self._write(_STOPPED)

    def end(self) -> None:
        """Leave the lock for good, so that other processes take the records over."""
        with self._mutex:
            self._has_ended = True
            try:
                self.stop()
            finally:
                self._leave()

    def lives(self, name: str) -> bool:
        """Whether the process of a name lives, as far as its lock tells."""
        if name == self.name:
            return True
        try:
            with self._inbox.storage.hold(self._inbox.owner_key(name), 0):
                return False
        except LockTimeoutError:
            return True

    def was_killed(self, name: str) -> bool:
        """Whether a process that does not live was killed, and not stopped."""
        return self._inbox.storage.get(self._inbox.owner_key(name)) != _STOPPED

    def _write(self, record: bytes) -> None:
        if self._hold is not None:
            self._hold.set(record, MEMORY if record else self._inbox.storage.lease)
            self._hold.flush()

    def _leave_if_ended(self) -> None:
        """Leave the lock if the handler of a signal has ended the owner meanwhile."""
        if self._has_ended:
            self._leave()

    def _leave(self) -> None:
        manager, self._manager, self._hold = self._manager, None, None
        if manager is not None:
            manager.__exit__(None, None, None)
