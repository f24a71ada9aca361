"""
Books a table in three steps: next-step handlers whose answers meet in a session.

Try `/book`, and `/cancel` in the middle of it.

The answers are kept for an hour after the last one; `/cancel` drops them at once. A step calls
the handler of `/cancel` like any function: both have the same session.

    > /book
    what is your name?
    > Ada
    for how many people, Ada?
    > many
    a number from 1 to 12, please
    > 4
    a table for 4, booked by Ada: is that right?
    > yes
    see you, Ada!
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Sessions, forget, use_sequential_workers

SEATS = 12


@dataclass
class Booking:
    name: str = ""
    people: int = 0


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "send /book to book a table, or /cancel to drop the booking"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
bookings = Sessions(initial=Booking, name="booking", lifetime=3600)


@bot.message_handler(commands=["book"], chat_types=["private"])
def begin(message: Message) -> None:
    ask(message, "what is your name?", take_name)


@bot.message_handler(commands=["cancel"], chat_types=["private"])
@bookings.with_session
def cancel(message: Message, booking: Booking) -> None:
    forget(booking)
    bot.send_message(message.chat.id, "nothing is booked")


@bookings.with_session
def take_name(message: Message, booking: Booking) -> None:
    text = message.text or ""
    if text == "/cancel":
        cancel(message)
    elif not text or text.startswith("/"):
        ask(message, "just your name, please", take_name)
    else:
        booking.name = text
        ask(message, f"for how many people, {text}?", take_people)


@bookings.with_session
def take_people(message: Message, booking: Booking) -> None:
    text = message.text or ""
    if text == "/cancel" or not booking.name:
        cancel(message)
    elif not text.isdecimal() or not 1 <= int(text) <= SEATS:
        ask(message, f"a number from 1 to {SEATS}, please", take_people)
    else:
        booking.people = int(text)
        ask(message, f"a table for {text}, booked by {booking.name}: is that right?", confirm)


@bookings.with_session
def confirm(message: Message, booking: Booking) -> None:
    if message.text != "yes" or not booking.name:
        cancel(message)
    else:
        bot.send_message(message.chat.id, f"see you, {booking.name}!")
        forget(booking)


@bot.message_handler(chat_types=["private"])
def explain(message: Message) -> None:
    bot.send_message(message.chat.id, HELP)


def ask(message: Message, question: str, step: Callable[[Message], None]) -> None:
    bot.register_next_step_handler(message, step)
    bot.send_message(message.chat.id, question)


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
