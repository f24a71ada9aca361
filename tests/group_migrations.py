"""A basic group that becomes a supergroup: what is said and told there, and its sessions."""

from __future__ import annotations

import json
from typing import Any

from telebot import types
from updates import ANNA, BASIC_GROUP, GROUP, UPDATE_IDS, message as message_json

from telesession import MemoryStorage, Session, Sessions, Storage, by_chat

OLD, NEW = f"chat:{BASIC_GROUP['id']}", f"chat:{GROUP['id']}"


def update_of(message: dict[str, Any], kind: str = "message") -> types.Update:
    return types.Update.de_json(json.dumps({"update_id": next(UPDATE_IDS), kind: message}))


def said(text: str, chat: dict[str, Any]) -> types.Update:
    return update_of(message_json(chat, ANNA, text=text))


def told(chat: dict[str, Any], **fields: Any) -> types.Update:
    """A service message, which has no text."""
    message = message_json(chat, ANNA, **fields)
    del message["text"]
    return update_of(message)


def told_in_group() -> types.Update:
    return told(BASIC_GROUP, migrate_to_chat_id=GROUP["id"])


def told_in_supergroup() -> types.Update:
    return told(GROUP, migrate_from_chat_id=BASIC_GROUP["id"])


TELLINGS = {"group": told_in_group, "supergroup": told_in_supergroup}
ORDERS = [("group", "supergroup"), ("supergroup", "group")]


def by_chats(storage: Storage | None = None, **options: Any) -> Sessions[Session]:
    return Sessions(storage=storage or MemoryStorage(), get_storage_key=by_chat, **options)


def count(message, session):
    session.counter = session.get("counter", 0) + 1
