"""The chats and messages that the loopback Bot API knows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from telesession.testing.call import JSON, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The kinds of updates that are messages.
_MESSAGES = frozenset(
    {
        "message",
        "edited_message",
        "channel_post",
        "edited_channel_post",
        "business_message",
        "edited_business_message",
        "guest_message",
    }
)


class Address(NamedTuple):
    """
    The numbers by which a message is known.

    Args:
        chat_id: The chat it is in.
        message_id: Its number in that chat; 0 for an ephemeral message.
        connection_id: The business connection of the chat. Without one, a chat with the same id is
            another chat.
        ephemeral_id: The number of an ephemeral message in its chat.
    """

    chat_id: int
    message_id: int
    connection_id: str | None = None
    ephemeral_id: int | None = None

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """The address of a message as Telegram sends it."""
        return cls(
            message["chat"]["id"],
            message["message_id"],
            message.get("business_connection_id"),
            message.get("ephemeral_message_id"),
        )


@dataclass(frozen=True)
class SentMessage:
    """
    A message that the bot sent.

    Args:
        message_id: Its number in its chat; 0 for an ephemeral message.
        chat_id: The chat it was sent to.
        text: The text, or the caption of a photo and the like; empty if there is neither.
        reply_markup: The decoded keyboard under it, of any kind, or `None`.
        reply_to_message_id: The message it answers, or `None`.
        json: The whole `Message` as Telegram would send it.
    """

    message_id: int
    chat_id: int
    text: str
    reply_markup: Mapping[str, Any] | None = None
    reply_to_message_id: int | None = None
    json: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def topic(self) -> int | None:
        """Its topic in a forum, a private chat or the direct messages of a channel, or `None`."""
        return topic_of(self.json)

    @property
    def business_connection_id(self) -> str | None:
        """The business connection that it was sent through, or `None`."""
        return self.json.get("business_connection_id")

    @property
    def ephemeral_message_id(self) -> int | None:
        """The number of an ephemeral message in its chat, or `None`."""
        return self.json.get("ephemeral_message_id")

    @property
    def receiver_id(self) -> int | None:
        """The id of the only user who sees it, for an ephemeral message, or `None`."""
        receiver: int | None = self.json.get("receiver_user", {}).get("id")
        return receiver

    @property
    def force_reply(self) -> bool:
        """Whether it asks the user's app to reply to it."""
        return bool((self.reply_markup or {}).get("force_reply"))

    @property
    def buttons(self) -> list[JSON]:
        """The inline buttons under the message, row by row."""
        return inline_buttons(self.reply_markup)


def inline_buttons(reply_markup: Mapping[str, Any] | None) -> list[JSON]:
    """The inline buttons of a keyboard, row by row; none if it is of another kind."""
    rows = (reply_markup or {}).get("inline_keyboard", [])
    return [button for row in rows for button in row]


def topic_of(message: Mapping[str, Any]) -> int | None:
    """The topic of a message in a forum, a private chat or direct messages, or `None`."""
    if direct := message.get("direct_messages_topic"):
        return int(direct["topic_id"])
    topic: int | None = message.get("message_thread_id")
    return topic


class History:
    """
    Every chat and message so far, as one `BotAPI` sees them.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        last_message_id: The number before the first message of each chat.
    """

    def __init__(self, last_message_id: int = 0) -> None:
        self.sent: list[SentMessage] = []
        self._chats: dict[int | str, JSON] = {}
        self._users: dict[int, JSON] = {}
        # connection id -> the `User` of the business account
        self._owners: dict[str, JSON] = {}
        self._messages: dict[Address, JSON] = {}
        # (chat id, connection id, whether ephemeral) -> the last number there
        self._last_ids: defaultdict[tuple[int, str | None, bool], int] = defaultdict(
            lambda: last_message_id
        )
        # address -> index in `sent`
        self._places: dict[Address, int] = {}

    def chat(self, chat_id: int | str) -> JSON:
        """
        The chat with an id or an `@username`; an unknown one is made up from the look of its id.

        Raises `RefusedError` if it is neither.
        """
        name = str(chat_id)
        if name.startswith("@"):
            made_up = {"id": -(10**12) - 1 - len(self._chats), "type": "channel", "title": name[1:]}
            return self._chats.setdefault(name, {**made_up, "username": name[1:]})
        try:
            number = int(name)
        except ValueError:
            raise RefusedError(400, "Bad Request: chat not found") from None
        return self._chats.setdefault(number, _make_chat(number))

    def add_chat(self, chat: JSON) -> None:
        """Know a chat, in place of what was known of it before."""
        self._chats[chat["id"]] = chat

    def user(self, user_id: int) -> JSON:
        """The user with an id; an unknown one is made up."""
        made_up = {"id": user_id, "is_bot": False, "first_name": f"User {user_id}"}
        return self._users.setdefault(user_id, made_up)

    def add_user(self, user: JSON) -> None:
        """Know a user, in place of what was known of them before."""
        self._users[user["id"]] = user

    def owner(self, connection_id: str) -> JSON:
        """The owner of the business account that a connection belongs to; may be made up."""
        made_up = {"id": 1, "is_bot": False, "first_name": "Owner"}
        return self._owners.get(connection_id, made_up)

    def add_owner(self, connection_id: str, owner: JSON) -> None:
        """Know the owner of a business account."""
        self._owners[connection_id] = owner

    def next_message_id(self, chat_id: int) -> int:
        """A number for a new message: one more than the latest in that chat."""
        return self._next_id(chat_id, None, ephemeral=False)

    def number(self, message: JSON, *, ephemeral: bool = False) -> JSON:
        """A new message with the next number of its chat."""
        chat_id, connection_id = message["chat"]["id"], message.get("business_connection_id")
        number = self._next_id(chat_id, connection_id, ephemeral=ephemeral)
        if ephemeral:
            return {"message_id": 0, "ephemeral_message_id": number, **message}
        return {"message_id": number, **message}

    def find(self, address: Address) -> JSON | None:
        """A message as it reads now, or `None` if it is unknown or was deleted."""
        return self._messages.get(address)

    def markup(self, address: Address) -> JSON:
        """The keyboard of any kind that a message has now; empty if it has none."""
        if address in self._places:
            return dict(self.sent[self._places[address]].reply_markup or {})
        markup: JSON = self._messages.get(address, {}).get("reply_markup", {})
        return markup

    def remember(self, message: JSON) -> None:
        """Know a message, in place of its former version if there is one."""
        address = Address.of(message)
        if address.connection_id is None:
            self._chats[address.chat_id] = message["chat"]
        line = (address.chat_id, address.connection_id, address.ephemeral_id is not None)
        number = address.ephemeral_id or address.message_id
        self._last_ids[line] = max(self._last_ids[line], number)
        self._messages[address] = message

    def remember_update(self, update: JSON) -> None:
        """Know the message in an update, whatever its kind, if there is one."""
        message = update.get("callback_query", {}).get("message")
        for kind in _MESSAGES & update.keys():
            message = update[kind]
        # The Bot API gives an inaccessible message the date 0, and nothing but its chat and id.
        if message and message.get("date"):
            self.remember(message)

    def add_sent(self, sent: SentMessage) -> None:
        """
        Know a message of the bot.

        An edited one takes the place of its former version in `sent`.
        """
        self.remember(dict(sent.json))
        place = self._places.setdefault(Address.of(sent.json), len(self.sent))
        self.sent[place : place + 1] = [sent]

    def forget(self, message: JSON) -> None:
        """Delete a message from its chat; it stays in `sent`."""
        del self._messages[Address.of(message)]

    def _next_id(self, chat_id: int, connection_id: str | None, *, ephemeral: bool) -> int:
        line = (chat_id, connection_id, ephemeral)
        self._last_ids[line] += 1
        return self._last_ids[line]


def _make_chat(chat_id: int) -> JSON:
    if chat_id > 0:
        return {"id": chat_id, "type": "private", "first_name": f"User {chat_id}"}
    kind = "supergroup" if str(chat_id).startswith("-100") else "group"
    return {"id": chat_id, "type": kind, "title": f"Group {chat_id}"}
