"""
Key functions: from an update to the storage key of its session.

A key function takes whatever telebot hands to a handler and returns the key, or `None` where the
update has nobody to key on. None of them needs telebot: they read the Bot API's own field names.
"""

from __future__ import annotations

from typing import Any

# GroupAnonymousBot, Channel_Bot and Telegram itself: users that stand in for somebody else.
_MADE_UP_USERS = frozenset((1087968824, 136817688, 777000))


def by_sender(update: Any, /) -> str | None:
    """
    The id of whoever sent the update, as a string: one session for each person, in every chat.

    A chat that acts as a sender wins over the user beside it. Telegram sends anonymous group
    admins, channels and linked channels with one made-up user for all of them (`1087968824`,
    `136817688`, `777000`), and keying on that user would join strangers into one session. See
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
    `chat:<id>`: one session for each chat, shared by everybody in it.

    A chat of a business account is told apart by its connection, and a chat that summoned a
    guest bot as a guest's: Telegram says that both may share their id with an unrelated chat
    (`business_connection_id` and `guest_query_id` in https://core.telegram.org/bots/api#message).

    Returns `None` for updates without a chat, such as inline queries and polls, and for private
    chats that summoned a guest bot, whose id is only that of one of the two people in it.
    """
    chat = _chat_label(update)
    return None if chat is None else f"chat:{chat}"


def by_sender_in_chat(update: Any, /) -> str | None:
    """
    `sender_in_chat:<chat>:<sender>`: one session for each person in each chat.

    Returns `None` where `by_sender` or `by_chat` would.
    """
    chat, sender = _chat_label(update), by_sender(update)
    return None if chat is None or sender is None else f"sender_in_chat:{chat}:{sender}"


def by_topic(update: Any, /) -> str | None:
    """
    `topic:<chat>:<topic>`: one session for each topic of a forum.

    Messages outside any topic, in the General topic of a forum too, share `topic:<chat>:general`.
    A `message_thread_id` alone is no topic: Telegram also gives one to replies in groups that
    are not forums. The topics of a channel's direct messages are `topic:<chat>:direct-<id>`.

    Returns `None` where `by_chat` would, and where Telegram does not say which topic it was in:
    for reactions and changes of members, and for buttons under inaccessible messages.
    """
    chat, topic = _chat_label(update), _topic_label(message_of(update))
    return None if chat is None or topic is None else f"topic:{chat}:{topic}"


def by_sender_in_topic(update: Any, /) -> str | None:
    """
    `sender_in_topic:<chat>:<topic>:<sender>`: one session for each person in each topic.

    The topics are those of `by_topic`. A private chat has topics, too.

    Returns `None` where `by_sender` or `by_topic` would.
    """
    chat, topic = _chat_label(update), _topic_label(message_of(update))
    sender = by_sender(update)
    if chat is None or topic is None or sender is None:
        return None
    return f"sender_in_topic:{chat}:{topic}:{sender}"


def migrated_keys(message: Any) -> tuple[str, str] | None:
    """
    What `by_chat` gave before and gives from now on, if a message tells that a group has become a
    supergroup, which has another id. Telegram tells it in both chats: see `migrate_to_chat_id` and
    `migrate_from_chat_id` in https://core.telegram.org/bots/api#message.
    """
    if new := getattr(message, "migrate_to_chat_id", None):
        return f"chat:{message.chat.id}", f"chat:{new}"
    if old := getattr(message, "migrate_from_chat_id", None):
        return f"chat:{old}", f"chat:{message.chat.id}"
    return None


def key_fault(key: object) -> str | None:
    """What is wrong with a key that a key function returned, if anything."""
    if key is None:
        return "None"
    if isinstance(key, bool) or not isinstance(key, str | int):
        return f"an object of type {type(key).__name__}"
    # One key for all whose name, say, is empty would join strangers.
    return "an empty string" if key == "" else None


def message_of(update: Any) -> Any:
    """The message a button press belongs to; every other update speaks for itself."""
    return getattr(update, "message", None) or update


def _chat_label(update: Any) -> str | None:
    message = message_of(update)
    chat = getattr(message, "chat", None)
    if chat is None:
        return None
    if connection := getattr(message, "business_connection_id", None):
        return f"{chat.id}@business-{connection}"
    if getattr(message, "guest_query_id", None):
        return None if chat.type == "private" else f"{chat.id}@guest"
    return str(chat.id)


def _topic_label(message: Any) -> str | None:
    # The Bot API gives an inaccessible message the date 0, and nothing but its chat and id.
    if getattr(message, "date", None) == 0 or not hasattr(message, "message_thread_id"):
        return None
    if direct := getattr(message, "direct_messages_topic", None):
        return f"direct-{direct.topic_id}"
    # A stopped generation has no is_topic_message: its draft can only have been in a topic.
    thread = message.message_thread_id
    is_topic = thread is not None and getattr(message, "is_topic_message", True)
    return str(thread) if is_topic else "general"


def _booster(update: Any) -> Any:
    """Whoever gave a boost; an added boost wraps its source once more than a removed one."""
    boost = getattr(update, "boost", update)
    return getattr(getattr(boost, "source", None), "user", None)


def _draft_reader(update: Any) -> Any:
    """The private chat in which a generation was stopped."""
    chat = getattr(update, "chat", None)
    if hasattr(update, "draft_id") and getattr(chat, "type", None) == "private":
        return chat
    return None


#: Begins the name of every room in a storage, and is doubled where a key outside begins with it.
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
