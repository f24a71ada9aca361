"""The commands that a bot has declared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.directory import Directory

_NAME = re.compile(r"[a-z0-9_]+")
_MAX_COMMANDS = 100
_MAX_NAME = 32
_MAX_DESCRIPTION = 256

# The type of a scope, and the ids of its chat and its user if it has them.
_Scope = tuple[str, int | None, int | None]

_DEFAULT: _Scope = ("default", None, None)
_PRIVATE: _Scope = ("all_private_chats", None, None)


class BotCommands:
    """
    The lists of commands of a bot, by their scopes and languages.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats that scopes name, and the users with their languages.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # (scope, language code or "") -> the commands
        self._lists: dict[tuple[_Scope, str], list[JSON]] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "setMyCommands": self._set,
            "getMyCommands": lambda call: self._lists.get(self._place(call), []),
            "deleteMyCommands": self._delete,
        }

    def of(self, user_id: int) -> list[JSON]:
        """
        The commands that a user sees in the private chat with the bot.

        See https://core.telegram.org/bots/api#determining-list-of-commands.
        """
        language = str(self._directory.user(user_id).get("language_code", ""))
        scopes = (("chat", user_id, None), _PRIVATE, _DEFAULT)
        places = [(scope, code) for scope in scopes for code in (language, "")]
        return next((self._lists[place] for place in places if place in self._lists), [])

    def _set(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setmycommands."""
        commands = [_checked(command) for command in call.json("commands") or ()]
        if len(commands) > _MAX_COMMANDS:
            raise bad_request("BOT_COMMANDS_TOO_MUCH")
        if not commands:
            return self._delete(call)
        self._lists[self._place(call)] = commands
        return True

    def _delete(self, call: Call) -> bool:
        self._lists.pop(self._place(call), None)
        return True

    def _place(self, call: Call) -> tuple[_Scope, str]:
        """The scope of a call and its language."""
        asked: JSON = call.json("scope") or {"type": "default"}
        chat = asked.get("chat_id")
        chat_id = None if chat is None else self._directory.chat(chat)["id"]
        scope = (str(asked["type"]), chat_id, asked.get("user_id"))
        return scope, str(call.params.get("language_code") or "")


def _checked(command: JSON) -> JSON:
    """A command as Telegram keeps it; raises `RefusedError` for one that it refuses."""
    name = str(command.get("command", "")).strip().removeprefix("/")
    description = str(command.get("description", "")).strip()
    reason = ""
    if not name:
        reason = "command must be non-empty"
    elif len(name) > _MAX_NAME:
        reason = f"command length must not exceed {_MAX_NAME}"
    elif not description:
        reason = "command description must be non-empty"
    elif len(description) > _MAX_DESCRIPTION:
        reason = f"command description length must not exceed {_MAX_DESCRIPTION}"
    elif not _NAME.fullmatch(name):
        reason = "BOT_COMMAND_INVALID"
    if reason:
        raise bad_request(f"{reason}")
    return {**command, "command": name, "description": description}
