"""
Takes dictation: every line goes through a slow service, and the text keeps the order of the lines.

Try two or three lines, such as `once upon a time`, and `/text`.

By itself telebot handles two lines of a user at the same time, and the line that the service
returns first is the first one in the text. Here a line waits for the one before it. While it waits,
it takes no worker away from other users.

    > once upon a time
    1. Once upon a time.
    > there was a bot
    2. There was a bot.
    > /text
    Once upon a time.
    There was a bot.
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import random
import signal
import time

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Session, Sessions, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "dictate line by line; /text shows the whole text"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, num_threads=8, on_error=apologise)
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


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
