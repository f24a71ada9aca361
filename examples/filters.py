"""
A very small adventure: the things that the player has decide which handler gets a message.

Try `hello`, `open`, `take lamp` and `take key`.

The handlers are attached to their sessions, and need no decorator for it. Filters look at a session
without waiting for it and without making one.

    > hello?
    you are in a cellar; a lamp stands here, and a door leads out
    > open
    you find no door in the dark
    > take lamp
    it is bright now, and something glitters
    > open
    the door is locked
    > take key
    you have a lamp and a key
    > take key
    open, or take something?
    > open
    you are out, and the next player may come
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Session, Sessions, forget, session_filter

TOKEN = os.environ.get("BOT_TOKEN")
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


sessions = Sessions()
sessions.attach(bot, on_error=apologise)
bot.add_custom_filter(session_filter(sessions))
can_leave = session_filter(sessions, lambda fields: fields["has_lamp"] and fields["has_key"])


@bot.message_handler(session=False)
def begin(message: Message, session: Session) -> None:
    session.update(has_lamp=False, has_key=False)
    text = "you are in a cellar; a lamp stands here, and a door leads out"
    bot.send_message(message.chat.id, text)


@bot.message_handler(regexp="^open$", func=can_leave)
def leave(message: Message, session: Session) -> None:
    bot.send_message(message.chat.id, "you are out, and the next player may come")
    forget(session)


@bot.message_handler(regexp="^open$", session={"has_lamp": True})
def rattle(message: Message) -> None:
    bot.send_message(message.chat.id, "the door is locked")


@bot.message_handler(regexp="^open$")
def grope(message: Message) -> None:
    bot.send_message(message.chat.id, "you find no door in the dark")


@bot.message_handler(regexp="^take lamp$", session={"has_lamp": False})
def take_lamp(message: Message, session: Session) -> None:
    session.has_lamp = True
    bot.send_message(message.chat.id, "it is bright now, and something glitters")


@bot.message_handler(regexp="^take key$", session={"has_lamp": True, "has_key": False})
def take_key(message: Message, session: Session) -> None:
    session.has_key = True
    bot.send_message(message.chat.id, "you have a lamp and a key")


@bot.message_handler()
def explain(message: Message) -> None:
    bot.send_message(message.chat.id, "open, or take something?")


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: hello, open, take lamp, take key")
