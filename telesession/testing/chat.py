"""A chat with a bot in the terminal, without a token and without a network."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from telebot import util

from telesession.testing.commands import Commands
from telesession.testing.polling import run_polling
from telesession.testing.reports import Reports
from telesession.testing.screen import Screen

if TYPE_CHECKING:
    from telebot import TeleBot

OFFLINE_TOKEN = "1:offline"  # noqa: S105
"""A token of the right form, for a bot that never talks to the real Telegram."""


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
    `(notice)`, `(to 42)` or `(topic 7)` where that matters, and its keyboard below. Inline buttons
    have numbers; a reply keyboard has a frame, and typing a label presses its button. Below it is
    what a button sends if that is not its label. After a line to which the bot says nothing, the
    chat prints `(no answer)`.

    An exception of a handler is printed after a `!` with the file and the line, even if the
    bot's `exception_handler` handles it, and the chat goes on. Calls inside telebot and inside
    this library are left out. An exception in a record of telebot's logger is printed likewise.
    A record of this library's logger, from `WARNING` on, is a line such as `! WARNING ...`.

    In a terminal the prompt is `> `, and later names the place, such as `42 in -100, topic 7 > `.

    A few lines are commands of the chat:

    - `/as 42` goes on as user 42, `/in -100` in a group and `/in private` in the private chat
      again. `/topic 7` goes to a topic of the chat, and `/topic` alone out of it.
    - `/press Yes` presses an inline button of the latest message that has any, or a button of the
      open reply keyboard. Label and `callback_data` may be written in upper or lower case. A
      number counts the buttons of the later one of the two messages. If the bot does not call
      `answer_callback_query`, the chat says so.
    - `/reply text` answers the latest message of the bot.
    - `/send photo` sends a photo, and so do `album`, `document`, `voice`, `contact` and
      `location`. Behind the first three may stand a caption. With another word the line goes to
      the bot, if a handler of it names the command `send`.
    - `/request -100` asks to join a group, and `/invite 42` adds a user to the group.

    A line that starts with `//` is sent without its first slash.

    Args:
        bot: The bot, with any token: it talks to a `BotAPI` of its own.
        user_id: The first user's id.
        hint: A line that says what to type. It is printed first, if the input is a terminal.
        stdin: The source of the lines, by default `sys.stdin`.
        stdout: The place to print to, by default `sys.stdout`.
    """
    screen = Screen(stdout or sys.stdout)
    try:
        with screen, Reports(bot, screen.write) as reports, run_polling(bot, screen) as polling:
            commands = Commands(
                bot,
                stdin or sys.stdin,
                screen,
                polling=polling,
                reports=reports,
                user_id=user_id,
            )
            commands.run(hint)
    except KeyboardInterrupt:
        screen.write("")
