"""Chats with a bot in the terminal, typed and read by a test."""

from __future__ import annotations

import io
from typing import Any

from telesession.testing import chat


class Terminal(io.StringIO):
    """An input that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def talk(bot: Any, *lines: str, kind: type[io.StringIO] = io.StringIO, **options: Any) -> list[str]:
    """The lines that a chat prints after these were typed."""
    stdout = io.StringIO()
    chat(bot, stdin=kind("".join(f"{line}\n" for line in lines)), stdout=stdout, **options)
    return stdout.getvalue().splitlines()
