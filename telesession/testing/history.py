"""The chats and messages that the loopback Bot API knows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class SentMessage:
    """
    A message that the bot sent.

    Args:
        message_id: Its number in its chat.
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
    def buttons(self) -> list[JSON]:
        """The inline buttons under the message, row by row."""
        return inline_buttons(self.reply_markup)


def inline_buttons(reply_markup: Mapping[str, Any] | None) -> list[JSON]:
    """The inline buttons of a keyboard, row by row; none if it is of another kind."""
    rows = (reply_markup or {}).get("inline_keyboard", [])
    return [button for row in rows for button in row]


class History:
    """
    Every chat and message so far, as one `BotAPI` sees them.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.
    """

    def __init__(self) -> None:
        self.sent: list[SentMessage] = []
        self._chats: dict[int | str, JSON] = {}
        self._messages: dict[tuple[int, int], JSON] = {}
        self._last_ids: Counter[int] = Counter()
        self._places: dict[tuple[int, int], int] = {}

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

    def next_message_id(self, chat_id: int) -> int:
        """A number for a new message: one more than the latest in that chat, from 1."""
        self._last_ids[chat_id] += 1
        return self._last_ids[chat_id]

    def find(self, chat_id: int, message_id: int | None) -> JSON | None:
        """A message as it reads now, or `None` if there is none such or it was deleted."""
        return None if message_id is None else self._messages.get((chat_id, message_id))

    def remember(self, message: JSON) -> None:
        """Know a message, in place of its former version if there is one."""
        chat_id, message_id = message["chat"]["id"], message["message_id"]
        self._chats[chat_id] = message["chat"]
        self._last_ids[chat_id] = max(self._last_ids[chat_id], message_id)
        self._messages[chat_id, message_id] = message

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
        place = self._places.setdefault((sent.chat_id, sent.message_id), len(self.sent))
        self.sent[place : place + 1] = [sent]

    def forget(self, chat_id: int, message_id: int) -> None:
        """Delete a message from its chat; it stays in `sent`."""
        del self._messages[chat_id, message_id]


def _make_chat(chat_id: int) -> JSON:
    if chat_id > 0:
        return {"id": chat_id, "type": "private", "first_name": f"User {chat_id}"}
    kind = "supergroup" if str(chat_id).startswith("-100") else "group"
    return {"id": chat_id, "type": kind, "title": f"Group {chat_id}"}
