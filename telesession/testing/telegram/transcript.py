"""The conversation of a bot and its users, line by line, for failure messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from telesession.testing.telegram.descriptions import describe
from telesession.testing.telegram.history import SentMessage, topic_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from telesession.testing.server.call import JSON, Call, RefusedError

# Fields of other updates than messages that tell something.
_TOLD = ("query", "option_ids", "bio")

# Calls that are no part of a conversation.
_SILENT = frozenset({"getUpdates"})


class Transcript:
    """
    Writes down the updates of users, the messages of the bot, and the calls that were refused.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[Callable[..., str], Any]] = []

    def text(self, limit: int = 50) -> str:
        """The latest lines, at most so many, as one text; empty if there are none."""
        hidden = len(self._entries) - limit
        lines = [f"({hidden} lines before)"] if hidden > 0 else []
        lines += [line_of(*event) for line_of, event in self._entries[-limit:]]
        return "\n".join(line.replace("\n", "\n    ") for line in lines)

    def add_update(self, update: JSON) -> None:
        """Write down an update of a user."""
        self._entries.append((_update_line, (update,)))

    def add_message(self, change: str, sent: SentMessage) -> None:
        """Write down that the bot has sent, edited or deleted a message."""
        self._entries.append((_message_line, (change, sent)))

    def add_alert(self, user_id: int, text: str) -> None:
        """Write down that a user was shown a notice."""
        self._entries.append((_alert_line, (user_id, text)))

    def add_refusal(self, call: Call, refusal: RefusedError) -> None:
        """Write down that a call of the bot was refused."""
        if call.method not in _SILENT:
            self._entries.append((_refusal_line, (call, refusal)))


def _message_line(change: str, sent: SentMessage) -> str:
    action = "" if change == "sent" else f" ({change})"
    buttons = "".join(f" [{button['text']}]" for button in sent.buttons)
    to = "" if sent.receiver_id is None else f", only to user {sent.receiver_id}"
    chat = "" if sent.json["chat"].get("type") != "private" else f" to {sent.chat_id}"
    return f"bot{chat}{_place_of(sent.json)}{to}{action}: {describe(sent.json)}{buttons}"


def _alert_line(user_id: int, text: str) -> str:
    return f"bot shows user {user_id}: {text}"


def _refusal_line(call: Call, refusal: RefusedError) -> str:
    return f"bot: {call.method} is refused: {refusal}"


def _update_line(update: JSON) -> str:
    [(kind, payload)] = [item for item in update.items() if item[0] != "update_id"]
    return " ".join(_words_of(kind, payload))


def _words_of(kind: str, payload: Mapping[str, Any]) -> Iterator[str]:
    """The words of the line of an update."""
    message = payload.get("message") if kind == "callback_query" else payload
    place = _place_of(message) if message and "chat" in message else ""
    yield f"{_name_of(payload)}{place}:"
    if kind == "callback_query":
        yield f"presses {payload.get('data') or payload.get('game_short_name')!r}"
    elif "message_id" in payload and "date" in payload and "new_reaction" not in payload:
        if kind.startswith("edited"):
            yield "(edited)"
        yield _content_of(payload)
    elif kind == "poll":
        yield describe({"poll": payload})
    else:
        yield f"({kind})"
        yield from (str(payload[name]) for name in _TOLD if name in payload)


def _content_of(message: Mapping[str, Any]) -> str:
    words = describe(message)
    if words != "(unknown)":
        return words
    # A service message: the first field that is not of every message.
    known = {"message_id", "date", "chat", "from", "sender_chat", "message_thread_id"}
    return f"({next((name for name in message if name not in known), 'empty')})"


def _name_of(payload: Mapping[str, Any]) -> str:
    for name in ("sender_chat", "from", "user", "voter_chat", "actor_chat"):
        if sender := payload.get(name):
            return str(sender.get("first_name") or sender.get("title") or sender.get("id"))
    return "Telegram"


def _place_of(message: Mapping[str, Any]) -> str:
    chat, topic = message["chat"], topic_of(message)
    place = "" if chat.get("type") == "private" else f" in {chat.get('title') or chat.get('id')}"
    return place if topic is None else f"{place}, topic {topic}"
