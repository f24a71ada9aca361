"""Groups that become supergroups: the ids and the keys of each before and after."""

from __future__ import annotations

from typing import Any, NamedTuple

from telesession.keys import READY_MADE, Form, form_of


def migrated_chat(message: Any) -> tuple[int, int] | None:
    """
    The ids of a group before and after it became a supergroup, if a message tells of that.

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
        ValueError: It is not one of the ready-made key functions.
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
    The change of the keys of a group that becomes a supergroup, for one room and key function.

    Attributes:
        old: The beginning of the old keys in the storage, up to the colon behind the id of the
            group. It is the whole key if the function gives one key for the group.
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
        """Whether the function gives one key for the group."""
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
    The part of a key in the storage that `Renaming.old` and `Renaming.new` are compared with.

    Args:
        key: Any key.
        start: The length of the room.
    """
    colon = key.find(":", start)
    colon = key.find(":", colon + 1) if colon >= 0 else -1
    return key if colon < 0 else key[: colon + 1]
