"""Payments on the loopback Bot API: the user presses, the bot agrees, the message comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from telesession.testing import BotAPI

ORDER = {"currency": "XTR", "total_amount": 7, "invoice_payload": "tea"}


def send_invoice(bot: Any, **options: Any) -> Any:
    """An invoice with two prices."""
    prices = [types.LabeledPrice("tea", 5), types.LabeledPrice("milk", 2)]
    return bot.send_invoice(5, "Tea", "with milk", "tea", "", "XTR", prices, **options)


def begin_payment(bot: Any, api: BotAPI) -> str:
    """The id of the query of a user who pays."""
    send_invoice(bot)
    query = api.user(5).press(api.messages[-1], "Pay 7 XTR")["pre_checkout_query"]
    return str(query["id"])


def test_an_invoice_has_a_button(api: BotAPI, bot: Any) -> None:
    """An invoice without a keyboard has a button for the sum of its prices."""
    sent = send_invoice(bot)

    assert [{"text": "Pay 7 XTR", "pay": True}] == api.messages[-1].buttons
    assert ("Tea", "with milk", "XTR", 7) == (
        sent.invoice.title,
        sent.invoice.description,
        sent.invoice.currency,
        sent.invoice.total_amount,
    )


def test_a_press_asks_the_bot(api: BotAPI, bot: Any) -> None:
    """A user who pays gives the bot a query with the sum and the payload of the invoice."""
    send_invoice(bot)
    user = api.user(5)

    query = user.press(api.messages[-1], "Pay 7 XTR")["pre_checkout_query"]

    assert {"id": query["id"], "from": user.json, **ORDER} == query
    assert [query] == [update["pre_checkout_query"] for update in api.unconfirmed]


def test_an_agreement_brings_the_payment(api: BotAPI, bot: Any) -> None:
    """Once the bot has agreed, a message tells of the payment, with a charge of its own."""
    for _ in range(2):
        bot.answer_pre_checkout_query(begin_payment(bot, api), ok=True)

    payments = [
        update["message"]["successful_payment"] for update in api.unconfirmed if "message" in update
    ]
    charges = [payment.pop("telegram_payment_charge_id") for payment in payments]
    for payment in payments:
        del payment["provider_payment_charge_id"]
    assert ([ORDER, ORDER], 2) == (payments, len(set(charges)))


def test_a_refusal_brings_no_payment(api: BotAPI, bot: Any) -> None:
    """If the bot does not agree, nothing follows."""
    bot.answer_pre_checkout_query(begin_payment(bot, api), ok=False, error_message="sold out")

    assert [{"pre_checkout_query"}] == [set(u) - {"update_id"} for u in api.unconfirmed]


def test_a_query_is_answered_once(api: BotAPI, bot: Any) -> None:
    """A second answer to a query is refused, as one to an unknown query."""
    query = begin_payment(bot, api)
    bot.answer_pre_checkout_query(query, ok=True)

    for unknown in (query, "1"):
        with pytest.raises(ApiTelegramException, match="query is too old or query ID is invalid"):
            bot.answer_pre_checkout_query(unknown, ok=True)


def test_an_invoice_has_the_keyboard_that_it_was_given(api: BotAPI, bot: Any) -> None:
    """The keyboard of the bot stays, and only its button for payments begins a payment."""
    markup = types.InlineKeyboardMarkup()
    markup.add(types.InlineKeyboardButton("Buy", pay=True))
    markup.add(types.InlineKeyboardButton("No", callback_data="no"))
    send_invoice(bot, reply_markup=markup)
    kinds = [set(api.user(5).press(api.messages[-1], label)) for label in ("Buy", "No")]

    assert [{"update_id", "pre_checkout_query"}, {"update_id", "callback_query"}] == kinds
