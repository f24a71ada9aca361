"""
Takes entries for a run, question by question, and knows its open questions after a restart.

Try `/join` and answer, then `/me`; `/cancel` ends a question.

The questions are in a SQLite file, `run.db` unless the environment variable `BOT_DATABASE` names
another. Stop the bot after any question, and start it again in the same directory: it waits for the
answer until ten minutes after the question. In a group, each user answers their own questions. Each
command ends a question.

    > /join
    what is your name?
    > Ada
    how many kilometres, Ada: 5, 10 or 21?
    > 42
    5, 10 or 21, please
    > /me
    you do not run yet
    > 10
    send /join to run, /me to see your entry, /cancel to end a question
    > /join
    what is your name?
    > /cancel
    then not
    > /cancel
    there is nothing to cancel
    > /join
    what is your name?
    > Ada
    how many kilometres, Ada: 5, 10 or 21?
    > 10
    see you there, Ada!
    > /me
    you run 10 km, Ada
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from dataclasses import dataclass

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Sessions, SQLiteStorage, ask, cancel, use_questions, use_sequential_workers

DISTANCES = ("5", "10", "21")
WAIT_SECONDS = 600


@dataclass
class Entry:
    name: str = ""
    kilometres: int = 0


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "send /join to run, /me to see your entry, /cancel to end a question"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.reply_to(message, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
storage = SQLiteStorage(os.environ.get("BOT_DATABASE") or "run.db")
entries = Sessions(initial=Entry, name="entry", storage=storage)


@bot.message_handler(commands=["join"])
def begin(message: Message) -> None:
    ask(bot, message, "what is your name?", take_name, timeout=WAIT_SECONDS)


def take_name(message: Message, entry: Entry) -> None:
    entry.name = message.text or "runner"
    question = f"how many kilometres, {entry.name}: 5, 10 or 21?"
    ask(bot, message, question, take_distance, timeout=WAIT_SECONDS)


def take_distance(message: Message, entry: Entry) -> None:
    if message.text not in DISTANCES:
        ask(bot, message, "5, 10 or 21, please", take_distance, timeout=WAIT_SECONDS)
        return
    entry.kilometres = int(message.text)
    bot.reply_to(message, f"see you there, {entry.name}!")


@bot.message_handler(commands=["cancel"])
def stop(message: Message) -> None:
    waited = cancel(bot, message)
    bot.reply_to(message, "then not" if waited else "there is nothing to cancel")


@bot.message_handler(commands=["me"])
@entries.with_session
def show(message: Message, entry: Entry) -> None:
    runs = f"you run {entry.kilometres} km, {entry.name}"
    bot.reply_to(message, runs if entry.kilometres else "you do not run yet")


@bot.message_handler()
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


use_questions(bot, entries, steps=[take_name, take_distance])


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
