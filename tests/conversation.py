"""What is said to a bot, and what its handlers keep of it in their sessions."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from counted import CountedStorage
from telebot import types
from updates import ANNA, CASES, UPDATE_IDS, message as message_json, private

from telesession import Session, Sessions

KEY = str(ANNA["id"])
# One update of each kind.
KIND_CASES = list({case.kind: case for case in CASES}.values())

Handler = Callable[..., Any]


@pytest.fixture
def storage() -> CountedStorage:
    """An empty storage, in memory."""
    return CountedStorage()


@pytest.fixture
def sessions(storage: CountedStorage) -> Sessions[Session]:
    """Sessions without options, in that storage."""
    return Sessions(storage=storage)


def said(text: str, person: dict[str, Any] = ANNA, **fields: Any) -> types.Update:
    """A message, in the private chat with its sender unless `chat` says otherwise."""
    chat = fields.pop("chat", private(person))
    update = {"update_id": next(UPDATE_IDS), "message": message_json(chat, person, **fields)}
    update["message"]["text"] = text
    return types.Update.de_json(json.dumps(update))


def note(session: Any, *seen: Any) -> None:
    """What most handlers do: put into their session what else they got."""
    session.setdefault("seen", []).append(list(seen))


def keep(message, session):
    note(session, message.text)


def keep_both(message, session, chat):
    note(session, message.text)
    note(chat, message.text)


def ignore(message):
    pass


@dataclass
class Cart:
    """A typed session."""

    items: list[str] = field(default_factory=list)

    def add(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)


class OutOfTeaError(Exception):
    """What handlers raise."""
