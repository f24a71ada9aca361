"""Holds of records whose deadlines count on the clock of a server."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from telesession.storage.base import Hold

if TYPE_CHECKING:
    from telesession.storage.base import Storage

# In these last seconds a record may be gone when a write arrives, so the write has the payload,
# too.
_LATE = 60.0


class ServerHold(Hold):
    """
    A hold that has asked the server once for the record, its lifetime and the time.

    A subclass calls `_loaded` when it has locked the key.
    """

    __slots__ = ("_end", "_lead")

    # The server's clock minus the monotonic clock, in seconds.
    _lead: float
    # The monotonic time at which the payload expires.
    _end: float

    def __init__(self, storage: Storage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self._end = math.inf

    def now(self) -> float:
        """See `Hold.now`. The server was asked when it gave the lock."""
        return self._lead + time.monotonic()

    def _loaded(self, payload: bytes | None, left: float | None, now: float) -> None:
        """
        Remember the record.

        Args:
            payload: The payload.
            left: Seconds until it expires.
            now: Seconds since the epoch on the clock of the server.
        """
        self.payload = payload
        self._live_for(left)
        self._lead = now - time.monotonic()

    @property
    def _is_late(self) -> bool:
        """Whether the record may expire before a write arrives."""
        return self._end - time.monotonic() <= _LATE

    @contextmanager
    def _restored_on_failure(self) -> Iterator[None]:
        """A block that writes. If it raises, the hold has the record from before the write."""
        before = self.payload, self._end
        try:
            yield
        except BaseException:
            self.payload, self._end = before
            raise

    def _live_for(self, lifetime: float | None) -> None:
        self._end = math.inf if lifetime is None else time.monotonic() + lifetime

    def _read(self) -> bytes | None:
        return self.payload if time.monotonic() < self._end else None
