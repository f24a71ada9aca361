"""The places of the processes that wait for a lock on bytes of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.storage.byte_locks import lock_bytes, unlock_bytes

if TYPE_CHECKING:
    from telesession.storage.waits import Wait

# The bytes of one lock: the lock itself, and the places of those that wait for it.
PLACES = 16
WIDTH = 2 * PLACES
# The place of a process that waits and has none, because all are taken.
_OUTSIDE = 1 + PLACES

# Seconds between two attempts, at most: of the first that waits, and of the others. Together with
# the pauses, a waiting process makes fewer than 200 system calls in a second.
_FRONT_PAUSE = 0.012
LONGEST_PAUSE = 0.02
# A process that has not moved for this number of attempts, about a second, looks past the processes
# before it, because one of them may be stopped.
_PATIENCE = 50


class Place:
    """
    The place of one process among those that wait for a lock, in the order of their arrival.

    The first byte of the lock is the lock itself, and the next ones are the places. Each process
    tries to lock the place before its own, and unlocks its own when it has that one. Without this
    chain the processes would get the lock in the order in which they happen to look.

    Lives for one wait, and is used by one thread at a time.

    Args:
        descriptor: The descriptor of the file.
        start: The first byte of the lock.
        wait: The wait, which is told of each move.
    """

    def __init__(self, descriptor: int, start: int, wait: Wait) -> None:
        self._descriptor = descriptor
        self._start = start
        self._wait = wait
        self._place: int | None = None
        self._attempts = 0

    @property
    def longest_pause(self) -> float:
        """Seconds until the next attempt, at most."""
        return _FRONT_PAUSE if self._place == 1 else LONGEST_PAUSE

    def move(self) -> bool:
        """Move on if that is possible, and return whether the lock is taken."""
        before = self._place
        self._place = self._enter() if before is None else self._next(before)
        if self._place != before:
            self._attempts = 0
            self._wait.come_nearer()
        self._attempts += 1
        return not self._place or (self._attempts % _PATIENCE == 0 and self._lock(0, 1))

    def leave(self) -> None:
        """Unlock the place, also if the lock was taken from it."""
        if self._place and self._place != _OUTSIDE:
            self._unlock(self._place, 1)

    def _enter(self) -> int:
        """Lock the first place behind all that are taken, and return it."""
        for place in range(1 + PLACES):
            if self._lock(place, 1 + PLACES - place):
                if place < PLACES:
                    self._unlock(place + 1, PLACES - place)
                return place
        return _OUTSIDE

    def _next(self, place: int) -> int:
        """Exchange a place for the one before it, if that is free, and return the new place."""
        is_new = place == _OUTSIDE
        while place and self._lock(place - 1, 1):
            if place != _OUTSIDE:
                self._unlock(place, 1)
            place -= 1
            # Only a new process can move several places: for the others another try is a waste.
            if not is_new:
                break
        return place

    def _lock(self, place: int, length: int) -> bool:
        return lock_bytes(self._descriptor, self._start + place, length)

    def _unlock(self, place: int, length: int) -> None:
        unlock_bytes(self._descriptor, self._start + place, length)
