"""A chat with a bot in the terminal, without a token and without a network."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from telebot import util

from telesession.testing.polling import run_polling
from telesession.testing.terminal.commands import Commands
from telesession.testing.terminal.reports import Reports
from telesession.testing.terminal.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from telebot import TeleBot

OFFLINE_TOKEN = "123456:offline"  # noqa: S105
"""A token of the right form for a bot that never talks to the real Telegram."""


def run(bot: TeleBot, *, hint: str = "", setup: Callable[[], object] | None = None) -> None:
    """
    Run a bot: in Telegram if the environment variable `BOT_TOKEN` is set, else in the terminal.

    Meant for the last line of a program whose bot was made with
    `TeleBot(os.environ.get("BOT_TOKEN", OFFLINE_TOKEN))`. See `chat` for the terminal and for the
    options. `setup` is called in Telegram, too.
    """
    if os.environ.get("BOT_TOKEN"):
        if setup is not None:
            setup()
        bot.infinity_polling(allowed_updates=util.update_types)
    else:
        chat(bot, hint=hint, setup=setup)


def chat(
    bot: TeleBot,
    user_id: int = 1,
    *,
    hint: str = "",
    setup: Callable[[], object] | None = None,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
) -> None:
    """
    Chat with a bot in the terminal until `/quit`, the end of the input or Ctrl-C.

    It ends, too, if the program that reads the output has ended, such as `head`.

    A terminal first gets the hint, the commands of the chat and those of the bot: the list that it
    has set for the user with `set_my_commands`, or else the names in its handlers.

    Each line is sent to the bot as a message, once the bot has finished with the line before.
    The bot's messages are printed as they come: a text as it is, in front of it `(edited)`,
    `(deleted)`, `(notice)`, `(forwarded from Ada)`, `(to 42)` or `(topic 7)` where that matters,
    and its keyboard below. Other contents have their kind in front, such as `(photo)`. An album is
    one message. A poll is printed again when its votes have changed. Inline buttons have numbers;
    a reply keyboard has a frame, and typing a label presses its button. If a button sends something
    else than its label, that is printed below. After a line to which the bot says nothing, the chat
    prints `(no answer)`.

    An exception of a handler is printed after a `!` with the file and the line, even if the
    bot's `exception_handler` handles it, and the chat goes on. Calls inside telebot and inside
    this library are left out. An exception in a record of telebot's logger is printed likewise.
    A record of this library's logger, from `WARNING` on, is a line such as `! WARNING ...`.

    In a terminal the prompt is `> `, and later names the place, such as `42 in -100, topic 7 > `.
    An administrator of the group has `, admin` or `, anonymous` in it.

    A few lines are commands of the chat:

    - `/as 42` goes on as user 42, `/in -100` in a group and `/in private` in the private chat
      again. `/topic 7` goes to a topic of the chat, and `/topic` alone out of it.
    - `/admin` makes the user an administrator of the group. `/anonymous` does so too, and the user
      goes on as an anonymous one: messages and votes are those of the group. `/anonymous` again or
      `/admin` leads back to the own name. The bot gets no update about it.
    - `/press Yes` presses an inline button of the latest message that has any, or a button of the
      open reply keyboard. Label and `callback_data` may be written in upper or lower case. A
      number counts the buttons of the later one of the two messages. If there are buttons only in
      other chats, the chat names the lines that lead to the latest. If the bot does not call
      `answer_callback_query`, the chat prints a line about it.
    - `/vote Paris` votes in the latest poll of the bot, and so does `/vote 1`. Several options have
      commas between them. `/vote` alone takes the vote back.
    - `/pay` pays the latest invoice of the bot. Behind it may stand a link of
      `create_invoice_link`. If the bot does not answer the query about it, the chat prints a line
      about it.
    - `/reply text` answers the latest message of the bot.
    - `/send photo` sends a photo, and so do `album`, `video`, `audio`, `animation`, `voice`,
      `dice`, `document`, `sticker`, `contact`, `location` and `venue`. Behind most of them may
      stand a caption, behind `dice` and `sticker` an emoji, behind `venue` a title.
    - `/request -100` asks to join a group, and `/invite 42` adds a user to the group.

    Some bots have commands of these names. If a handler names `pay` or `admin`, the bot gets each
    line with it. If one names `send` or `vote`, the bot gets the lines with it that name no kind or
    no option of a poll.

    A line that starts with `//` is sent without its first slash.

    Args:
        bot: The bot, with any token: it talks to a `BotAPI` of its own.
        user_id: The first user's id.
        hint: A line for the user of the terminal, such as the first command. It is printed first,
            if the input is a terminal.
        setup: Called before the bot polls. It may call Telegram, for example by `set_my_commands`.
            Calls before `chat` would go to the real Telegram.
        stdin: The source of the lines, by default `sys.stdin`.
        stdout: The place to print to, by default `sys.stdout`.
    """
    screen = Screen(stdout or sys.stdout)
    screen.look(user_id, user_id, None)
    try:
        with screen, Reports(bot, screen.write) as reports:
            if setup is not None:
                setup()
            with run_polling(bot, screen) as polling:
                commands = Commands(
                    bot,
                    # A program that was started without an input has none.
                    stdin or sys.stdin or io.StringIO(),
                    screen,
                    polling=polling,
                    reports=reports,
                    user_id=user_id,
                )
                commands.run(hint)
    except KeyboardInterrupt:
        screen.write("")
