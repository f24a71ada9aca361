"""Notices: a function that gets the messages of a bot when they arrive, before any handler."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

# The attribute of a bot that has its notices.
_NOTICES = "_telesession_notices"

# The methods by which messages reach a bot.
_METHODS = (
    "process_new_updates",
    "process_new_messages",
    "process_new_business_message",
    "process_new_channel_posts",
)

Notice = Callable[[list[Any]], object]


class Notices:
    """
    The methods of a bot by which messages arrive, replaced so that a function gets them, too.

    They live from `install` to `uninstall`.

    Args:
        bot: The bot.
        notice: Gets the messages of a batch, each at least once.
    """

    def __init__(self, bot: Any, notice: Notice) -> None:
        self._bot = bot
        self._notice = notice
        # name -> the method that is there now
        self._replaced: dict[str, Any] = {}

    def install(self) -> None:
        """Replace the methods."""
        setattr(self._bot, _NOTICES, self)
        for name in _METHODS:
            if hasattr(self._bot, name):
                self._replaced[name] = self._wrap(name, getattr(self._bot, name))
                setattr(self._bot, name, self._replaced[name])

    def uninstall(self) -> None:
        """Put the methods back, except those that others have replaced since."""
        bot = self._bot
        vars(bot).pop(_NOTICES, None)
        for name, method in self._replaced.items():
            if vars(bot).get(name) is not method:
                continue
            former = method.__wrapped__
            if former == getattr(type(bot), name).__get__(bot):
                delattr(bot, name)
            else:
                setattr(bot, name, former)

    @staticmethod
    def give(bot: Any, contents: Iterable[Any]) -> None:
        """Give messages to the function of a bot, if it has one; other contents are left out."""
        notices: Notices | None = vars(bot).get(_NOTICES)
        if notices is not None:
            notices._notice([each for each in contents if hasattr(each, "media_group_id")])

    def _wrap(self, name: str, process: Callable[[Any], Any]) -> Callable[[Any], Any]:
        takes_updates = name == "process_new_updates"

        @functools.wraps(process)
        def tell_and_process(batch: Any) -> Any:
            messages = batch
            if takes_updates:
                messages = [found for each in batch for found in messages_of(each) if found]
            self._notice(messages)
            return process(batch)

        return tell_and_process


def messages_of(update: Any) -> tuple[Any, Any, Any]:
    """The message in an update, with `None` for the kinds that it is not."""
    return update.message, getattr(update, "business_message", None), update.channel_post
