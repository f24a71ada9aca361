"""The stories that a bot posts for business accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request
from telesession.testing.telegram.bot_messages import require
from telesession.testing.telegram.business import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.directory import Directory

_PERIODS = (6 * 3600, 12 * 3600, 86400, 2 * 86400)


class Stories:
    """
    The numbers of the stories of each business account.

    The Bot API has no method to read their contents, so only the calls of the bot have them.
    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The owners of the accounts.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # id of the owner's chat, number of the story
        self._posted: set[tuple[int, int]] = set()
        self._last = 0

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "postStory": self._post,
            "editStory": self._edit,
            "repostStory": self._repost,
            "deleteStory": self._delete,
        }

    def _post(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#poststory."""
        require(call, "content")
        return self._add(call)

    def _repost(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#repoststory."""
        self._require((call.integer("from_chat_id") or 0, call.integer("from_story_id") or 0))
        return self._add(call)

    def _edit(self, call: Call) -> JSON:
        require(call, "content")
        return self._story(self._named(call))

    def _delete(self, call: Call) -> bool:
        self._posted.remove(self._named(call))
        return True

    def _add(self, call: Call) -> JSON:
        if call.integer("active_period") not in _PERIODS:
            raise bad_request("invalid story active period specified")
        self._last += 1
        posted = (owner_of(call, self._directory)["id"], self._last)
        self._posted.add(posted)
        return self._story(posted)

    def _named(self, call: Call) -> tuple[int, int]:
        """The story that a call names."""
        named = (owner_of(call, self._directory)["id"], call.integer("story_id") or 0)
        self._require(named)
        return named

    def _require(self, named: tuple[int, int]) -> None:
        if named not in self._posted:
            raise bad_request("story not found")

    def _story(self, posted: tuple[int, int]) -> JSON:
        chat_id, number = posted
        return {"chat": self._directory.chat(chat_id), "id": number}
