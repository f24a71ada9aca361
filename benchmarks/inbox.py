"""
The cost of an inbox: an update of a counter on SQLite, with and without it.

Run it with `python -m benchmarks.inbox`. The updates are made before, so neither HTTP nor
parsing is measured. All figures are of one run, in which the variants take turns; machines differ.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from telebot import TeleBot, types

from telesession import Session, Sessions, SQLiteStorage, use_sequential_workers
from telesession.bot.raw_updates import parse_sent

UPDATES = 2_000
ROUNDS = 5
# Bytes of text beside the rest of the update, which takes 0.3 kB.
TEXTS = {"0.4 kB": 60, "2.6 kB": 2_300}
BATCHES = (100, 1)


def make_updates(first: int, size: int) -> list[types.Update]:
    """Updates of 20 users, as a poll gives them to a bot with an inbox."""
    updates = []
    for number in range(first, first + UPDATES):
        user = {"id": number % 20 + 1, "is_bot": False, "first_name": "Ann", "language_code": "en"}
        chat = {"id": user["id"], "type": "private", "first_name": "Ann"}
        message = {"message_id": number, "from": user, "chat": chat, "date": 1_700_000_000}
        sent = {"update_id": number, "message": {**message, "text": "x" * size}}
        updates.append(parse_sent(sent))
    return updates


class Contestant:
    """A bot on a file of its own, with or without an inbox."""

    def __init__(self, path: Path, *, has_inbox: bool) -> None:
        self.storage = SQLiteStorage(path)
        self.bot: Any = TeleBot("123456:offline", num_threads=2)
        use_sequential_workers(self.bot, inbox=self.storage if has_inbox else None)
        sessions = Sessions(initial={"count": 0}, storage=self.storage)

        @self.bot.message_handler()
        @sessions.with_session
        def count(message: types.Message, session: Session) -> None:
            session.count += 1

        if has_inbox:
            self.bot.worker_pool.intake.open(lambda stored: None, polls=True)
        self.first = 1

    def seconds(self, size: int, batch: int) -> float:
        """Let the bot handle all updates in batches, and say how long one took."""
        updates = make_updates(self.first, size)
        self.first += UPDATES
        pool = self.bot.worker_pool
        done = threading.Condition()
        pool.notify(lambda: notify(done))
        begin = time.perf_counter()
        for start in range(0, UPDATES, batch):
            if pool.intake is not None:
                pool.intake.confirm(updates[start].update_id)
            self.bot.process_new_updates(updates[start : start + batch])
            with done:
                done.wait_for(lambda: not pool.unfinished)
        return (time.perf_counter() - begin) / UPDATES

    def close(self) -> None:
        """End the workers and close the file."""
        self.bot.stop_bot()
        self.storage.close()


def notify(done: threading.Condition) -> None:
    with done:
        done.notify()


def main() -> None:
    """Print a table."""
    print("| one update of a counter on SQLite | without an inbox | with one | times |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        bots = [
            Contestant(Path(folder) / f"{has_inbox}.db", has_inbox=has_inbox)
            for has_inbox in (False, True)
        ]
        for name, size in TEXTS.items():
            for batch in BATCHES:
                rounds = [[bot.seconds(size, batch) for bot in bots] for _ in range(ROUNDS)]
                without, with_inbox = (min(times) for times in zip(*rounds, strict=True))
                print(
                    f"| a message of {name}, in batches of {batch} | {without * 1e6:.0f} µs "
                    f"| {with_inbox * 1e6:.0f} µs | {with_inbox / without:.2f} |"
                )
        for bot in bots:
            bot.close()


if __name__ == "__main__":
    main()
