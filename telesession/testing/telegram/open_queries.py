"""The queries that the bot has not answered. Failure messages and the terminal show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON, Call

# The kind of a query -> the line that tells that the bot has not answered it.
_LINES = {
    "callback_query": "(the button keeps its clock: the bot has not called answer_callback_query)",
    "pre_checkout_query": "(the payment waits: the bot has not called answer_pre_checkout_query)",
    "shipping_query": "(the payment waits: the bot has not called answer_shipping_query)",
}


class OpenQueries:
    """
    The button presses and payments for which the bot has not called the method that answers them.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.
    """

    def __init__(self) -> None:
        # id of a query -> its kind
        self._kinds: dict[str, str] = {}

    def note(self, update: JSON) -> None:
        """Store the query in an update, if it has one."""
        for kind in _LINES.keys() & update.keys():
            self._kinds[str(update[kind].get("id"))] = kind

    def close(self, call: Call) -> None:
        """Forget the query that a call answers, even if the call is refused."""
        for kind in _LINES:
            self._kinds.pop(str(call.params.get(f"{kind}_id")), None)

    def clear(self) -> None:
        """Forget all queries."""
        self._kinds.clear()

    def lines(self) -> list[str]:
        """The lines about the queries, one for each kind."""
        return [_LINES[kind] for kind in dict.fromkeys(self._kinds.values())]
