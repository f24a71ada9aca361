"""People who write to the bot, and the groups they meet it in."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from telesession.testing.history import SentMessage, inline_buttons
from telesession.testing.methods import without

if TYPE_CHECKING:
    from telesession.testing.bot_api import BotAPI

_COMMAND = re.compile(r"(?<!\S)/\w{1,32}(?:@\w+)?")


@dataclass(frozen=True)
class Group:
    """
    A group that the bot is in, made by `BotAPI.group`.

    Args:
        id: Its chat id, a negative number.
        json: The `Chat` as Telegram would send it.
    """

    id: int
    json: Mapping[str, Any] = field(repr=False)


class User:
    """
    A Telegram user who acts on the bot: each method is one update, pushed and returned.

    Args:
        api: The server whose bot gets the updates.
        user_id: The user's id, which is also the id of the private chat with the bot.
        profile: Further fields of https://core.telegram.org/bots/api#user, such as `username`;
            `first_name` has a default.
    """

    def __init__(self, api: BotAPI, user_id: int, **profile: Any) -> None:
        self._api = api
        self.id = user_id
        self.json = {"id": user_id, "is_bot": False, "first_name": f"User {user_id}", **profile}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(id={self.id})"

    def send(
        self,
        text: str,
        *,
        chat: Group | None = None,
        reply_to: Any = None,
        topic: int | None = None,
    ) -> dict[str, Any]:
        """
        Send a text message; a command is one that starts with `/`.

        Args:
            text: What the user typed.
            chat: The group to send it to, by default the private chat with the bot.
            reply_to: The message it answers: a `SentMessage`, an update that `send` returned, or
                telebot's `Message`.
            topic: The topic of a forum to send it to.
        """
        message = self._make_message(text, self._chat(chat))
        if topic is not None:
            message.update(message_thread_id=topic, is_topic_message=True)
        if reply_to is not None:
            message["reply_to_message"] = without(self._find(reply_to), "reply_to_message")
        return self._api.push({"message": message})

    def upgrade(self, group: Group, chat_id: int) -> Group:
        """
        Make a supergroup of a group, and return it.

        Telegram tells it in both chats: two updates are pushed, first that with
        `migrate_to_chat_id` in the group, then that with `migrate_from_chat_id` in the supergroup.

        Args:
            group: What it was until now.
            chat_id: The id of the supergroup; supergroups start with `-100`.
        """
        supergroup = self._api.group(chat_id, title=group.json.get("title"))
        for chat, told in (
            (group, {"migrate_to_chat_id": chat_id}),
            (supergroup, {"migrate_from_chat_id": group.id}),
        ):
            service = without(self._make_message("", chat.json), "text")
            self._api.push({"message": {**service, **told}})
        return supergroup

    def edit(self, message: Any, text: str) -> dict[str, Any]:
        """Edit a message that this user sent; `message` is the update that `send` returned."""
        former = without(self._find(message), "entities")
        edited = {**former, "text": text, "edit_date": int(time.time()), **_entities(text)}
        return self._api.push({"edited_message": edited})

    def press(self, message: Any, data: str) -> dict[str, Any]:
        """
        Press an inline button under a message.

        The button of an invoice begins a payment: a `pre_checkout_query` is pushed. Once the bot
        has agreed, the message with the `successful_payment` follows.

        Args:
            message: A `SentMessage` or telebot's `Message`; the buttons are those it has now.
            data: The `callback_data` of the button, or its label.

        Raises `ValueError` if there is no such button, or it has no `callback_data`.
        """
        shown = self._find(message)
        buttons = inline_buttons(shown.get("reply_markup"))
        if "invoice" in shown and any(b.get("pay") and b["text"] == data for b in buttons):
            return self._api.begin_payment(self.json, shown)
        query = {
            "id": _query_id(),
            "from": self.json,
            "message": shown,
            "chat_instance": str(shown["chat"]["id"]),
            "data": _find_data(buttons, data),
        }
        return self._api.push({"callback_query": query})

    def react(self, message: Any, emoji: str) -> dict[str, Any]:
        """Put an emoji under a message, in place of this user's former ones."""
        shown = self._find(message)
        reaction = {
            "chat": shown["chat"],
            "message_id": shown["message_id"],
            "user": self.json,
            "date": int(time.time()),
            "old_reaction": [],
            "new_reaction": [{"type": "emoji", "emoji": emoji}],
        }
        return self._api.push({"message_reaction": reaction})

    def inline(self, query: str) -> dict[str, Any]:
        """Type an inline query after the bot's name, in some chat."""
        payload = {"id": _query_id(), "from": self.json, "query": query, "offset": ""}
        return self._api.push({"inline_query": {**payload, "chat_type": "sender"}})

    def _chat(self, group: Group | None) -> Mapping[str, Any]:
        if group is not None:
            return group.json
        return {**without(self.json, "is_bot", "language_code"), "type": "private"}

    def _make_message(self, text: str, chat: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "message_id": self._api.next_message_id(chat["id"]),
            "from": self.json,
            "chat": dict(chat),
            "date": int(time.time()),
            "text": text,
            **_entities(text),
        }

    def _find(self, message: Any) -> dict[str, Any]:
        chat_id, message_id = _place(message)
        found = self._api.find_message(chat_id, message_id)
        if found is None:
            raise ValueError(
                f"there is no message {message_id} in chat {chat_id} to act on: it was deleted, "
                "or it belongs to another BotAPI"
            )
        return found


def _place(message: Any) -> tuple[int, int]:
    """The chat id and the message id of a message in any of its forms."""
    if isinstance(message, SentMessage):
        return message.chat_id, message.message_id
    if isinstance(message, Mapping):
        if "message_id" not in message:
            message = next(payload for payload in message.values() if isinstance(payload, Mapping))
        return message["chat"]["id"], message["message_id"]
    return message.chat.id, message.message_id


def _query_id() -> str:
    # Not from the clock: it may be frozen.
    return str(uuid4().int >> 65)


def _find_data(buttons: list[dict[str, Any]], data: str) -> str:
    for name in ("callback_data", "text"):
        for button in buttons:
            if button.get(name) == data and "callback_data" in button:
                return str(button["callback_data"])
    labels = [f"{button['text']} ({button.get('callback_data')})" for button in buttons]
    raise ValueError(
        f"there is no button {data!r} to press: the message has {', '.join(labels) or 'none'}"
    )


def _entities(text: str) -> dict[str, Any]:
    """The `entities` of a text: its commands; offsets and lengths count UTF-16 code units."""
    entities = [
        {"type": "bot_command", "offset": _utf16(text[: found.start()]), "length": len(found[0])}
        for found in _COMMAND.finditer(text)
    ]
    return {"entities": entities} if entities else {}


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
