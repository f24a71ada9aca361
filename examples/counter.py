"""
Counts the messages of each user: the bot of the README.

    > hi
    you called the bot 1 times!
    > hi
    you called the bot 2 times!
    > /as 42
    > hi
    you called the bot 1 times!
"""

# mypy: allow-untyped-decorators

import os

from telebot import TeleBot
from telebot.types import Message

from telesession import Session, with_session
from telesession.testing import OFFLINE_TOKEN, run

bot = TeleBot(os.environ.get("BOT_TOKEN") or OFFLINE_TOKEN)


@bot.message_handler()
@with_session(initial=lambda: {"counter": 0})
def count(message: Message, session: Session) -> None:
    session.counter += 1
    bot.reply_to(message, f"you called the bot {session.counter} times!")


if __name__ == "__main__":
    run(bot)
