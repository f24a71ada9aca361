"""The bots that a bot manages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.telegram.bot_messages import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.server.call import JSON, Call
    from telesession.testing.telegram.directory import Directory


class ManagedBots:
    """
    The tokens of managed bots, and the users who may use each.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The users.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # id of a managed bot -> its token
        self._tokens: dict[int, str] = {}
        # id of a managed bot -> its `BotAccessSettings`
        self._settings: dict[int, JSON] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "getManagedBotToken": self._get_token,
            "replaceManagedBotToken": self._replace_token,
            "getManagedBotAccessSettings": self._get_settings,
            "setManagedBotAccessSettings": self._set_settings,
        }

    def _get_token(self, call: Call) -> str:
        bot_id = _id_of(call)
        return self._tokens[bot_id] if bot_id in self._tokens else self._replace_token(call)

    def _replace_token(self, call: Call) -> str:
        bot_id = _id_of(call)
        self._tokens[bot_id] = f"{bot_id}:{uuid4().hex}"
        return self._tokens[bot_id]

    def _get_settings(self, call: Call) -> JSON:
        return self._settings.get(_id_of(call), {"is_access_restricted": False})

    def _set_settings(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setmanagedbotaccesssettings."""
        settings: JSON = {"is_access_restricted": call.flag("is_access_restricted")}
        if settings["is_access_restricted"]:
            added = call.json("added_user_ids") or ()
            settings["added_users"] = [self._directory.user(user_id) for user_id in added]
        self._settings[_id_of(call)] = settings
        return True


def _id_of(call: Call) -> int:
    """The id of the managed bot that a call names."""
    return int(require(call, "user_id"))
