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
    42 > /buy
    your ticket is number 3
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from dataclasses import dataclass, field

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Sessions, on_commit, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "/buy buys a ticket, and /tickets lists yours"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong; /tickets lists your tickets")


use_sequential_workers(bot, on_error=apologise)


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


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: /buy, /buy and /tickets")
