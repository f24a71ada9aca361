"""The scores of the games that a bot has sent."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.bot_messages import BotMessages
    from telesession.testing.telegram.directory import Directory

_NEIGHBOURS = 2
_TOP = 3


class Games:
    """
    The scores of each game in each chat.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        messages: The messages with games.
        directory: The players.
    """

    def __init__(self, messages: BotMessages, directory: Directory) -> None:
        self._messages = messages
        self._directory = directory
        # (chat id, title of the game) or the id of an inline message -> user id -> score
        self._scores: defaultdict[tuple[int, str] | str, dict[int, int]] = defaultdict(dict)

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {"setGameScore": self._set, "getGameHighScores": self._get}

    def _set(self, call: Call) -> JSON | bool:
        """See https://core.telegram.org/bots/api#setgamescore."""
        message = self._message(call, "set game score")
        scores = self._scores_of(call, message)
        user_id, score = call.integer("user_id") or 0, call.integer("score") or 0
        if score <= scores.get(user_id, -1) and not call.flag("force"):
            raise bad_request("BOT_SCORE_NOT_MODIFIED")
        scores[user_id] = score
        if message is None:
            return True
        if call.flag("disable_edit_message"):
            return message
        # The message of a game shows the scores, as Telegram's own edit does.
        game = {**message["game"], "text": self._board(scores)}
        edited = {**message, "game": game, "edit_date": int(time.time())}
        return self._messages.publish(edited, message.get("reply_markup"))

    def _get(self, call: Call) -> list[JSON]:
        """
        The players near one player, and the best ones if those are not among them.

        See https://core.telegram.org/bots/api#getgamehighscores.
        """
        scores = self._scores_of(call, self._message(call, "get game high scores"))
        ranking: list[JSON] = [
            {"position": place, "user": self._directory.user(user_id), "score": score}
            for place, (user_id, score) in enumerate(_ranked(scores), 1)
        ]
        user_id = call.integer("user_id")
        places = [one["position"] for one in ranking if one["user"]["id"] == user_id]
        return [
            one
            for one in ranking
            if one["position"] <= _TOP
            or any(abs(one["position"] - place) <= _NEIGHBOURS for place in places)
        ]

    def _message(self, call: Call, action: str) -> JSON | None:
        """The message with the game that a call names; `None` for an inline one."""
        if call.params.get("inline_message_id"):
            return None
        message = self._messages.find(call, action)
        if "game" not in message:
            raise bad_request("message has no game")
        return message

    def _scores_of(self, call: Call, message: JSON | None) -> dict[int, int]:
        if message is None:
            return self._scores[str(call.params["inline_message_id"])]
        return self._scores[message["chat"]["id"], message["game"]["title"]]

    def _board(self, scores: dict[int, int]) -> str:
        lines = [
            f"{place}. {self._directory.user(user_id)['first_name']} - {score}"
            for place, (user_id, score) in enumerate(_ranked(scores), 1)
        ]
        return "\n".join(lines)


def _ranked(scores: dict[int, int]) -> list[tuple[int, int]]:
    return sorted(scores.items(), key=lambda entry: -entry[1])
