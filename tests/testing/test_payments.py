"""Payments on the loopback Bot API: the user presses, the bot agrees, the message comes."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI

ORDER = {"currency": "XTR", "total_amount": 7, "invoice_payload": "tea"}


def send_invoice(bot: Any, **options: Any) -> Any:
    """An invoice for seven stars."""
    prices = [types.LabeledPrice("tea", 7)]
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
    """A second answer to a query is refused."""
    query = begin_payment(bot, api)
    bot.answer_pre_checkout_query(query, ok=True)

    with pytest.raises(ApiTelegramException, match="query is too old and response timeout"):
        bot.answer_pre_checkout_query(query, ok=True)


def test_a_query_that_a_test_has_made_is_answered(api: BotAPI, bot: Any) -> None:
    """An answer to a query that the server does not know is accepted, and nothing follows."""
    assert bot.answer_pre_checkout_query("1", ok=True)
    assert bot.answer_shipping_query("2", ok=False, error_message="not there")
    assert [] == api.updates


def test_a_message_elsewhere_with_the_number_of_an_invoice_is_none(api: BotAPI, bot: Any) -> None:
    """An invoice in private is not paid by a message of a business chat with the same number."""
    user = api.user(5)
    chat = api.business_chat(user)
    number = send_invoice(bot).message_id
    same = user.send("hi", chat=chat)
    assert number == same["business_message"]["message_id"]
    with pytest.raises(ValueError, match="there is no invoice in this message"):
        user.pay(same)


def test_an_invoice_has_the_keyboard_that_it_was_given(api: BotAPI, bot: Any) -> None:
    """The keyboard of the bot stays, and only its button for payments begins a payment."""
    markup = types.InlineKeyboardMarkup()
    markup.add(types.InlineKeyboardButton("Buy", pay=True))
    markup.add(types.InlineKeyboardButton("No", callback_data="no"))
    send_invoice(bot, reply_markup=markup)
    kinds = [set(api.user(5).press(api.messages[-1], label)) for label in ("Buy", "No")]

    assert [{"update_id", "pre_checkout_query"}, {"update_id", "callback_query"}] == kinds


def sell_by_post(bot: Any) -> Any:
    """An invoice whose price depends on the address."""
    prices = [types.LabeledPrice("tea", 500)]
    return bot.send_invoice(
        5, "Tea", "a pot", "tea", "token", "EUR", prices, is_flexible=True, need_email=True
    )


def sell_with_tip(bot: Any) -> Any:
    """An invoice with a tip of up to 50 cents."""
    prices = [types.LabeledPrice("tea", 500)]
    return bot.send_invoice(5, "Tea", "a pot", "tea", "token", "EUR", prices, max_tip_amount=50)


def ship(bot: Any, query: Any) -> None:
    """Offer two ways of delivery."""
    slow = types.ShippingOption("slow", "by ship").add_price(types.LabeledPrice("s", 99))
    fast = types.ShippingOption("fast", "by air").add_price(types.LabeledPrice("f", 999))
    bot.answer_shipping_query(query["id"], ok=True, shipping_options=[slow, fast])


class TestWays:
    def test_a_user_pays_without_a_button(self, api: BotAPI, bot: Any) -> None:
        """`pay` is the same as a press on the button of the invoice, and may add a tip."""
        query = api.user(5).pay(sell_with_tip(bot), tip=30)["pre_checkout_query"]
        bot.answer_pre_checkout_query(query["id"], ok=True)
        payment = api.unconfirmed[-1]["message"]["successful_payment"]
        assert (530, 530) == (query["total_amount"], payment["total_amount"])

    def test_a_link_can_be_paid(self, api: BotAPI, bot: Any) -> None:
        """An invoice that is a link is paid in the private chat, as often as users want."""
        link = bot.create_invoice_link(
            "Tea", "a pot", "tea", "", "XTR", [types.LabeledPrice("t", 7)]
        )
        for user_id in (5, 6):
            query = api.user(user_id).pay(link)["pre_checkout_query"]
            bot.answer_pre_checkout_query(query["id"], ok=True)
        messages = [update["message"] for update in api.unconfirmed if "message" in update]
        assert [5, 6] == [message["chat"]["id"] for message in messages]

    def test_there_must_be_an_invoice(self, api: BotAPI, bot: Any) -> None:
        """A message without an invoice, and a link of another bot, cannot be paid."""
        message = bot.send_message(5, "hi")
        for invoice in (message, "https://t.me/$other"):
            with pytest.raises(ValueError, match="there is no invoice in this message"):
                api.user(5).pay(invoice)

    def test_the_address_comes_first(self, api: BotAPI, bot: Any) -> None:
        """The bot gets the address, gives ways of delivery, and the first of them is taken."""
        query = api.user(5).pay(sell_by_post(bot))["shipping_query"]
        assert ("tea", "DE") == (
            query["invoice_payload"],
            query["shipping_address"]["country_code"],
        )
        ship(bot, query)
        checkout = api.unconfirmed[-1]["pre_checkout_query"]
        assert ("slow", 599, "user@example.com") == (
            checkout["shipping_option_id"],
            checkout["total_amount"],
            checkout["order_info"]["email"],
        )
        bot.answer_pre_checkout_query(checkout["id"], ok=True)
        payment = api.unconfirmed[-1]["message"]["successful_payment"]
        assert ("slow", 599) == (payment["shipping_option_id"], payment["total_amount"])

    @pytest.mark.parametrize("wanted", ["fast", "by air"])
    def test_a_way_of_delivery_is_chosen(self, api: BotAPI, bot: Any, wanted: str) -> None:
        """The user chooses a shipping option by its id or its title, and pays its price."""
        ship(bot, api.user(5).pay(sell_by_post(bot), shipping=wanted)["shipping_query"])
        checkout = api.unconfirmed[-1]["pre_checkout_query"]
        assert ("fast", 1499) == (checkout["shipping_option_id"], checkout["total_amount"])

    def test_a_missing_way_of_delivery_ends_the_payment(self, api: BotAPI, bot: Any) -> None:
        """If the bot does not offer the option, nothing is paid, and the user is told."""
        user = api.user(5)
        ship(bot, user.pay(sell_by_post(bot), shipping="pigeon")["shipping_query"])
        expected = "there is no shipping option 'pigeon', only by ship (slow), by air (fast)"
        assert ([expected], 1) == (user.alerts, len(api.unconfirmed))

    def test_a_user_lives_elsewhere(self, api: BotAPI, bot: Any) -> None:
        """The address of a payment has the country and the city of the user."""
        query = api.user(5).pay(sell_by_post(bot), country="FR", city="Lyon")["shipping_query"]
        ship(bot, query)
        info = api.unconfirmed[-1]["pre_checkout_query"]["order_info"]
        assert query["shipping_address"] == info["shipping_address"]
        assert ("FR", "Lyon", "1 Test Street") == tuple(
            info["shipping_address"][name] for name in ("country_code", "city", "street_line1")
        )
        # The next user has the usual address.
        other = api.user(5).pay(sell_by_post(bot))["shipping_query"]
        assert "DE" == other["shipping_address"]["country_code"]

    @pytest.mark.parametrize(
        ("sell", "options", "reason"),
        [
            (sell_with_tip, {"tip": 51}, "a tip of 51 is not from 0 to its max_tip_amount 50"),
            (sell_with_tip, {"tip": -5}, "a tip of -5 is not from 0"),
            (send_invoice, {"tip": 1}, "max_tip_amount 0"),
            (sell_with_tip, {"shipping": "fast"}, "it has no shipping options"),
            (sell_with_tip, {"country": "FR"}, "it asks for no address"),
            (sell_by_post, {"country": "France"}, "'France' is no code of a country"),
        ],
    )
    def test_an_invoice_takes_only_its_wishes(
        self, api: BotAPI, bot: Any, sell: Any, options: dict[str, Any], reason: str
    ) -> None:
        """A payment that the form of the invoice does not offer is an error of the test."""
        with pytest.raises(ValueError, match=f"cannot pay the invoice 'tea' so: .*{reason}"):
            api.user(5).pay(sell(bot), **options)

    @pytest.mark.parametrize(("seconds", "payments"), [(10, 1), (10.5, 0)])
    def test_the_bot_answers_in_time(
        self,
        frozen_time: FrozenDateTimeFactory,
        api: BotAPI,
        bot: Any,
        seconds: float,
        payments: int,
    ) -> None:
        """Ten seconds after the query an answer is still taken, and later it is refused."""
        query = begin_payment(bot, api)
        frozen_time.tick(seconds)
        with nullcontext() if payments else pytest.raises(ApiTelegramException, match="too old"):
            bot.answer_pre_checkout_query(query, ok=True)
        assert payments == sum("message" in update for update in api.unconfirmed)

    def test_a_refused_address_ends_the_payment(self, api: BotAPI, bot: Any) -> None:
        """The user is shown why the bot does not deliver."""
        user = api.user(5)
        query = user.pay(sell_by_post(bot))["shipping_query"]
        bot.answer_shipping_query(query["id"], ok=False, error_message="not to the moon")
        assert (["not to the moon"], 1) == (user.alerts, len(api.unconfirmed))

    def test_a_way_of_delivery_is_needed(self, api: BotAPI, bot: Any) -> None:
        """An agreement without a way of delivery is refused."""
        query = api.user(5).pay(sell_by_post(bot))["shipping_query"]
        with pytest.raises(ApiTelegramException, match="shipping_options is empty"):
            bot.answer_shipping_query(query["id"], ok=True, shipping_options=[])

    def test_a_refusal_is_shown(self, api: BotAPI, bot: Any) -> None:
        """The user is shown why the bot refuses, and no payment follows."""
        query = begin_payment(bot, api)
        bot.answer_pre_checkout_query(query, ok=False, error_message="sold out")
        assert ["sold out"] == api.user(5).alerts
        assert ["pre_checkout_query"] == [
            kind for update in api.unconfirmed for kind in update if kind != "update_id"
        ]

    def test_paid_media_are_bought(self, api: BotAPI, bot: Any) -> None:
        """The bot hears who has bought, with the payload of the message, and gets the stars."""
        photo = types.InputPaidMediaPhoto("file-1")
        sent = bot.send_paid_media(5, 9, [photo], caption="art", payload="p")
        assert (9, "art") == (sent.paid_media.star_count, sent.caption)
        purchase = api.user(5).buy(sent)["purchased_paid_media"]
        assert (5, "p") == (purchase["from"]["id"], purchase["paid_media_payload"])
        assert 9 == bot.get_my_star_balance().amount
        with pytest.raises(ValueError, match="there is no paid media in this message"):
            api.user(5).buy(bot.send_message(5, "hi"))


class TestStars:
    @pytest.fixture
    def charge(self, api: BotAPI, bot: Any) -> str:
        """The charge of a payment of 7 stars by user 5."""
        bot.answer_pre_checkout_query(begin_payment(bot, api), ok=True)
        payment = api.unconfirmed[-1]["message"]["successful_payment"]
        return str(payment["telegram_payment_charge_id"])

    def test_they_are_counted(self, bot: Any, charge: str) -> None:
        """A payment in stars is in the balance and in the list of transactions."""
        [transaction] = bot.get_star_transactions().transactions
        assert (7, charge, 7, 5) == (
            bot.get_my_star_balance().amount,
            transaction.id,
            transaction.amount,
            transaction.source.user.id,
        )

    def test_a_refund_takes_them_away(self, api: BotAPI, bot: Any, charge: str) -> None:
        """A refund is a transaction to the user, and a message tells the bot of it."""
        assert bot.refund_star_payment(5, charge)
        assert 0 == bot.get_my_star_balance().amount
        refund = bot.get_star_transactions().transactions[1]
        assert (charge, 7, 5) == (refund.id, refund.amount, refund.receiver.user.id)
        told = api.unconfirmed[-1]["message"]["refunded_payment"]
        assert ORDER == {name: told[name] for name in ORDER}

    def test_each_payment_is_refunded_once(self, bot: Any, charge: str) -> None:
        """Another user's payment, an unknown one and a second time are refused."""
        for user_id, other in ((6, charge), (5, "charge-0")):
            with pytest.raises(ApiTelegramException, match="CHARGE_NOT_FOUND"):
                bot.refund_star_payment(user_id, other)
        bot.refund_star_payment(5, charge)
        with pytest.raises(ApiTelegramException, match="CHARGE_ALREADY_REFUNDED"):
            bot.refund_star_payment(5, charge)

    def test_a_subscription_belongs_to_a_payment(self, bot: Any, charge: str) -> None:
        """A subscription is canceled by its payer's charge; another user's is refused."""
        assert bot.edit_user_star_subscription(5, charge, is_canceled=True)
        with pytest.raises(ApiTelegramException, match="CHARGE_NOT_FOUND"):
            bot.edit_user_star_subscription(6, charge, is_canceled=True)

    def test_paid_media_are_a_transaction(self, api: BotAPI, bot: Any) -> None:
        """Stars for paid media come from the buyer, in a transaction of a type of its own."""
        art = bot.send_paid_media(5, 3, [types.InputPaidMediaPhoto("file-1")])
        api.user(5).buy(art)
        [transaction] = bot.get_star_transactions().transactions
        source = transaction.source
        assert (3, 5, "paid_media_payment") == (
            transaction.amount,
            source.user.id,
            source.transaction_type,
        )

    def test_the_list_has_pages(self, bot: Any, charge: str) -> None:
        """Transactions are listed from an offset, up to a limit."""
        bot.refund_star_payment(5, charge)
        pages = [bot.get_star_transactions(offset, 1).transactions for offset in range(3)]
        assert [1, 1, 0] == [len(page) for page in pages]

    def test_other_money_is_none(self, api: BotAPI, bot: Any) -> None:
        """A payment in euros is in no balance of stars."""
        prices = [types.LabeledPrice("tea", 500)]
        invoice = bot.send_invoice(5, "Tea", "a pot", "tea", "token", "EUR", prices)
        query = api.user(5).pay(invoice)["pre_checkout_query"]
        bot.answer_pre_checkout_query(query["id"], ok=True)
        assert 0 == bot.get_my_star_balance().amount
