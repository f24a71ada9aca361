"""A chat with a bot in the terminal, without a token and without a network."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self, TextIO

import telebot
from telebot import util

from telesession.testing.bot_api import BotAPI
from telesession.testing.explain import explain
from telesession.testing.keyboards import draw_markup, labels
from telesession.testing.polling import Polling, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telebot import TeleBot

    from telesession.testing.call import JSON, Call
    from telesession.testing.chats import Group
    from telesession.testing.history import SentMessage

OFFLINE_TOKEN = "1:offline"  # noqa: S105
"""A token of the right form, for a bot that never talks to the real Telegram."""

_COMMANDS = """\
What you type goes to the bot, except for these lines:
  /as 42        go on as user 42        /press Yes   press a button
  /in -100      go to a group           //quit       say /quit to the bot
  /in private   go back                 /quit        end the chat
"""


def run(bot: TeleBot, *, hint: str = "") -> None:
    """
    Run a bot: in Telegram if the environment variable `BOT_TOKEN` is set, else in the terminal.

    Meant for the last line of a program whose bot was made with
    `TeleBot(os.environ.get("BOT_TOKEN", OFFLINE_TOKEN))`. See `chat` for the terminal.
    """
    if os.environ.get("BOT_TOKEN"):
        bot.infinity_polling(allowed_updates=util.update_types)
    else:
        chat(bot, hint=hint)


def chat(
    bot: TeleBot,
    user_id: int = 1,
    *,
    hint: str = "",
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
) -> None:
    """
    Chat with a bot in the terminal until `/quit`, the end of the input or Ctrl-C.

    Each line is sent to the bot as a message, once the bot has finished with the line before.
    The bot's messages are printed as they come: a text as it is, in front of it `(edited)`,
    `(notice)` or `(to 42)` where that matters, and its keyboard below. Inline buttons have
    numbers; a reply keyboard has a frame, and typing a label presses its button. After a line
    to which the bot says nothing, the chat prints `(no answer)`.

    An exception of a handler is printed after a `!` with the file and the line, even if the
    bot's `exception_handler` handles it, and the chat goes on. Calls inside telebot and inside
    this library are left out. An exception in a record of telebot's logger is printed likewise.

    A few lines are not sent: `/as 42` goes on as user 42, `/in -100` in a group and `/in private`
    in the private chat again, and `/press Yes` presses a button of the latest message that has
    any, named by its label, its `callback_data` or its number. A line that starts with `//` is
    sent without its first slash.

    Args:
        bot: The bot, with any token: it talks to a `BotAPI` of its own.
        user_id: The first user's id.
        hint: A line that says what to type. It is printed first, if the input is a terminal.
        stdin: The source of the lines, by default `sys.stdin`.
        stdout: The place to print to, by default `sys.stdout`.
    """
    screen = _Screen(stdout or sys.stdout)
    try:
        with screen, _Reports(bot) as reports, run_polling(bot, screen) as polling:
            _Keyboard(stdin or sys.stdin, screen, polling, reports, user_id).run(hint)
    except KeyboardInterrupt:
        screen.write("")


class _Reports:
    """
    Keeps the exceptions of a bot's handlers for the screen, whether the bot handles them or not.

    From entering to leaving it stands before the bot's `exception_handler`, and takes the
    exceptions that telebot's logger would print.
    """

    def __init__(self, bot: TeleBot) -> None:
        self.exceptions: list[Exception] = []
        self._bot: Any = bot
        self._former: Any = bot.exception_handler

    def handle(self, exception: Exception) -> bool:
        """Keep an exception and ask the bot's own handler; called by telebot."""
        try:
            if self._former is not None:
                self._former.handle(exception)
        except Exception as error:  # noqa: BLE001 -- shown, with the first one as its context
            exception = error
        self._keep(exception)
        return True

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the exception of a record, which then is not logged; called by `logging`."""
        error = record.exc_info and record.exc_info[1]
        if not isinstance(error, Exception):
            return True
        self._keep(error)
        return False

    def _keep(self, error: Exception) -> None:
        # An exception handler logs what it was given.
        if not any(error is kept for kept in self.exceptions):
            self.exceptions.append(error)

    def __enter__(self) -> Self:
        self._bot.exception_handler = self
        telebot.logger.addFilter(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._bot.exception_handler = self._former
        telebot.logger.removeFilter(self)


class _Screen(BotAPI):
    """A `BotAPI` that prints what the bot sends."""

    def __init__(self, stdout: TextIO) -> None:
        # A bot with an inbox must not take the updates of this chat for those of an earlier one.
        super().__init__(last_update_id=time.time_ns() // 1_000_000)
        self.chat_id = 0
        # How many lines were written; tells whether the bot has said anything.
        self.count = 0
        # By chat: the labels of its reply keyboard, and the message that wants a reply.
        self.labels: dict[int, list[str]] = {}
        self.reply_to: dict[int, JSON] = {}
        # The prompt that waits for a line, or nothing.
        self.prompt = ""
        self._stdout = stdout

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
        markup = call.json("reply_markup") or message.get("reply_markup") or {}
        self.write(" ".join([*marks, text]), *(f"  {row}" for row in draw_markup(markup)))
        self._remember(message, markup)

    def _remember(self, message: JSON, markup: JSON) -> None:
        """Do what a Telegram client does about a keyboard at the bottom of the chat."""
        chat_id = message["chat"]["id"]
        if "keyboard" in markup or markup.get("remove_keyboard"):
            self.labels[chat_id] = labels(markup)
        if markup.get("force_reply"):
            self.reply_to[chat_id] = message


class _Keyboard:
    """Reads lines and does what they say."""

    def __init__(
        self,
        stdin: TextIO,
        screen: _Screen,
        polling: Polling,
        reports: _Reports,
        user_id: int,
    ) -> None:
        self._stdin = stdin
        self._screen = screen
        self._polling = polling
        self._exceptions = reports.exceptions
        self._user = screen.user(user_id)
        self._group: Group | None = None
        self._commands: dict[str, Callable[[str], object]] = {
            "/as": self._be,
            "/in": self._go,
            "/press": self._press,
        }

    def run(self, hint: str) -> None:
        """Read and obey until the end; a terminal gets the hint and the commands first."""
        self._look()
        prompt = self._stdin.isatty()
        if prompt:
            self._screen.print(f"{hint}\n\n{_COMMANDS}" if hint else _COMMANDS)
        for line in self._lines("> " if prompt else ""):
            before = self._screen.count
            try:
                sent = self._obey(line)
            except ValueError as error:
                sent = False
                self._screen.write(f"! {error}")
            try:
                self._polling.wait_idle(timeout=None)
            except RuntimeError as error:
                self._screen.write(f"! {error}")
                return
            finally:
                self._show_exceptions()
            if sent and before == self._screen.count:
                self._screen.write("(no answer)")

    def _lines(self, prompt: str) -> Iterator[str]:
        while line := self._read(prompt):
            if line.strip() == "/quit":
                return
            if line.strip():
                yield line.strip()
        # Else the shell would go on in the line of the prompt.
        self._screen.print("\n" if prompt else "")

    def _read(self, prompt: str) -> str:
        self._screen.print(prompt)
        self._screen.prompt = prompt
        try:
            return self._stdin.readline()
        finally:
            self._screen.prompt = ""

    def _obey(self, line: str) -> bool:
        """Do what a line says, and return whether the bot has got something."""
        word, _, rest = line.partition(" ")
        if command := self._commands.get(word):
            command(rest.strip())
            return word == "/press"
        self._say(line[1:] if line.startswith("//") else line)
        return True

    def _say(self, text: str) -> None:
        reply_to = self._screen.reply_to.pop(self._screen.chat_id, None)
        self._user.send(text, chat=self._group, reply_to=reply_to)

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
        chat_id = self._screen.chat_id
        if choice in self._screen.labels.get(chat_id, []):
            self._say(choice)
            return
        for message in reversed(self._screen.messages):
            if message.chat_id == chat_id and message.buttons:
                self._user.press(message, _choose(message, choice))
                return
        raise ValueError("there is no button in this chat to press")

    def _look(self) -> None:
        self._screen.chat_id = self._user.id if self._group is None else self._group.id

    def _show_exceptions(self) -> None:
        while self._exceptions:
            lines = explain(self._exceptions.pop(0))
            self._screen.write(*(f"! {line}" for line in lines))


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
