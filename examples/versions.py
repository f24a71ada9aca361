"""
A bot that was changed twice, and still knows the users it met before: versions and migrations.

Try `/before Ada Lovelace 1815-12-10` and `/me`.

Its first version kept a name and a birthday as texts. Now the name is two fields, and the birthday
a date. Records of the first version pass through both steps when they are loaded, and are stored
as version 2 as soon as something changes. `/before` lets the bot act as its first version did. That
one refuses records of later versions, and leaves them as they are.

    > /before Ada Lovelace 1815-12-10
    noted: Ada Lovelace 1815-12-10
    > /me
    Ada, of the family Lovelace, born in 1815; visits: 1
    > /me
    Ada, of the family Lovelace, born in 1815; visits: 2
    > /before Ada King 1815-12-10
    ! ERROR unreadable record: could not read the stored record of session '1': it is of ver...
    sorry, that went wrong, and nothing was saved
    ! telesession.errors.DecodeError: ...
    > /me
    Ada, of the family Lovelace, born in 1815; visits: 3
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from dataclasses import dataclass
from datetime import date
from typing import Any

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import JSONCodec, MemoryStorage, Session, Sessions, use_sequential_workers


@dataclass
class Person:
    first_name: str = ""
    last_name: str = ""
    born: date | None = None
    visits: int = 0


def split_name(fields: dict[str, Any]) -> None:
    fields["first_name"], _, fields["last_name"] = fields.pop("name").partition(" ")


def make_birthday_a_date(fields: dict[str, Any]) -> None:
    fields["born"] = date.fromisoformat(fields.pop("birthday"))


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "send /before Ada Lovelace 1815-12-10, and then /me"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
# For the show, which one run has to fit in; a bot that is changed has a file or a server.
storage = MemoryStorage(codec=JSONCodec())
before = Sessions(storage=storage)
people = Sessions(
    initial=Person,
    name="person",
    prefix="",  # the records that sessions named "session" have
    storage=storage,
    version=2,
    migrations={1: split_name, 2: make_birthday_a_date},
)


@bot.message_handler(regexp=r"^/before \w+ \w+ \d{4}-\d\d-\d\d$")
@before.with_session
def note_as_before(message: Message, session: Session) -> None:
    _, first_name, last_name, birthday = str(message.text).split()
    session.name = f"{first_name} {last_name}"
    session.birthday = birthday
    bot.reply_to(message, f"noted: {session.name} {session.birthday}")


@bot.message_handler(commands=["me"])
@people.with_session
def describe(message: Message, person: Person) -> None:
    if person.born is None:
        bot.reply_to(message, "we have not met; write: /before Ada Lovelace 1815-12-10")
        return
    person.visits += 1
    bot.reply_to(
        message,
        f"{person.first_name}, of the family {person.last_name}, born in {person.born.year}; "
        f"visits: {person.visits}",
    )


@bot.message_handler()
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
