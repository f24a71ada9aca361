"""
Sells coffees for Telegram Stars, and counts each payment exactly once: an inbox in a SQLite file.

Try `/buy`, `/pay` and `/coffees`.

Telegram asks the bot about each purchase, and waits 10 seconds for the answer. The handler that
answers takes no session, so it does not wait for slow handlers of the same user. The payment itself
is a message. The inbox stores it before Telegram counts it as delivered. Then the session and the
end of the update are written together. So a payment is neither lost nor counted twice if the bot is
killed, or if Telegram sends the message again. The file is `coffees.db` unless the environment
variable `BOT_DATABASE` names another.

    > /buy
    (invoice) A coffee: 5 stars
      Hot and black
      [1] Pay 5 XTR
    > /press 1
    (you paid 5 stars)
    thank you! you have paid for 1
    > /buy
    (invoice) A coffee: 5 stars
      Hot and black
      [1] Pay 5 XTR
    > /pay
    (you paid 5 stars)
    thank you! you have paid for 2
    > /coffees
    you have paid for 2
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from dataclasses import dataclass, field

from telebot import TeleBot, logger
from telebot.types import LabeledPrice, Message, PreCheckoutQuery

from telesession import Sessions, SQLiteStorage, on_commit, use_sequential_workers

TOKEN = os.environ.get("BOT_TOKEN")
HELP = "/buy buys a coffee, /pay pays it here, and /coffees counts yours"
COFFEE = "coffee"
STARS = 5
bot = TeleBot(TOKEN or "123456:offline")
storage = SQLiteStorage(os.environ.get("BOT_DATABASE") or "coffees.db")


@dataclass
class Account:
    # The charges, with which payments can be refunded.
    charges: list[str] = field(default_factory=list)


accounts = Sessions(initial=Account, name="account", storage=storage)


def apologise(update: object, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    if isinstance(update, Message):
        bot.send_message(update.chat.id, "sorry, that went wrong; /coffees counts yours")


use_sequential_workers(bot, inbox=storage, on_error=apologise)


@bot.message_handler(commands=["buy"])
def buy(message: Message) -> None:
    prices = [LabeledPrice("A coffee", STARS)]
    bot.send_invoice(message.chat.id, "A coffee", "Hot and black", COFFEE, "", "XTR", prices)


@bot.pre_checkout_query_handler(func=lambda _: True)
def agree(query: PreCheckoutQuery) -> None:
    is_known = query.invoice_payload == COFFEE
    bot.answer_pre_checkout_query(query.id, ok=is_known, error_message="this is sold no more")


@bot.message_handler(content_types=["successful_payment"])
@accounts.with_session
def count(message: Message, account: Account) -> None:
    if message.successful_payment:
        account.charges.append(message.successful_payment.telegram_payment_charge_id)
        # Sent at most once, and only if the payment is counted.
        thanks = f"thank you! you have paid for {len(account.charges)}"
        on_commit(bot.send_message, message.chat.id, thanks)


@bot.message_handler(commands=["coffees"])
@accounts.with_session
def show(message: Message, account: Account) -> None:
    bot.reply_to(message, f"you have paid for {len(account.charges)}")


@bot.message_handler()
def explain(message: Message) -> None:
    bot.reply_to(message, HELP)


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint=HELP)
