"""A loopback Bot API that lets one process poll at a time, and counts the polls of each."""

from __future__ import annotations

from collections import Counter
from typing import Any

from support.clocks import PATIENCE
from telesession.testing import BotAPI
from telesession.testing.server.call import Call, RefusedError

CONFLICT = (
    "Conflict: terminated by other getUpdates request; make sure that only one bot instance is "
    "running"
)


class OnePoller(BotAPI):
    """
    Refuses a poll that waits as soon as another one comes, as Telegram does.

    `BotAPI` gives both the same updates, as Telegram does for polls that come at once. The tokens
    of the bots tell their polls apart.

    Args:
        refuses: Whether the former poll is refused.
    """

    def __init__(self, *, refuses: bool = True) -> None:
        super().__init__()
        self._refuses = refuses
        # token -> the number of its polls so far
        self._counts = Counter[str]()
        self._latest: Call | None = None

    def wait_for_poll(self, token: str, number: int) -> None:
        """Wait until the bot of a token has polled so often."""
        self.wait_for(
            lambda: self._counts[token] >= number, PATIENCE, what=f"poll {number} of {token}"
        )

    def answer(self, call: Call) -> Any:
        """See `BotAPI.answer`."""
        if call.method != "getUpdates":
            return super().answer(call)
        self._counts[call.token] += 1
        self._latest = call
        self._changed.notify_all()
        if not self._refuses:
            return super().answer(call)
        # The updates that this poll confirms are gone before it waits for others.
        at_once = Call(call.method, {**call.params, "timeout": 0}, call.token)
        updates = super().answer(at_once)
        if not updates:
            self._changed.wait_for(
                lambda: self._latest is not call or self.unconfirmed or self._updates._short_polls,
                call.integer("timeout") or 0,
            )
            if self._latest is not call:
                raise RefusedError(409, CONFLICT)
            updates = super().answer(at_once)
        return updates
