"""The settings of the chats that the bot changes: titles, photos, permissions and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.server.call import JSON, Call, File, bad_request
from telesession.testing.telegram import content
from telesession.testing.telegram.bot_messages import require
from telesession.testing.telegram.directory import GROUPS
from telesession.testing.telegram.rights import permissions, usual_permissions

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.files import Files
    from telesession.testing.telegram.history import History
    from telesession.testing.telegram.invite_links import InviteLinks
    from telesession.testing.telegram.service_messages import ServiceMessages

_GIFTS = (
    *("unlimited_gifts", "limited_gifts", "unique_gifts"),
    *("premium_subscription", "gifts_from_channels"),
)


class ChatSettings:
    """
    Shows and changes the settings of the chats.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats and the bot.
        history: The pinned messages.
        service: Tells the bot of its own changes.
        links: The primary links of the chats.
        files: The photos of the chats.
    """

    def __init__(
        self,
        directory: Directory,
        history: History,
        service: ServiceMessages,
        *,
        links: InviteLinks,
        files: Files,
    ) -> None:
        self._directory = directory
        self._history = history
        self._service = service
        self._links = links
        self._files = files

    def methods(self) -> dict[str, Callable[[Call], Any]]:
        """The methods of the Bot API that are answered here, by their names."""
        return {
            "getChat": self._get,
            "setChatTitle": self._set_title,
            "setChatDescription": self._set_description,
            "setChatPermissions": self._set_permissions,
            "setChatPhoto": self._set_photo,
            "deleteChatPhoto": self._delete_photo,
            "setChatStickerSet": self._set_sticker_set,
            "deleteChatStickerSet": self._delete_sticker_set,
        }

    def _get(self, call: Call) -> JSON:
        """See https://core.telegram.org/bots/api#chatfullinfo."""
        chat = self._directory.chat_to_read(require(call, "chat_id"))
        full = {
            **chat,
            "accent_color_id": abs(chat["id"]) % 7,
            "max_reaction_count": 11,
            "accepted_gift_types": dict.fromkeys(_GIFTS, chat["type"] == "private"),
        }
        if chat["type"] in GROUPS:
            full["permissions"] = usual_permissions(chat)
        if "username" in chat:
            full["active_usernames"] = [chat["username"]]
        if link := self._links.primary(chat):
            full["invite_link"] = link
        if pinned := self._history.pinned(chat["id"]):
            full["pinned_message"] = pinned[0]
        chosen = {name: value for name, value in self._of(chat).items() if value}
        return {**full, **chosen}

    def _set_title(self, call: Call) -> bool:
        chat = self._chat(call)
        title = str(call.params.get("title") or "").strip()
        if not title:
            raise bad_request("title must be non-empty")
        if title == chat.get("title"):
            raise bad_request("chat title is not modified")
        self._directory.add_chat({**chat, "title": title})
        self._tell({**chat, "title": title}, {"new_chat_title": title})
        return True

    def _set_description(self, call: Call) -> bool:
        chat = self._chat(call)
        description = str(call.params.get("description") or "")
        if description == self._of(chat).get("description", ""):
            raise bad_request("chat description is not modified")
        self._of(chat)["description"] = description
        return True

    def _set_permissions(self, call: Call) -> bool:
        given = permissions(
            call.json("permissions") or {},
            independent=call.flag("use_independent_chat_permissions"),
        )
        self._of(self._chat(call))["permissions"] = given
        return True

    def _set_photo(self, call: Call) -> bool:
        chat, photo = self._chat(call), require(call, "photo")
        if not isinstance(photo, File):
            raise bad_request("photo must be uploaded as an InputFile")
        stored = self._files.store(photo)
        small, big = content.photo()["photo"]
        self._of(chat)["photo"] = {
            "small_file_id": small["file_id"],
            "small_file_unique_id": small["file_unique_id"],
            "big_file_id": stored["file_id"],
            "big_file_unique_id": stored["file_unique_id"],
        }
        self._tell(chat, {"new_chat_photo": [small, {**big, **stored}]})
        return True

    def _delete_photo(self, call: Call) -> bool:
        chat = self._chat(call)
        if self._of(chat).pop("photo", None):
            self._tell(chat, {"delete_chat_photo": True})
        return True

    def _set_sticker_set(self, call: Call) -> bool:
        self._of(self._supergroup(call))["sticker_set_name"] = require(call, "sticker_set_name")
        return True

    def _delete_sticker_set(self, call: Call) -> bool:
        self._of(self._supergroup(call)).pop("sticker_set_name", None)
        return True

    def _of(self, chat: JSON) -> JSON:
        return self._directory.details(chat["id"])

    def _tell(self, chat: JSON, fields: JSON) -> None:
        self._service.push(chat, self._directory.sender, fields)

    def _chat(self, call: Call) -> JSON:
        """The group or the channel that a call names."""
        chat = self._directory.chat_to_write(require(call, "chat_id"))
        if chat["type"] == "private":
            raise bad_request(f"{_PRIVATE[call.method]}")
        return chat

    def _supergroup(self, call: Call) -> JSON:
        chat = self._directory.chat_to_write(require(call, "chat_id"))
        if chat["type"] != "supergroup":
            raise bad_request("method is available only for supergroups")
        return chat


_PRIVATE = {
    "setChatTitle": "can't change private chat title",
    "setChatDescription": "can't change private chat description",
    "setChatPermissions": "can't change private chat permissions",
    "setChatPhoto": "can't change private chat photo",
    "deleteChatPhoto": "can't change private chat photo",
}
