"""The rules for invoices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import bad_request

if TYPE_CHECKING:
    from telesession.testing.server.call import Call

#: The currency that Telegram Stars are.
STARS = "XTR"

_MAX_TITLE = 32
_MAX_DESCRIPTION = 255
_MAX_PAYLOAD = 128


def check_invoice(call: Call) -> None:
    """
    Raise `RefusedError` if Telegram would not take the invoice that a call describes.

    A title or a description that is too long is refused in words of this server.

    See https://core.telegram.org/bots/api#sendinvoice.
    """
    for name in ("title", "description", "payload", "currency", "prices"):
        if call.params.get(name) in (None, ""):
            raise bad_request(f'parameter "{name}" is required')
    if len(str(call.params["title"])) > _MAX_TITLE:
        raise bad_request(f"invoice title must not exceed {_MAX_TITLE} characters")
    if len(str(call.params["description"])) > _MAX_DESCRIPTION:
        raise bad_request(f"invoice description must not exceed {_MAX_DESCRIPTION} characters")
    if len(str(call.params["payload"]).encode()) > _MAX_PAYLOAD:
        raise bad_request("INVOICE_PAYLOAD_INVALID")
    _check_prices(call, call.json("prices"))


def _check_prices(call: Call, prices: list[Any]) -> None:
    if not prices:
        raise bad_request("there must be at least one price")
    has_token = bool(call.params.get("provider_token"))
    if call.params["currency"] != STARS and not has_token:
        raise bad_request("PAYMENT_PROVIDER_INVALID")
    if call.params["currency"] == STARS and (has_token or len(prices) > 1):
        raise bad_request("STARS_INVOICE_INVALID")
