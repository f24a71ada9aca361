"""Records for tests of the command: those of two people, and very many."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

from telesession import (
    SessionStateStorage,
    SQLiteStorage,
    Storage,
    by_sender_in_chat,
    make_key,
)
from telesession.bot.inbox import Inbox
from telesession.keys import room_of
from telesession.sessions import sessions_in_room
from telesession.storage.base import Change

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 100_000
# Bytes that a command may need for records, however many there are.
FEW = 12 * 2**20
PAYLOAD = b'{"fields":{"text":"%b"}}' % (b"x" * 200)


ADA, BOB, GROUP = 42, 7, -100
QUESTIONS = room_of("questions-1")


def update_of(number: int, sender: int, chat: int = GROUP) -> str:
    message = {"from": {"id": sender}, "chat": {"id": chat}, "text": "tea"}
    return json.dumps({"update_id": number, "message": message})


def fill(storage: Storage) -> None:
    """Records of ada and of bob in all rooms."""
    for user in (ADA, BOB):
        for key in (user, f"chat:{user}", f"sender_in_chat:{GROUP}:{user}", f"@cart:{user}"):
            storage.set(str(key), b'{"fields":{"n":1}}')
        SessionStateStorage(storage).set_state(GROUP, user, "name")
        in_chat = make_key(by_sender_in_chat, chat_id=GROUP, user_id=user)
        for room in (QUESTIONS, f"{QUESTIONS}@cart:"):
            with sessions_in_room(room, storage=storage).open(in_chat) as question:
                question.step = "age"
        inbox = Inbox(storage, 1)
        stored, _ = inbox.make(user, update_of(user, user), "owner")
        inbox.write([inbox.adding(stored)])
    storage.set(f"chat:{GROUP}", b'{"fields":{"n":1}}')
    storage.set(f"{inbox.pages}0", b"\x80")


def store_many(storage: SQLiteStorage) -> None:
    for begin in range(0, MANY, 10_000):
        keys = range(begin, begin + 10_000)
        storage.commit([], [Change(f"{key}", None, PAYLOAD) for key in keys])


def measured(work: Callable[[], Any]) -> tuple[Any, int]:
    """The result of a function, and the largest number of bytes that it had at a time."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
