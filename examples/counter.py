"""
Counts the messages of each user: the bot of the README.

Try `hi`, `hi` and `/as 42`, which makes you another user.

    > hi
    you called the bot 1 times!
    > hi
    you called the bot 2 times!
    > /as 42
    > hi
    you called the bot 1 times!
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import logging
import os
from contextlib import suppress

from telebot import TeleBot, types
from telebot.handler_backends import BaseMiddleware

from telesession import Session, use_sequential_workers, with_session

TOKEN = os.environ.get("BOT_TOKEN")
bot = TeleBot(TOKEN or "1:offline", use_class_middlewares=True)
use_sequential_workers(bot)


@bot.message_handler()
@with_session(initial=lambda: {"counter": 0})
def count(message: types.Message, session: Session) -> None:
    session.counter += 1
    bot.reply_to(message, f"you called the bot {session.counter} times!")


class Apology(BaseMiddleware):
    """Logs the exception of a handler and tells the user; telebot polls on."""

    update_types = ("message",)

    def pre_process(self, message: types.Message, data: object) -> None:
        pass

    def post_process(
        self, message: types.Message, data: object, exception: Exception | None
    ) -> None:
        if exception:
            logging.getLogger("TeleBot").error("a handler raised", exc_info=exception)
            with suppress(Exception):  # The user may have blocked the bot.
                bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


bot.setup_middleware(Apology())

if __name__ == "__main__":
    if TOKEN:
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: hi, hi again, and /as 42 to be another user")
