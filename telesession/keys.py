"""
Key functions: from an update to the storage key of its session. Keys from ids, and ids from keys.

A key function takes the object that telebot passes to a handler, and returns the key. It returns
`None` if the update has no sender or chat for a key. No key function needs telebot: they read
fields by their names in the Bot API.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

# GroupAnonymousBot, Channel_Bot and Telegram itself: users that stand for other senders.
_MADE_UP_USERS = frozenset((1087968824, 136817688, 777000))


def by_sender(update: Any, /) -> str | None:
    """
    The id of the sender of the update, as a string: one session for each person, in every chat.

    A chat that acts as a sender wins over the user beside it. Telegram sends anonymous group
    admins, channels and linked channels with one made-up user for all of them (`1087968824`,
    `136817688`, `777000`), and a key with that user would join unrelated senders. See
    `sender_chat` in https://core.telegram.org/bots/api#message and `voter_chat` in
    https://core.telegram.org/bots/api#pollanswer. A stopped generation names only its chat,
    which, if it is private, has the id of the user.

    Returns `None` for updates that name no sender: polls, anonymous reaction counts, deleted
    business messages, boosts of an unclaimed giveaway, and a made-up user on its own.
    """
    sender = (
        getattr(update, "sender_chat", None)
        or getattr(update, "from_user", None)
        or getattr(update, "voter_chat", None)
        or getattr(update, "actor_chat", None)
        or getattr(update, "user", None)
        or _booster(update)
        or _draft_reader(update)
    )
    if sender is None or sender.id in _MADE_UP_USERS:
        return None
    return str(sender.id)


def by_chat(update: Any, /) -> str | None:
    """
    `chat:<id>`: one session for each chat, which all its members share.

    The key of a chat of a business account has the id of its connection, and that of a chat that
    summoned a guest bot has the mark `guest`. Both may have the same id as an unrelated chat
    (`business_connection_id` and `guest_query_id` in https://core.telegram.org/bots/api#message).

    Returns `None` for updates without a chat, such as inline queries and polls. It also returns
    `None` for private chats that summoned a guest bot, because their id is only that of one of the
    two people.
    """
    chat = _chat_label(update)
    return None if chat is None else _chat_key(chat)


def by_sender_in_chat(update: Any, /) -> str | None:
    """
    `sender_in_chat:<chat>:<sender>`: one session for each person in each chat.

    Returns `None` where `by_sender` or `by_chat` would.
    """
    chat, sender = _chat_label(update), by_sender(update)
    return None if chat is None or sender is None else _sender_in_chat_key(chat, sender)


def by_topic(update: Any, /) -> str | None:
    """
    `topic:<chat>:<topic>`: one session for each topic of a forum.

    Messages outside any topic, in the General topic of a forum too, share `topic:<chat>:general`.
    A `message_thread_id` alone is no topic: Telegram also gives one to replies in groups that
    are not forums. The topics of a channel's direct messages are `topic:<chat>:direct-<id>`.

    Returns `None` where `by_chat` would, and if Telegram does not send the topic: for reactions
    and changes of members, and for buttons under inaccessible messages.
    """
    chat, topic = _chat_label(update), topic_label(message_of(update))
    return None if chat is None or topic is None else _topic_key(chat, topic)


def by_sender_in_topic(update: Any, /) -> str | None:
    """
    `sender_in_topic:<chat>:<topic>:<sender>`: one session for each person in each topic.

    The topics are those of `by_topic`. A private chat has topics, too.

    Returns `None` where `by_sender` or `by_topic` would.
    """
    chat, topic = _chat_label(update), topic_label(message_of(update))
    sender = by_sender(update)
    if chat is None or topic is None or sender is None:
        return None
    return _sender_in_topic_key(chat, topic, sender)


class KeyIds(NamedTuple):
    """
    The ids in a key of a ready-made key function, by their names in the Bot API.

    Attributes:
        chat_id: The id of the chat; `None` in keys of `by_sender`.
        user_id: The id of the sender, which may be a chat; `None` if the key names no sender.
        message_thread_id: The id of the topic; `None` for the General topic and outside of topics.
        direct_messages_topic_id: The id of the topic in the direct messages of a channel.
        business_connection_id: The id of the business connection of the chat.
        is_guest: Whether the bot was a guest in the chat. A guest cannot send messages to it.
    """

    chat_id: int | None = None
    user_id: int | None = None
    message_thread_id: int | None = None
    direct_messages_topic_id: int | None = None
    business_connection_id: str | None = None
    is_guest: bool = False


def make_key(
    get_storage_key: Callable[[Any], str | int | None],
    *,
    chat_id: int | None = None,
    user_id: int | None = None,
    message_thread_id: int | None = None,
    direct_messages_topic_id: int | None = None,
    business_connection_id: str | None = None,
) -> str:
    """
    Make the key that a ready-made key function gives for an update with these ids.

    So a timer or an operator's command can open the session of a user without an update. Keys of
    chats in which the bot is a guest cannot be made; see `KeyIds.is_guest`.

    Args:
        get_storage_key: `by_sender`, `by_chat`, `by_sender_in_chat`, `by_topic` or
            `by_sender_in_topic`.
        chat_id: The id of the chat. All of them but `by_sender` need it.
        user_id: The id of the sender; for an anonymous admin or a channel, the id of that chat.
            `by_sender`, `by_sender_in_chat` and `by_sender_in_topic` need it.
        message_thread_id: The id of the topic in keys of `by_topic` and `by_sender_in_topic`.
            Without it the key is that of the General topic, and of chats without topics.
        direct_messages_topic_id: The id of the topic in the direct messages of a channel, instead
            of `message_thread_id`.
        business_connection_id: The business connection of the chat.

    Raises:
        TypeError: It is another function, or an id is missing, is no `int`, or is not used by this
            function.
        ValueError: The user is one that stands for other senders; see `by_sender`.
    """
    form = form_of(get_storage_key)
    if form is None:
        found = getattr(get_storage_key, "__qualname__", type(get_storage_key).__name__)
        raise TypeError(f"make_key makes the keys of {READY_MADE}, not those of {found}")
    ids: dict[str, Any] = {
        "chat_id": chat_id,
        "business_connection_id": business_connection_id,
        "message_thread_id": message_thread_id,
        "direct_messages_topic_id": direct_messages_topic_id,
        "user_id": user_id,
    }
    _refuse_unfit_ids(get_storage_key.__name__, form, ids)
    labels = {
        "chat": str(chat_id),
        "topic": label_of_topic(message_thread_id, direct_messages_topic_id),
        "sender": str(user_id),
    }
    if business_connection_id is not None:
        labels["chat"] = _business_label(chat_id, business_connection_id)
    return form.make(*(labels[part] for part in form.parts))


def parse_key(key: str) -> KeyIds:
    """
    The ids in a key that a ready-made key function, or `make_key`, has made.

    Args:
        key: A key as `Sessions.keys` and `session_key` give it, without room and prefix.

    Raises:
        TypeError: It is no `str`.
        ValueError: No ready-made key function makes such a key. The text of the key is not shown,
            because it may have come from a user.
    """
    if not isinstance(key, str):
        raise TypeError(f"parse_key takes a str, not {type(key).__name__}")
    for form in _FORMS.values():
        if match := form.pattern.fullmatch(key):
            found = match.groupdict()
            sender = _int_of(found.get("sender"))
            if sender in _MADE_UP_USERS:
                break
            return KeyIds(
                _int_of(found.get("chat")),
                sender,
                _int_of(found.get("thread")),
                _int_of(found.get("direct")),
                found.get("connection"),
                found.get("guest") is not None,
            )
    raise ValueError(f"this key is none of those that {READY_MADE} make")


def key_fault(key: object) -> str | None:
    """The fault of a key that a key function returned; `None` if it is a key."""
    if key is None:
        return "None"
    if isinstance(key, bool) or not isinstance(key, str | int):
        return f"an object of type {type(key).__name__}"
    # All users with an empty name, for example, would share one session.
    return "an empty string" if key == "" else None


def message_of(update: Any) -> Any:
    """The message of a button press; for every other update the update itself."""
    return getattr(update, "message", None) or update


def _chat_label(update: Any) -> str | None:
    message = message_of(update)
    chat = getattr(message, "chat", None)
    if chat is None:
        return None
    if connection := getattr(message, "business_connection_id", None):
        return _business_label(chat.id, connection)
    if getattr(message, "guest_query_id", None):
        return None if chat.type == "private" else f"{chat.id}{_GUEST}"
    return str(chat.id)


def topic_label(message: Any) -> str | None:
    """The label of the topic of a message in keys; `None` if Telegram does not send the topic."""
    # An inaccessible message has the date 0, its chat and its id, and no other field.
    if getattr(message, "date", None) == 0 or not hasattr(message, "message_thread_id"):
        known: str | None = getattr(message, KNOWN_TOPIC, None)
        return known
    if direct := getattr(message, "direct_messages_topic", None):
        return direct_label(direct.topic_id)
    # A stopped generation has no is_topic_message, because its draft was in a topic.
    thread = message.message_thread_id
    is_topic = thread is not None and getattr(message, "is_topic_message", True)
    return str(thread) if is_topic else GENERAL


def _booster(update: Any) -> Any:
    """The user who gave a boost; an added boost wraps its source once more than a removed one."""
    boost = getattr(update, "boost", update)
    return getattr(getattr(boost, "source", None), "user", None)


def _draft_reader(update: Any) -> Any:
    """The private chat in which a generation was stopped."""
    chat = getattr(update, "chat", None)
    if hasattr(update, "draft_id") and getattr(chat, "type", None) == "private":
        return chat
    return None


# The form of each key and of each part exists once, in these functions and constants. With
# regular expressions as parts they give the patterns of `parse_key`.


def _chat_key(chat: str) -> str:
    return f"chat:{chat}"


def _sender_in_chat_key(chat: str, sender: str) -> str:
    return f"sender_in_chat:{chat}:{sender}"


def _topic_key(chat: str, topic: str) -> str:
    return f"topic:{chat}:{topic}"


def _sender_in_topic_key(chat: str, topic: str, sender: str) -> str:
    return f"sender_in_topic:{chat}:{topic}:{sender}"


def _business_label(chat_id: object, connection: str) -> str:
    return f"{chat_id}@business-{connection}"


def label_of_topic(message_thread_id: int | None, direct_messages_topic_id: int | None) -> str:
    """The label of a topic with one of the two ids; without an id, of the General topic."""
    if direct_messages_topic_id is not None:
        return direct_label(direct_messages_topic_id)
    return GENERAL if message_thread_id is None else str(message_thread_id)


def direct_label(topic_id: object) -> str:
    """The label in keys of a topic in the direct messages of a channel."""
    return f"direct-{topic_id}"


_GUEST = "@guest"
GENERAL = "general"

# As `str` writes an int.
_INT = "0|-?[1-9][0-9]*"
_CHAT = f"(?P<chat>{_INT})"
_BUSINESS = _business_label("", "(?P<connection>.+)")
# Part of a key -> its pattern. The id of a connection is greedy, because it may contain colons.
_PATTERNS = MappingProxyType(
    {
        "chat": f"{_CHAT}(?:{_BUSINESS}|(?P<guest>{_GUEST}))?",
        "topic": f"(?:{GENERAL}|(?P<thread>{_INT})|{direct_label(f'(?P<direct>{_INT})')})",
        "sender": f"(?P<sender>{_INT})",
    }
)
# Part of a key -> the ids that it is made of.
_IDS = MappingProxyType(
    {
        "chat": ("chat_id", "business_connection_id"),
        "topic": ("message_thread_id", "direct_messages_topic_id"),
        "sender": ("user_id",),
    }
)
_NEEDED = ("chat_id", "user_id")


class Form(NamedTuple):
    """
    The form of the keys of one ready-made key function.

    Attributes:
        make: Makes a key of the labels of its parts.
        parts: The names of the parts, in their order.
        pattern: Matches exactly the keys.
    """

    make: Callable[..., str]
    parts: tuple[str, ...]
    pattern: re.Pattern[str]

    @staticmethod
    def of(make: Callable[..., str], *parts: str) -> Form:
        """The form of the keys that a function makes of these parts."""
        pattern = make(*(_PATTERNS[part] for part in parts))
        return Form(make, parts, re.compile(pattern, re.DOTALL))

    def beginning(self, first: str) -> str:
        """The beginning of all keys with the same first part, or the key if it has no other."""
        return self.make(first, *["\0"] * (len(self.parts) - 1)).partition("\0")[0]


_FORMS = MappingProxyType(
    {
        by_sender: Form.of(str, "sender"),
        by_chat: Form.of(_chat_key, "chat"),
        by_sender_in_chat: Form.of(_sender_in_chat_key, "chat", "sender"),
        by_topic: Form.of(_topic_key, "chat", "topic"),
        by_sender_in_topic: Form.of(_sender_in_topic_key, "chat", "topic", "sender"),
    }
)
#: The names of the ready-made key functions, as messages show them.
READY_MADE = ", ".join(function.__name__ for function in _FORMS)


def form_of(get_storage_key: object) -> Form | None:
    """The form of the keys of a ready-made key function; `None` for any other function."""
    # Not by `_FORMS.get`: a function of a user may be unhashable.
    return next((form for made, form in _FORMS.items() if made is get_storage_key), None)


def _refuse_unfit_ids(name: str, form: Form, ids: dict[str, Any]) -> None:
    """
    Check that the ids are exactly those that a key needs.

    Args:
        name: The name of the key function.
        form: The form of its keys.
        ids: Ids by name; `None` is a missing one.

    Raises:
        TypeError: An id is missing, is of the wrong type, or is not used.
        ValueError: The user stands for other senders.
    """
    used = [id_name for part in form.parts for id_name in _IDS[part]]
    given = {id_name: value for id_name, value in ids.items() if value is not None}
    for id_name, value in given.items():
        if id_name not in used:
            raise TypeError(f"a key of {name} has no {id_name}; it has {', '.join(used)}")
        if fault := _id_fault(id_name, value):
            raise TypeError(f"{id_name} must be {fault}")
    missing = [id_name for id_name in _NEEDED if id_name in used and id_name not in given]
    if missing:
        raise TypeError(f"a key of {name} needs {', '.join(missing)}")
    if given.keys() >= set(_IDS["topic"]):
        raise TypeError(f"a key has one topic; pass {' or '.join(_IDS['topic'])}, not both")
    if ids["user_id"] in _MADE_UP_USERS:
        raise ValueError(
            "could not make a key: this user_id stands for anonymous admins, channels or Telegram; "
            "pass the id of the sender_chat"
        )


def _id_fault(id_name: str, value: object) -> str | None:
    """The right and the actual type of an id; `None` if they are the same."""
    if id_name == "business_connection_id":
        if isinstance(value, str) and value:
            return None
        return f"a non-empty str, not {'empty' if value == '' else type(value).__name__}"
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    return f"an int, not {type(value).__name__}"


def _int_of(digits: str | None) -> int | None:
    return None if digits is None else int(digits)


#: The attribute with the label of the topic of an inaccessible message, if it is known.
KNOWN_TOPIC = "_telesession_topic"

#: The beginning of the name of every room. A user's key that begins with it gets one more.
ROOM = "@"


def room_of(name: str) -> str:
    """
    The beginning of the keys of a room: a part of a storage for one kind of records.

    A key outside of rooms that begins with `@` is stored with one more, so it reaches no room.

    Args:
        name: The name of the room. Those of sessions are Python identifiers; the library's own
            rooms have other names.
    """
    return f"{ROOM}{name}:"
