"""The commands of a bot as the terminal lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.testing.terminal.lines import wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telebot import TeleBot

    from telesession.testing.server.call import JSON


def handled_commands(bot: TeleBot) -> list[str]:
    """The commands that handlers of a bot name, without slashes and each once."""
    filters = [handler["filters"] for handler in bot.message_handlers]
    return list(dict.fromkeys(name for one in filters for name in one.get("commands") or ()))


def draw_menu(declared: Sequence[JSON], handled: Sequence[str]) -> list[str]:
    """
    The lines that list the commands of a bot; none if it has none.

    Args:
        declared: The commands that it has set, each as a `BotCommand`. They are shown with their
            descriptions, as in Telegram's menu.
        handled: The commands that its handlers name. They are shown if it has set none.
    """
    if declared:
        indent = max(len(command["command"]) for command in declared) + 5
        rows = [f"  /{one['command']}".ljust(indent) + one["description"] for one in declared]
        return ["The bot's commands:", *(line for row in rows for line in wrap(row, indent))]
    if handled:
        names = " ".join(f"/{name}" for name in handled)
        return ["The bot has handlers for these commands:", *wrap(f"  {names}", 2)]
    return []
