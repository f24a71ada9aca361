"""
A notebook that cannot use up the memory: sessions in the caches of cachetools.

Try `milk`, `tea`, `/keep` and `/notes`.

The lines of a user are on a scratch pad, until ten minutes after the last one (TTLCache). `/keep`
moves them to the user's notes. All notes together take up to 64 MiB. Then those that were used
least recently are dropped (LRUCache).

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

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
import time

from cachetools import LRUCache, TTLCache
from telebot import TeleBot, logger
from telebot.types import Message

from telesession import MemoryStorage, Session, Sessions, use_sequential_workers

# A cache binds its timer when it is made; only through the lambda can tests freeze the clock.
scratch_pads = MemoryStorage(TTLCache(10_000, ttl=600, timer=lambda: time.monotonic()))  # noqa: PLW0108
notebooks = MemoryStorage(LRUCache(64 * 2**20, getsizeof=len))

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "write some lines; /keep keeps them, /notes shows your notes"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
pads = Sessions(initial=lambda: {"lines": []}, name="pad", storage=scratch_pads)
notes = Sessions(initial=lambda: {"lines": []}, name="notebook", storage=notebooks)


@bot.message_handler(commands=["start", "help"])
def explain(message: Message) -> None:
    bot.send_message(message.chat.id, HELP)


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
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
