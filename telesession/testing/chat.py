"""A chat with a bot in the terminal, without a token and without a network."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from telebot import util

from telesession.testing.bot_api import BotAPI
from telesession.testing.history import SentMessage, inline_buttons
from telesession.testing.polling import Polling, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telebot import TeleBot

    from telesession.testing.call import JSON, Call
    from telesession.testing.users import Group

#: A token that telebot takes for one, for a bot that never meets the real Telegram.
OFFLINE_TOKEN = "1:offline"  # noqa: S105

_HINT = (
    "/as 42: be user 42   /in -100: go to a group   /in private: come back   "
    "/press Yes: press a button   /quit: end   //quit: say /quit to the bot\n"
)


def run(bot: TeleBot) -> None:
    """
    Run a bot: in Telegram if the environment variable `BOT_TOKEN` is set, else in the terminal.

    Meant for the last line of a program whose bot was made with
    `TeleBot(os.environ.get("BOT_TOKEN", OFFLINE_TOKEN))`. See `chat` for the terminal.
    """
    if os.environ.get("BOT_TOKEN"):
        bot.infinity_polling(allowed_updates=util.update_types)
    else:
        chat(bot)


def chat(
    bot: TeleBot, user_id: int = 1, *, stdin: TextIO | None = None, stdout: TextIO | None = None
) -> None:
    """
    Chat with a bot in the terminal until `/quit`, the end of the input or Ctrl-C.

    Each line is sent to the bot as a message, once the bot has finished with the line before.
    What the bot sends is printed as it comes: a reply as it is, in front of it `(edited)`,
    `(notice)` or `(to 42)` where that matters, and its inline buttons below. What a handler
    raises is printed too, after a `!`, and the chat goes on.

    A few lines are not sent: `/as 42` goes on as user 42, `/in -100` in a group and `/in private`
    in the private chat again, and `/press Yes` presses a button of the latest message that has
    any, named by its label, its `callback_data` or its number. A line that starts with `//` is
    sent without its first slash.

    Args:
        bot: The bot, with any token: it talks to a `BotAPI` of its own.
        user_id: Who is chatting at first.
        stdin: Where lines come from, by default `sys.stdin`.
        stdout: Where to print, by default `sys.stdout`.
    """
    screen = _Screen(stdout or sys.stdout)
    try:
        with screen, run_polling(bot, screen) as polling:
            _Keyboard(stdin or sys.stdin, screen, polling, user_id).run()
    except KeyboardInterrupt:
        screen.write("")


class _Screen(BotAPI):
    """A `BotAPI` that prints what the bot sends."""

    def __init__(self, stdout: TextIO) -> None:
        super().__init__()
        self.stdout = stdout
        self.chat_id = 0

    def write(self, line: str) -> None:
        self.stdout.write(f"{line}\n")
        self.stdout.flush()

    def answer(self, call: Call) -> Any:
        result = super().answer(call)
        if isinstance(result, dict) and "message_id" in result:
            self._show_message(call, result)
        elif call.method == "answerCallbackQuery" and call.params.get("text"):
            kind = "alert" if call.flag("show_alert") else "notice"
            self.write(f"({kind}) {call.params['text']}")
        return result

    def _show_message(self, call: Call, message: JSON) -> None:
        marks = []
        if message["chat"]["id"] != self.chat_id:
            marks.append(f"(to {message['chat']['id']})")
        if "edit_date" in message:
            marks.append("(edited)")
        kind = call.method.removeprefix("send").lower()
        text = message.get("text") or message.get("caption") or f"({kind})"
        self.write(" ".join([*marks, text]))
        for row in _label_rows(call.json("reply_markup") or {}):
            self.write(f"  {row}")


class _Keyboard:
    """Reads lines and does what they say."""

    def __init__(self, stdin: TextIO, screen: _Screen, polling: Polling, user_id: int) -> None:
        self._stdin = stdin
        self._screen = screen
        self._polling = polling
        self._user = screen.user(user_id)
        self._group: Group | None = None
        self._commands: dict[str, Callable[[str], object]] = {
            "/as": self._be,
            "/in": self._go,
            "/press": self._press,
        }

    def run(self) -> None:
        self._look()
        for line in self._lines():
            try:
                self._obey(line)
            except ValueError as error:
                self._screen.write(f"! {error}")
            try:
                self._polling.wait_idle(timeout=None)
            except RuntimeError as error:
                self._screen.write(f"! {error}")
                return
            finally:
                self._show_exceptions()

    def _lines(self) -> Iterator[str]:
        prompt = self._stdin.isatty()
        self._prompt(_HINT if prompt else "")
        while line := self._read("> " if prompt else ""):
            if line.strip() == "/quit":
                return
            if line.strip():
                yield line.strip()

    def _read(self, prompt: str) -> str:
        self._prompt(prompt)
        return self._stdin.readline()

    def _prompt(self, text: str) -> None:
        self._screen.stdout.write(text)
        self._screen.stdout.flush()

    def _obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if command := self._commands.get(word):
            command(rest.strip())
        else:
            text = line[1:] if line.startswith("//") else line
            self._user.send(text, chat=self._group)

    def _be(self, user_id: str) -> None:
        self._user = self._screen.user(_parse_id(user_id, "/as 42"))
        self._look()

    def _go(self, chat_id: str) -> None:
        if chat_id == "private":
            self._group = None
        else:
            self._group = self._screen.group(-abs(_parse_id(chat_id, "/in -100 or /in private")))
        self._look()

    def _press(self, choice: str) -> None:
        for message in reversed(self._screen.messages):
            if message.chat_id == self._screen.chat_id and message.buttons:
                self._user.press(message, _choose(message, choice))
                return
        raise ValueError("there is no button in this chat to press")

    def _look(self) -> None:
        self._screen.chat_id = self._user.id if self._group is None else self._group.id

    def _show_exceptions(self) -> None:
        exceptions = self._polling.exceptions
        while exceptions:
            error = exceptions.pop(0)
            self._screen.write(f"! {type(error).__name__}: {error}")


def _parse_id(text: str, usage: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"write it like this: {usage}") from None


def _choose(message: SentMessage, choice: str) -> str:
    """The `callback_data` or label that is meant, if the choice is a button's number."""
    buttons = message.buttons
    names = {button.get(name) for button in buttons for name in ("callback_data", "text")}
    if choice in names or not choice.isdecimal() or not 0 < int(choice) <= len(buttons):
        return choice
    button = buttons[int(choice) - 1]
    return str(button.get("callback_data", button["text"]))


def _label_rows(markup: JSON) -> Iterator[str]:
    """The buttons under a message as they are printed; inline ones with their numbers."""
    if numbered := inline_buttons(markup):
        yield "  ".join(f"[{number}] {b['text']}" for number, b in enumerate(numbered, start=1))
    for row in markup.get("keyboard", []):
        yield "  ".join(f"[{button['text']}]" for button in row)
