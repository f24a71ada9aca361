"""
Sells raffle tickets, and tells a number only after the ticket is saved.

Try `/buy`, `/buy` and `/tickets`.

A reply from inside the handler would be sent although the save may still fail. Then the user has a
number that the bot does not know. `on_commit` sends the reply once everything is saved.

    > /buy
    your ticket is number 1
    > /buy
    your ticket is number 2
    > /tickets
    your tickets: 1, 2
    > /as 42
    > /buy
    your ticket is number 3
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field

from telebot import TeleBot
from telebot.handler_backends import BaseMiddleware
from telebot.types import Message

from telesession import Sessions, on_commit, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "/buy buys a ticket, and /tickets lists yours"
bot = TeleBot(TOKEN or "1:offline", use_class_middlewares=True)
use_sequential_workers(bot)


@dataclass
class Raffle:
    sold: int = 0


@dataclass
class Buyer:
    tickets: list[int] = field(default_factory=list)


# One session for all users, and one for each.
raffles = Sessions(initial=Raffle, name="raffle", get_storage_key=lambda _: "all")
buyers = Sessions(initial=Buyer, name="buyer")


@bot.message_handler(commands=["buy"])
@raffles.with_session
@buyers.with_session
def buy(message: Message, buyer: Buyer, raffle: Raffle) -> None:
    raffle.sold += 1
    buyer.tickets.append(raffle.sold)
    on_commit(bot.reply_to, message, f"your ticket is number {raffle.sold}")


@bot.message_handler(commands=["tickets"])
@buyers.with_session
def list_tickets(message: Message, buyer: Buyer) -> None:
    bot.reply_to(message, f"your tickets: {', '.join(map(str, buyer.tickets)) or 'none'}")


@bot.message_handler()
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


class Apology(BaseMiddleware):
    """Logs the exception of a handler and tells the user; telebot polls on."""

    update_types = ("message",)

    def pre_process(self, message: Message, data: object) -> None:
        pass

    def post_process(self, message: Message, data: object, exception: Exception | None) -> None:
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

        chat(bot, hint="try: /buy, /buy and /tickets")
