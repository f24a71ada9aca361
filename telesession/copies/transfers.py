"""The transfer of single records from one storage to another, each under its lock."""

from __future__ import annotations

import logging
import secrets
import time
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from telesession.bot.inbox import Inbox, Place, is_lease, place_in_inbox
from telesession.bot.owners import in_place_of
from telesession.codecs import EncryptedCodec
from telesession.copies.double_holds import held_in_each
from telesession.errors import (
    DecodeError,
    EncodeError,
    LockLostError,
    LockTimeoutError,
    SessionError,
    StorageError,
)
from telesession.record import Clock, aligned, translated
from telesession.storage.base import Change

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.storage.base import Storage

_log = logging.getLogger("telesession")

# Seconds to wait for a session that a handler has.
_PATIENCE = 60.0
# Seconds by which equal deadlines may differ, because a server counts milliseconds and its answers
# take time. A copy that replaces records uses the smaller number.
_NEAR, _NEARER = 1.0, 0.01

Outcome = Literal["copied", "replaced", "same", "kept", "refused", "unreadable", "busy", "waiting"]

_LEFT_OUT: tuple[tuple[type[SessionError], Outcome], ...] = (
    (EncodeError, "refused"),
    (DecodeError, "unreadable"),
    (LockTimeoutError, "busy"),
)


class Transferred(NamedTuple):
    """
    A record that was transferred, or left out.

    Attributes:
        outcome: The outcome; see `CopyCounts`.
        has_old_key: Whether the target has the record under an old key of its codec.
        is_for_ever: Whether the record was written to live for ever, because the source does not
            know the rest of its lifetime.
    """

    outcome: Outcome
    has_old_key: bool = False
    is_for_ever: bool = False


class Transfer:
    """
    Transfers records from one storage to another, or in place to another codec.

    A session, a state or a question is locked in both storages. The records of an inbox have no
    locks: bots write such a record only if it is unchanged since they read it, and so does a
    transfer.

    Keep one for a call of `copy_sessions`, in one thread.

    Args:
        source: The storage that has the records.
        target: The storage that gets them.
        overwrite: Whether another record of the target is replaced.
        dry_run: Whether nothing is written.
    """

    def __init__(self, source: Storage, target: Storage, *, overwrite: bool, dry_run: bool) -> None:
        self._source = source
        self._target = target
        self._overwrite = overwrite
        self._dry_run = dry_run
        self._is_in_place = source is target or _share_locks(source, target)
        self._locked = [target] if self._is_in_place else [source, target]

    def copy(self, key: str) -> Transferred | None:
        """
        Copy the record of a key.

        Returns:
            The outcome. It is `None` if the source has no such record any more. It is `None` for
            the lease of a process, too, because the process handles updates in the source only.

        Raises:
            StorageError: A storage failed.
        """
        if is_lease(key):
            return None
        while True:
            try:
                return self._copy(key)
            except LockLostError:
                # The record was changed, or its lock was lost: nothing was written.
                continue
            except (EncodeError, DecodeError, LockTimeoutError) as error:
                return self._left_out(key, error)
            except StorageError:
                # A record that cannot be read may be impossible to lock, too. One example is a
                # server's key of another type.
                unreadable = self._unreadable(key)
                if unreadable is None:
                    raise
                return self._left_out(key, unreadable)

    def _unreadable(self, key: str) -> DecodeError | None:
        """The error of a record that the source cannot read; `None` if it can."""
        try:
            self._read(key)
        except DecodeError as error:
            return error
        return None

    def _copy(self, key: str) -> Transferred | None:
        place = place_in_inbox(key)
        if place is None:
            return self._copy_session(key)
        if place.part in {"numbers", "owners"}:
            return self._copy_raw(key, place)
        if place.part:
            return self._copy_unlocked(key)
        return self._copy_update(key, Inbox(self._source, place.bot_id))

    def _copy_session(self, key: str) -> Transferred | None:
        with held_in_each(self._locked, key, _PATIENCE) as holds:
            target = holds[self._target]
            source = holds.get(self._source, target)

            def write(_: bytes | None, payload: bytes, left: float | None) -> None:
                target.set(payload, left)
                self._target.commit([target])

            return self._transfer(key, target.get, write, source.now, target.now)

    def _copy_update(self, key: str, inbox: Inbox) -> Transferred | None:
        """Copy an update of an inbox, unless a living process handles it."""
        payload = self._source.get(key)
        if payload is None:
            return None
        fields = self._decode(payload, key)["fields"]
        with in_place_of(inbox, str(fields.get("owner"))) as lives:
            if lives:
                return Transferred("waiting", self._has_old_key(key))
            if self._source.get(key) != payload:
                raise LockLostError(key)
            return self._copy_unlocked(key, inbox.room)

    def _copy_unlocked(self, key: str, index: str | None = None) -> Transferred | None:
        source, target = self._source, self._target

        def write(there: bytes | None, payload: bytes, left: float | None) -> None:
            target.commit((), [Change(key, there, payload, left, index)])

        return self._transfer(key, lambda: target.get(key), write, source.now, target.now)

    def _copy_raw(self, key: str, place: Place) -> Transferred | None:
        """Copy a record of an inbox that no codec wrote."""
        found, there = self._read(key), self._target.get(key)
        if found is None:
            return None
        payload = found.payload
        if place.part == "numbers" and there is not None:
            # The union: an update whose number one storage knows must not be added again.
            payload = bytes(a | b for a, b in zip_longest(payload, there, fillvalue=0))
        if payload == there:
            return Transferred("same")
        if not self._dry_run:
            self._target.commit((), [Change(key, there, payload, found.left)])
        return Transferred("copied" if there is None else "replaced")

    def _transfer(
        self,
        key: str,
        get: Callable[[], bytes | None],
        write: Callable[[bytes | None, bytes, float | None], None],
        *clocks: Callable[[], float],
    ) -> Transferred | None:
        """
        Copy a record that a codec wrote.

        Args:
            key: The key.
            get: Gives the payload that the target has.
            write: Writes a record to the target. Takes the present payload, the new one, and the
                lifetime.
            clocks: The clocks of the source and the target.
        """
        found = self._read(key)
        if found is None:
            return None
        persistent = self._source.persistent, self._target.persistent
        record = translated(self._decode(found.payload, key), key, *map(Clock, persistent, clocks))
        there = get()
        outcome, payload = self._plan(key, found, record, there)
        is_old = there is not None and _has_old_key(self._target.codec, there)
        if payload is None:
            return Transferred(outcome, is_old)
        left = found.left
        if left is not None and left <= 0:
            return None
        if not self._dry_run:
            write(there, payload, left)
            is_old = False
        return Transferred(outcome, is_old, is_for_ever=found.end == "unknown")

    def _plan(
        self, key: str, found: _Found, record: dict[str, Any], there: bytes | None
    ) -> tuple[Outcome, bytes | None]:
        """The outcome for a record, and the payload that is written; `None` for no write."""
        codec = self._target.codec
        if there is None:
            return "copied", codec.encode(record, key)
        if self._says_the_same(record, there, key):
            if _has_old_key(codec, there):
                return "replaced", codec.encode(record, key)
            if self._overwrite and not self._is_in_place and self._ends_otherwise(key, found):
                return "replaced", there
            return "same", None
        if self._overwrite or self._is_in_place:
            return "replaced", codec.encode(record, key)
        return "kept", None

    def _says_the_same(self, record: dict[str, Any], there: bytes, key: str) -> bool:
        codec, near = self._target.codec, _NEARER if self._overwrite else _NEAR
        try:
            other = codec.decode(there, key)
            return codec.encode(aligned(record, other, key, near), key, there) == there
        except DecodeError:
            return False

    def _ends_otherwise(self, key: str, found: _Found) -> bool:
        """Whether the record of the target has another lifetime than that of the source."""
        there = _Found.read(self._target, key)
        if there is None or "unknown" in {there.end, found.end}:
            return False
        if there.end is None or found.end is None:
            return there.end is not found.end
        return abs(float(there.end) - float(found.end)) > _NEARER

    def _read(self, key: str) -> _Found | None:
        """
        The record of the source.

        Raises:
            DecodeError: The source can be reached, and cannot read the record.
        """
        try:
            return _Found.read(self._source, key)
        except StorageError as error:
            self._source.ping()
            raise DecodeError(key, "the storage cannot read it", "delete it") from error

    def _decode(self, payload: bytes, key: str) -> dict[str, Any]:
        """The record of a payload of the source, which may have the codec of the target by now."""
        if self._is_in_place:
            with suppress(DecodeError):
                return self._target.codec.decode(payload, key)
        return self._source.codec.decode(payload, key)

    def _left_out(self, key: str, error: SessionError) -> Transferred:
        _log.warning("did not copy a record: %s", error)
        outcome: Outcome = next(each for kind, each in _LEFT_OUT if isinstance(error, kind))
        return Transferred(outcome, self._has_old_key(key))

    def _has_old_key(self, key: str) -> bool:
        """Whether the target has a record under an old key of its codec."""
        try:
            there = self._target.get(key)
        except StorageError:
            # In place, it may be the record that cannot be read.
            self._target.ping()
            return False
        return there is not None and _has_old_key(self._target.codec, there)


class _Found(NamedTuple):
    """
    A record as it was read.

    Attributes:
        payload: The payload.
        end: The time at which it expires (seconds, monotonic); `None` for never, and `"unknown"`.
    """

    payload: bytes
    end: float | Literal["unknown"] | None

    @classmethod
    def read(cls, storage: Storage, key: str) -> Self | None:
        """The record of a key; `None` if there is none."""
        # Before the request, because a slow answer must not make a lifetime longer.
        now = time.monotonic()
        record = storage.get_record(key)
        if record is None:
            return None
        left = record.left
        return cls(record.payload, now + left if isinstance(left, float | int) else left)

    @property
    def left(self) -> float | None:
        """Seconds until it expires; `None` if never, or if it is unknown."""
        return self.end - time.monotonic() if isinstance(self.end, float) else None


def _has_old_key(codec: object, payload: bytes) -> bool:
    return isinstance(codec, EncryptedCodec) and codec.has_old_key(payload)


def _share_locks(source: Storage, target: Storage) -> bool:
    """Whether two storages keep their records in one place, because a lock of one blocks both."""
    key = f"@copy:{secrets.token_hex(8)}"
    with source.hold(key, _PATIENCE):
        try:
            with target.hold(key, 0):
                return False
        except LockTimeoutError:
            return True
