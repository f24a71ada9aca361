"""
A shopping list for the whole group, without decorators: sessions that are attached to the bot.

The list belongs to the chat, and so it moves along when a group becomes a supergroup, which has
another id. How much somebody has added belongs to that person, in whatever chat.

    > /in -100
    > /add milk
    added milk
    > /as 42
    > /add tea
    added tea
    > /list
    milk, tea
    > /mine
    you have added 1
"""

# mypy: allow-untyped-decorators

import os

from telebot import TeleBot
from telebot.types import Message

from telesession import Session, Sessions, by_chat
from telesession.testing import OFFLINE_TOKEN, run

bot = TeleBot(os.environ.get("BOT_TOKEN") or OFFLINE_TOKEN)

lists = Sessions(initial=lambda: {"wanted": []}, name="shopping", get_storage_key=by_chat)
people = Sessions(initial={"added": 0}, name="person")
lists.attach(bot, follow_migrations=True)
people.attach(bot)


@bot.message_handler(commands=["add"])
def add(message: Message, shopping: Session, person: Session) -> None:
    wanted = (message.text or "").partition(" ")[2].strip()
    if not wanted:
        bot.reply_to(message, "write what is wanted, such as /add milk")
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
    bot.reply_to(message, "/add milk, /list, /bought, /mine")


if __name__ == "__main__":
    run(bot)
