"""The boosts that users give to chats."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.telegram.bot_messages import require
from telesession.testing.telegram.member_methods import user_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.server.call import JSON, Call
    from telesession.testing.server.updates import Updates
    from telesession.testing.telegram.directory import Directory

_SECONDS = 30 * 86400


class Boosts:
    """
    The boosts of each chat by each user, as https://core.telegram.org/bots/api#chatboost.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats.
        updates: The queue that gets the updates about boosts.
    """

    def __init__(self, directory: Directory, updates: Updates) -> None:
        self._directory = directory
        self._updates = updates
        # (chat id, user id) -> the `ChatBoost` of each boost, the latest last
        self._boosts: dict[tuple[int, int], list[JSON]] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {"getUserChatBoosts": self._list}

    def add(self, chat: JSON, user: JSON) -> JSON:
        """Let a user boost a chat for thirty days, and return the `chat_boost`."""
        now = int(time.time())
        boost = {
            "boost_id": uuid4().hex,
            "add_date": now,
            "expiration_date": now + _SECONDS,
            "source": {"source": "premium", "user": user},
        }
        self._boosts.setdefault((chat["id"], user["id"]), []).append(boost)
        return self._updates.push({"chat_boost": {"chat": dict(chat), "boost": boost}})

    def remove(self, chat: JSON, user: JSON) -> JSON:
        """
        Let a user take the latest boost of a chat back, and return the `removed_chat_boost`.

        Raises `ValueError` if there is none.
        """
        boosts = self._current(chat, user["id"])
        if not boosts:
            raise ValueError(f"user {user['id']} does not boost chat {chat['id']}")
        boost = boosts.pop()
        self._boosts[chat["id"], user["id"]] = boosts
        removed = {
            "chat": dict(chat),
            "boost_id": boost["boost_id"],
            "remove_date": int(time.time()),
            "source": boost["source"],
        }
        return self._updates.push({"removed_chat_boost": removed})

    def _list(self, call: Call) -> JSON:
        chat = self._directory.chat_to_write(require(call, "chat_id"))
        return {"boosts": self._current(chat, user_id_of(call))}

    def _current(self, chat: JSON, user_id: int) -> list[JSON]:
        """The boosts that have not expired."""
        boosts = self._boosts.get((chat["id"], user_id), [])
        return [boost for boost in boosts if time.time() < boost["expiration_date"]]
