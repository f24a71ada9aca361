"""Invoices of a bot, and the users who pay them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import uuid4

from telesession.testing import content
from telesession.testing.call import JSON, Call, RefusedError

if TYPE_CHECKING:
    from telesession.testing.history import History
    from telesession.testing.updates import Updates


class Payments:
    """
    The invoices that a bot has sent, and the purchases that it has not answered yet.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        history: The messages of the chats.
        updates: The queue of updates, for messages about payments.
    """

    def __init__(self, history: History, updates: Updates) -> None:
        self._history = history
        self._updates = updates
        # (chat id, message id) -> the fields that an invoice and its payment have in common
        self._orders: dict[tuple[int, int], JSON] = {}
        # id of a pre_checkout_query -> the message that tells of the payment
        self._purchases: dict[str, JSON] = {}

    def invoice_of(self, call: Call) -> JSON:
        """The `Invoice` that a call of `sendInvoice` describes."""
        total = sum(int(price["amount"]) for price in call.json("prices") or ())
        names = ("title", "description", "start_parameter", "currency")
        fields = {name: call.params.get(name, "") for name in names}
        return {**fields, "total_amount": total}

    def add_invoice(self, message: JSON, payload: str) -> None:
        """Know a message with an invoice, and the payload that its payments have."""
        invoice = message["invoice"]
        self._orders[message["chat"]["id"], message["message_id"]] = {
            "currency": invoice["currency"],
            "total_amount": invoice["total_amount"],
            "invoice_payload": payload,
        }

    def begin(self, payer: JSON, message: JSON) -> JSON:
        """The `pre_checkout_query` of a user who wants to pay the invoice in a message."""
        chat = message["chat"]
        order = self._orders[chat["id"], message["message_id"]]
        query_id = str(uuid4().int >> 65)
        self._purchases[query_id] = {
            "from": payer,
            "chat": chat,
            **content.successful_payment(order, query_id),
        }
        return {"pre_checkout_query": {"id": query_id, "from": payer, **order}}

    def answer(self, call: Call) -> bool:
        """Answer `answerPreCheckoutQuery`: the user pays if the bot agrees."""
        payment = self._purchases.pop(str(call.params.get("pre_checkout_query_id")), None)
        if payment is None:
            raise RefusedError(400, "Bad Request: query is too old or query ID is invalid")
        if call.flag("ok"):
            number = self._history.next_message_id(payment["chat"]["id"])
            message = {"message_id": number, "date": int(time.time()), **payment}
            self._history.remember(message)
            self._updates.push({"message": message})
        return True
