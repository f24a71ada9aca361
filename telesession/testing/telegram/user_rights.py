"""The acts that Telegram's apps do not offer to a user, because a right is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.testing.telegram.directory import GROUPS
from telesession.testing.telegram.history import Address, content_type_of
from telesession.testing.telegram.members import ADMINISTRATORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.history import History
    from telesession.testing.telegram.members import Members
    from telesession.testing.telegram.topics import Topics

# Content of a message -> the permission that it needs; others need `can_send_messages`.
_PERMISSIONS = {
    "animation": "can_send_other_messages",
    "audio": "can_send_audios",
    "dice": "can_send_other_messages",
    "document": "can_send_documents",
    "game": "can_send_other_messages",
    "live_photo": "can_send_photos",
    "photo": "can_send_photos",
    "poll": "can_send_polls",
    "sticker": "can_send_other_messages",
    "video": "can_send_videos",
    "video_note": "can_send_video_notes",
    "voice": "can_send_voice_notes",
}


class UserRights:
    """
    Raises `ValueError` for an act that Telegram's apps would not offer, with the remedy.

    The methods take the `sender` of the act: the fields of a message that name its sender. The acts
    of anonymous administrators, which have a `sender_chat`, are not checked. Acts in a channel are
    not checked either, because its administrators are unknown.

    Args:
        members: The members of the chats.
        topics: The topics of the chats.
        history: The messages of the chats.
    """

    def __init__(self, members: Members, topics: Topics, history: History) -> None:
        self._members = members
        self._topics = topics
        self._history = history

    def check_message(
        self, chat: JSON, sender: JSON, topic_id: int | None, contents: Iterable[JSON]
    ) -> None:
        """
        Check that a user may send messages to a chat.

        Args:
            chat: The chat.
            sender: See above.
            topic_id: The topic, `None` for none, or the general one of a forum.
            contents: The fields of each message that do not depend on its place.
        """
        is_administrator = not self._is_checked(chat, sender) or self._is_administrator(
            chat, sender["from"]
        )
        self._topics.check_writer(chat, topic_id, is_administrator=is_administrator)
        if chat["type"] == "private" and self._members.bot_in(chat)["status"] == "kicked":
            raise ValueError(f"user {chat['id']} has blocked the bot: unblock() it first")
        self.check_banned(chat, sender)
        for content in contents:
            needed = _PERMISSIONS.get(content_type_of(content), "can_send_messages")
            if not is_administrator and not self._may(chat, sender, needed):
                raise ValueError(
                    f"user {sender['from']['id']} may not send this to group {chat['id']}, because "
                    f"{needed} is taken away: change the restriction of the user, or the "
                    "permissions of the group"
                )

    def check_banned(self, chat: JSON, sender: JSON) -> None:
        """Check that a user who acts in a chat is not banned there."""
        if self._is_checked(chat, sender):
            self.check_not_banned(chat, sender["from"])

    def check_not_banned(self, chat: JSON, user: JSON) -> None:
        """Check that a user is not banned in a group."""
        if self._status(chat, user) == "kicked":
            raise ValueError(f"user {user['id']} is banned in group {chat['id']}: unban them first")

    def check_right(self, chat: JSON, sender: JSON, right: str) -> None:
        """
        Check that a user has a right in a chat, or the permission of that name.

        Args:
            chat: The chat.
            sender: See above.
            right: Its name, such as `can_pin_messages`.
        """
        if self._is_checked(chat, sender):
            self.check_banned(chat, sender)
            if not self._may(chat, sender, right):
                raise ValueError(self._lack_of(chat, sender["from"], right))

    def check_power(self, chat: JSON, sender: JSON, user: JSON, right: str) -> None:
        """
        Check that a user may change the status of another one.

        Args:
            chat: The chat.
            sender: See above.
            user: The other user.
            right: The right that it takes.
        """
        self.check_right(chat, sender, right)
        if self._status(chat, user) == "creator":
            raise ValueError(f"user {user['id']} is the owner of group {chat['id']}, and stays so")
        if not self._is_checked(chat, sender) or not self._is_administrator(chat, user):
            return
        if self._status(chat, sender["from"]) != "creator":
            raise ValueError(
                f"user {user['id']} is an administrator of group {chat['id']}: let its owner do it"
            )

    def check_delete(self, message: JSON, sender: JSON) -> None:
        """Check that a user may delete a message: an own one, or any with the right."""
        if not _is_own(message, sender):
            self.check_right(message["chat"], sender, "can_delete_messages")

    def check_close(self, chat: JSON, sender: JSON, topic_id: int) -> None:
        """Check that a user may close a topic: an own one, or any with the right."""
        created = self._history.find(Address(chat["id"], topic_id)) or {}
        if "forum_topic_created" in created and _is_own(created, sender):
            return
        right = "can_manage_topics"
        self.check_right(chat, sender, right)
        # The permission of that name is for topics of one's own.
        if self._is_checked(chat, sender) and not self._is_administrator(chat, sender["from"]):
            raise ValueError(self._lack_of(chat, sender["from"], right))

    def _lack_of(self, chat: JSON, user: JSON, right: str) -> str:
        """The message for a user who has not a right."""
        lack = (
            f"has not the right {right} in"
            if self._is_administrator(chat, user)
            else "is no administrator of"
        )
        return (
            f"user {user['id']} {lack} group {chat['id']}: let its owner promote them, or make it "
            f"with bot_api.group({chat['id']}, owner=...)"
        )

    def _may(self, chat: JSON, sender: JSON, name: str) -> bool:
        return self._members.may(chat, sender["from"]["id"], name)

    def _status(self, chat: JSON, user: JSON) -> str:
        return str(self._members.get(chat, user["id"])["status"])

    def _is_administrator(self, chat: JSON, user: JSON) -> bool:
        return self._status(chat, user) in ADMINISTRATORS

    def _is_checked(self, chat: JSON, sender: JSON) -> bool:
        return chat["type"] in GROUPS and "sender_chat" not in sender and "from" in sender


def _is_own(message: JSON, sender: JSON) -> bool:
    """Whether a message has a sender."""
    return all(message.get(name, {}).get("id") == one["id"] for name, one in sender.items())
