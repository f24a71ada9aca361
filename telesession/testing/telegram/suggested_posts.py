"""The posts that users suggest to channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import Call, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.bot_messages import BotMessages
    from telesession.testing.telegram.history import History


class SuggestedPosts:
    """
    Approves and declines suggested posts; their messages have the state.

    Args:
        messages: Finds the messages with the posts.
        history: Keeps their new state.
    """

    def __init__(self, messages: BotMessages, history: History) -> None:
        self._messages = messages
        self._history = history

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "approveSuggestedPost": lambda call: self._decide(call, "approve", "approved"),
            "declineSuggestedPost": lambda call: self._decide(call, "decline", "declined"),
        }

    def _decide(self, call: Call, action: str, state: str) -> bool:
        """See https://core.telegram.org/bots/api#approvesuggestedpost."""
        message = self._messages.find(call, action)
        info = message.get("suggested_post_info", {})
        if info.get("state") != "pending":
            raise bad_request(f"suggested post can't be {state}")
        decided = {**message, "suggested_post_info": {**info, "state": state}}
        self._history.remember(decided)
        return True
