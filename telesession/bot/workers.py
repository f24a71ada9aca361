"""Workers that handle the updates of one key in order, and those of different keys in parallel."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from telebot import TeleBot, util

from telesession.bot.arrivals import Arrivals
from telesession.bot.inbox import Inbox
from telesession.bot.lines import Limits, WhenFull
from telesession.bot.pool import GetKey, SequentialWorkers
from telesession.keys import by_sender
from telesession.options import (
    OnError,
    checked_key_function,
    checked_on_error,
    checked_storage,
)
from telesession.ttl import seconds

if TYPE_CHECKING:
    from telesession.storage.base import Storage

__all__ = [
    "SequentialWorkers",
    "give_workers",
    "is_telebots",
    "stop_workers",
    "use_sequential_workers",
]

_HAS_WORKERS = (
    "has workers already; give these options to the first attach, or to use_sequential_workers"
)
_UNTHREADED = (
    "was made with threaded=False and has no workers: it handles one update after the other; make "
    "it with threaded=True to use workers"
)


def use_sequential_workers(
    bot: TeleBot,
    *,
    num_threads: int | None = None,
    get_key: GetKey = by_sender,
    limit: int | None = None,
    when_full: WhenFull = "block",
    total_limit: int | None = None,
    on_error: OnError | None = None,
    drain: float | timedelta | None = 8,
    inbox: Storage | None = None,
    attempts: int = 3,
) -> SequentialWorkers:
    """
    Let a bot handle the updates of each sender in order, one at a time, and senders in parallel.

    Puts a `SequentialWorkers` in the place of `bot.worker_pool` and closes the pool that was
    there. Call it before polling starts: a poll loop of telebot (4.37.1) listens to the exceptions
    of the pool that it began with. Calling it again brings new workers.

    The lines hold updates. telebot chooses the handlers of an update when its turn comes, in its
    worker. So filters, next steps, reply handlers and function middlewares see the effects of the
    user's update before. Updates that a program gives to `bot.process_new_messages` and the like
    take the same way. Update listeners get each message in a list of its own.

    Pre-checkout and shipping queries, callback and inline queries and stopped generations do not
    wait for messages of the same user. They do wait if a handler of their kind takes a session, or
    is chosen by a state or a session. If the bot uses questions, callback queries wait, too.
    Updates of one kind wait for each other.

    The threads start with the first update of each process. So a web server may load the bot in
    one process and fork others, as gunicorn does with `--preload`, and uWSGI always.

    Args:
        bot: A bot with threads. `AsyncTeleBot` has none.
        num_threads: How many updates are handled at the same time; as many as before by default.
        get_key: From the update to the key whose updates are kept in order, the sender's id by
            default. If the sessions of handlers have another one, such as `by_chat`, give it here,
            too. Else several updates of one session wait for it, each in a worker. An update whose
            key is `None` does not wait for any other. An exception of `get_key` is reported as one
            of a handler, and the update waits for no other.
        limit: How many updates of one key may wait for their turn; `None` is any number.
            Updates without a key are not limited.
        when_full: The treatment of an update that exceeds a limit. `"block"` lets the thread that
            delivers it wait for room: polling stands still for all users, and a webhook does not
            answer. A handler that delivers updates in its own thread never waits. `"drop"` drops
            it, and logs a record.
        total_limit: How many updates may wait together, those without a key too; `None` is any
            number. An update takes about 7 kB, and 9 kB with an inbox.
        on_error: Called as `on_error(update, error)` with each exception of a handler, a
            middleware or `get_key`, in the worker; `update` is the object that handlers get. So the
            bot can ask the user to repeat. Without it the bot's `exception_handler` gets the
            exception. If there is none, or it does not handle it, the exception is logged with its
            traceback. Polling goes on in each case, also with class middlewares.
        drain: Seconds or a `timedelta` for which the workers handle the waiting updates when the
            bot is stopped, and when the program ends, as by Ctrl-C; `None` is any time, 0 drops
            them at once. The rest is logged. 8 s by default, because `docker stop` kills after 10.
        inbox: The storage in which updates are stored until they were handled. Then each update
            has its effect on the sessions of this storage exactly once, also if the process is
            killed or Telegram delivers the update again. If the storage fails before a handler is
            called, the update waits until it answers. The sessions must have the same storage
            object.
        attempts: The number of processes that may be killed while a handler of the same stored
            update runs. Then the update is set aside in a room of its own, and logged. The process
            that has stored the update is not counted.

    Returns:
        The new pool, which is `bot.worker_pool` from now on.

    Raises:
        TypeError: The bot is no `TeleBot`, or an option is of the wrong type.
        ValueError: The bot has no threads, an option has a value that makes no sense, or the bot
            has a `get_updates` of its own, beside which an inbox cannot be.
    """
    _refuse_bot(bot)
    former: Any = bot.worker_pool
    pool = SequentialWorkers(
        bot,
        _checked_count(former.num_threads if num_threads is None else num_threads, "num_threads"),
        get_key=checked_key_function(get_key, "get_key"),
        limits=_checked_limits(limit, when_full, total_limit),
        on_error=None if on_error is None else checked_on_error(on_error),
        drain=None if drain is None else seconds(drain, "drain"),
        inbox=None if inbox is None else _inbox_of(bot, inbox),
        attempts=_checked_count(attempts, "attempts"),
    )
    place: Any = bot
    place.worker_pool = pool
    Arrivals.install(bot)
    if is_telebots(former):
        stop_workers(former)
    former.close()
    return pool


def give_workers(bot: Any, get_key: GetKey, **options: Any) -> bool:
    """
    Give a bot workers for sessions that are attached to it, unless it has some.

    A bot without threads, and one with a pool of another kind, stay as they are.

    Returns:
        Whether it got them.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: There are options, and the bot gets no workers.
    """
    pool = bot.worker_pool if getattr(bot, "threaded", False) else None
    if is_telebots(pool):
        use_sequential_workers(bot, get_key=get_key, **options)
        return True
    if isinstance(pool, SequentialWorkers) and pool.stores_in(options.get("inbox")):
        del options["inbox"]
    if options:
        raise ValueError(
            f"attach has no use for {', '.join(options)}: the bot "
            + (_HAS_WORKERS if pool else _UNTHREADED)
        )
    return False


def is_telebots(pool: Any) -> bool:
    """Whether a worker pool is telebot's own."""
    return isinstance(pool, util.ThreadPool)


def stop_workers(pool: Any) -> None:
    """
    Tell the workers of telebot's own pool to end, without waiting for them.

    A stopped worker of telebot (4.37.1) looks up after its next task, or after half a second
    without one: so each is given a task that does nothing.
    """
    for worker in pool.workers:
        worker.stop()
    for _ in pool.workers:
        pool.put(int)


def _refuse_bot(bot: Any) -> None:
    if not isinstance(bot, TeleBot):
        raise TypeError(
            "use_sequential_workers needs a telebot.TeleBot, whose handlers run in threads, not "
            f"an object of type {type(bot).__name__}"
        )
    if not bot.threaded:
        raise ValueError(f"the bot {_UNTHREADED}")


def _checked_count(count: Any, option: str) -> int:
    if type(count) is not int:
        raise TypeError(f"{option} must be an int, not {type(count).__name__}")
    if count < 1:
        raise ValueError(f"{option} must be 1 or more, not {count}")
    return count


def _inbox_of(bot: Any, storage: Any) -> Inbox:
    is_own = "get_updates" in vars(bot) and Arrivals.of(bot) is None
    if is_own or type(bot).get_updates is not TeleBot.get_updates:
        raise ValueError(
            f"a {type(bot).__name__} has a get_updates of its own, and an inbox needs that of "
            "telebot, to store updates as Telegram sent them; leave one of the two out"
        )
    if bot.bot_id is None:
        raise ValueError(
            "the token of the bot has no number before its colon, by which an inbox tells bots "
            "apart; pass the token that BotFather gave"
        )
    return Inbox(checked_storage(storage, "inbox"), bot.bot_id)


def _checked_limits(limit: Any, when_full: Any, total_limit: Any) -> Limits:
    for what, number in (("limit", limit), ("total_limit", total_limit)):
        if number is not None and type(number) is not int:
            raise TypeError(f"{what} must be an int or None, not {type(number).__name__}")
        if number is not None and number < 1:
            raise ValueError(f"{what} must be 1 or more, not {number}; None lets any number wait")
    if when_full not in ("block", "drop"):
        raise ValueError(f"when_full must be 'block' or 'drop', not {when_full!r}")
    if limit is None and total_limit is None and when_full == "drop":
        raise ValueError("when_full='drop' drops nothing without a limit; pass a limit, too")
    return Limits(limit, total_limit, when_full)
