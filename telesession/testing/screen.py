"""The output of a chat in the terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TextIO

from telesession.testing.bot_api import BotAPI
from telesession.testing.buttons import reply_buttons
from telesession.testing.history import Address, topic_of
from telesession.testing.keyboards import draw_markup, labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telesession.testing.call import JSON, Call
    from telesession.testing.history import SentMessage


# The methods whose answer is the number of a message and not the message.
_COPY = ("copyMessage", "copyMessages")


class Screen(BotAPI):
    """
    A `BotAPI` that prints what the bot sends, as one user sees it in one chat.

    `look` sets the user and the chat. Messages to other chats are printed with a mark.
    """

    def __init__(self, stdout: TextIO) -> None:
        # A bot must not take the updates and messages of this chat for those of an earlier one: its
        # inbox and its questions may be in a file.
        now = time.time_ns() // 1_000_000
        super().__init__(last_update_id=now, last_message_id=now)
        self.user_id = 0
        self.chat_id = 0
        self.topic: int | None = None
        # How many lines were written; tells whether the bot has said anything.
        self.count = 0
        # (chat id, topic) -> the message with the reply keyboard, and the one that wants a reply
        self._keyboards: dict[tuple[int, int | None], JSON] = {}
        self._reply_to: dict[tuple[int, int | None], JSON] = {}
        # The prompt that waits for a line, or nothing.
        self.prompt = ""
        self._stdout = stdout

    def look(self, user_id: int, chat_id: int, topic: int | None) -> None:
        """Show a chat, or one topic of it, as a user sees it."""
        self.user_id, self.chat_id, self.topic = user_id, chat_id, topic

    def keyboard_with(self, label: str) -> JSON | None:
        """The message whose reply keyboard is open in the chat, if a button has this label."""
        message = self._keyboards.get((self.chat_id, self.topic))
        if message is None or not self._is_there(message):
            return None
        return message if label in labels(self.markup_of(message)) else None

    def with_buttons(self) -> Iterator[SentMessage]:
        """The open reply keyboard and the latest message with inline buttons, the latest first."""
        keyboard = self._keyboards.get((self.chat_id, self.topic))
        open_at = None if keyboard is None else Address.of(keyboard)
        is_latest = True
        for message in self.seen():
            if message.buttons:
                if is_latest:
                    yield message
                is_latest = False
            elif Address.of(message.json) == open_at and reply_buttons(message.reply_markup or {}):
                yield message

    def take_reply_to(self) -> JSON | None:
        """The message that wants the user's next message to be a reply, for the first time."""
        message = self._reply_to.pop((self.chat_id, self.topic), None)
        return message if message is not None and self._is_there(message) else None

    def seen(self) -> Iterator[SentMessage]:
        """The messages of the bot that the user sees in this chat, the latest first."""
        for message in reversed(self.messages):
            is_here = (message.chat_id, message.topic) == (self.chat_id, self.topic)
            is_for_user = message.receiver_id in {None, self.user_id}
            if is_here and is_for_user and self._is_there(message.json):
                yield message

    def write(self, *lines: str) -> None:
        """Print lines of the bot or the chat, above the prompt if it waits."""
        self.count += len(lines)
        shown = "".join(f"{line}\n" for line in lines)
        self.print(f"\n{shown}{self.prompt}" if self.prompt else shown)

    def print(self, text: str) -> None:
        """Print a text that does not count."""
        try:
            self._stdout.write(text)
        except UnicodeEncodeError:
            # A terminal that cannot show an emoji is no reason to end the chat.
            encoding = self._stdout.encoding or "ascii"
            self._stdout.write(text.encode(encoding, "replace").decode(encoding))
        self._stdout.flush()

    def answer(self, call: Call) -> Any:
        """Answer a call as a `BotAPI` does, and print the message or the notice in it."""
        count = len(self.messages)
        result = super().answer(call)
        if call.method in _COPY:
            for sent in self.messages[count:]:
                self._show_message(call, dict(sent.json))
        elif isinstance(result, dict) and "message_id" in result:
            self._show_message(call, result)
        elif call.method == "answerCallbackQuery" and call.params.get("text"):
            kind = "alert" if call.flag("show_alert") else "notice"
            self.write(f"({kind}) {call.params['text']}")
        return result

    def _is_there(self, message: Mapping[str, Any]) -> bool:
        """Whether a message was not deleted."""
        return self.find(Address.of(message)) is not None

    def _show_message(self, call: Call, message: JSON) -> None:
        receiver = message.get("receiver_user", {}).get("id", self.user_id)
        if receiver != self.user_id:
            self.write(f"(a message that only user {receiver} sees)")
            return
        text = message.get("text") or message.get("caption") or f"({_kind_of(call, message)})"
        markup = call.json("reply_markup") or message.get("reply_markup") or {}
        rows = (f"  {row}" for row in draw_markup(markup))
        self.write(" ".join([*self._marks(message), text]), *rows)
        self._remember(message, markup)

    def _marks(self, message: JSON) -> Iterator[str]:
        topic = topic_of(message)
        if message["chat"]["id"] != self.chat_id:
            yield f"(to {message['chat']['id']})"
        elif topic != self.topic:
            yield "(no topic)" if topic is None else f"(topic {topic})"
        if "receiver_user" in message:
            yield "(only you see this)"
        if "edit_date" in message:
            yield "(edited)"

    def _remember(self, message: JSON, markup: JSON) -> None:
        """Do what a Telegram client does about a keyboard at the bottom of the chat."""
        place = message["chat"]["id"], topic_of(message)
        if "keyboard" in markup or markup.get("remove_keyboard"):
            self._keyboards[place] = message
        if markup.get("force_reply"):
            self._reply_to[place] = message


def _kind_of(call: Call, message: JSON) -> str:
    """The kind of a message without text."""
    if call.method not in _COPY:
        return call.method.removeprefix("send").lower()
    fields = ("from", "chat", "date", "message_id")
    return next(name for name in message if name not in fields)
