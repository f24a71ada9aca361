"""
Takes dictation: every line goes through a slow service, and the text keeps the order of the lines.

Try two or three lines, such as `once upon a time`, and `/text`.

By itself telebot handles two lines of a user at the same time, and the text has first what the
service returns first. Here a line waits for the one before it, and while it does so it takes no
worker away from other users.

    > once upon a time
    1. Once upon a time.
    > there was a bot
    2. There was a bot.
    > /text
    Once upon a time.
    There was a bot.
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import logging
import os
import random
import time
from contextlib import suppress

from telebot import TeleBot
from telebot.handler_backends import BaseMiddleware
from telebot.types import Message

from telesession import Session, Sessions, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "dictate line by line; /text shows the whole text"
bot = TeleBot(TOKEN or "1:offline", use_class_middlewares=True)
use_sequential_workers(bot, num_threads=8)
sessions = Sessions(initial=lambda: {"lines": []})


def correct(line: str) -> str:
    """Stands for a service that answers when it likes."""
    time.sleep(random.uniform(0.0, 0.2))
    return f"{line[:1].upper()}{line[1:]}."


@bot.message_handler(commands=["start", "help"])
def explain(message: Message) -> None:
    bot.send_message(message.chat.id, HELP)


@bot.message_handler(commands=["text"])
@sessions.with_session
def show_text(message: Message, session: Session) -> None:
    bot.reply_to(message, "\n".join(session.lines) or "there is no text yet")


@bot.message_handler()
@sessions.with_session
def write_down(message: Message, session: Session) -> None:
    session.lines.append(correct(message.text or ""))
    bot.reply_to(message, f"{len(session.lines)}. {session.lines[-1]}")


class Apology(BaseMiddleware):
    """Logs the exception of a handler and tells the user; telebot polls on."""

    update_types = ("message",)

    def pre_process(self, message: Message, data: object) -> None:
        pass

    def post_process(self, message: Message, data: object, exception: Exception | None) -> None:
        if exception:
            logging.getLogger("TeleBot").error("a handler raised", exc_info=exception)
            with suppress(Exception):  # The user may have blocked the bot.
                bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


bot.setup_middleware(Apology())

if __name__ == "__main__":
    if TOKEN:
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
