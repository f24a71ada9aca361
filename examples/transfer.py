"""
Sends coins from one user to another: both sessions change, or neither does.

Try `/send 2 30`, `/coins`, and `/as 2` to be the other user.

`open(a, b)` locks both sessions in one order, so two users who pay each other at the same time
cannot wait for each other. Both are told after the coins are saved, and not if that fails.

    > /coins
    you have 100 coins
    > /send 2 30
    you sent 30 coins to user 2 and have 70
    (to 2) user 1 sent you 30 coins, and you have 130
    > /send 2 500
    you have only 70 coins
    > /as 2
    2 > /coins
    you have 130 coins
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import re
import signal
from dataclasses import dataclass

from telebot import TeleBot, logger
from telebot.types import Message

from telesession import Sessions, by_sender, on_commit, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "/send 2 30 sends 30 coins to user 2, and /coins counts yours"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(message: Message, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    bot.send_message(message.chat.id, "sorry, that went wrong; /coins counts your coins")


use_sequential_workers(bot, on_error=apologise)


@dataclass
class Wallet:
    coins: int = 100


wallets = Sessions(initial=Wallet, name="wallet")


@bot.message_handler(commands=["coins"], chat_types=["private"])
@wallets.with_session
def count(message: Message, wallet: Wallet) -> None:
    bot.reply_to(message, f"you have {wallet.coins} coins")


@bot.message_handler(commands=["send"], chat_types=["private"])
def send(message: Message) -> None:
    sender = by_sender(message)
    order = re.fullmatch(r"/send (\d{1,15}) (\d{1,9})", message.text or "")
    if order is None or sender is None or sender == order[1]:
        bot.reply_to(message, HELP)
        return
    receiver, amount = order[1], int(order[2])
    with wallets.open(sender, receiver) as (mine, theirs):
        if amount > mine.coins:
            bot.reply_to(message, f"you have only {mine.coins} coins")
            return
        mine.coins -= amount
        theirs.coins += amount
        sent = f"you sent {amount} coins to user {receiver} and have {mine.coins}"
        got = f"user {sender} sent you {amount} coins, and you have {theirs.coins}"
        on_commit(bot.reply_to, message, sent)
        on_commit(bot.send_message, int(receiver), got)


@bot.message_handler(chat_types=["private"])
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: /send 2 30, /coins, and /as 2 to be the other user")
