"""The messages by which Telegram tells of an event in a chat, such as a new title."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telesession.testing.server.call import JSON
    from telesession.testing.server.updates import Updates
    from telesession.testing.telegram.history import History


class ServiceMessages:
    """
    Puts service messages into chats and gives them to the bot.

    A bot gets them for its own actions too, see
    https://core.telegram.org/bots/api#message. Not safe to share between threads by itself: its
    `BotAPI` calls it under a lock.

    Args:
        history: The messages of the chats.
        updates: The queue of updates.
    """

    def __init__(self, history: History, updates: Updates) -> None:
        self._history = history
        self._updates = updates

    def push(self, chat: JSON, sender: JSON, content: JSON) -> JSON:
        """
        Give the bot a message, and return the update: a `channel_post` in a channel.

        Args:
            chat: The chat.
            sender: The fields of the message that name its sender: `from`, and for an anonymous
                administrator `sender_chat`. The sender in a channel is the channel.
            content: The other fields. The message has the next number of its chat, unless
                `message_id` is one of them.
        """
        kind = "message"
        if chat["type"] == "channel":
            kind, sender = "channel_post", {"sender_chat": dict(chat)}
        message = {**sender, "chat": dict(chat), "date": int(time.time()), **content}
        if "message_id" not in message:
            message = self._history.number(message)
        self._history.remember(message)
        return self._updates.push({kind: message})
