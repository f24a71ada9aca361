"""
A shopping cart under inline buttons: the session is a dataclass of the bot.

Try `/shop`, `/press tea` and `/press pay`.

Changes inside the cart are saved like any other. If Telegram refuses to edit the message, the
handler raises, and the cart stays as it was.

    > /shop
    your cart is empty
      [1] tea 3.50  [2] cake 4.80
    > /press tea
    (notice) tea is in your cart
    (edited) 1 x tea
    total: 3.50
      [1] tea 3.50  [2] cake 4.80
      [3] pay  [4] empty
    > /press pay
    (edited) 1 x tea
    total: 3.50
    paid, thank you!
"""

# mypy: allow-untyped-decorators, allow-untyped-calls

import os
import signal
from dataclasses import dataclass, field

from telebot import TeleBot, logger
from telebot.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

from telesession import Sessions, forget, use_sequential_workers

CENTS = {"tea": 350, "cake": 480}


@dataclass
class Cart:
    items: dict[str, int] = field(default_factory=dict)

    def add(self, product: str) -> None:
        self.items[product] = self.items.get(product, 0) + 1

    def __str__(self) -> str:
        if not self.items:
            return "your cart is empty"
        total = sum(CENTS[product] * count for product, count in self.items.items())
        lines = [f"{count} x {product}" for product, count in self.items.items()]
        return "\n".join([*lines, f"total: {price(total)}"])


TOKEN = os.environ.get("BOT_TOKEN")
HELP = "send /shop to fill your cart"
bot = TeleBot(TOKEN or "123456:offline")


def apologise(update: Message | CallbackQuery, error: Exception) -> None:
    """Log the exception of a handler, and tell the user."""
    logger.error("a handler raised", exc_info=error)
    if update.from_user:
        bot.send_message(update.from_user.id, "sorry, that went wrong, and nothing was saved")


use_sequential_workers(bot, on_error=apologise)
carts = Sessions(initial=Cart, name="cart")


@bot.message_handler(commands=["shop"])
@carts.with_session
def open_shop(message: Message, cart: Cart) -> None:
    bot.send_message(message.chat.id, str(cart), reply_markup=buttons(cart))


@bot.callback_query_handler(func=lambda query: query.data in CENTS)
@carts.with_session
def add(query: CallbackQuery, cart: Cart) -> None:
    product = str(query.data)
    cart.add(product)
    bot.answer_callback_query(query.id, f"{product} is in your cart")
    edit(query, str(cart), buttons(cart))


@bot.callback_query_handler(func=lambda query: query.data == "empty")
@carts.with_session
def empty(query: CallbackQuery, cart: Cart) -> None:
    bot.answer_callback_query(query.id)
    cart.items.clear()
    edit(query, str(cart), buttons(cart))


@bot.callback_query_handler(func=lambda query: query.data == "pay")
@carts.with_session
def pay(query: CallbackQuery, cart: Cart) -> None:
    bot.answer_callback_query(query.id)
    edit(query, f"{cart}\npaid, thank you!" if cart.items else "there is nothing to pay")
    forget(cart)


@bot.message_handler()
def explain(message: Message) -> None:
    bot.send_message(message.chat.id, HELP)


def edit(query: CallbackQuery, text: str, markup: InlineKeyboardMarkup | None = None) -> None:
    if query.message is not None:
        place = query.message.chat.id, query.message.message_id
        bot.edit_message_text(text, *place, reply_markup=markup)


def buttons(cart: Cart) -> InlineKeyboardMarkup:
    markup = InlineKeyboardMarkup()
    markup.row(*(button(f"{product} {price(cents)}", product) for product, cents in CENTS.items()))
    if cart.items:
        markup.row(button("pay", "pay"), button("empty", "empty"))
    return markup


def button(label: str, data: str) -> InlineKeyboardButton:
    return InlineKeyboardButton(label, callback_data=data)


def price(cents: int) -> str:
    return f"{cents / 100:.2f}"


if __name__ == "__main__":
    if TOKEN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        bot.infinity_polling()
    else:  # In the terminal, without a network.
        from telesession.testing import chat

        chat(bot, hint="try: /shop, /press tea, /press pay")
