"""Owners: the processes that handle the updates of an inbox, and whether they live."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from telesession.bot.inbox import MEMORY
from telesession.bot.proofs import Lease, LockedKey
from telesession.errors import LockTimeoutError

if TYPE_CHECKING:
    from telesession.bot.inbox import Inbox
    from telesession.bot.proofs import Proof

# The record of a process that was stopped, and not killed.
_STOPPED = b"stopped"


class Owner:
    """
    The process, as the owner of records in an inbox.

    From `begin` to `end` it has a locked key, or a lease if the holds of the storage keep
    connections. A process that died has neither: a lock of SQLite is free at once, and a lock or a
    lease on a server after the seconds of the lease. Any thread may use it.

    Args:
        inbox: The inbox.

    Attributes:
        name: Made up, and different for each process and each worker pool.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.name = secrets.token_hex(8)
        self._inbox = inbox
        self._has_ended = False
        # Reentrant: the handler of a signal may end the owner in the thread that begins it.
        self._mutex = threading.RLock()
        storage, key = inbox.storage, inbox.owner_key(self.name)
        self._proof: Proof
        if storage.holds_connections:
            self._proof = Lease(storage, key, inbox.lease_key(self.name), self._mutex)
        else:
            self._proof = LockedKey(storage, key)

    def begin(self) -> None:
        """Prove from now on that the process lives, unless the owner has ended."""
        with self._mutex:
            if not self._has_ended:
                self._proof.begin()
                self._leave_if_ended()

    def renew(self) -> bool:
        """
        Renew the proof after `begin`, also if it was lost, as after an outage of the server.

        Returns:
            False if a lease had expired since the last call. The server may have been away, and
            the leases of other processes that live have expired, too, until they renew them.
        """
        with self._mutex:
            is_unbroken = self._has_ended or self._proof.renew()
            self._leave_if_ended()
        return is_unbroken

    def stop(self) -> None:
        """Note that the process is stopped and not killed. It lives on for its handlers."""
        with self._mutex:
            self._proof.write(_STOPPED, MEMORY)

    def end(self) -> None:
        """Give up the proof for good, so that other processes take the records over."""
        with self._mutex:
            self._has_ended = True
            try:
                self.stop()
            finally:
                self._proof.end()

    def lives(self, name: str) -> bool:
        """Whether the process of a name lives, as far as its proof tells."""
        if name == self.name:
            return True
        with in_place_of(self._inbox, name) as lives:
            return lives

    def was_killed(self, name: str) -> bool:
        """Whether a process that does not live was killed, and not stopped."""
        return self._inbox.storage.get(self._inbox.owner_key(name)) != _STOPPED

    def _leave_if_ended(self) -> None:
        """Give up the proof if the handler of a signal has ended the owner since."""
        if self._has_ended:
            self._proof.end()


@contextmanager
def in_place_of(inbox: Inbox, name: str) -> Iterator[bool]:
    """
    A block in which no other process takes over the updates of an owner.

    The target of the block says whether the owner lives. If it does not, the block has locked the
    key of the owner, and other processes take the owner for alive.

    Args:
        inbox: The inbox.
        name: The name of the owner.
    """
    storage = inbox.storage
    with ExitStack() as exits:
        lives = storage.holds_connections and storage.has(inbox.lease_key(name))
        if not lives:
            try:
                exits.enter_context(storage.hold(inbox.owner_key(name), 0))
            except LockTimeoutError:
                lives = True
        yield lives
