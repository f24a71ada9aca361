"""Invoices of a bot, the users who pay them, and the stars of the bot."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.server.call import JSON, OLD_QUERY, Call, bad_request
from telesession.testing.telegram import content
from telesession.testing.telegram.bot_messages import require
from telesession.testing.telegram.history import Address
from telesession.testing.telegram.ids import new_id
from telesession.testing.telegram.invoices import STARS, check_invoice
from telesession.testing.telegram.prices import price

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telesession.testing.server.updates import Updates
    from telesession.testing.telegram.alerts import Alerts
    from telesession.testing.telegram.bot_messages import BotMessages
    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.media import Media
    from telesession.testing.telegram.service_messages import ServiceMessages

_LINK = "https://t.me/$"
# Seconds for the answer to a query, see https://core.telegram.org/bots/api#answerprecheckoutquery.
_CHECKOUT_SECONDS = 10

_COUNTRY = re.compile("[A-Z]{2}")

# The parameters of an invoice that ask the user for something.
_WISHES: dict[str, JSON] = {
    "need_name": {"name": "Test User"},
    "need_phone_number": {"phone_number": "15550100"},
    "need_email": {"email": "user@example.com"},
    "need_shipping_address": {
        "shipping_address": {
            "country_code": "DE",
            "state": "",
            "city": "Berlin",
            "street_line1": "1 Test Street",
            "street_line2": "",
            "post_code": "10115",
        }
    },
}


class Payments:
    """
    The invoices that a bot has sent, the purchases that it has not answered yet, and its stars.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        messages: Puts invoices into chats.
        media: Makes the contents of paid media.
        directory: The chats.
        service: Puts messages about payments into chats.
        updates: The queue of updates, which gets the queries.
        alerts: Shows a user the bot's reason for a refusal.
    """

    def __init__(
        self,
        messages: BotMessages,
        media: Media,
        *,
        directory: Directory,
        service: ServiceMessages,
        updates: Updates,
        alerts: Alerts,
    ) -> None:
        self._messages = messages
        self._media = media
        self._directory = directory
        self._service = service
        self._updates = updates
        self._alerts = alerts
        # An address or a link -> the order that its payments have in common.
        self._orders: dict[Address | str, JSON] = {}
        # id of a shipping or pre-checkout query -> the purchase
        self._purchases: dict[str, JSON] = {}
        self._answered: set[str] = set()
        # charge -> the purchase that was paid in stars
        self._receipts: dict[str, JSON] = {}
        self._refunded: set[str] = set()
        self._transactions: list[JSON] = []

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "sendInvoice": self._send,
            "sendPaidMedia": self._send_media,
            "createInvoiceLink": self._create_link,
            "answerShippingQuery": self._answer_shipping,
            "answerPreCheckoutQuery": self._answer,
            "refundStarPayment": self._refund,
            "editUserStarSubscription": self._edit_subscription,
            "getMyStarBalance": lambda _: {"amount": self._balance},
            "getStarTransactions": self._list_transactions,
        }

    def begin(
        self,
        payer: JSON,
        invoice: JSON | str,
        *,
        tip: int = 0,
        shipping: str | None = None,
        address: Mapping[str, str | None],
    ) -> JSON:
        """
        Let a user pay, and return the first update about it.

        That is a `shipping_query` if the price depends on the address, else a
        `pre_checkout_query`. See https://core.telegram.org/bots/payments.

        Args:
            payer: The user.
            invoice: The message with the invoice, or the link of one.
            tip: The sum that the user adds, in the smallest units of the currency.
            shipping: The id or the title of the shipping option that the user will choose, by
                default the first one.
            address: Fields of the `ShippingAddress` that differ from the made-up one; `None` for
                those that do not.

        Raises `ValueError` if there is no such invoice, or if it does not ask for these options.
        """
        place = invoice if isinstance(invoice, str) else Address.of(invoice)
        order = self._orders.get(place)
        if order is None:
            raise ValueError("cannot pay: there is no invoice in this message, and no such link")
        changed = {name: value for name, value in address.items() if value is not None}
        _refuse_payment(order, tip, shipping, changed)
        chat = self._directory.chat(payer["id"]) if isinstance(invoice, str) else invoice["chat"]
        purchase = {"payer": payer, "chat": chat, "shipping": shipping, **order}
        purchase["total_amount"] += tip
        purchase["order_info"] = _moved(order["order_info"], changed)
        if not order["is_flexible"]:
            return self._check_out(purchase)
        query_id = self._remember(purchase)
        query = {
            "id": query_id,
            "from": payer,
            "invoice_payload": order["invoice_payload"],
            "shipping_address": purchase["order_info"]["shipping_address"],
        }
        return self._updates.push({"shipping_query": query})

    def buy_media(self, buyer: JSON, message: JSON) -> JSON:
        """
        Let a user buy the paid media in a message of the bot, and return the update about it.

        Raises `ValueError` if the message has none.
        """
        if "paid_media" not in message:
            raise ValueError("cannot buy: there is no paid media in this message")
        payload = self._orders.get(Address.of(message), {}).get("invoice_payload", "")
        partner = {"type": "user", "transaction_type": "paid_media_payment", "user": buyer}
        self.earn(message["paid_media"]["star_count"], partner)
        purchased = {"from": buyer, "paid_media_payload": payload}
        return self._updates.push({"purchased_paid_media": purchased})

    def earn(self, stars: int, partner: JSON) -> None:
        """
        Give the bot stars.

        Args:
            stars: How many.
            partner: The `TransactionPartner` that they come from.
        """
        self._note(stars, partner, uuid4().hex)

    def spend(self, stars: int, partner: JSON) -> None:
        """
        Take stars from the bot.

        Args:
            stars: How many.
            partner: The `TransactionPartner` that gets them.

        Raises `RefusedError` if the bot has fewer.
        """
        if stars > self._balance:
            raise bad_request("BALANCE_TOO_LOW")
        self._note(-stars, partner, uuid4().hex)

    def _send(self, call: Call) -> JSON:
        order = _order_of(call)
        if not call.params.get("reply_markup"):
            markup = {"inline_keyboard": [[{"text": _label_of(order), "pay": True}]]}
            call = Call(call.method, {**call.params, "reply_markup": markup}, call.token)
        names = ("title", "description", "start_parameter")
        invoice = {name: call.params.get(name, "") for name in names}
        invoice.update((name, order[name]) for name in ("currency", "total_amount"))
        message = self._messages.send(call, {"invoice": invoice})
        self._orders[Address.of(message)] = order
        return message

    def _send_media(self, call: Call) -> JSON:
        message = self._messages.send(call, self._media.paid_media(call))
        self._orders[Address.of(message)] = {"invoice_payload": str(call.params.get("payload", ""))}
        return message

    def _create_link(self, call: Call) -> str:
        link = f"{_LINK}{uuid4().hex}"
        self._orders[link] = _order_of(call)
        return link

    def _answer_shipping(self, call: Call) -> bool:
        refusal = _refusal_of(call)
        purchase = self._take(call, "shipping_query_id")
        if purchase is None:
            return True
        if refusal is not None:
            self._alerts.show(purchase["payer"], refusal)
            return True
        options = call.json("shipping_options") or ()
        if not options:
            raise bad_request("shipping_options is empty")
        chosen = _choice(options, purchase["shipping"])
        if chosen is None:
            offered = ", ".join(f"{one['title']} ({one['id']})" for one in options)
            reason = f"there is no shipping option {purchase['shipping']!r}, only {offered}"
            self._alerts.show(purchase["payer"], reason)
            return True
        purchase["shipping_option_id"] = chosen["id"]
        purchase["total_amount"] += _total(chosen["prices"])
        self._check_out(purchase)
        return True

    def _check_out(self, purchase: JSON) -> JSON:
        purchase["deadline"] = time.time() + _CHECKOUT_SECONDS
        query = {"id": self._remember(purchase), "from": purchase["payer"], **_paid(purchase)}
        return self._updates.push({"pre_checkout_query": query})

    def _answer(self, call: Call) -> bool:
        refusal = _refusal_of(call)
        purchase = self._take(call, "pre_checkout_query_id")
        if purchase is None:
            return True
        if refusal is not None:
            self._alerts.show(purchase["payer"], refusal)
            return True
        query_id = call.params["pre_checkout_query_id"]
        paid = content.successful_payment(_paid(purchase), query_id)
        self._tell(purchase, paid)
        if purchase["currency"] == STARS:
            payment = paid["successful_payment"]
            charge = payment["telegram_payment_charge_id"]
            self._receipts[charge] = {**purchase, "paid": payment}
            self._note(purchase["total_amount"], _payer_of(purchase), charge)
        return True

    def _refund(self, call: Call) -> bool:
        receipt = self._receipt_of(call)
        charge = receipt["paid"]["telegram_payment_charge_id"]
        if charge in self._refunded:
            raise bad_request("CHARGE_ALREADY_REFUNDED")
        self._refunded.add(charge)
        self._note(-receipt["total_amount"], _payer_of(receipt), charge)
        names = ("currency", "total_amount", "invoice_payload", "telegram_payment_charge_id")
        self._tell(receipt, {"refunded_payment": {name: receipt["paid"][name] for name in names}})
        return True

    def _edit_subscription(self, call: Call) -> bool:
        # The Bot API has no method to read whether a subscription goes on.
        self._receipt_of(call)
        return True

    def _receipt_of(self, call: Call) -> JSON:
        """The purchase in stars whose charge and payer a call names."""
        receipt = self._receipts.get(str(require(call, "telegram_payment_charge_id")))
        if receipt is None or receipt["payer"]["id"] != call.integer("user_id"):
            raise bad_request("CHARGE_NOT_FOUND")
        return receipt

    @property
    def _balance(self) -> int:
        return sum(
            one["amount"] if "source" in one else -one["amount"] for one in self._transactions
        )

    def _list_transactions(self, call: Call) -> JSON:
        first = call.integer("offset") or 0
        end = first + (call.integer("limit") or 100)
        return {"transactions": self._transactions[first:end]}

    def _note(self, stars: int, partner: JSON, transaction_id: str) -> None:
        """Keep stars that the bot got, or with a number below 0 those that it gave."""
        self._transactions.append(
            {
                "id": transaction_id,
                "amount": abs(stars),
                "date": int(time.time()),
                "source" if stars > 0 else "receiver": partner,
            }
        )

    def _remember(self, purchase: JSON) -> str:
        query_id = new_id()
        self._purchases[query_id] = purchase
        return query_id

    def _take(self, call: Call, name: str) -> JSON | None:
        """
        The purchase whose query a call answers.

        It is `None` for a query that the server does not know: a test has made it by itself. Raises
        `RefusedError` for a query that was answered before, or is too old.
        """
        query_id = str(call.params.get(name))
        purchase = self._purchases.pop(query_id, None)
        is_late = purchase is not None and time.time() > purchase.get("deadline", float("inf"))
        if is_late or query_id in self._answered:
            raise bad_request(OLD_QUERY)
        self._answered.add(query_id)
        return purchase

    def _tell(self, purchase: JSON, fields: JSON) -> None:
        """Give the bot a message about a purchase."""
        self._service.push(purchase["chat"], {"from": purchase["payer"]}, fields)


def _refusal_of(call: Call) -> str | None:
    """The reason for which the bot refuses a payment; `None` if it agrees."""
    if call.flag("ok"):
        return None
    if not call.params.get("error_message"):
        raise bad_request('parameter "error_message" is required')
    return str(call.params["error_message"])


def _refuse_payment(
    order: JSON, tip: int, shipping: str | None, address: Mapping[str, str]
) -> None:
    """Raise `ValueError` for a payment that the form of an invoice does not offer."""
    reason = ""
    if not 0 <= tip <= order["max_tip_amount"]:
        reason = f"a tip of {tip} is not from 0 to its max_tip_amount {order['max_tip_amount']}"
    elif shipping is not None and not order["is_flexible"]:
        reason = "it has no shipping options, because it is not is_flexible"
    elif address and "shipping_address" not in order["order_info"]:
        reason = "it asks for no address, because it has no need_shipping_address"
    elif not _COUNTRY.fullmatch(address.get("country_code", "DE")):
        reason = f"{address['country_code']!r} is no code of a country, as DE is"
    if reason:
        raise ValueError(f"cannot pay the invoice {order['invoice_payload']!r} so: {reason}")


def _moved(info: JSON, address: Mapping[str, str]) -> JSON:
    """An `OrderInfo` with another address."""
    if not address:
        return info
    return {**info, "shipping_address": {**info["shipping_address"], **address}}


def _choice(options: Sequence[JSON], wanted: str | None) -> JSON | None:
    """The option with an id or a title, or the first one; `None` if there is no such option."""
    if wanted is None:
        return options[0]
    return next((one for one in options if wanted in {one["id"], one["title"]}), None)


def _payer_of(purchase: JSON) -> JSON:
    """The `TransactionPartner` of a purchase."""
    return {"type": "user", "transaction_type": "invoice_payment", "user": purchase["payer"]}


def _order_of(call: Call) -> JSON:
    """The parameters of a call that its payments have in common."""
    check_invoice(call)
    info: JSON = {}
    for wish, answer in _WISHES.items():
        if call.flag(wish) or (wish == "need_shipping_address" and call.flag("is_flexible")):
            info.update(answer)
    return {
        "currency": str(call.params["currency"]),
        "total_amount": _total(call.json("prices")),
        "invoice_payload": str(call.params["payload"]),
        "is_flexible": call.flag("is_flexible"),
        "max_tip_amount": call.integer("max_tip_amount") or 0,
        "order_info": info,
    }


def _label_of(order: JSON) -> str:
    """The label of the button of an invoice; Telegram's apps show a star in place of `XTR`."""
    amount, currency = order["total_amount"], order["currency"]
    return f"Pay {amount} {STARS}" if currency == STARS else f"Pay {price(amount, currency)}"


def _total(prices: Any) -> int:
    return sum(int(price["amount"]) for price in prices)


def _paid(purchase: JSON) -> JSON:
    """The fields that a `pre_checkout_query` and a `successful_payment` have in common."""
    names = ("currency", "total_amount", "invoice_payload", "shipping_option_id")
    paid = {name: purchase[name] for name in names if name in purchase}
    if purchase["order_info"]:
        paid["order_info"] = purchase["order_info"]
    return paid
