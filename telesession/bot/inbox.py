"""The inbox: records of the updates of one bot, stored until they were handled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from telesession.errors import DecodeError, SessionError
from telesession.keys import ROOM, room_of
from telesession.storage.base import Change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telesession.storage.base import Storage

# Telegram keeps an update for 24 hours: https://core.telegram.org/bots/api#getting-updates
MEMORY = 24 * 3600.0
# Records that are read and written together.
PAGE = 100


# The keys of an inbox, with the names that `Inbox` gives its rooms.
_KEY = re.compile(
    re.escape(ROOM) + r"inbox-(?P<bot>[^:]*?)(?:-(?P<part>numbers|poll|aside|owners))?:"
)
# The end of the key of a lease.
_LEASE = ":lease"


class Place(NamedTuple):
    """
    The inbox of a key, and the room in it.

    Attributes:
        bot_id: The number of the bot, as text.
        part: The end of the room's name, such as `"numbers"`; `""` for the updates.
    """

    bot_id: str
    part: str


def is_lease(key: str) -> bool:
    """Whether a key in a storage is the key of the lease of a process; see `Inbox.lease_key`."""
    place = place_in_inbox(key)
    return place is not None and place.part == "owners" and key.endswith(_LEASE)


def place_in_inbox(key: str) -> Place | None:
    """The inbox of a key in a storage; `None` if it is the key of another record."""
    match = _KEY.match(key)
    return match and Place(match["bot"], match["part"] or "")


class Stored:
    """
    An update in the inbox.

    It lives until the update has ended. One thread at a time uses it.

    Attributes:
        number: The `update_id`.
        key: The key of the record.
        raw: The update as Telegram sent it, as JSON.
        owner: The name of the process that handles it.
        done: The handlers that have committed.
        has_begun: Whether a handler of it began after another process had left it.
        kills: The number of processes that were killed then.
        is_leftover: Whether another process has stored it, or an earlier pool.
        payload: The record as it is stored, or as it will be; `None` once the update has ended.
    """

    __slots__ = (
        "done",
        "has_begun",
        "is_leftover",
        "key",
        "kills",
        "number",
        "owner",
        "payload",
        "raw",
    )

    def __init__(self, number: int, key: str, raw: str, owner: str) -> None:
        self.number = number
        self.key = key
        self.raw = raw
        self.owner = owner
        self.done: list[str] = []
        self.has_begun = False
        self.kills = 0
        self.is_leftover = False
        self.payload: bytes | None = None


class Inbox:
    """
    The records of the updates of one bot in a storage.

    A record names its owner, the one process that handles the update. A write fails if the record
    has changed since its writer read it. So a process that has lost a record to another process
    cannot write it any more.

    Keep one for as long as the bot. Any thread may use it.

    Args:
        storage: The storage, which has the sessions of the bot, too.
        bot_id: The number of the bot.

    Attributes:
        room: Begins the keys of the records.
        pages: Begins the keys of the numbers that webhooks brought.
        poll_key: The key of the record of the process that polls.
    """

    def __init__(self, storage: Storage, bot_id: int | str | None) -> None:
        self.storage = storage
        self.room = room_of(f"inbox-{bot_id}")
        self.pages = room_of(f"inbox-{bot_id}-numbers")
        self.poll_key = room_of(f"inbox-{bot_id}-poll") + "last"
        self._aside = room_of(f"inbox-{bot_id}-aside")
        self._owners = room_of(f"inbox-{bot_id}-owners")

    def owner_key(self, name: str) -> str:
        """The key that a process locks for as long as it lives, and that has its record."""
        return self._owners + name

    def lease_key(self, name: str) -> str:
        """The key of the lease of a process, if it has one instead of the lock."""
        return f"{self._owners}{name}{_LEASE}"

    def key_of(self, number: int) -> str:
        """The key of the record of an update, as `Storage.add_once` makes it."""
        return f"{self.room}{number:016d}"

    def number_of(self, key: str) -> int:
        """The number of the update of a key."""
        return int(key[len(self.room) :])

    def make(self, number: int, raw: str, owner: str) -> tuple[Stored, bytes]:
        """An update that is not stored yet, and the payload for its record."""
        stored = Stored(number, self.key_of(number), raw, owner)
        payload = stored.payload = self._encode(stored, ())
        return stored, payload

    def load(self, key: str, payload: bytes) -> Stored:
        """
        The update of a record.

        Raises:
            DecodeError: The payload is not the record of an update.
        """
        fields = self.fields_of(key, payload)
        raw, owner = fields.get("raw"), fields.get("owner")
        if not isinstance(raw, str) or not isinstance(owner, str):
            raise DecodeError(key, "it is not the record of an update")
        stored = Stored(self.number_of(key), key, raw, owner)
        stored.done = list(fields.get("done", ()))
        stored.has_begun = fields.get("has_begun", False)
        stored.kills = fields.get("kills", 0)
        stored.is_leftover = True
        stored.payload = payload
        return stored

    def fields_of(self, key: str, payload: bytes) -> dict[str, Any]:
        """The fields of a record of the inbox."""
        fields = self.storage.codec.decode(payload, key).get("fields")
        if not isinstance(fields, dict):
            raise DecodeError(key, "it is not a record of an inbox")
        return fields

    def encode(self, key: str, fields: dict[str, Any]) -> bytes:
        """The payload of a record of the inbox."""
        return self.storage.codec.encode({"fields": fields}, key)

    def adding(self, stored: Stored) -> Change:
        """The write that stores a new update."""
        return Change(stored.key, None, stored.payload, index=self.room)

    def ending(self, stored: Stored) -> Change:
        """The write that ends an update."""
        return Change(stored.key, stored.payload, None, index=self.room)

    def changing(self, stored: Stored, done: Sequence[str] | None = None) -> Change:
        """The write that stores an update as it is now, or with more handlers that are done."""
        payload = self._encode(stored, stored.done if done is None else done)
        return Change(stored.key, stored.payload, payload, index=self.room)

    def setting_aside(self, key: str, payload: bytes) -> list[Change]:
        """The writes that move a record to a room in which no process looks for updates."""
        aside = self._aside + key[len(self.room) :]
        try:
            # An encrypted record is bound to its key.
            moved = self.encode(aside, self.fields_of(key, payload))
        except SessionError:
            moved = payload
        return [
            Change(aside, self.storage.get(aside), moved),
            Change(key, payload, None, index=self.room),
        ]

    def write(self, changes: Sequence[Change]) -> None:
        """
        Do writes together.

        Raises:
            LockLostError: A record was not as expected; the attribute `key` of the error names the
                record.
        """
        if changes:
            self.storage.commit((), changes)

    def pages_of_keys(self) -> Iterator[list[str]]:
        """The keys of the records in pages, in the order of the numbers of their updates."""
        after = ""
        while keys := self.storage.listed(self.room, after, PAGE):
            yield keys
            after = keys[-1]

    def _encode(self, stored: Stored, done: Sequence[str]) -> bytes:
        fields: dict[str, Any] = {"raw": stored.raw, "owner": stored.owner}
        if done:
            fields["done"] = list(done)
        if stored.has_begun:
            fields["has_begun"] = True
        if stored.kills:
            fields["kills"] = stored.kills
        return self.encode(stored.key, fields)
