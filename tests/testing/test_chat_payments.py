"""Payments in the terminal chat."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from telebot import TeleBot, types

from support.chats import talk
from telesession.testing import OFFLINE_TOKEN, chat
from telesession.testing.telegram.prices import price

INVOICE = ["(invoice) Tea: 15.00 EUR", "  A cup", "  [1] Pay 15.00 EUR"]


def sell(bot: Any, chat_id: int, **options: Any) -> None:
    prices = [types.LabeledPrice("Tea", 1500)]
    bot.send_invoice(chat_id, "Tea", "A cup", "tea", "provider", "EUR", prices, **options)


def add_shop(bot: Any) -> None:
    @bot.message_handler(commands=["buy"])
    def buy(message: Any) -> None:
        sell(bot, message.chat.id)

    @bot.message_handler(commands=["ship"])
    def ship(message: Any) -> None:
        sell(bot, message.chat.id, is_flexible=True)

    @bot.message_handler(commands=["stars"])
    def give(message: Any) -> None:
        prices = [types.LabeledPrice("Star", 1)]
        bot.send_invoice(message.chat.id, "Star", "Shines", "star", "", "XTR", prices)


@pytest.fixture
def bot() -> Any:
    """A bot that sells tea, and thanks for payments."""
    bot: Any = TeleBot(OFFLINE_TOKEN, threaded=False)
    add_shop(bot)

    @bot.pre_checkout_query_handler(lambda query: True)
    def agree(query: Any) -> None:
        bot.answer_pre_checkout_query(query.id, ok=True)

    @bot.message_handler(content_types=["successful_payment"])
    def thank(message: Any) -> None:
        bot.send_message(message.from_user.id, "thanks")
        charge = message.successful_payment.telegram_payment_charge_id
        if message.successful_payment.currency == "XTR":
            bot.refund_star_payment(message.from_user.id, charge)

    @bot.message_handler()
    def echo(message: Any) -> None:
        bot.send_message(message.chat.id, f"got {message.text}")

    return bot


@pytest.fixture
def silent_bot() -> Any:
    """A bot that sells tea, and answers no query about a payment."""
    bot: Any = TeleBot(OFFLINE_TOKEN, threaded=False)
    add_shop(bot)
    return bot


def test_an_invoice_is_readable(bot: Any) -> None:
    """An invoice shows its title, its price, its description and its button."""
    assert INVOICE == talk(bot, "/buy")
    assert ["(invoice) Star: 1 star", "  Shines", "  [1] Pay 1 XTR"] == talk(bot, "/stars")


@pytest.mark.parametrize("line", ["/pay", "/press 1", "/press Pay 15.00 EUR"])
def test_an_invoice_is_paid(bot: Any, line: str) -> None:
    """The latest invoice is paid by its command or by its button, before the bot thanks."""
    assert [*INVOICE, "(you paid 15.00 EUR)", "thanks"] == talk(bot, "/buy", line)


def test_an_invoice_is_paid_by_its_link() -> None:
    """An invoice link stands behind the command, and an unknown one is explained."""
    bot: Any = TeleBot(OFFLINE_TOKEN, threaded=False)
    bot.register_pre_checkout_query_handler(
        lambda query: bot.answer_pre_checkout_query(query.id, ok=True), lambda _: True
    )
    stdout = io.StringIO()
    prices = [types.LabeledPrice("Tea", 1500)]

    def lines() -> Iterator[str]:
        link = bot.create_invoice_link("Tea", "A cup", "tea", "provider", "EUR", prices)
        yield f"/pay {link}\n"
        yield "/pay https://t.me/$x\n"
        yield ""

    class Links(io.StringIO):
        typed = lines()

        def readline(self, size: int = -1, /) -> str:
            return next(self.typed)

    chat(bot, stdin=Links(), stdout=stdout)
    complaint = "! cannot pay: there is no invoice in this message, and no such link"
    assert ["(you paid 15.00 EUR)", complaint] == stdout.getvalue().splitlines()


def test_a_refund_is_told(bot: Any) -> None:
    """The stars that the bot gives back are told."""
    printed = talk(bot, "/stars", "/press 1")
    assert ["(you paid 1 star)", "thanks", "(you got 1 star back)"] == printed[-3:]


def test_another_user_is_named(bot: Any) -> None:
    """A payment that ends after the user has changed names the payer."""
    queries: list[Any] = []
    bot.pre_checkout_query_handlers[0]["function"] = queries.append

    @bot.message_handler(commands=["agree"])
    def agree(_: Any) -> None:
        bot.answer_pre_checkout_query(queries[0].id, ok=True)

    bot.message_handlers.insert(0, bot.message_handlers.pop())
    printed = talk(bot, "/buy", "/pay", "/as 2", "/agree")
    assert ["(user 1 paid 15.00 EUR)", "(to 1) thanks"] == printed[-2:]


@pytest.mark.parametrize("kind", ["pre_checkout", "shipping"])
def test_a_refusal_is_an_alert(silent_bot: Any, kind: str) -> None:
    """If the bot refuses, the chat shows its reason as Telegram's apps do."""
    answer = getattr(silent_bot, f"answer_{kind}_query")
    register = getattr(silent_bot, f"register_{kind}_query_handler")
    register(lambda query: answer(query.id, ok=False, error_message="sold out"), lambda _: True)
    line = "/buy" if kind == "pre_checkout" else "/ship"
    assert ["(alert) sold out"] == talk(silent_bot, line, "/pay")[3:]


@pytest.mark.parametrize(
    ("line", "method"),
    [("/buy", "answer_pre_checkout_query"), ("/ship", "answer_shipping_query")],
)
def test_a_missing_answer_is_told(silent_bot: Any, line: str, method: str) -> None:
    """If the bot does not answer the query about a payment, the chat names the method."""
    waits = f"(the payment waits: the bot has not called {method})"
    assert [*INVOICE, "(no answer)", waits] == talk(silent_bot, line, "/pay")


def test_there_must_be_an_invoice(bot: Any) -> None:
    """Without an invoice in the chat there is nothing to pay."""
    complaint = "! there is no invoice of the bot in this chat to pay"
    assert [*INVOICE, complaint] == talk(bot, "/buy", "/in -5", "/pay")


def test_the_bots_own_command_is_the_bots(bot: Any) -> None:
    """A bot whose handler names `pay` gets the line, and the button pays."""
    bot.message_handlers[0]["filters"]["commands"].append("pay")
    paid = ["(you paid 15.00 EUR)", "thanks"]
    assert [*INVOICE, *INVOICE, *paid] == talk(bot, "/pay", "/pay", "/press 1")


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        (1500, "EUR", "15.00 EUR"),
        (1505, "USD", "15.05 USD"),
        (5, "EUR", "0.05 EUR"),
        (1500, "JPY", "1500 JPY"),
        (1, "XTR", "1 star"),
        (0, "XTR", "0 stars"),
    ],
)
def test_a_price_has_the_decimals_of_its_currency(
    amount: int, currency: str, expected: str
) -> None:
    """The smallest units are cents for most currencies, the whole for some, and stars."""
    assert expected == price(amount, currency)
