"""Arrivals: the way of an update from telebot's poller or a webhook into the worker pool."""

from __future__ import annotations

import functools
import inspect
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from telebot import TeleBot, apihelper, types

from telesession.bot.answers import Questions
from telesession.bot.attachment import Attachment
from telesession.bot.filters import SessionFilter
from telesession.bot.intake import raw_of
from telesession.bot.notices import Notices, messages_of
from telesession.bot.pool import SequentialWorkers
from telesession.bot.raw_updates import (
    PastNumber,
    content_of,
    parse_body,
    parse_sent,
    parse_text,
    sent_form_of,
)
from telesession.bot.turns import Turn
from telesession.errors import SessionError
from telesession.forks import PerProcess
from telesession.handlers import is_decorated

if TYPE_CHECKING:
    from telesession.bot.inbox import Stored
    from telesession.bot.intake import Intake

_log = logging.getLogger("telesession")

# The kinds of updates that need a fast answer: Telegram gives ten seconds for the first two
# (https://core.telegram.org/bots/api#precheckoutquery), and a person waits for the others. By kind,
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
    this update alone. By itself telebot (4.37.1) regroups a batch by kind: first all messages, then
    the edits and presses between them. It does not offer every message of a batch to the next-step
    handlers.

    It lives as long as the bot.

    Args:
        bot: The bot.
    """

    def __init__(self, bot: Any) -> None:
        self._bot = bot
        self._process = bot.process_new_updates
        self._has_logged = False
        self._closed_pool: Any = None
        # Made in each process when it is used, because threads wait for it: see `Lines`.
        self._batches: PerProcess[Any] = PerProcess()

    @staticmethod
    def of(bot: Any) -> Arrivals | None:
        """The arrivals of a bot that got them."""
        # Marked on the bot, because another process_new_updates may hide this one now.
        found: Arrivals | None = vars(bot).get(_ARRIVALS)
        return found

    @classmethod
    def install(cls, bot: Any) -> None:
        """Put the methods on a bot, unless it has them."""
        if cls.of(bot) is None:
            setattr(bot, _ARRIVALS, cls(bot)._patch_bot())

    def _patch_bot(self) -> Arrivals:
        bot = self._bot
        # Not of the bot, because a subclass may have methods of its own with such a name.
        for name in dir(TeleBot):
            if name.startswith(_METHOD) and name != _ALL:
                kind, method = name.removeprefix(_METHOD), getattr(bot, name)
                _replace(bot, name, partial(self._take_contents, kind, method))
        _replace(bot, _ALL, self._take_batch)
        self._get_updates = bot.get_updates
        _replace(bot, "get_updates", self._poll)
        return self

    def _take_batch(self, updates: Sequence[Any]) -> None:
        """Put each of many updates into the pool, in their order."""
        with self._order(updates):
            # Sessions that follow a group have to see the whole batch before its first handler.
            self._notice(each for update in updates for each in messages_of(update))
            self._hand_over(updates, self._store(updates))

    def receive(self, update: types.Update, raw: str) -> None:
        """Store an update of a webhook, and put it into the pool; see `receive`."""
        intake, pool = self._intake, self._bot.worker_pool
        if intake is None:
            if self._bot.threaded and getattr(pool, "closed", False):
                raise SessionError(
                    "could not take an update of a webhook: the bot was stopped; let the view "
                    "answer 500, so that Telegram delivers it again"
                )
            self._bot.process_new_updates([update])
            return
        is_worker = threading.current_thread() in pool.workers
        intake.open(self._feed, polls=False, waits=not is_worker)
        stored = intake.add(update.update_id, raw)
        if stored is not None:
            self._notice(messages_of(update))
            self._take(update, stored)

    def _notice(self, contents: Iterable[Any]) -> None:
        """Move sessions with groups that became supergroups, and show messages to the questions."""
        contents = list(contents)
        if (attachment := Attachment.of(self._bot)) is not None:
            attachment.follow(contents)
        Notices.give(self._bot, contents)

    @property
    def _intake(self) -> Intake | None:
        pool = self._bot.worker_pool
        return pool.intake if isinstance(pool, SequentialWorkers) and self._bot.threaded else None

    def _poll(self, *args: Any, **kwargs: Any) -> list[types.Update]:
        """
        Get updates, and keep them as Telegram sent them.

        They are stored later, in `process_new_updates`: telebot (4.37.1) gets the latest update
        once more and forgets it, if it is told to skip the pending ones.
        """
        pool = self._bot.worker_pool
        if isinstance(pool, SequentialWorkers) and pool.closed:
            if pool is not self._closed_pool:
                # telebot may have begun the poll before the bot was stopped.
                self._closed_pool = pool
                return []
            raise RuntimeError(
                "could not poll: the bot was stopped, and its worker pool is closed; write "
                "bot.worker_pool = bot.worker_pool.renew() before it polls again"
            )
        intake = self._intake
        if intake is None:
            found: list[types.Update] = self._get_updates(*args, **kwargs)
            return found
        call = inspect.signature(self._get_updates).bind(*args, **kwargs)
        call.apply_defaults()
        offset = call.arguments["offset"]
        if offset is not None and offset < 0:
            skipped: list[types.Update] = self._get_updates(*args, **kwargs)
            return skipped
        intake.open(self._feed, polls=True)
        get_updates: Any = apihelper.get_updates
        sent = get_updates(self._bot.token, **call.arguments)
        intake.confirm(offset)
        return [parse_sent(each) for each in sent]

    def _store(self, updates: Sequence[Any]) -> Mapping[int, Stored] | None:
        """Store the updates of a batch that are as Telegram sent them; `None` without an inbox."""
        intake = self._intake
        if intake is None:
            return None
        raws = {update.update_id: sent_form_of(update) for update in updates}
        if None in raws.values():
            self._tell_that_nothing_is_stored()
        batch = {number: raw_of(raw) for number, raw in raws.items() if raw is not None}
        return intake.store_batch(batch) if batch else {}

    def _tell_that_nothing_is_stored(self) -> None:
        if not self._has_logged:
            self._has_logged = True
            _log.warning(
                "an update that was made by hand is handled without the inbox; give the body of a "
                "webhook to telesession.receive(bot, body)"
            )

    def _feed(self, leftovers: Sequence[Stored]) -> None:
        """Put updates into the pool that another process has left."""
        left = list(reversed(leftovers))
        try:
            while left:
                self._feed_one(left[-1])
                left.pop()
        finally:
            self._give_back(left)

    def _feed_one(self, stored: Stored) -> None:
        try:
            update = parse_text(stored.raw)
        except Exception as error:  # noqa: BLE001 -- any exception of telebot
            self._set_aside(stored, error)
            return
        # telebot polls from the highest number that it has seen. The number of an old update may be
        # higher, because Telegram's numbers begin anew after a week.
        update.update_id = PastNumber(stored.number)
        update.update_id.bot = self._bot
        self._notice(messages_of(update))
        self._take(update, stored)

    def _give_back(self, stored: Iterable[Stored]) -> None:
        """Let the updates come again that the pool did not get."""
        if (intake := self._intake) is not None:
            for each in stored:
                intake.give_back(each)

    def _set_aside(self, stored: Stored, error: Exception) -> None:
        """Put an update aside that telebot cannot read."""
        intake = self._intake
        if intake is not None and stored.payload is not None:
            intake.inbox.write(intake.inbox.setting_aside(stored.key, stored.payload))
            intake.has_ended(stored)
        _log.error(
            "set update %d aside: telebot cannot read it, %s", stored.number, type(error).__name__
        )

    def _order(self, updates: Sequence[Any]) -> AbstractContextManager[object]:
        """
        A block in which the updates of a batch are handed over before those of the next batch.

        A bot that polls again in a new thread may still wait for room in the middle of a batch.
        Newer updates must not overtake the rest of it.
        """
        if threading.current_thread() in getattr(self._bot.worker_pool, "workers", ()):
            return nullcontext()
        batches: AbstractContextManager[object] = self._batches.get(threading.Lock)
        if len(updates) > 1:
            return batches
        # An update of a webhook does not wait for another one that waits for room.
        with batches:
            return nullcontext()

    def _hand_over(self, updates: Sequence[Any], stored: Mapping[int, Stored] | None) -> None:
        bot = self._bot
        # As telebot does it, because a poll at this time must not ask for this batch once more.
        before = bot.last_update_id
        bot.last_update_id = max([before, *(update.update_id for update in updates)])
        for number, update in enumerate(updates):
            found = None
            if stored is not None and sent_form_of(update) is not None:
                found = stored.get(update.update_id)
                if found is None:
                    # It has arrived before.
                    continue
            is_taken = False
            try:
                is_taken = self._take(update, found)
            except BaseException:
                bot.last_update_id = update.update_id - 1
                raise
            finally:
                if stored is not None and not is_taken:
                    later = [stored.get(each.update_id) for each in updates[number + 1 :]]
                    self._give_back(filter(None, later))
            if not is_taken:
                # Telegram keeps them for the next poll, perhaps of the next process.
                bot.last_update_id = max(before, update.update_id - 1)
                _log.warning(
                    "did not take %d updates: the worker pool is closed; a bot that polls gets "
                    "them again when it is started",
                    len(updates) - number,
                )
                return

    def _take(self, update: Any, stored: Stored | None) -> bool:
        """Put an update into the pool, and return whether the pool takes updates."""
        kind, content = content_of(update)
        is_taken = False
        try:
            is_taken = self._put(kind, content, partial(self._process, [update]), stored)
        finally:
            if stored is not None and not is_taken:
                self._give_back([stored])
        return is_taken

    def _take_contents(
        self, kind: str, method: Callable[[list[Any]], object], contents: Sequence[Any]
    ) -> Any:
        """Take contents of one kind without an `Update`, or let telebot choose their tasks."""
        turn = Turn.of_thread()
        if turn is not None and turn.is_choosing:
            return method(list(contents))
        self._notice(contents)
        if contents and self._intake is not None:
            self._tell_that_nothing_is_stored()
        for content in contents:
            if not self._put(kind, content, partial(method, [content]), None):
                _log.warning("dropped a %s: the worker pool is closed", type(content).__name__)
        return None

    def _put(
        self, kind: str, content: Any, choose: Callable[[], object], stored: Stored | None
    ) -> bool:
        pool = self._bot.worker_pool
        if not isinstance(pool, SequentialWorkers) or not self._bot.threaded:
            # The bot got other workers since, or gave up its threads.
            choose()
            return True
        is_urgent = kind in _URGENT and not self._keeps_its_place(kind)
        refusal = pool.take(content, choose, kind if is_urgent else "", stored)
        if refusal is not None and not pool.closed:
            _log.warning("dropped a %s: %s", type(content).__name__, refusal)
        return refusal is None or not pool.closed

    def _keeps_its_place(self, kind: str) -> bool:
        """Whether a handler of a kind needs the effects of the user's earlier updates."""
        if kind == "callback_query" and Questions.of(self._bot) is not None:
            # The question of a pressed button is saved when the handler that asked has returned.
            return True
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


def receive(bot: TeleBot, body: str | bytes) -> None:
    """
    Take an update of a webhook: store it in the inbox of the bot, and hand it to the workers.

    It returns as soon as the update is stored, and the view answers 200. So Telegram does not
    repeat the update during a slow handler, and the web server does not kill its process. An update
    that was received before, or has ended, is not handled again. Without an inbox the workers get
    the update at once, and without workers its handlers are called.

    Args:
        bot: The bot.
        body: The body of the request, JSON of an
            [Update](https://core.telegram.org/bots/api#update).

    Raises:
        SessionError: The update could not be stored. Let the view answer 500, so that Telegram
            delivers it again.
        TypeError: The body is neither text nor bytes.
        ValueError: The body is no update.
    """
    if not isinstance(body, str | bytes):
        raise TypeError(
            f"receive takes the body of a request as str or bytes, not {type(body).__name__}"
        )
    found = parse_body(body)
    if found is None:
        raise ValueError(
            "could not receive an update: the body is not the JSON of an update of Telegram"
        )
    update, raw = found
    arrivals = Arrivals.of(bot)
    if arrivals is None:
        bot.process_new_updates([update])
    else:
        arrivals.receive(update, raw)


def _replace(bot: Any, name: str, method: Callable[..., object]) -> None:
    @functools.wraps(getattr(bot, name))
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    setattr(bot, name, replacement)
