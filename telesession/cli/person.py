"""The records of one person: sessions, states, questions and waiting updates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from telesession.cli.fields import record_of
from telesession.cli.rooms import Kind, Place
from telesession.cli.stored import rows_of
from telesession.errors import DecodeError
from telesession.keys import KeyIds, parse_key

if TYPE_CHECKING:
    from telesession.cli.address import Opened

# The parts of an update that name its sender, in the order of `telesession.by_sender`.
_SENDERS = ("sender_chat", "from", "voter_chat", "actor_chat", "user")


class Person:
    """
    A person as the keys and the waiting updates of a storage name it.

    A record belongs to the person if its key has the id as sender, or as private chat. Keys of the
    bot's own functions, and updates that cannot be read, name no person: they are counted.

    Lives for one search; one thread uses it.

    Args:
        user_id: The id of the user, or of a chat that is a sender.
        prefixes: The options `prefix` of the bot's `Sessions`.

    Attributes:
        unknown: The number of records that may belong to any person.
    """

    def __init__(self, user_id: int, prefixes: Sequence[str] = ()) -> None:
        self._id = user_id
        self._prefixes = prefixes
        self.unknown = 0

    def keys(self, storage: Opened) -> Iterator[str]:
        """
        The keys of the records that belong to the person.

        Raises:
            StorageError: The storage failed.
        """
        return (key for key in storage.keys("") if self._has(storage, key))

    def _has(self, storage: Opened, key: str) -> bool:
        place = Place.of(key)
        if place.kind in (Kind.UPDATES, Kind.ASIDE):
            update = _update_of(storage, key)
            self.unknown += update is None
            return update is not None and self._sent(update)
        if place.kind is Kind.BOOKKEEPING:
            return False
        if place.kind is Kind.UNREADABLE:
            # The key is a number, a colon, and the key that the record had.
            return self._is_in_key(place.key.partition(":")[2])
        if place.kind is Kind.STATES:
            # The key is bot:business:thread:chat:user, and a colon inside a part is escaped.
            chat, user = [*place.key.split(":"), "", "", "", "", ""][3:5]
            return self._is_here(unquote(chat), unquote(user))
        return self._is_in_key(place.key)

    def _is_in_key(self, key: str) -> bool:
        # The key of a question begins with the room of its sessions.
        while (inner := Place.of(key)).room:
            key = inner.key
        prefixes = [each for each in ("", *self._prefixes) if key.startswith(each)]
        found = [ids for each in prefixes if (ids := _ids_in(key.removeprefix(each)))]
        self.unknown += not found
        return any(self._is_here(ids.chat_id, ids.user_id) for ids in found)

    def _is_here(self, chat: object, sender: object) -> bool:
        """Whether the person is the sender, or is alone with the bot in the chat."""
        # Private chats have the ids of their users, and the ids of groups are below 0.
        is_private_chat = self._id > 0 and str(chat) == str(self._id)
        return str(sender) == str(self._id) or is_private_chat

    def _sent(self, update: dict[str, Any]) -> bool:
        """Whether the person has sent an update, or is alone with the bot in its chat."""
        contents = [content for content in update.values() if isinstance(content, dict)]
        for content in contents:
            # An added boost wraps its source once more than a removed one.
            source = (content.get("boost") or content).get("source")
            parts = [*map(content.get, _SENDERS), source and source.get("user")]
            senders = [part for part in parts if isinstance(part, dict)]
            chat = (content.get("message") or content).get("chat") or {}
            if self._is_here(chat.get("id"), senders[0].get("id") if senders else None):
                return True
        return False


def _ids_in(key: str) -> KeyIds | None:
    """The ids in a key without its room and prefix; `None` if another function made it."""
    try:
        return parse_key(key)
    except ValueError:
        return None


def _update_of(storage: Opened, key: str) -> dict[str, Any] | None:
    """A waiting update as Telegram sent it; `None` if it has ended or cannot be read."""
    rows = list(rows_of(storage, [key]))
    try:
        update = json.loads(record_of(storage.codec, rows[0].payload, key)["fields"]["raw"])
    except (DecodeError, IndexError, KeyError, RecursionError, TypeError, ValueError):
        return None
    return update if isinstance(update, dict) else None
