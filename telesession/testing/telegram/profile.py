"""The texts, the menu button and the administrator rights of a bot's own profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.telegram.directory import bot_user

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.server.call import JSON, Call
    from telesession.testing.telegram.directory import Directory

# The name of a chat without a menu button or rights of its own.
_DEFAULT = 0

_NO_MENU = {"type": "default"}

_RIGHTS = dict.fromkeys(
    (
        *("is_anonymous", "can_manage_chat", "can_delete_messages", "can_manage_video_chats"),
        *("can_restrict_members", "can_promote_members", "can_change_info", "can_invite_users"),
        *("can_post_stories", "can_edit_stories", "can_delete_stories"),
    ),
    False,
)


class Profile:
    """
    The name and the descriptions of a bot by language, its menu buttons and its default rights.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats with menu buttons.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # (field, language code or "") -> the text
        self._texts: dict[tuple[str, str], str] = {}
        # chat id or `_DEFAULT` -> the `MenuButton`
        self._menus: dict[int, JSON] = {}
        # whether for channels -> the `ChatAdministratorRights`
        self._rights: dict[bool, JSON] = {}

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "getMe": self._get_me,
            "setMyName": self._setter("name"),
            "getMyName": self._getter("name"),
            "setMyDescription": self._setter("description"),
            "getMyDescription": self._getter("description"),
            "setMyShortDescription": self._setter("short_description"),
            "getMyShortDescription": self._getter("short_description"),
            "setChatMenuButton": self._set_menu,
            "getChatMenuButton": lambda call: self._menus.get(
                self._chat(call), {"type": "default"}
            ),
            "setMyDefaultAdministratorRights": self._set_rights,
            "getMyDefaultAdministratorRights": self._get_rights,
        }

    def _get_me(self, call: Call) -> JSON:
        bot = bot_user(call.token)
        return {
            **bot,
            "first_name": self._texts.get(("name", ""), bot["first_name"]),
            "can_join_groups": True,
            "can_read_all_group_messages": True,
            "supports_inline_queries": True,
        }

    def _setter(self, field: str) -> Callable[[Call], bool]:
        """A method that sets a text for a language; an empty one removes that of the language."""

        def set_text(call: Call) -> bool:
            place = (field, _language(call))
            text = str(call.params.get(field) or "")
            self._texts[place] = text
            if not text:
                del self._texts[place]
            return True

        return set_text

    def _getter(self, field: str) -> Callable[[Call], JSON]:
        """A method that gets the text that users of a language see."""

        def get_text(call: Call) -> JSON:
            default = bot_user(call.token)["first_name"] if field == "name" else ""
            general = self._texts.get((field, ""), default)
            return {field: self._texts.get((field, _language(call)), general)}

        return get_text

    def _set_menu(self, call: Call) -> bool:
        """See https://core.telegram.org/bots/api#setchatmenubutton."""
        self._menus[self._chat(call)] = call.json("menu_button") or _NO_MENU
        return True

    def _chat(self, call: Call) -> int:
        chat = call.params.get("chat_id")
        return int(self._directory.chat(chat)["id"]) if chat else _DEFAULT

    def _set_rights(self, call: Call) -> bool:
        self._rights[call.flag("for_channels")] = call.json("rights") or {}
        return True

    def _get_rights(self, call: Call) -> JSON:
        return {**_RIGHTS, **self._rights.get(call.flag("for_channels"), {})}


def _language(call: Call) -> str:
    return str(call.params.get("language_code") or "")
