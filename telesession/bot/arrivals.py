"""Arrivals: the way of an update from telebot's poller or a webhook into the worker pool."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any

from telesession.attachment import Attachment
from telesession.bot.filters import SessionFilter
from telesession.bot.pool import SequentialWorkers
from telesession.bot.turns import Turn
from telesession.decorator import is_decorated
from telesession.forks import PerProcess

_log = logging.getLogger("telesession")

# The kinds of updates that somebody waits for: Telegram gives ten seconds to answer the first two
# (https://core.telegram.org/bots/api#precheckoutquery), and a person looks at the others. By kind,
# the bot's list of handlers; older versions of telebot have fewer kinds.
_URGENT = MappingProxyType(
    {
        "pre_checkout_query": "pre_checkout_query_handlers",
        "shipping_query": "shipping_query_handlers",
        "callback_query": "callback_query_handlers",
        "inline_query": "inline_handlers",
        "stopped_message_generation": "stopped_message_generation_handlers",
    }
)
# telebot's methods that take updates of one kind, and all kinds.
_METHOD, _ALL = "process_new_", "process_new_updates"
_ARRIVALS = "_telesession_arrivals"


class Arrivals:
    """
    The methods of a bot that take updates, in front of those that it had.

    They put each update into the worker pool, and the worker calls the bot's former methods with
    this update alone. By itself telebot (4.37.1) regroups a batch by kind, first all messages and
    then what was edited or pressed between them, and does not offer every message of a batch to
    the next-step handlers.

    It lives as long as the bot.

    Args:
        bot: The bot.
    """

    def __init__(self, bot: Any) -> None:
        self._bot = bot
        self._process = bot.process_new_updates
        # Made in each process when it is used, because threads wait for it: see `Lines`.
        self._batches: PerProcess[Any] = PerProcess()

    @classmethod
    def of(cls, bot: Any) -> None:
        """Put the methods on a bot, unless it has them."""
        # Marked on the bot: another process_new_updates may hide this one by now.
        if not hasattr(bot, _ARRIVALS):
            setattr(bot, _ARRIVALS, cls(bot)._install())

    def _install(self) -> Arrivals:
        bot = self._bot
        for name in dir(bot):
            if name.startswith(_METHOD) and name != _ALL:
                method = getattr(bot, name)
                _replace(bot, name, partial(self._take_contents, method))
        _replace(bot, _ALL, self._take_batch)
        return self

    def _take_batch(self, updates: Sequence[Any]) -> None:
        """Put each of many updates into the pool, in their order."""
        with self._order(updates):
            # Sessions that follow a group have to know of all the batch before its first handler.
            if (attachment := Attachment.of(self._bot)) is not None:
                attachment.follow(update.message for update in updates)
            self._hand_over(updates)

    def _order(self, updates: Sequence[Any]) -> AbstractContextManager[object]:
        """
        A block in which the updates of a batch are handed over, before those of the next one.

        A bot that polls again in a new thread may still wait for room in the middle of a batch.
        Newer updates must not overtake the rest of it.
        """
        if threading.current_thread() in getattr(self._bot.worker_pool, "workers", ()):
            return nullcontext()
        batches: AbstractContextManager[object] = self._batches.get(threading.Lock)
        if len(updates) > 1:
            return batches
        # From webhooks: none of them has to wait for one that waits for room.
        with batches:
            return nullcontext()

    def _hand_over(self, updates: Sequence[Any]) -> None:
        bot = self._bot
        # As telebot does it: a poll meanwhile must not ask for this batch once more.
        before = bot.last_update_id
        bot.last_update_id = max([before, *(update.update_id for update in updates)])
        for number, update in enumerate(updates):
            try:
                is_taken = self._take(update)
            except BaseException:
                bot.last_update_id = update.update_id - 1
                raise
            if not is_taken:
                # Telegram keeps them for the next poll, perhaps of the next process.
                bot.last_update_id = max(before, update.update_id - 1)
                _log.warning(
                    "did not take %d updates: the worker pool is closed; a bot that polls gets "
                    "them again when it is started",
                    len(updates) - number,
                )
                return

    def _take(self, update: Any) -> bool:
        """Put an update into the pool, and say whether the pool takes updates."""
        kind, content = _content_of(update)
        return self._put(kind, content, partial(self._process, [update]))

    def _take_contents(self, method: Callable[[list[Any]], object], contents: Sequence[Any]) -> Any:
        """Take updates of one kind that come without an `Update`, or let telebot choose for one."""
        turn = Turn.of_thread()
        if turn is not None and turn.is_choosing:
            return method(list(contents))
        if (attachment := Attachment.of(self._bot)) is not None:
            attachment.follow(contents)
        for content in contents:
            self._put("", content, partial(method, [content]))
        return None

    def _put(self, kind: str, content: Any, choose: Callable[[], object]) -> bool:
        pool = self._bot.worker_pool
        if not isinstance(pool, SequentialWorkers) or not self._bot.threaded:
            # The bot got other workers since, or gave up its threads.
            choose()
            return True
        is_urgent = kind in _URGENT and not self._keeps_its_place(kind)
        refusal = pool.take(content, choose, kind if is_urgent else "")
        if refusal is not None and not pool.closed:
            _log.warning("dropped a %s: %s", type(content).__name__, refusal)
        return refusal is None or not pool.closed

    def _keeps_its_place(self, kind: str) -> bool:
        """Whether a handler of a kind needs the effects of the user's updates before."""
        handlers = getattr(self._bot, _URGENT[kind])
        return any(self._needs_order(handler) for handler in handlers)

    def _needs_order(self, handler: Mapping[str, Any]) -> bool:
        filters, known = handler["filters"], self._bot.custom_filters
        return (
            is_decorated(handler["function"])
            or "state" in filters
            or isinstance(filters.get("func"), SessionFilter)
            or any(isinstance(known.get(name), SessionFilter) for name in filters)
        )


def _replace(bot: Any, name: str, take: Callable[[Any], object]) -> None:
    @functools.wraps(getattr(bot, name))
    def process(updates: Any) -> Any:
        return take(updates)

    setattr(bot, name, process)


def _content_of(update: Any) -> tuple[str, Any]:
    """The kind of an update, and the object that handlers get."""
    for kind, content in vars(update).items():
        if content is not None and kind != "update_id" and not kind.startswith("_"):
            return kind, content
    return "", None
