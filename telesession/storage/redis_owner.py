"""The owner of the locks of a process on a Redis or Valkey server, and its tokens."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from telesession.storage.redis_scripts import RESERVATION
from telesession.storage.renewal import Renewal

if TYPE_CHECKING:
    from telesession.storage.redis_connections import Connections
    from telesession.storage.redis_names import Names

# Seconds between two attempts to unlock after an outage.
_UNLOCK_INTERVAL = 0.5
# How many busy sessions a process observes at most.
_MANY = 10_000


class Leftover(NamedTuple):
    """A lock that may still be on the server, because a call got no answer."""

    names: Names
    token: bytes
    # The monotonic time at which its lease is over at the latest.
    end: float


class Sighting(NamedTuple):
    """A lock as a waiter saw it first: its value, the end of its lease, and the time then."""

    holder: bytes
    # Milliseconds on the server's wall clock.
    end: int
    # Seconds, monotonic.
    begun: float


class Owner:
    """
    A storage in one process: the owner of locks.

    Args:
        lease: Milliseconds after which the lock of a dead holder is free.
        connections: The connections of this process; `None` if the client is not a plain one.
        renew: Renews leases, each given as token and name of the lock.
        unlock: Unlocks sessions after an outage.

    Attributes:
        name: A random name, which begins its tokens.
        renewal: Renews the leases of its locks, given as token and name of the lock.
        leftovers: Unlocks after an outage, so that other processes need not wait for a lease.
        connections: The connections of this process; `None` if the client is not a plain one.
    """

    def __init__(
        self,
        lease: int,
        connections: Connections | None,
        *,
        renew: Callable[[list[tuple[bytes, bytes]]], None],
        unlock: Callable[[list[Leftover]], None],
    ) -> None:
        self.name = secrets.token_hex(8).encode()
        self.renewal = Renewal(renew, lease / 3000)
        self.leftovers = Renewal(unlock, _UNLOCK_INTERVAL, "telesession-unlock")
        self.connections = connections
        self._lease = lease
        self._numbers = itertools.count(1)
        # By key, the busy lock that was seen last. One thread at a time waits for a key.
        self._sightings: dict[str, Sighting] = {}

    def next_number(self) -> int:
        """A number above all that this owner has had."""
        return next(self._numbers)

    def next_token(self) -> bytes:
        """The token for one hold; above those of earlier holds of the same key."""
        return b"%b.%d.%d" % (self.name, self.next_number(), self._lease)

    def leave(self, names: Names, token: bytes) -> None:
        """Unlock in the background as soon as the server answers again."""
        self.leftovers.add(Leftover(names, token, time.monotonic() + self._lease / 1000))

    def observe(self, key: str, holder: bytes, end: int) -> float:
        """
        Note that a session is busy, and give the seconds until its lock may be taken over.

        A server ends leases by its wall clock, which may be set back. So a lock whose holder has
        not renewed it for a whole lease by the clock of this process is over as well.
        """
        lease = self._milliseconds_of(holder)
        now, seen = time.monotonic(), self._sightings.get(key)
        # A renewal moves the end by a third of the lease.
        if seen is None or seen.holder != holder or abs(end - seen.end) > lease / 6:
            if len(self._sightings) >= _MANY:
                self._sightings.clear()
            seen = self._sightings[key] = Sighting(holder, end, now)
        return max(0.0, seen.begun + lease / 1000 - now)

    def forget(self, key: str) -> None:
        """Forget a lock that was busy."""
        if self._sightings:
            self._sightings.pop(key, None)

    def _milliseconds_of(self, holder: bytes) -> int:
        lease = holder.rpartition(b".")[2]
        # An older version's token has no lease in it.
        milliseconds = int(lease) if lease.isdigit() else self._lease
        return min(milliseconds, RESERVATION) if holder.startswith(b"~") else milliseconds
