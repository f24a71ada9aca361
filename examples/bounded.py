"""
A notebook that cannot use up the memory: sessions in the caches of cachetools.

What a user sends is on a scratch pad for ten minutes after the last line (TTLCache), unless
`/keep` moves it to the user's notes. All notes together take up to 64 MiB; then those that were
used least recently go (LRUCache).

    > milk
    1 on the scratch pad
    > tea
    2 on the scratch pad
    > /keep
    kept: 2
    > /notes
    milk
    tea
    > /keep
    kept: 0
"""

# mypy: allow-untyped-decorators

import os
import time

from cachetools import LRUCache, TTLCache
from telebot import TeleBot
from telebot.types import Message

from telesession import MemoryStorage, Session, Sessions
from telesession.testing import OFFLINE_TOKEN, run

# A cache binds its timer when it is made; only through the lambda can tests freeze the clock.
scratch_pads = MemoryStorage(TTLCache(10_000, ttl=600, timer=lambda: time.monotonic()))  # noqa: PLW0108
notebooks = MemoryStorage(LRUCache(64 * 2**20, getsizeof=len))

bot = TeleBot(os.environ.get("BOT_TOKEN") or OFFLINE_TOKEN)
pads = Sessions(initial=lambda: {"lines": []}, name="pad", storage=scratch_pads)
notes = Sessions(initial=lambda: {"lines": []}, name="notebook", storage=notebooks)


@bot.message_handler(commands=["keep"])
@notes.with_session
@pads.with_session
def keep(message: Message, pad: Session, notebook: Session) -> None:
    bot.reply_to(message, f"kept: {len(pad.lines)}")
    notebook.lines += pad.lines
    pad.clear()


@bot.message_handler(commands=["notes"])
@notes.with_session
def show_notes(message: Message, notebook: Session) -> None:
    bot.reply_to(message, "\n".join(notebook.lines) or "there are no notes")


@bot.message_handler()
@pads.with_session
def write_down(message: Message, pad: Session) -> None:
    pad.lines.append(message.text)
    bot.reply_to(message, f"{len(pad.lines)} on the scratch pad")


if __name__ == "__main__":
    run(bot)
