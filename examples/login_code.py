"""
A login code that is good for two minutes: a field with a lifetime.

Try `/login`, and then the code or a wrong one.

The code is gone when its time is over, and nothing has to clean up. Wrong guesses do not prolong
it: they change another field. A real bot would send the code elsewhere, say by e-mail.

    > 123456
    send /login to get a code
    > /login
    your code is ...; it is good for 120 s
    > open sesame
    that is not your code; guesses left: 2
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import secrets
import signal

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Session, Sessions, ttl, ttl_left, use_sequential_workers

CODE_LIFETIME = 120
GUESSES = 3

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "send /login to get a code, and then the code"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
sessions = Sessions(initial=lambda: {"logins": 0})


@bot.message_handler(commands=["start", "help"])
def explain(message: Message) -> None:
    bot.send_message(message.chat.id, HELP)


@bot.message_handler(commands=["login"])
@sessions.with_session
def send_code(message: Message, session: Session) -> None:
    code = f"{secrets.randbelow(10**6):06}"
    session.code = ttl(code, CODE_LIFETIME)
    session.guesses = GUESSES
    bot.reply_to(message, f"your code is {code}; it is good for {CODE_LIFETIME} s")


@bot.message_handler()
@sessions.with_session
def check_code(message: Message, session: Session) -> None:
    bot.reply_to(message, guess(session, message.text))


def guess(session: Session, text: str | None) -> str:
    code = session.get("code")
    if code is None:
        expired = ttl_left(session, "code") == 0
        return f"{'that code has expired; ' if expired else ''}send /login to get a code"
    if text == code:
        del session.code
        session.logins += 1
        return f"welcome! Your logins so far: {session.logins}"
    session.guesses -= 1
    if session.guesses:
        return f"that is not your code; guesses left: {session.guesses}"
    del session.code
    return "that is not your code either; send /login to get another"


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
