"""The rights that the methods of the Bot API need in groups and channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from telesession.testing.server.call import bad_request
from telesession.testing.telegram.history import Address
from telesession.testing.telegram.members import is_present

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON, Call
    from telesession.testing.telegram.directory import Directory
    from telesession.testing.telegram.history import History
    from telesession.testing.telegram.members import Members


class BotRights:
    """
    Refuses the calls that need a right which the bot does not have.

    Args:
        directory: The chats.
        members: The members of the chats, and the bot among them.
        history: The messages that a call deletes.
    """

    def __init__(self, directory: Directory, members: Members, history: History) -> None:
        self._directory = directory
        self._members = members
        self._history = history

    def check(self, call: Call) -> None:
        """
        Raise `RefusedError` if the bot has not the right that a call needs.

        A chat that the bot is no member of, and one that does not exist, is refused by the method.
        """
        right = _RIGHTS.get(call.method)
        if right is None or not call.params.get("chat_id"):
            return
        chat = self._directory.chat(call.params["chat_id"])
        record = self._members.bot_in(chat)
        if chat["type"] == "private" or not is_present(record) or right.is_in(chat, record):
            return
        if not self._deletes_own(call, chat):
            raise bad_request(f"{right.refusal}")

    def _deletes_own(self, call: Call, chat: JSON) -> bool:
        """Whether a call deletes messages, and all are those of the bot or unknown."""
        if call.method not in _DELETIONS:
            return False
        numbers = call.json("message_ids") or [call.integer("message_id") or 0]
        found = [self._history.find(Address(chat["id"], number)) for number in numbers]
        # A post of a channel tells no sender.
        bot = self._directory.bot
        return all(one.get("from", bot)["id"] == bot["id"] for one in found if one)


class _Right(NamedTuple):
    """
    A right that a method needs.

    Args:
        name: Its name in a `ChatMemberAdministrator`.
        refusal: The description of the error without it.
        in_channels: Its name in channels, if that is another one.
    """

    name: str
    refusal: str
    in_channels: str = ""

    def is_in(self, chat: JSON, record: JSON) -> bool:
        """Whether a `ChatMember` has it; a right that the type of a chat has not is not needed."""
        name = (chat["type"] == "channel" and self.in_channels) or self.name
        return record["status"] == "administrator" and bool(record.get(name, True))


_DELETIONS = frozenset({"deleteMessage", "deleteMessages"})

# Each right as https://core.telegram.org/bots/api says at the methods, refused as by Telegram.
_RESTRICT = _Right("can_restrict_members", "not enough rights to restrict/unrestrict chat member")
_PROMOTE = _Right("can_promote_members", "not enough rights")
_LINK = _Right("can_invite_users", "not enough rights to manage chat invite link")
_REQUESTS = _Right("can_invite_users", "not enough rights to manage chat join requests")
_PHOTO = _Right("can_change_info", "not enough rights to change chat photo")
_STICKERS = _Right("can_change_info", "not enough rights to change supergroup sticker set")
_PIN = _Right(
    "can_pin_messages",
    "not enough rights to manage pinned messages in the chat",
    in_channels="can_edit_messages",
)
_EDIT_TOPIC = _Right("can_manage_topics", "not enough rights to edit the topic")
_CLOSE_TOPIC = _Right("can_manage_topics", "not enough rights to close or open the topic")

_RIGHTS = {
    "banChatMember": _RESTRICT,
    "unbanChatMember": _RESTRICT,
    "restrictChatMember": _RESTRICT,
    "banChatSenderChat": _RESTRICT,
    "unbanChatSenderChat": _RESTRICT,
    "setChatPermissions": _RESTRICT._replace(
        refusal="not enough rights to change chat permissions"
    ),
    "promoteChatMember": _PROMOTE,
    "setChatAdministratorCustomTitle": _PROMOTE,
    "setChatMemberTag": _Right("can_manage_tags", "not enough rights"),
    "exportChatInviteLink": _LINK,
    "createChatInviteLink": _LINK,
    "editChatInviteLink": _LINK,
    "revokeChatInviteLink": _LINK,
    "createChatSubscriptionInviteLink": _LINK,
    "editChatSubscriptionInviteLink": _LINK,
    "approveChatJoinRequest": _REQUESTS,
    "declineChatJoinRequest": _REQUESTS,
    "setChatTitle": _Right("can_change_info", "not enough rights to change chat title"),
    "setChatDescription": _Right("can_change_info", "not enough rights to set chat description"),
    "setChatPhoto": _PHOTO,
    "deleteChatPhoto": _PHOTO,
    "setChatStickerSet": _STICKERS,
    "deleteChatStickerSet": _STICKERS,
    "pinChatMessage": _PIN,
    "unpinChatMessage": _PIN,
    "unpinAllChatMessages": _PIN,
    "unpinAllForumTopicMessages": _PIN,
    "unpinAllGeneralForumTopicMessages": _PIN,
    "createForumTopic": _Right("can_manage_topics", "not enough rights to create a topic"),
    "editForumTopic": _EDIT_TOPIC,
    "editGeneralForumTopic": _EDIT_TOPIC,
    "closeForumTopic": _CLOSE_TOPIC,
    "reopenForumTopic": _CLOSE_TOPIC,
    "closeGeneralForumTopic": _CLOSE_TOPIC,
    "reopenGeneralForumTopic": _CLOSE_TOPIC,
    "hideGeneralForumTopic": _CLOSE_TOPIC,
    "unhideGeneralForumTopic": _CLOSE_TOPIC,
    "deleteForumTopic": _Right("can_delete_messages", "not enough rights to delete the topic"),
    **dict.fromkeys(_DELETIONS, _Right("can_delete_messages", "message can't be deleted")),
}
