"""The parts that need telebot itself: ordered workers, states, filters, questions."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from telesession.bot.attachment import Attachment


def _give_workers(bot: Any, get_key: Callable[[Any], Any], **options: Any) -> bool:
    """See `GiveWorkers`. Only now telebot is imported."""
    workers = importlib.import_module("telesession.bot.workers")
    given: bool = workers.give_workers(bot, get_key, **options)
    return given


# The attachment imports no telebot.
Attachment.give_workers = staticmethod(_give_workers)
