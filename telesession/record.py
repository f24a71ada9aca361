"""
Records: what a codec writes of a session, and back.

A record is `{"fields": {name: value}}`. Where fields have a lifetime it also has
`"ttl": {name: [lifetime, deadline]}`, in seconds. A session counts deadlines on the monotonic
clock, which means nothing to another process; a storage that outlives this one has them in
seconds since the epoch. Nothing but this module knows that there are two clocks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from telesession.errors import DecodeError
from telesession.session import Mark, Session, live_fields, state_of
from telesession.typed import packed_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.codecs import Codec

# Seconds by which the clocks may drift apart during a handler before it must have been a step.
_STEP = 0.001


class Records:
    """
    Turns sessions into the payloads of one storage, and back.

    Keep one for as long as its storage; any thread may use it.

    Args:
        codec: The codec that the storage carries.
        persistent: Whether deadlines must make sense to other processes; see `Storage`.
    """

    def __init__(self, codec: Codec, *, persistent: bool) -> None:
        self._codec = codec
        self._persistent = persistent

    def load(
        self, payload: bytes, key: str, now: Callable[[], float]
    ) -> tuple[dict[str, Any], dict[str, Mark]]:
        """
        The live fields of a payload, and the marks of those that have or had a lifetime.

        Args:
            payload: What the storage has.
            key: The storage key that it has it under.
            now: The clock of the storage; see `Storage.now`. Asked only for deadlines.

        Raises:
            DecodeError: The payload is not a record.
        """
        record = self._codec.decode(payload, key)
        fields, ttl = record.get("fields"), record.get("ttl")
        if type(fields) is not dict:
            raise DecodeError(key, "it is not the record of a session")
        if ttl is None:
            return fields, {}
        return fields, self._load_marks(ttl, fields, key, self._clock_offset(now))

    def dump(
        self, session: Session, key: str, previous: bytes | None, now: Callable[[], float]
    ) -> bytes:
        """
        The payload of a session; `previous` itself if there is nothing to write.

        A change inside the value of a field with a lifetime is an update of that field: its
        deadline is renewed here, at the end of the handler.

        Args:
            session: What to write.
            key: The storage key to write it under.
            previous: The payload it was loaded from, or saved as since.
            now: The clock of the storage.

        Raises:
            EncodeError: A field would not come back.
        """
        state = state_of(session)
        fields = live_fields(session) if state.views is None else packed_fields(session)
        marks = state.marks
        if not marks:
            return self._codec.encode({"fields": fields}, key, previous)
        untouched = [name for name, mark in marks.items() if mark.stored is not None]
        offset = self._clock_offset(now)
        payload = self._encode(fields, marks, key, offset, previous)
        if previous is None or payload == previous:
            return payload
        old_fields, old_marks = self.load(previous, key, now)
        renewed = False
        for name in untouched:
            if name in fields and name in old_fields:
                old, new = {name: old_fields[name]}, {name: fields[name]}
                if self._encode(old, {}, key, offset) != self._encode(new, {}, key, offset):
                    marks[name].renew()
                    renewed = True
        if renewed:
            return self._encode(fields, marks, key, offset)
        # Fields that have expired are no reason to write; they go with the next change.
        unchanged = self._encode(old_fields, old_marks, key, offset) == payload
        return previous if unchanged else payload

    @staticmethod
    def _load_marks(ttl: Any, fields: dict[str, Any], key: str, offset: float) -> dict[str, Mark]:
        """The marks of a record; fields that have expired are dropped on the way."""
        now = time.monotonic()
        try:
            marks = {
                name: Mark(lifetime, deadline - offset, stored=deadline)
                for name, (lifetime, deadline) in ttl.items()
            }
        except (AttributeError, TypeError, ValueError):
            raise DecodeError(key, "its deadlines are damaged") from None
        for name, mark in marks.items():
            if now >= mark.deadline:
                fields.pop(name, None)
        return marks

    def _encode(
        self,
        fields: dict[str, Any],
        marks: dict[str, Mark],
        key: str,
        offset: float,
        previous: bytes | None = None,
    ) -> bytes:
        for mark in marks.values():
            if mark.stored is None or abs(mark.stored - mark.deadline - offset) > _STEP:
                mark.stored = mark.deadline + offset
        ttl = {name: [mark.lifetime, mark.stored] for name, mark in marks.items()}
        return self._codec.encode({"fields": fields, "ttl": ttl}, key, previous)

    def _clock_offset(self, now: Callable[[], float]) -> float:
        """What to add to a monotonic time to have it as the storage keeps it."""
        return now() - time.monotonic() if self._persistent else 0.0
