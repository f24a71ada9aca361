"""The output of a chat in the terminal."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, TextIO

from telesession.testing.bot_api import BotAPI
from telesession.testing.people.buttons import reply_buttons
from telesession.testing.telegram.descriptions import describe, forward_mark
from telesession.testing.telegram.history import Address, topic_of
from telesession.testing.telegram.prices import price
from telesession.testing.terminal.drawing import draw_album, draw_message
from telesession.testing.terminal.keyboards import draw_markup, labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telesession.testing.server.call import JSON, Call
    from telesession.testing.telegram.history import SentMessage

# The calls that refuse a payment if they are not `ok`.
_REFUSALS = ("answerPreCheckoutQuery", "answerShippingQuery")


class Screen(BotAPI):
    """
    A `BotAPI` that prints the messages of the bot, as one user sees them in one chat.

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
        #: Whether the output can be read; false once its reader, such as `head`, has ended.
        self.is_read = True
        self._stdout = stdout
        # The messages of an album that is being sent.
        self._album: list[SentMessage] = []
        self._history.listeners.append(self._show_change)
        self._history.removal_listeners.append(self._show_removal)
        self._updates.listeners.append(self._show_update)

    def look(self, user_id: int, chat_id: int, topic: int | None) -> None:
        """Show a chat, or one topic of it, as a user sees it."""
        self.user_id, self.chat_id, self.topic = user_id, chat_id, topic

    def keyboard_with(self, label: str) -> JSON | None:
        """The message whose reply keyboard is open in the chat, if a button has this label."""
        message = self._keyboards.get((self.chat_id, self.topic))
        if message is None or not self._is_visible(message):
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
        """The message that asks for a reply, once: `None` if it was given before."""
        message = self._reply_to.pop((self.chat_id, self.topic), None)
        return message if message is not None and self._is_visible(message) else None

    def seen(self) -> Iterator[SentMessage]:
        """The messages of the bot that the user sees in this chat, the latest first."""
        return (one for one in self._readable() if self._is_in_place(one))

    def buttons_elsewhere(self) -> SentMessage | None:
        """The latest message with inline buttons that is in another chat or topic, if any."""
        return next(
            (one for one in self._readable() if one.buttons and not self._is_in_place(one)), None
        )

    def write(self, *lines: str) -> None:
        """Print lines of the bot or the chat, above the prompt if it waits."""
        self.count += len(lines)
        shown = "".join(f"{line}\n" for line in lines)
        self.print(f"\n{shown}{self.prompt}" if self.prompt else shown)

    def print(self, text: str) -> None:
        """Print a text that does not count."""
        try:
            self._write(text)
        except BrokenPipeError:
            self.is_read = False
            # Else Python would try to write the rest at its end, and complain.
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), self._stdout.fileno())

    def _write(self, text: str) -> None:
        try:
            self._stdout.write(text)
        except UnicodeEncodeError:
            # A terminal that cannot show an emoji is no reason to end the chat.
            encoding = self._stdout.encoding or "ascii"
            self._stdout.write(text.encode(encoding, "replace").decode(encoding))
        self._stdout.flush()

    def take_unanswered(self) -> list[str]:
        """The lines about queries that the bot has not answered, each once."""
        with self._changed:
            lines = self._queries.lines()
            self._queries.clear()
        return lines

    def answer(self, call: Call) -> Any:
        """Answer a call as a `BotAPI` does, and print the notice in it."""
        try:
            result = super().answer(call)
        finally:
            self._end_album()
        if call.method == "answerCallbackQuery" and call.params.get("text"):
            kind = "alert" if call.flag("show_alert") else "notice"
            self.write(f"({kind}) {call.params['text']}")
        elif call.method in _REFUSALS and not call.flag("ok"):
            self.write(f"(alert) {call.params.get('error_message', '')}")
        return result

    def _readable(self) -> Iterator[SentMessage]:
        """The messages of the bot in all chats but those that only others see, the latest first."""
        for message in reversed(self.messages):
            if message.receiver_id in {None, self.user_id} and self._is_visible(message.json):
                yield message

    def _is_in_place(self, message: SentMessage) -> bool:
        return (message.chat_id, message.topic) == (self.chat_id, self.topic)

    def _is_visible(self, message: Mapping[str, Any]) -> bool:
        """Whether a message was not deleted."""
        return self.find(Address.of(message)) is not None

    def _show_change(self, change: str, sent: SentMessage) -> None:
        """Print a message that the bot has sent, edited or deleted."""
        if sent.receiver_id not in {None, self.user_id}:
            self.write(f"(a message that only user {sent.receiver_id} sees)")
        elif change == "deleted":
            self._show(sent.json, [describe(sent.json)], "(deleted)")
        elif change == "sent" and sent.media_group_id:
            self._album.append(sent)
        else:
            markup = sent.reply_markup or {}
            rows = (f"  {row}" for row in draw_markup(markup))
            # A vote changes a poll, too, and the poll shows the votes.
            mark = "(edited)" if change == "edited" and "poll" not in sent.json else ""
            self._show(sent.json, [*draw_message(sent.json), *rows], mark)
            self._remember(dict(sent.json), markup)

    def _end_album(self) -> None:
        """Print the album that a call has sent, if there is one."""
        album, self._album = self._album, []
        if album:
            self._show(album[0].json, draw_album(album))

    def _show_removal(self, message: JSON) -> None:
        """Print a message of a user that the bot has deleted."""
        self._show(message, [describe(message)], "(deleted)")

    def _show_update(self, update: JSON) -> None:
        """Print a payment that Telegram tells the bot of."""
        message = update.get("message", {})
        if paid := message.get("successful_payment"):
            self.write(f"({self._payer(message['from'])} paid {_price_of(paid)})")
        if refunded := message.get("refunded_payment"):
            self.write(f"({self._payer(message['from'])} got {_price_of(refunded)} back)")

    def _show(self, message: Mapping[str, Any], lines: list[str], mark: str = "") -> None:
        """Print the lines of a message, with marks in front of the first one."""
        marks = [*self._marks(message), *([mark] if mark else [])]
        self.write(" ".join([*marks, lines[0]]), *lines[1:])

    def _marks(self, message: Mapping[str, Any]) -> Iterator[str]:
        topic = topic_of(message)
        if message["chat"]["id"] != self.chat_id:
            yield f"(to {message['chat']['id']})"
        elif topic != self.topic:
            yield "(no topic)" if topic is None else f"(topic {topic})"
        if "receiver_user" in message:
            yield "(only you see this)"
        if mark := forward_mark(message):
            yield mark

    def _payer(self, user: JSON) -> str:
        return "you" if user["id"] == self.user_id else f"user {user['id']}"

    def _remember(self, message: JSON, markup: Mapping[str, Any]) -> None:
        """Show or remove the keyboard at the bottom of the chat, as a Telegram client does."""
        place = message["chat"]["id"], topic_of(message)
        if "keyboard" in markup or markup.get("remove_keyboard"):
            self._keyboards[place] = message
        if markup.get("force_reply"):
            self._reply_to[place] = message


def _price_of(payment: JSON) -> str:
    return price(payment["total_amount"], payment["currency"])
