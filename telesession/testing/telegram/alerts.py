"""The notices that users were shown, and the button presses that they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.server.call import JSON, Call

_MAX_TEXT = 200


class Alerts:
    """
    The texts that the bot's answers to button presses and payments have shown to each user.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        notice: Called with a user and the text that the app shows to the user.
    """

    def __init__(self, notice: Callable[[JSON, str], object]) -> None:
        self._notice = notice
        # user id -> the texts
        self._texts: dict[int, list[str]] = {}
        # id of a callback query that waits for its answer -> its user
        self._pressed: dict[str, JSON] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {"answerCallbackQuery": self._answer}

    def note(self, update: JSON) -> None:
        """Store the user of a button press, if an update is one."""
        query = update.get("callback_query", {})
        if "from" in query:
            self._pressed[query["id"]] = query["from"]

    def show(self, user: JSON, text: str) -> None:
        """Show a text to a user."""
        self._texts.setdefault(user["id"], []).append(text)
        self._notice(user, text)

    def of(self, user_id: int) -> list[str]:
        """Every text that a user was shown so far, in order."""
        return list(self._texts.get(user_id, ()))

    def _answer(self, call: Call) -> bool:
        """
        Show the text of an answer to the user who has pressed; a second answer shows nothing.

        An answer to an unknown press is accepted, because a test may hand updates to the bot
        without this server.

        See https://core.telegram.org/bots/api#answercallbackquery.
        """
        query_id, text = str(call.params.get("callback_query_id")), str(call.params.get("text", ""))
        if len(text) > _MAX_TEXT:
            raise bad_request("MESSAGE_TOO_LONG")
        user = self._pressed.pop(query_id, None)
        if text and user is not None:
            self.show(user, text)
        return True
