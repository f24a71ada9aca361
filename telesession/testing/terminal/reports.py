"""The exceptions of a bot's handlers, kept for the terminal."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Self

import telebot

from telesession.testing.explain import explain

if TYPE_CHECKING:
    from collections.abc import Callable

    from telebot import TeleBot

# The logger of this library and its children.
_logger = logging.getLogger("telesession")


class Reports:
    """
    Keeps the exceptions of a bot's handlers for the screen, whether the bot handles them or not.

    From entering to leaving it stands before the bot's `exception_handler`, and takes the
    exceptions that telebot's logger would print. Warnings and errors of this library's logger are
    written at once.

    Args:
        bot: The bot.
        write: Prints lines.
    """

    def __init__(self, bot: TeleBot, write: Callable[..., None]) -> None:
        self.exceptions: list[Exception] = []
        self._bot: Any = bot
        self._former: Any = bot.exception_handler
        self._log = _Log(write)

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
        # An exception handler logs an exception that it got.
        if not any(error is kept for kept in self.exceptions):
            self.exceptions.append(error)

    def __enter__(self) -> Self:
        self._bot.exception_handler = self
        telebot.logger.addFilter(self)
        _logger.addHandler(self._log)
        return self

    def __exit__(self, *_: object) -> None:
        self._bot.exception_handler = self._former
        telebot.logger.removeFilter(self)
        _logger.removeHandler(self._log)


class _Log(logging.Handler):
    """Writes each record from `WARNING` on, and its exception, as lines with a `!`."""

    def __init__(self, write: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; called by `logging`."""
        lines = f"{record.levelname} {record.getMessage()}".splitlines()
        if record.exc_info and record.exc_info[1] is not None:
            lines += explain(record.exc_info[1])
        self._write(*(f"! {line}" for line in lines))
