"""The chats of users with the bot, and the fields that each chat gives to a message."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.history import Messages, SentMessage
    from telesession.testing.telegram.telegram import Telegram

#: The user that stands in for every anonymous administrator of a group; the group is the
#: `sender_chat`. See https://core.telegram.org/bots/api#message.
ANONYMOUS_ADMIN = {
    "id": 1087968824,
    "is_bot": True,
    "first_name": "Group",
    "username": "GroupAnonymousBot",
}


@dataclass(frozen=True)
class Chat:
    """
    A chat that users write in: the private chat of a user, or one of the classes below it.

    Args:
        id: Its chat id.
        telegram: The server that the chat belongs to.
    """

    id: int
    telegram: Telegram = field(repr=False)

    #: The kind of update that a message in this chat is.
    kind: ClassVar[str] = "message"

    @property
    def json(self) -> JSON:
        """The `Chat` as Telegram would send it now."""
        return self.telegram.chat(self.id)

    @property
    def messages(self) -> Messages:
        """The messages of the bot that this chat shows now to all its members, in order."""
        return self.telegram.shown(lambda sent: sent.receiver_id is None and self.shows(sent))

    @property
    def pinned(self) -> list[JSON]:
        """The pinned messages, the latest pin first."""
        return self.telegram.community.pinned_in(self.id)

    def shows(self, sent: SentMessage) -> bool:
        """Whether a message of the bot is in this chat."""
        return sent.chat_id == self.id and sent.business_connection_id is None

    def fields(self, sender: JSON, topic: int | None) -> JSON:  # noqa: ARG002 -- of subclasses
        """The fields of a user's message that give its place in this chat."""
        if topic is None:
            return {}
        return {"message_thread_id": topic, "is_topic_message": True}


@dataclass(frozen=True)
class Group(Chat):
    """A group that the bot is in, made by `BotAPI.group`; its id is a negative number."""

    @property
    def title(self) -> str:
        """The title that the group has now."""
        return str(self.json["title"])

    @property
    def members(self) -> list[JSON]:
        """
        The members of the group now, the bot first.

        Each is a https://core.telegram.org/bots/api#chatmember. Users are known once they have
        written, joined or been added.
        """
        return self.telegram.community.members_of(self.id)

    @property
    def administrators(self) -> list[JSON]:
        """The `members` who are the owner or an administrator, the bot first."""
        return self.telegram.community.administrators_of(self.id)

    @property
    def topics(self) -> list[JSON]:
        """
        The topics that the forum has now, by their ids; the general topic has the id 1.

        Each is a https://core.telegram.org/bots/api#forumtopic with two more fields: `is_closed`
        and `is_hidden`.
        """
        return self.telegram.community.topics_of(self.id)

    def fields(self, sender: JSON, topic: int | None) -> JSON:
        """A topic is that of a forum."""
        if topic is None:
            return {}
        message = self.telegram.find_message(self.id, topic) or {}
        if "forum_topic_created" in message:
            return {
                "message_thread_id": topic,
                "is_topic_message": True,
                "reply_to_message": message,
            }
        return fields_in_topic(self.json, sender, topic, int(time.time()))


class ChannelChat(Chat):
    """The chat that a `Channel` is."""

    kind: ClassVar[str] = "channel_post"


@dataclass(frozen=True)
class DirectMessages(Chat):
    """
    The direct messages of a channel, made by `BotAPI.direct_messages`.

    Each user has a topic of their own, with the id of the user. An administrator of the channel
    writes in it with `topic=user.id`.
    """

    def fields(self, sender: JSON, topic: int | None) -> JSON:
        """A topic is the one with the id of a user."""
        if topic is None or topic == sender["id"]:
            return {"direct_messages_topic": {"topic_id": sender["id"], "user": sender}}
        user = {"id": topic, "is_bot": False, "first_name": f"User {topic}"}
        return {"direct_messages_topic": {"topic_id": topic, "user": user}}


@dataclass(frozen=True)
class BusinessChat(Chat):
    """
    The chat of a customer with a business account that the bot answers for.

    Made by `BotAPI.business_chat`. Its id is that of the customer. Customer and owner write in it.

    Args:
        connection_id: The id of the business connection.
        owner: The `User` of the business account as Telegram would send it.
    """

    kind: ClassVar[str] = "business_message"

    connection_id: str
    owner: JSON = field(repr=False)

    def shows(self, sent: SentMessage) -> bool:
        """Whether a message of the bot was sent through the connection to this chat."""
        return (sent.chat_id, sent.business_connection_id) == (self.id, self.connection_id)

    def connect(self) -> JSON:
        """
        Let the owner connect the bot with the account, with all rights (`business_connection`).

        It is connected at first, without an update. A connection belongs to all chats of the
        account.
        """
        return self.telegram.connect_business(self.connection_id, is_enabled=True)

    def disconnect(self) -> JSON:
        """
        Let the owner end the connection (`business_connection`).

        From then on the bot gets no messages of the account, and its own are refused.
        """
        return self.telegram.connect_business(self.connection_id, is_enabled=False)

    def fields(self, sender: JSON, topic: int | None) -> JSON:
        """
        A topic is that of a private chat.

        Raises `ValueError` if the owner has ended the connection.
        """
        if not self.telegram.is_business_connected(self.connection_id):
            raise ValueError(
                f"the bot hears nothing of the business chat of user {self.id}: its owner has "
                f"ended the connection {self.connection_id!r}; connect() begins it again"
            )
        return {**super().fields(sender, topic), "business_connection_id": self.connection_id}


def fields_in_topic(chat: JSON, creator: JSON, topic: int, date: int) -> JSON:
    """
    The fields that a message has because it is in a topic of a forum.

    Telegram shows it as a reply to the message that created the topic.

    Args:
        chat: The forum.
        creator: The user who created the topic.
        topic: The id of the topic.
        date: When it was created, in seconds since 1970.
    """
    fields = {"message_thread_id": topic, "is_topic_message": True}
    created = {
        "message_id": topic,
        "from": creator,
        "chat": chat,
        "date": date,
        **fields,
        "forum_topic_created": {"name": f"Topic {topic}", "icon_color": 7322096},
    }
    return {**fields, "reply_to_message": created}


def private_json(person: JSON) -> JSON:
    """The private chat of a user with the bot, as Telegram would send it."""
    names = ("first_name", "last_name", "username")
    known = {name: person[name] for name in names if name in person}
    return {"id": person["id"], **known, "type": "private"}


def chat_of(message: JSON, telegram: Telegram) -> Chat:
    """The chat that a message is in."""
    chat = message["chat"]
    if connection_id := message.get("business_connection_id"):
        owner = telegram.business_owner(connection_id)
        return BusinessChat(chat["id"], telegram, connection_id, owner)
    if chat.get("is_direct_messages"):
        return DirectMessages(chat["id"], telegram)
    kinds = {"private": Chat, "channel": ChannelChat}
    return kinds.get(chat["type"], Group)(chat["id"], telegram)
