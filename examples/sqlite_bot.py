"""
Adds up your spending, and knows it after a restart: sessions in a SQLite file.

Try `3.50 tea`, `12 lunch` and `/undo`.

Stop the bot and start it again in the same directory: the sums are still there. `/undo` works for
ten minutes after an amount, also after a restart. Several processes may use the file at the same
time. It is `spending.db` unless the environment variable `BOT_DATABASE` names another.

    > 3.50 tea
    tea: 3.50, all: 3.50
    > 12 lunch
    lunch: 12, all: 15.50
    > 4 tea
    tea: 7.50, all: 19.50
    > /undo
    tea: 3.50, all: 15.50
    > /undo
    there is nothing to undo
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import re
import signal
from dataclasses import dataclass, field
from decimal import Decimal

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Sessions, SQLiteStorage, ttl, use_sequential_workers

UNDO_SECONDS = 600
EXPENSE = r"^(\d{1,6}(?:\.\d{1,2})?) (\w+)$"


@dataclass
class Book:
    sums: dict[str, Decimal] = field(default_factory=dict)
    latest: tuple[str, Decimal] | None = None

    def add(self, purpose: str, amount: Decimal) -> str:
        self.sums[purpose] = self.sums.get(purpose, Decimal(0)) + amount
        return f"{purpose}: {self.sums[purpose]}, all: {sum(self.sums.values())}"


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "write an amount and its purpose, such as 3.50 tea; /undo takes it back"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
storage = SQLiteStorage(os.environ.get("BOT_DATABASE") or "spending.db")
books = Sessions(initial=Book, name="book", storage=storage)


@bot.message_handler(commands=["undo"])
@books.with_session
def undo(message: Message, book: Book) -> None:
    if book.latest is None:
        bot.reply_to(message, "there is nothing to undo")
        return
    purpose, amount = book.latest
    bot.reply_to(message, book.add(purpose, -amount))
    book.latest = None


@bot.message_handler(regexp=EXPENSE)
@books.with_session
def note(message: Message, book: Book) -> None:
    for digits, purpose in re.findall(EXPENSE, message.text or ""):
        amount = Decimal(digits)
        bot.reply_to(message, book.add(purpose, amount))
        book.latest = ttl((purpose, amount), UNDO_SECONDS)


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
