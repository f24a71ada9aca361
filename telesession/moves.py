"""Moves: sessions that get another key, at once or once no handler has them."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from telesession.errors import LockTimeoutError, SessionError, fault_of
from telesession.keys import READY_MADE, Form, form_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.record import RecordTranslator
    from telesession.storage.base import Hold, Storage

_log = logging.getLogger("telesession")


def migrated_chat(message: Any) -> tuple[int, int] | None:
    """
    The ids of a group before and after it became a supergroup; `None` for other messages.

    Telegram sends such a message in both chats: see `migrate_to_chat_id` and
    `migrate_from_chat_id` in https://core.telegram.org/bots/api#message.
    """
    if new := getattr(message, "migrate_to_chat_id", None):
        return message.chat.id, new
    if old := getattr(message, "migrate_from_chat_id", None):
        return old, message.chat.id
    return None


def checked_form(get_storage_key: object) -> Form:
    """
    The form of the keys of a key function whose sessions can follow a group.

    Raises:
        ValueError: The function is not one of the ready-made key functions.
    """
    form = form_of(get_storage_key)
    if form is None:
        raise ValueError(
            "attach(follow_migrations=True) moves the sessions of groups, whose keys a function of "
            f"your own does not show; pass get_storage_key=... with one of {READY_MADE}"
        )
    return form


class Renaming(NamedTuple):
    """
    The change of the keys of a group that becomes a supergroup, in one room.

    Attributes:
        old: The beginning of the old keys in the storage, up to the colon behind the id of the
            group. It is the whole key if the key function has one key for the group.
        new: The beginning, or the whole, of the new keys.
        old_sender: The old id as sender; `None` if the keys have no sender behind the chat.
        new_sender: The new id as sender.
    """

    old: str
    new: str
    old_sender: str | None
    new_sender: str | None

    @staticmethod
    def of(get_storage_key: object, old_id: int, new_id: int, room: str) -> Renaming:
        """
        The change for a ready-made key function.

        Args:
            get_storage_key: The key function.
            old_id: The id of the group.
            new_id: The id of the supergroup.
            room: The beginning of the keys of the sessions in the storage.

        Raises:
            ValueError: It is not one of the ready-made key functions.
        """
        form, old, new = checked_form(get_storage_key), str(old_id), str(new_id)
        beginnings = room + form.beginning(old), room + form.beginning(new)
        if form.parts[-1] == "sender" and len(form.parts) > 1:
            return Renaming(*beginnings, old, new)
        return Renaming(*beginnings, None, None)

    @property
    def is_whole(self) -> bool:
        """Whether the key function has one key for the group."""
        return not self.old.endswith(":")

    def renamed(self, key: str) -> str:
        """The new key of an old one, both in the storage."""
        rest = key[len(self.old) :]
        ahead, colon, sender = rest.rpartition(":")
        # An anonymous admin writes as the group.
        if sender == self.old_sender:
            rest = f"{ahead}{colon}{self.new_sender}"
        return self.new + rest

    def back(self) -> Renaming:
        """The change of the new keys into the old ones."""
        return Renaming(self.new, self.old, self.new_sender, self.old_sender)


def group_part(key: str, start: int) -> str:
    """
    The part of a key in the storage to compare with `Renaming.old` and `Renaming.new`.

    Args:
        key: Any key.
        start: The length of the room.
    """
    colon = key.find(":", start)
    colon = key.find(":", colon + 1) if colon >= 0 else -1
    return key if colon < 0 else key[: colon + 1]


class Moves:
    """
    The moves of one storage because of groups that became supergroups in this process.

    A move is pending until its record has the new key. Updates may still come from the old chat, so
    the redirect from the old keys stays until the process ends.

    Keep one for as long as its storage; any thread may use it. `Moves.of` gives the one of a
    storage, which all kinds of sessions in it share.

    Attributes:
        groups: `Renaming.old` -> the renaming. Updates from the old chat need it.
        pending: new key -> old key, while the record may have the old one.
        rooms: The rooms of the sessions that this process has in the storage.
    """

    def __init__(self) -> None:
        # No reference to the storage: it would never be freed, because `_moves` refers to this.
        self.groups: dict[str, Renaming] = {}
        self.pending: dict[str, str] = {}
        self.rooms: set[str] = set()
        # `Renaming.new` -> the renaming back to the old keys.
        self._supergroups: dict[str, Renaming] = {}
        # The new keys whose records no longer have the old key.
        self._moved_keys: set[str] = set()
        # The renamings whose records have all moved.
        self._finished: set[Renaming] = set()

    @staticmethod
    def of(storage: Storage) -> Moves:
        """The moves of a storage."""
        with _mutex:
            moves = _moves.get(storage)
            if moves is None:
                moves = _moves[storage] = Moves()
            return moves

    def follow(
        self,
        renaming: Renaming,
        storage: Storage,
        translator: RecordTranslator,
        lifetime: float | None,
    ) -> None:
        """
        Give the sessions of a group their new keys.

        Each session moves at once, or before its next use if a handler has it now. A failed move
        is logged, and tried again at the next use of the session.

        Args:
            renaming: The change of the keys.
            storage: The storage.
            translator: Translates the records. A codec may have bound them to the old keys.
            lifetime: Seconds that the sessions live from now; `None` is for ever.
        """
        if renaming in self._finished:
            return
        # In this order: a thread that is redirected to a new key must find the pending move.
        self._supergroups[renaming.new] = renaming.back()
        self.groups[renaming.old] = renaming
        try:
            keys = [renaming.old] if renaming.is_whole else list(storage.keys(renaming.old))
        except Exception as error:  # noqa: BLE001 -- no reason to lose the updates
            _log.warning(
                "could not list the sessions of a group that became a supergroup; each moves when "
                "it is next used: %s",
                fault_of(error),
            )
            return
        moved = [self._follow_one(key, renaming, storage, translator, lifetime) for key in keys]
        if all(moved):
            self._finished.add(renaming)

    def _follow_one(
        self,
        old: str,
        renaming: Renaming,
        storage: Storage,
        translator: RecordTranslator,
        lifetime: float | None,
    ) -> bool:
        """Give one session its new key, and return whether the move is done."""
        new = renaming.renamed(old)
        self.pending[new] = old
        try:
            self.finish_move(new, storage, translator, lifetime, 0)
        except LockTimeoutError:
            return False
        except Exception as error:  # noqa: BLE001 -- the other sessions move all the same
            _log.warning(
                "could not move session %r to %r, though its group became a supergroup; it moves "
                "when it is next used: %s",
                old,
                new,
                fault_of(error),
            )
            return False
        return True

    def redirect(self, key: str, start: int) -> str:
        """
        The key that a session has now, because its group may have become a supergroup.

        Args:
            key: The key of an update, in the storage.
            start: The length of the room.
        """
        part = group_part(key, start)
        renaming = self.groups.get(part)
        if renaming is not None:
            key, part = renaming.renamed(key), renaming.new
        back = self._supergroups.get(part)
        # A handler may have begun a session in the old chat after the others were listed.
        if back is not None and key not in self._moved_keys:
            self.pending.setdefault(key, back.renamed(key))
        return key

    def finish_move(
        self,
        key: str,
        storage: Storage,
        translator: RecordTranslator,
        lifetime: float | None,
        timeout: float | None,
    ) -> None:
        """
        Do the pending move to a key.

        Args:
            key: The new key.
            storage: The storage.
            translator: Translates the record. A codec may have bound it to the old key.
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
        with (
            storage.hold(first, timeout) as one,
            storage.hold_beside(one, second, timeout) as two,
        ):
            source, target = (one, two) if first == old else (two, one)
            moved = note_move(source, target, translator, lifetime)
            storage.commit([one, two])
        if moved is None:
            _log.error("a group became a supergroup, and we %s", _is_taken(old, key))
        self._moved_keys.add(key)
        self.pending.pop(key, None)


_mutex = threading.Lock()
_moves: WeakKeyDictionary[Storage, Moves] = WeakKeyDictionary()


def note_move(
    source: Hold,
    target: Hold,
    translator: RecordTranslator,
    lifetime: float | None,
    check_size: Callable[[bytes, str], None] | None = None,
) -> bool | None:
    """
    Note in two holds that the record of one goes to the other.

    Args:
        source: The hold that has the record.
        target: The hold that gets it.
        translator: Translates the record.
        lifetime: Seconds that the session lives from now; `None` is for ever.
        check_size: Gets the payload and its new key, and raises if it must not be written.

    Returns:
        Whether there was a record; `None` if the target has another record. Then nothing is noted.
    """
    payload = source.get()
    if payload is None:
        return False
    life = translator.life_of(payload, source.key, source.now)
    if life is not None and life.is_over():
        return False
    moved, there = translator.rekey(payload, source.key, target.key), target.get()
    # The record of the target is the second argument: it may be damaged.
    if there is not None and not translator.says_the_same(moved, there, target.key):
        return None
    if check_size is not None:
        check_size(moved, target.key)
    target.set(moved, lifetime if life is None else life.left(lifetime))
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
