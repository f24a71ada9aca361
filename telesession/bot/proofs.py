"""Proofs that a process lives: a locked key, or a lease. Other processes check them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from telesession.errors import LockLostError, StorageError
from telesession.storage.renewal import Renewal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from threading import RLock

    from telesession.storage.base import Hold, Storage


class Proof(Protocol):
    """The proof that one process lives. The caller of each method has the mutex of its owner."""

    def begin(self) -> None:
        """Give the proof from now on; may be repeated."""
        ...

    def renew(self) -> bool:
        """Renew the proof after `begin`; see `Owner.renew`."""
        ...

    def write(self, record: bytes, lifetime: float) -> None:
        """Write the record of the process after `begin`."""
        ...

    def end(self) -> None:
        """End the proof; may be repeated."""
        ...


class LockedKey:
    """
    A key that is locked for as long as the process lives.

    Args:
        storage: The storage.
        key: The key, which also has the record of the process.
    """

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._manager: AbstractContextManager[Hold] | None = None
        self._hold: Hold | None = None
        self._record = b"", storage.lease

    def begin(self) -> None:
        """See `Proof.begin`. The lock is taken, unless this process has it."""
        if self._manager is None:
            manager = self._storage.hold(self._key, None)
            self._hold = manager.__enter__()
            self._manager = manager

    def renew(self) -> bool:
        """See `Proof.renew`. The lock is taken again if it was lost."""
        try:
            # A write is the only way to learn whether the lock is there.
            self.write(*self._record)
        except LockLostError:
            self.end()
        self.begin()
        return True

    def write(self, record: bytes, lifetime: float) -> None:
        """See `Proof.write`."""
        self._record = record, lifetime
        if self._hold is not None:
            self._hold.set(record, lifetime)
            self._hold.flush()

    def end(self) -> None:
        """See `Proof.end`. The lock is left."""
        manager, self._manager, self._hold = self._manager, None, None
        if manager is not None:
            manager.__exit__(None, None, None)


class Lease:
    """
    A record that expires unless the process renews it.

    It is the proof on storages whose holds keep connections.

    A thread renews it, because the hand-over of updates to the workers may wait for longer than the
    lease. A renewal comes three times in a lease, so one of them may fail.

    Args:
        storage: The storage, on whose clock the lease counts.
        key: The key of the record of the process.
        lease_key: The key of the lease.
        mutex: That of the owner.
    """

    def __init__(self, storage: Storage, key: str, lease_key: str, mutex: RLock) -> None:
        self._storage = storage
        self._key = key
        self._lease_key = lease_key
        self._mutex = mutex
        self._has_begun = False
        # Whether the lease had expired at a renewal since the last call of `renew`.
        self._had_expired = False
        self._renewal: Renewal[Lease] = Renewal(_renew_all, storage.lease / 3, "telesession-owner")

    def begin(self) -> None:
        """See `Proof.begin`."""
        if not self._has_begun:
            self._storage.set(self._lease_key, b"", self._storage.lease)
            self._has_begun = True
            self._renewal.add(self)

    def renew(self) -> bool:
        """See `Proof.renew`."""
        self._touch()
        had_expired, self._had_expired = self._had_expired, False
        return not had_expired

    def renew_in_thread(self) -> None:
        """Renew the lease, unless it has ended."""
        with self._mutex:
            if self._has_begun:
                self._touch()

    def write(self, record: bytes, lifetime: float) -> None:
        """See `Proof.write`."""
        if self._has_begun:
            self._storage.set(self._key, record, lifetime)

    def end(self) -> None:
        """See `Proof.end`. The lease is removed."""
        has_begun, self._has_begun = self._has_begun, False
        self._renewal.stop()
        if has_begun:
            self._storage.delete(self._lease_key)

    def _touch(self) -> None:
        lease = self._storage.lease
        if not self._storage.touch(self._lease_key, lease):
            self._had_expired = True
            self._storage.set(self._lease_key, b"", lease)


def _renew_all(leases: list[Lease]) -> None:
    for lease in leases:
        # It is tried again in time.
        with suppress(StorageError):
            lease.renew_in_thread()
