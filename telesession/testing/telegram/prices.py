"""Prices in words."""

from __future__ import annotations

# The currencies whose amounts have no decimals.
_WHOLE = frozenset({"CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND"})


def price(amount: int, currency: str) -> str:
    """
    An amount with its currency, such as `15.00 EUR` or `5 stars`.

    See `exp` in https://core.telegram.org/bots/payments/currencies.json.

    Args:
        amount: The amount in the smallest units of the currency, such as cents.
        currency: The code of the currency; `XTR` are stars.
    """
    if currency == "XTR":
        return f"{amount} star" if amount == 1 else f"{amount} stars"
    return f"{amount} {currency}" if currency in _WHOLE else f"{amount / 100:.2f} {currency}"
