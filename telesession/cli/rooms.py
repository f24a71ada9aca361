"""Rooms as the command sees them: the parts of a key in a storage."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

from telesession.bot.inbox import place_in_inbox
from telesession.keys import ROOM
from telesession.kinds.unreadable import ASIDE


class Kind(Enum):
    """The kind of the records of a room."""

    SESSIONS = "sessions"
    STATES = "states"
    QUESTIONS = "questions"
    UPDATES = "waiting updates"
    ASIDE = "updates set aside"
    BOOKKEEPING = "bookkeeping of an inbox"
    UNREADABLE = "records set aside"
    OTHER = "others"


_NAMED = MappingProxyType({"telebot-states": Kind.STATES, ASIDE[1:-1]: Kind.UNREADABLE})
_IN_INBOX = MappingProxyType({"": Kind.UPDATES, "aside": Kind.ASIDE})


class Place(NamedTuple):
    """
    A key in a storage.

    Attributes:
        room: The beginning of the keys of its room, such as `@cart:`; empty outside of rooms.
        key: The key in the room.
    """

    room: str
    key: str

    @staticmethod
    def of(place: str) -> Place:
        """The parts of a key in a storage."""
        if not place.startswith(ROOM):
            return Place("", place)
        if place.startswith(2 * ROOM):
            return Place("", place[1:])
        name, colon, key = place.partition(":")
        return Place(name + colon, key)

    @property
    def kind(self) -> Kind:
        """The kind of its record."""
        if not self.room:
            return Kind.SESSIONS
        name = self.room[1:-1]
        if name.isidentifier():
            return Kind.SESSIONS
        if name in _NAMED:
            return _NAMED[name]
        if name.startswith("questions-"):
            return Kind.QUESTIONS
        inbox = place_in_inbox(self.room)
        return Kind.OTHER if inbox is None else _IN_INBOX.get(inbox.part, Kind.BOOKKEEPING)

    @property
    def is_record(self) -> bool:
        """Whether its payload must be a record with fields, which a codec has written."""
        return not self.room or self.kind not in (Kind.BOOKKEEPING, Kind.UNREADABLE)
