"""
Adds up numbers, and tells a user whose message made a handler raise.

Try `7`, `1/8` and `1/0`.

`on_error` gets each exception of a handler, and the message or the other object that the handler
got. The session is as it was before, so the user can try again. Other users do not wait, and the
bot polls on.

    > 7
    the sum is 7
    > 1/8
    the sum is 57/8
    > 1/0
    sorry, that went wrong, and nothing was saved
    ! Traceback (most recent call last):
    ...
    ! ZeroDivisionError: Fraction(1, 0)
    > 3
    the sum is 81/8
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from dataclasses import dataclass
from fractions import Fraction

from telebot import TeleBot, logger
from telebot.types import CallbackQuery, Message

from telesession import Sessions, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "write a number or a fraction, such as 7 or 1/8; 1/0 makes the handler raise"
SORRY = "sorry, that went wrong, and nothing was saved"
bot = TeleBot(TOKEN or "123456:offline")


@dataclass
class Total:
    text: str = "0"


totals = Sessions(initial=Total, name="total")


def apologise(update: object, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    if isinstance(update, CallbackQuery):
        bot.answer_callback_query(update.id, SORRY)
    elif isinstance(update, Message):
        bot.send_message(update.chat.id, SORRY)


use_sequential_workers(bot, on_error=apologise)


@bot.message_handler(regexp=r"^\d{1,6}(/\d{1,6})?$")
@totals.with_session
def add(message: Message, total: Total) -> None:
    # Changes the session before it raises, and the change is undone.
    total.text = f"{total.text} + {message.text}"
    total.text = str(sum(map(Fraction, total.text.split(" + "))))
    bot.reply_to(message, f"the sum is {total.text}")


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
