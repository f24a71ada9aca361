"""Kinds of sessions with a fixed end or a limit of their size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from telesession.errors import EncodeError
from telesession.kinds.kind import Kind

if TYPE_CHECKING:
    from telesession.initial import Initial
    from telesession.record import RecordTranslator
    from telesession.unit.entry import Entry, Use


class LimitedKind(Kind):
    """
    A kind of sessions that end some time after they began, or whose records are of limited size.

    It is a class of its own, so that these options cost other sessions no time.

    Args:
        initial: See `Kind`.
        translator: See `Kind`.
        expires_after: Seconds that a session lives after it began; `None` sets no end.
        max_bytes: The size of the largest payload that is written; `None` sets no limit.
        options: The options of `Kind`.
    """

    def __init__(
        self,
        initial: Initial,
        translator: RecordTranslator,
        *,
        expires_after: float | None,
        max_bytes: int | None,
        **options: Any,
    ) -> None:
        super().__init__(initial, translator, **options)
        self.expires_after = expires_after
        self.max_bytes = math.inf if max_bytes is None else max_bytes

    def load(self, entry: Entry, update: object, use: Use) -> Any:
        """See `Kind.load`. A session without an end gets one."""
        shown = super().load(entry, update, use)
        life, after = entry.life, self.expires_after
        if after is not None and (life is None or life.end is None):
            # The record does not have the time at which its session began.
            own = None if life is None else life.lifetime
            entry.life = self.translator.life_until(after, own, entry.hold.now)
            entry.changed = True
        return shown

    def check_size(self, payload: bytes, place: str) -> None:
        """
        See `Kind.check_size`.

        Raises:
            EncodeError: The payload is too large.
        """
        if len(payload) > self.max_bytes:
            raise self.translator.too_large(payload, place, self.max_bytes)

    def encode(self, entry: Entry) -> None:
        """
        See `Kind.encode`.

        Raises:
            EncodeError: A field would not come back, or the payload is too large; nothing was
                noted.
        """
        before = entry.payload, entry.marks, entry.hold.note
        super().encode(entry)
        payload = entry.payload
        if payload is None or payload == before[0]:
            return
        try:
            self.check_size(payload, entry.hold.key)
        except EncodeError:
            entry.payload, entry.marks, entry.hold.note = before
            raise
