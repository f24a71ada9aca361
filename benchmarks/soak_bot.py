"""
The bot of `soak.py`, a process of its own: it counts its updates in sessions.

`python -m benchmarks.soak_bot URL API_URL` polls the Bot API at the second URL until SIGTERM. The
first one is that of the storage: a path, the URL of a server, or `""` for a storage in memory.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from typing import Any

from telebot import TeleBot, apihelper, types

from telesession import (
    LockTimeoutError,
    MemoryStorage,
    PostgresStorage,
    RedisStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    on_commit,
    ttl,
    use_sequential_workers,
)
from telesession.bot.inbox import place_in_inbox
from telesession.testing import OFFLINE_TOKEN

# Seconds of the fields and sessions that expire.
LIFETIME = 20


def open_storage(url: str) -> Storage:
    """The storage of a URL or a path; a new one in memory for an empty text."""
    if not url:
        return MemoryStorage()
    if url.startswith("redis:"):
        return RedisStorage(url)
    return PostgresStorage(url) if url.startswith("postgresql:") else SQLiteStorage(url)


class Counters:
    """The sessions of a storage: one of each user, and a short one of each message."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.users = Sessions(storage=storage, initial={"count": 0, "latest": 0, "gaps": 0})
        self.messages = Sessions(
            storage=storage,
            name="visit",
            lifetime=LIFETIME,
            get_storage_key=lambda message: f"{message.from_user.id}-{message.text}",
        )

    def report(self) -> dict[str, Any]:
        """The figures of each user, the locked keys, and the number of unfinished updates."""
        inbox = {key: place_in_inbox(key) for key in self.storage.keys("")}
        return {
            "users": {
                key: [session["count"], session["latest"], session["gaps"]]
                for key, session in self.users.items()
            },
            # A running process keeps the lock of its own record.
            "locked": [key for key, place in inbox.items() if not place and self._is_locked(key)],
            "unfinished": sum(place is not None and not place.part for place in inbox.values()),
        }

    def _is_locked(self, key: str) -> bool:
        try:
            with self.storage.hold(key, 0):
                return False
        except LockTimeoutError:
            return True


def serve(url: str, api_url: str) -> None:
    """
    Be the bot, until SIGTERM.

    For each line of input it prints a report, with the user and the class of each exception of a
    handler. Such an update has ended without an effect.
    """
    apihelper.API_URL = api_url
    apihelper.proxy = {"no_proxy": "127.0.0.1"}
    logging.getLogger("telesession").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    storage = open_storage(url)
    counters = Counters(storage)
    bot = TeleBot(OFFLINE_TOKEN, num_threads=4)
    raised: list[tuple[str, str]] = []

    def note(update: types.Message, error: BaseException) -> None:
        raised.append((str(update.from_user.id), type(error).__name__))

    # A longer backlog on a busy machine would look like growth: an update takes 7 kB.
    use_sequential_workers(bot, inbox=storage, total_limit=200, on_error=note)

    @bot.message_handler()
    @counters.users.with_session
    @counters.messages.with_session
    def count(message: types.Message, session: Session, visit: Session) -> None:
        number = int(message.text)
        session.count += 1
        session.gaps += number != session.latest + 1
        session.latest = number
        session.code = ttl(message.text, LIFETIME)
        visit.text = message.text
        if number % 10 == 0:
            on_commit(bot.send_message, message.chat.id, message.text)

    def answer() -> None:
        for _ in sys.stdin:
            print(json.dumps({**counters.report(), "raised": raised}), flush=True)

    threading.Thread(target=answer, daemon=True).start()
    bot.infinity_polling(skip_pending=False)
    bot.stop_bot()
    storage.close()


if __name__ == "__main__":
    serve(*sys.argv[1:])
