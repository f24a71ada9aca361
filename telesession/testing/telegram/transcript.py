"""The conversation of a bot and its users, line by line. Failure messages show it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from telesession.testing.server.updates import payload_of
from telesession.testing.telegram.descriptions import describe, forward_mark
from telesession.testing.telegram.history import SentMessage, topic_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from telesession.testing.server.call import JSON, Call, RefusedError
    from telesession.testing.telegram.open_queries import OpenQueries

# Fields of other updates than messages that tell something.
_TOLD = ("query", "option_ids", "bio")

# Calls that are no part of a conversation.
_SILENT = frozenset({"getUpdates"})


class Transcript:
    """
    Writes down the updates of users, the messages of the bot, and the calls that were refused.

    Not safe to share between threads by itself: its `BotAPI` calls it under a lock.

    Args:
        queries: The queries that the bot has not answered; the last lines tell of them.
    """

    def __init__(self, queries: OpenQueries) -> None:
        self._queries = queries
        self._entries: list[tuple[Callable[..., str], Any]] = []

    def text(self, limit: int = 50) -> str:
        """
        The conversation as one text, and the lines about queries that are not answered.

        Args:
            limit: The greatest number of lines of the conversation; the latest ones are kept.
        """
        hidden = len(self._entries) - limit
        lines = [f"({hidden} lines before)"] if hidden > 0 else []
        lines += [line_of(*event) for line_of, event in self._entries[-limit:]]
        lines += self._queries.lines()
        return "\n".join(line.replace("\n", "\n    ") for line in lines)

    def add_update(self, update: JSON) -> None:
        """Write down an update of a user."""
        self._entries.append((_update_line, (update,)))

    def add_message(self, change: str, sent: SentMessage) -> None:
        """Write down that the bot has sent, edited or deleted a message."""
        self._entries.append((_message_line, (change, sent)))

    @contextmanager
    def vote(self, message: JSON, voter: JSON, options: Sequence[str | int]) -> Iterator[None]:
        """
        Write down a vote in one line, in place of all that is written down in the `with` block.

        Args:
            message: The message with the poll.
            voter: The field of the `poll_answer` that has the voter.
            options: The texts or the numbers of the options; none takes the vote back.
        """
        before = len(self._entries)
        yield
        self._entries[before:] = [(_vote_line, (message, voter, options))]

    def add_alert(self, user: JSON, text: str) -> None:
        """Write down that a user was shown a notice."""
        self._entries.append((_alert_line, (user, text)))

    def add_refusal(self, call: Call, refusal: RefusedError) -> None:
        """Write down that a call of the bot was refused."""
        if call.method not in _SILENT:
            self._entries.append((_refusal_line, (call, refusal)))


def _message_line(change: str, sent: SentMessage) -> str:
    action = "" if change == "sent" else f" ({change})"
    buttons = "".join(f" [{button['text']}]" for button in sent.buttons)
    receiver, chat = sent.json.get("receiver_user"), sent.json["chat"]
    only = f", only to {_name_of_account(receiver)}" if receiver else ""
    to = f" to {_name_of_account(chat)}" if chat["type"] == "private" else ""
    return f"bot{to}{_place_of(sent.json)}{only}{action}: {_describe_message(sent.json)}{buttons}"


def _vote_line(message: JSON, voter: JSON, options: Sequence[str | int]) -> str:
    texts = [one["text"] for one in message["poll"]["options"]]
    chosen = [texts[option] if isinstance(option, int) else option for option in options]
    act = f"votes: {', '.join(chosen)}" if chosen else "takes the vote back"
    return f"{_name_of_sender(voter)}{_place_of(message)} {act}"


def _alert_line(user: JSON, text: str) -> str:
    return f"bot shows {_name_of_account(user)}: {text}"


def _refusal_line(call: Call, refusal: RefusedError) -> str:
    return f"bot: {call.method} is refused: {refusal}"


def _update_line(update: JSON) -> str:
    kind, payload = payload_of(update)
    return " ".join(_describe_parts(kind, payload))


def _describe_parts(kind: str, payload: Mapping[str, Any]) -> Iterator[str]:
    """The words of the line of an update."""
    message = payload.get("message") if kind == "callback_query" else payload
    place = _place_of(message) if message and "chat" in message else ""
    yield f"{_name_of_sender(payload)}{place}:"
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
    if describe(message) != "(unknown)":
        return _describe_message(message)
    # A service message: the first field that is not of every message.
    known = {"message_id", "date", "chat", "from", "sender_chat", "message_thread_id"}
    return f"({next((name for name in message if name not in known), 'empty')})"


def _name_of_sender(payload: Mapping[str, Any]) -> str:
    for name in ("sender_chat", "from", "user", "voter_chat", "actor_chat"):
        if sender := payload.get(name):
            return _name_of_account(sender)
    return "Telegram"


def _name_of_account(sender: Mapping[str, Any]) -> str:
    """The name of a user or a chat, or else its id."""
    return str(sender.get("first_name") or sender.get("title") or sender.get("id"))


def _describe_message(message: Mapping[str, Any]) -> str:
    return f"{forward_mark(message)} {describe(message)}".lstrip()


def _place_of(message: Mapping[str, Any]) -> str:
    chat, topic = message["chat"], topic_of(message)
    place = "" if chat.get("type") == "private" else f" in {chat.get('title') or chat.get('id')}"
    return place if topic is None else f"{place}, topic {topic}"
