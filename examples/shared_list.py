"""
A shopping list for the whole group, without decorators: sessions that are attached to the bot.

Try `/add milk`, `/list`, `/bought` and `/mine`, also in a group: `/in -100`.

The list belongs to the chat, and so it moves along when a group becomes a supergroup, which has
another id. The number of added things belongs to the person, in all chats together.

    > /in -100
    1 in -100 > /add milk
    added milk
    1 in -100 > /as 42
    42 in -100 > /add tea
    added tea
    42 in -100 > /list
    milk, tea
    42 in -100 > /mine
    you have added 1
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Session, Sessions, by_chat, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "/add milk, /list, /bought, /mine"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, get_key=by_chat, on_error=apologise)
lists = Sessions(initial=lambda: {"wanted": []}, name="shopping", get_storage_key=by_chat)
people = Sessions(initial={"added": 0}, name="person")
lists.attach(bot, follow_migrations=True)
people.attach(bot)


@bot.message_handler(commands=["add"])
def add(message: Message, shopping: Session, person: Session) -> None:
    wanted = (message.text or "").partition(" ")[2].strip()
    if not wanted:
        bot.reply_to(message, "write a thing to buy, such as /add milk")
        return
    shopping.wanted.append(wanted)
    person.added += 1
    bot.reply_to(message, f"added {wanted}")


@bot.message_handler(commands=["list"])
def show(message: Message, shopping: Session) -> None:
    bot.reply_to(message, ", ".join(shopping.wanted) or "nothing is wanted")


@bot.message_handler(commands=["bought"])
def clear(message: Message, shopping: Session) -> None:
    shopping.wanted.clear()
    bot.reply_to(message, "the list is empty")


@bot.message_handler(commands=["mine"])
def tell(message: Message, person: Session) -> None:
    bot.reply_to(message, f"you have added {person.added}")


@bot.message_handler()
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=f"try: {HELP}, and /in -100 to go to a group")
