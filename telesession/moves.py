"""Moves: sessions that get another key, at once or as soon as no handler has them."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from telesession.errors import LockTimeoutError, SessionError

if TYPE_CHECKING:
    from telesession.record import Records
    from telesession.storage.base import Hold, Storage

_log = logging.getLogger("telesession")


class Moves:
    """
    The moves of one storage that this process has heard of, when groups became supergroups.

    A move is pending until its record has the new key. The redirect from the old key stays until
    the process ends, because updates from the old chat may still come.

    Keep one for as long as its storage; any thread may use it. `Moves.of` gives the one of a
    storage, which all kinds of sessions in it share.

    Attributes:
        redirects: old key -> new key, for updates that still come from the old chat.
        pending: new key -> old key, while the record has the old one.
        rooms: The rooms of the sessions that this process has in the storage.
    """

    def __init__(self) -> None:
        # Not the storage, which would never be freed if the table of moves referred to it.
        self.redirects: dict[str, str] = {}
        self.pending: dict[str, str] = {}
        self.rooms: set[str] = set()

    @staticmethod
    def of(storage: Storage) -> Moves:
        """The moves of a storage."""
        with _mutex:
            moves = _moves.get(storage)
            if moves is None:
                moves = _moves[storage] = Moves()
            return moves

    def follow(
        self, old: str, new: str, storage: Storage, records: Records, lifetime: float | None
    ) -> None:
        """Give a session a new key: at once, or before its next use if a handler has it now."""
        if self.redirects.get(old) != new:
            # In this order: a thread that is sent to the new key must see that a move is pending.
            self.pending[new] = old
            self.redirects[old] = new
        with suppress(LockTimeoutError):
            self.settle(new, storage, records, lifetime, 0)

    def settle(
        self,
        key: str,
        storage: Storage,
        records: Records,
        lifetime: float | None,
        timeout: float | None,
    ) -> None:
        """
        Do the pending move to a key.

        Args:
            key: The new key.
            storage: The storage.
            records: Translates the record, which its codec may have bound to the old key.
            lifetime: Seconds that the session lives from now; `None` is for ever.
            timeout: Seconds to wait while a handler has one of the two sessions.

        Raises:
            LockTimeoutError: One of the two stayed busy. The move stays pending.
            SessionError: The storage failed, or the record is damaged. The move stays pending.
        """
        old = self.pending.get(key)
        if old is None:
            return
        first, second = sorted((old, key))
        with storage.hold(first, timeout) as one, storage.hold(second, timeout) as two:
            source, target = (one, two) if first == old else (two, one)
            moved = note_move(source, target, records, lifetime)
            storage.commit([one, two])
        if moved is None:
            _log.error("a group became a supergroup, and we %s", _is_taken(old, key))
        self.pending.pop(key, None)


_mutex = threading.Lock()
_moves: WeakKeyDictionary[Storage, Moves] = WeakKeyDictionary()


def note_move(source: Hold, target: Hold, records: Records, lifetime: float | None) -> bool | None:
    """
    Note in two holds that the record of one goes to the other.

    Returns:
        Whether there was a record; `None` if the target has another one, and nothing was noted.
    """
    payload = source.get()
    if payload is None:
        return False
    moved, there = records.rekey(payload, source.key, target.key), target.get()
    # The record of the target goes second: it may be damaged, and a codec trusts the first.
    if there is not None and not records.says_the_same(moved, there, target.key):
        return None
    target.set(moved, lifetime)
    source.delete()
    return True


def target_is_taken(old: str | int, new: str | int) -> SessionError:
    """The error of a move to a key that has another session."""
    return SessionError(_is_taken(old, new))


def _is_taken(old: str | int, new: str | int) -> str:
    return (
        f"could not move session {str(old)!r} to {str(new)!r}: there is one already; delete the "
        "one that you do not need"
    )
