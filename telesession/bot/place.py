"""Places: where a question is sent and waits, and the options that send a message there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from telebot import types

from telesession.errors import SessionError
from telesession.keys import (
    GENERAL,
    KNOWN_TOPIC,
    by_sender_in_chat,
    direct_label,
    label_of_topic,
    make_key,
    message_of,
    topic_label,
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    A person in a chat, as the target of a question.

    Pass one if a timer asks the question, or if it goes to another person than the sender.

    A bot can only write to people who have started it, and to chats that it is in.

    Args:
        chat_id: The chat. A private chat has the id of the person.
        user_id: The person who is asked. An anonymous admin types under the id of the group.
        message_thread_id: The topic of a forum or of a private chat; `None` outside of topics.
        business_connection_id: The connection, in a chat of a business account.
        direct_messages_topic_id: The topic, in the direct messages of a channel.

    Raises:
        TypeError: An id is of the wrong type.
        ValueError: There are two topics, or a private chat with another id than the person.
    """

    chat_id: int
    user_id: int
    message_thread_id: int | None = None
    business_connection_id: str | None = None
    direct_messages_topic_id: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            is_text, is_optional = name == "business_connection_id", name not in _REQUIRED
            if value is None and is_optional:
                continue
            if isinstance(value, bool) or not isinstance(value, str if is_text else int):
                raise TypeError(
                    f"the {name} of a Place must be {'a str' if is_text else 'an int'}, not "
                    f"{type(value).__name__}"
                )
        is_private = self.chat_id > 0 and self.business_connection_id is None
        if is_private and self.user_id != self.chat_id:
            raise ValueError(
                "no person could answer at this Place: a private chat has the id of its person; "
                "pass the same chat_id and user_id, or the chat_id of a group"
            )
        if self.business_connection_id == "":
            raise ValueError("the business_connection_id of a Place is empty; leave it out")
        if None not in (self.message_thread_id, self.direct_messages_topic_id):
            raise ValueError(
                "a Place has one topic: message_thread_id in a forum or a private chat, or "
                "direct_messages_topic_id in the direct messages of a channel"
            )


_REQUIRED = ("chat_id", "user_id")

#: A `Place`, or an update of the person to ask.
Target = types.Message | types.CallbackQuery | types.ChatJoinRequest | Place


class Address(NamedTuple):
    """
    The place at which a question waits.

    Args:
        key: The person and the chat, as `by_sender_in_chat` gives them.
        topic: The label of the topic, as the key functions have it.
    """

    key: str
    topic: str

    @property
    def user_id(self) -> int:
        """The person, or the chat that acts as one."""
        return int(self.key.rpartition(":")[2])


def address_of(target: Any) -> Address | None:
    """The address of a question to a target; `None` if the target names no person or no chat."""
    place = _private_place(target)
    return message_address_of(target) if place is None else _address_of_place(place)


def message_address_of(update: Any) -> Address | None:
    """The address of the person, the chat and the topic that an update has itself."""
    key, message = by_sender_in_chat(update), message_of(update)
    topic = topic_label(message) or GENERAL
    return None if key is None else Address(key, topic)


def note_topic(message: Any, topic: str) -> None:
    """Note the topic of an inaccessible message, so that a step can ask a question in it."""
    if topic_label(message) is None:
        setattr(message, KNOWN_TOPIC, topic)


def checked_address(bot: Any, target: Any) -> Address:
    """
    The address of a question to a target.

    Raises:
        SessionError: The target names no person or no chat, is the bot itself, or a chat in which
            the bot is a guest.
    """
    if getattr(target, "inline_message_id", None):
        raise SessionError(
            "could not ask: the pressed button brings an inline_message_id and no message, so "
            "Telegram does not say in which chat it is; send the question to a "
            "Place(chat_id=..., user_id=...)"
        )
    address = address_of(target)
    if address is None:
        raise SessionError(
            f"could not ask: this {type(target).__name__} has no sender, or no chat; pass the "
            "message, the callback query or the join request of the user to ask, or a Place"
        )
    if _is_own(bot, target):
        raise SessionError(
            "could not ask: the bot would wait for itself; pass the callback query, and not "
            "its message, which is the bot's own"
        )
    if getattr(message_of(target), "guest_query_id", None):
        raise SessionError(
            "could not ask: the bot is only a guest in this chat and cannot send messages to it; "
            "answer with answer_guest_query"
        )
    return address


def options_of(target: Any) -> dict[str, Any]:
    """The options of `send_message` that send a message to the place of a target."""
    place = _private_place(target)
    if place is not None:
        options: dict[str, Any] = vars(place).copy()
        del options["user_id"]
        return {name: value for name, value in options.items() if value is not None}
    message = message_of(target)
    options = {"chat_id": message.chat.id, **_topic_options(topic_label(message) or GENERAL)}
    if connection := getattr(message, "business_connection_id", None):
        options["business_connection_id"] = connection
    if ephemeral_id(message) is not None:
        options["ephemeral_message_parameters"] = _ephemeral_parameters(target)
    return options


def ephemeral_id(message: Any) -> int | None:
    """The number of an ephemeral message in its chat; `None` for other messages."""
    # telebot before 4.37 keeps it in the JSON only.
    found: int | None = getattr(message, "ephemeral_message_id", None)
    return (getattr(message, "json", None) or {}).get("ephemeral_message_id", found)


def number_of(message: Any) -> int | str:
    """The number of a message in its chat. Those of ephemeral messages are counted separately."""
    ephemeral = ephemeral_id(message)
    number: int = message.message_id
    return number if ephemeral is None else f"ephemeral-{ephemeral}"


def _private_place(target: Any) -> Place | None:
    """The place of a target without a message, such as a join request."""
    if isinstance(target, types.ChatJoinRequest):
        # The bot may write there for 5 minutes (https://core.telegram.org/bots/api#chatjoinrequest).
        return Place(chat_id=target.user_chat_id, user_id=target.from_user.id)
    return target if isinstance(target, Place) else None


def _address_of_place(place: Place) -> Address:
    key = make_key(
        by_sender_in_chat,
        chat_id=place.chat_id,
        user_id=place.user_id,
        business_connection_id=place.business_connection_id,
    )
    return Address(key, label_of_topic(place.message_thread_id, place.direct_messages_topic_id))


def _topic_options(label: str) -> dict[str, Any]:
    """The options of `send_message` for the topic with a label."""
    if label == GENERAL:
        return {}
    direct = label.removeprefix(direct_label(""))
    if direct != label:
        return {"direct_messages_topic_id": int(direct)}
    return {"message_thread_id": int(label)}


def _is_own(bot: Any, target: Any) -> bool:
    """Whether a target is the bot itself, also in the name of a business account."""
    sender = getattr(target, "sender_business_bot", None) or getattr(target, "from_user", None)
    return sender is not None and sender.is_bot and sender.id == bot.bot_id


def _ephemeral_parameters(target: Any) -> Any:
    """See https://core.telegram.org/bots/api#ephemeralmessageparameters."""
    make = getattr(types, "EphemeralMessageParameters", None)
    if make is None:
        raise SessionError(
            "could not ask: the question after an ephemeral message has to be ephemeral, and the "
            "installed telebot cannot send those; install pyTelegramBotAPI 4.37 or later"
        )
    query_id = target.id if hasattr(target, "chat_instance") else None
    return make(target.from_user.id, callback_query_id=query_id)
