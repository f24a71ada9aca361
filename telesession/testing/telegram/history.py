"""The messages that the loopback Bot API knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

from telebot import types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import SupportsIndex

    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.directory import Directory

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
        is_deleted: Whether the bot or a user has deleted it.
    """

    message_id: int
    chat_id: int
    text: str
    reply_markup: Mapping[str, Any] | None = None
    reply_to_message_id: int | None = None
    json: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    is_deleted: bool = field(default=False, repr=False)

    def parse(self) -> types.Message:
        """The message as telebot's type, with a photo, a poll and the like."""
        message: types.Message = types.Message.de_json(dict(self.json))  # type: ignore[no-untyped-call]
        return message

    @property
    def content_type(self) -> str:
        """Its content in Telegram's words, such as `text`, `photo` or `poll`."""
        return content_type_of(self.json)

    @property
    def media_group_id(self) -> str | None:
        """The id of the album that it is a part of, or `None`."""
        return self.json.get("media_group_id")

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
        """The id of the only user who sees an ephemeral message; `None` for other messages."""
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


def address_of(message: Any) -> Address:
    """
    The address of a message in any of its forms.

    Raises `TypeError` for an object of another kind.
    """
    if isinstance(message, Mapping):
        if "message_id" not in message:
            message = next((one for one in message.values() if isinstance(one, Mapping)), {})
        if message.keys() >= {"chat", "message_id"}:
            return Address.of(message)
    if not isinstance(message, SentMessage | types.Message | types.InaccessibleMessage):
        raise TypeError(
            f"{message!r:.100} is no message: give a SentMessage, such as replies[-1], or the "
            "update of a message that a method of User returned, or telebot's Message"
        )
    return Address(
        message.chat_id if isinstance(message, SentMessage) else message.chat.id,
        message.message_id,
        getattr(message, "business_connection_id", None),
        getattr(message, "ephemeral_message_id", None),
    )


class Messages(list[SentMessage]):
    """A list of messages of the bot; a slice of it is one too."""

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> SentMessage: ...

    @overload
    def __getitem__(self, index: slice, /) -> Messages: ...

    def __getitem__(self, index: SupportsIndex | slice, /) -> SentMessage | Messages:
        found = super().__getitem__(index)
        return Messages(found) if isinstance(found, list) else found

    @property
    def texts(self) -> list[str]:
        """The text of each; see `SentMessage`."""
        return [message.text for message in self]


#: The fields of a message that give its content, the more special ones first.
CONTENTS = (
    *("animation", "live_photo", "venue", "paid_media", "invoice", "rich_message"),
    *("text", "photo", "video", "audio", "document", "voice", "video_note", "sticker"),
    *("contact", "dice", "game", "poll", "location", "checklist"),
)


def content_type_of(message: Mapping[str, Any]) -> str:
    """The content of a message in Telegram's words; `unknown` for one that is not known here."""
    return next((name for name in CONTENTS if name in message), "unknown")


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
    Every message so far, as one `BotAPI` sees them.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        directory: The chats that the messages are in.
        last_message_id: The number before the first message of each chat.
    """

    def __init__(self, directory: Directory, last_message_id: int = 0) -> None:
        self.sent = Messages()
        #: Called with `sent`, `edited` or `deleted` and the message of the bot.
        self.listeners: list[Callable[[str, SentMessage], object]] = []
        #: Called with a message of a user that the bot has deleted.
        self.removal_listeners: list[Callable[[JSON], object]] = []
        self._directory = directory
        self._messages: dict[Address, JSON] = {}
        self._deleted: set[Address] = set()
        # (chat id, connection id, whether ephemeral) -> the last number there
        self._last_ids: defaultdict[tuple[int, str | None, bool], int] = defaultdict(
            lambda: last_message_id
        )
        # address -> index in `sent`
        self._places: dict[Address, int] = {}
        # The pinned messages of all chats as keys, the latest pin last.
        self._pins: dict[Address, None] = {}

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
        """Store a message of a user and its chat, in place of a former version of the message."""
        address = Address.of(message)
        if address.connection_id is None and address not in self._messages:
            # An older version of a message has the chat as it was then.
            self._directory.add_chat(message["chat"])
        self._keep(message)

    def _keep(self, message: JSON) -> None:
        address = Address.of(message)
        line = (address.chat_id, address.connection_id, address.ephemeral_id is not None)
        number = address.ephemeral_id or address.message_id
        self._last_ids[line] = max(self._last_ids[line], number)
        self._messages[address] = message

    def remember_update(self, update: JSON) -> None:
        """Store the message in an update of any kind, if there is one."""
        message = update.get("callback_query", {}).get("message")
        for kind in _MESSAGES & update.keys():
            message = update[kind]
        # The Bot API gives an inaccessible message the date 0, and nothing but its chat and id.
        if message and message.get("date"):
            self.remember(message)

    def add_sent(self, sent: SentMessage) -> None:
        """
        Store a message of the bot.

        An edited one takes the place of its former version in `sent`.
        """
        self._keep(dict(sent.json))
        place = self._places.setdefault(Address.of(sent.json), len(self.sent))
        change = "sent" if place == len(self.sent) else "edited"
        self.sent[place : place + 1] = [sent]
        self._tell(change, sent)

    def forget(self, message: JSON) -> None:
        """Delete a message from its chat; it stays in `sent`."""
        address = Address.of(message)
        del self._messages[address]
        self._deleted.add(address)
        self.unpin(message)
        if address in self._places:
            place = self._places[address]
            self.sent[place] = replace(self.sent[place], is_deleted=True)
            self._tell("deleted", self.sent[place])
        else:
            for listener in self.removal_listeners:
                listener(message)

    def is_sent(self, message: JSON) -> bool:
        """Whether a message is one of the bot."""
        return Address.of(message) in self._places

    def was_deleted(self, address: Address) -> bool:
        """Whether there was a message that is deleted now."""
        return address in self._deleted

    def pin(self, message: JSON) -> None:
        """Pin a message in its chat, above those that are pinned already."""
        self.unpin(message)
        self._pins[Address.of(message)] = None

    def unpin(self, message: JSON) -> None:
        """Unpin a message, if it is pinned."""
        self._pins.pop(Address.of(message), None)

    def pinned(self, chat_id: int) -> list[JSON]:
        """The pinned messages of a chat, the latest pin first."""
        pins = [address for address in reversed(self._pins) if address.chat_id == chat_id]
        return [self._messages[address] for address in pins]

    def of_topic(self, chat_id: int, topic: int) -> list[JSON]:
        """The messages in a topic of a chat."""
        return [
            message
            for address, message in self._messages.items()
            if address.chat_id == chat_id and topic_of(message) == topic
        ]

    def with_poll(self, poll_id: str) -> list[JSON]:
        """The messages of all chats that show a poll: the one that sent it, and the forwarded."""
        return [
            message
            for message in self._messages.values()
            if message.get("poll", {}).get("id") == poll_id
        ]

    def of_business(self, connection_id: str, message_ids: Iterable[int]) -> list[JSON]:
        """The messages with some numbers in the chats of a business account."""
        numbers = frozenset(message_ids)
        return [
            message
            for address, message in self._messages.items()
            if address.connection_id == connection_id and address.message_id in numbers
        ]

    def _tell(self, change: str, sent: SentMessage) -> None:
        for listener in self.listeners:
            listener(change, sent)

    def _next_id(self, chat_id: int, connection_id: str | None, *, ephemeral: bool) -> int:
        line = (chat_id, connection_id, ephemeral)
        self._last_ids[line] += 1
        return self._last_ids[line]
