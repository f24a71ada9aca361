"""
Counts the messages of each user: the bot of the README.

Try `hi`, `hi` and `/as 42`, which makes you another user.

    > hi
    you called the bot 1 times!
    > hi
    you called the bot 2 times!
    > /as 42
    42 > hi
    you called the bot 1 times!
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal

from telebot import TeleBot, logger, types

from telesession import Session, use_sequential_workers, with_session

TOKEN = os.environ.get("BOT_TOKEN")
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: types.Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)


@bot.message_handler()
@with_session(initial=lambda: {"counter": 0})
def count(message: types.Message, session: Session) -> None:
    session.counter += 1
    bot.reply_to(message, f"you called the bot {session.counter} times!")


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: hi, hi again, and /as 42 to be another user")
