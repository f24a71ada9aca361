"""Deadlines of the records in memory, and the removal of the expired ones."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from contextlib import suppress
from heapq import heapify, heappop, heappush
from math import frexp, inf, ldexp

# The effort of one write: it removes at most 128 records, or moves at most 16 keys.
_EFFORT = 128
_EFFORT_OF_A_MOVE = 8

# Writes look for cancelled keys once there are this many more of them than of keys with a deadline.
_SLACK = 64

# With one more key, CPython enlarges the table of a dict to 65,536 entries, each twice as large.
_FULL = 21_845


class Expiry:
    """
    The deadlines of the keys of a store. Each write removes some of the expired records.

    Each key with a deadline is in one bucket. A bucket begins at or before the deadlines of its
    keys. Renewing a deadline leaves the buckets alone. When a bucket has begun, the next writes
    look at its keys: an expired record is removed, and any other key goes to a later bucket. So the
    work of a write is bounded, and after enough writes no expired record is left.

    Dicts of strings and floats are all that grows with the number of keys, because the garbage
    collector of CPython (up to 3.13) does not look at them. A list would be traversed.

    Keep one for as long as its store. It has no lock: the caller holds the mutex of the store.

    Attributes:
        deadlines: `key -> deadline` (seconds, monotonic) of each key with a lifetime.
        due: The moment (seconds, monotonic) from which on `remove_some` has work to do; infinite
            if no key has a deadline.
    """

    def __init__(self, store: MutableMapping[str, bytes]) -> None:
        self.deadlines: dict[str, float] = {}
        self.due = inf
        self._store = store
        # A dict keeps its records until they are deleted; a cache may evict them at any time.
        self._evicts = type(store) is not dict
        # beginning -> dicts of at most `_FULL` keys; of these the last takes new keys.
        self._buckets: dict[float, list[dict[str, None]]] = {}
        # Heap of the beginnings.
        self._begins: list[float] = []
        # The dicts of the bucket that writes look at. No key is added to them.
        self._looked_at: list[dict[str, None]] = []
        # key -> former deadline, of keys without a deadline that are still in a bucket.
        self._cancelled: dict[str, float] = {}
        # At how many keys writes look before their bucket begins, to find those without a record.
        self._ahead = 0

    def is_over(self, key: str) -> bool:
        """Whether a key has a deadline that has passed."""
        deadline = self.deadlines.get(key)
        return deadline is not None and time.monotonic() >= deadline

    def schedule(self, key: str, lifetime: float | None) -> None:
        """Set the deadline of a key to `lifetime` seconds from now; `None` removes it."""
        if lifetime is None:
            self.cancel(key)
            return
        now = time.monotonic()
        deadline = now + lifetime
        known = self.deadlines.get(key)
        if known is None:
            known = self._cancelled.get(key)
        if known is None:
            self._place(key, deadline, now)
            if self._evicts:
                self._look_ahead()
        elif deadline < known:
            self._place_earlier(key, deadline, now)
        self.deadlines[key] = deadline
        if self._cancelled:
            self._cancelled.pop(key, None)

    def cancel(self, key: str) -> None:
        """Remove the deadline of a key, if it has one."""
        deadline = self.deadlines.get(key)
        if deadline is None:
            return
        # The key stays in its bucket, so that sessions which are deleted and made anew again and
        # again do not fill the buckets.
        self._cancelled[key] = deadline
        del self.deadlines[key]
        if len(self._cancelled) > len(self.deadlines) + _SLACK:
            self._look_ahead()

    def remove_some(self) -> None:
        """Remove a bounded number of expired records from the store."""
        now = time.monotonic()
        if now < self.due:
            return
        effort = _EFFORT
        # If the store raises, the record stays hidden and the next write tries again.
        with suppress(Exception):
            while effort > 0 and self._find_keys(now):
                effort -= self._look(now)
        if self._looked_at or self._ahead > 0:
            self.due = -inf
        else:
            self.due = self._begins[0] if self._begins else inf

    def _find_keys(self, now: float) -> bool:
        """Whether there are keys to look at; they are in the last of the dicts then."""
        while not (self._looked_at and self._looked_at[-1]):
            if self._looked_at:
                self._looked_at.pop()
            elif self._begins and now >= self._begins[0]:
                self._looked_at = self._buckets.pop(heappop(self._begins))
            elif self._ahead > 0 and self._buckets:
                # The bucket that was made first, so that all of them have their turn.
                begin = next(iter(self._buckets))
                self._begins.remove(begin)
                heapify(self._begins)
                self._looked_at = self._buckets.pop(begin)
                self._ahead -= sum(map(len, self._looked_at))
            else:
                self._ahead = 0
                return False
        return True

    def _look(self, now: float) -> int:
        """Remove or move one key, and return the effort."""
        keys = self._looked_at[-1]
        # Not popped yet, because after an exception the key must still be in a bucket. Not the
        # first key, because a dict steps over all deleted keys to find it.
        key = next(reversed(keys))
        effort = 1
        deadline = self.deadlines.get(key)
        if deadline is None:
            self._cancelled.pop(key, None)
        elif now >= deadline:
            # The record first: a thread that finds no deadline may write the key without the
            # mutex, and that new record would be deleted here.
            with suppress(KeyError):
                del self._store[key]
            del self.deadlines[key]
        elif self._evicts and key not in self._store:
            del self.deadlines[key]
        else:
            self._place(key, deadline, now)
            effort = _EFFORT_OF_A_MOVE
        keys.popitem()
        return effort

    def _place(self, key: str, deadline: float, now: float) -> None:
        begin = _beginning(deadline, now)
        bucket = self._buckets.get(begin)
        if bucket is None:
            bucket = self._buckets[begin] = []
            heappush(self._begins, begin)
            self.due = min(self.due, begin)
        if not bucket or len(bucket[-1]) >= _FULL:
            bucket.append({})
        bucket[-1][key] = None

    def _place_earlier(self, key: str, deadline: float, now: float) -> None:
        """Move a key that has a bucket to an earlier one, if its bucket begins too late."""
        for begin, bucket in self._buckets.items():
            if begin > deadline:
                for keys in bucket:
                    if key in keys:
                        self._place(key, deadline, now)
                        del keys[key]
                        return

    def _look_ahead(self) -> None:
        # Two keys for each key more, so that the keys without a record are at most one half.
        self._ahead += 2
        self.due = -inf


def _beginning(deadline: float, now: float) -> float:
    """
    The beginning of the bucket for a deadline: after `now`, unless the deadline has passed.

    A bucket is as wide as the power of two that is 1/64 to 1/32 of the remaining seconds. So there
    are few buckets, and a key that is not renewed moves a few times to ever narrower ones.
    """
    remaining = deadline - now
    if not 0 < remaining < inf:
        return deadline
    _, exponent = frexp(remaining)
    return deadline - deadline % ldexp(1.0, exponent - 6)
