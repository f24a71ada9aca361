"""Chats with a bot in the terminal, typed and read by a test."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

from telesession.testing import chat


class Terminal(io.StringIO):
    """An input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class EchoingTerminal(Terminal):
    """A terminal that shows what is typed, behind the prompt."""

    def readline(self, size: int = -1, /) -> str:
        line = super().readline(size)
        sys.stdout.write(line)
        return line


def typed_in(line: str) -> str | None:
    """The text that was typed in a line of a chat, or `None` if it has no prompt."""
    typed = re.fullmatch(
        r"(?:\d+(?: in -\d+)?(?:, topic \d+)?(?:, (?:admin|anonymous))? )?> (.*)\n?", line
    )
    return None if typed is None else typed[1]


def talk(bot: Any, *lines: str, kind: type[io.StringIO] = io.StringIO, **options: Any) -> list[str]:
    """The lines that a chat prints after these were typed."""
    stdout = io.StringIO()
    chat(bot, stdin=kind("".join(f"{line}\n" for line in lines)), stdout=stdout, **options)
    return stdout.getvalue().splitlines()
