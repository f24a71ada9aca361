"""The worker pool of a bot whose updates are handled in order."""

from __future__ import annotations

import atexit
import functools
import logging
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from telesession.bot.intake import Intake
from telesession.bot.lines import Limits, Lines
from telesession.bot.stored_turns import StoredTurn
from telesession.bot.turns import Turn
from telesession.forks import PerProcess
from telesession.keys import key_fault

if TYPE_CHECKING:
    from telesession.bot.inbox import Inbox, Stored
    from telesession.options import OnError

GetKey = Callable[[Any], str | int | None]

_log = logging.getLogger("telesession")


class SequentialWorkers:
    """
    A worker pool for `TeleBot` in which the updates of one key form a line.

    `use_sequential_workers` makes it. Keep it for as long as the bot runs. Any thread may use it.
    It has the methods and attributes that telebot (4.37.1) uses of its own `util.ThreadPool`. A
    process that is forked has the settings of its parent, and begins with no threads and no
    updates.

    Args:
        telebot: The bot whose `exception_handler` is asked.
        num_threads: The number of updates that are handled at the same time.
        get_key: See `use_sequential_workers`.
        limits: How many updates may wait.
        on_error: Gets the exceptions of handlers.
        drain: Seconds for which `close` lets workers handle the waiting updates; `None` is any
            time.
        inbox: The inbox that stores updates until they were handled; `None` without one.
        attempts: See `Intake`.

    Attributes:
        exception_event: Never set: polling continues after every exception of a handler.
        exception_info: Always `None`.
    """

    exception_info: Exception | None = None

    def __init__(
        self,
        telebot: Any,
        num_threads: int,
        *,
        get_key: GetKey,
        limits: Limits,
        on_error: OnError | None,
        drain: float | None,
        inbox: Inbox | None,
        attempts: int,
    ) -> None:
        self.exception_event = threading.Event()
        self.get_key = get_key
        self._telebot = telebot
        self._on_error = on_error
        self._drain = drain
        self._inbox = inbox
        self._attempts = attempts
        self._intakes: PerProcess[Intake] = PerProcess()
        self._lines: Lines[Turn] = Lines(self._handle, num_threads, limits)
        self._lines.on_start = self._start
        self._lines.on_end = self._finish

    @property
    def num_threads(self) -> int:
        """The number of updates that are handled at the same time."""
        return self._lines.num_threads

    @property
    def workers(self) -> list[threading.Thread]:
        """The threads of this process; none before its first update."""
        return self._lines.crew.workers

    @property
    def closed(self) -> bool:
        """Whether the pool was closed and takes no more updates."""
        return self._lines.closed

    @property
    def waiting(self) -> int:
        """How many updates wait for their turn or for a worker."""
        return self._lines.crew.waiting

    @property
    def unfinished(self) -> int:
        """How many updates wait or are being handled."""
        return self._lines.crew.unfinished

    def stores_in(self, storage: object) -> bool:
        """Whether the pool has an inbox in a storage."""
        return self._inbox is not None and self._inbox.storage is storage

    @property
    def intake(self) -> Intake | None:
        """The way into the inbox in this process; `None` without an inbox."""
        inbox = self._inbox
        if inbox is None:
            return None
        return self._intakes.get(lambda: Intake(inbox, self._attempts))

    def take(
        self,
        update: Any,
        choose: Callable[[], object],
        place: str = "",
        stored: Stored | None = None,
    ) -> str | None:
        """
        Let a worker handle an update, after those of the same key that came before.

        Args:
            update: The update as handlers get it, such as a `Message`.
            choose: Lets telebot choose the tasks for the update.
            place: The name of a line beside the one of the key; empty for the line of the key.
            stored: The update in the inbox, if it is there.

        Returns:
            The reason if it was refused.
        """
        key = self._key_of(update)
        is_in_order = key is not None and not place
        line = (place, key) if place and key is not None else key
        intake = self.intake
        if stored is None or intake is None:
            turn = Turn(self._telebot, update, choose, is_in_order=is_in_order)
            return self._lines.add(line, turn)
        kept = StoredTurn(intake, stored, self._telebot, update, choose, is_in_order=is_in_order)
        # A leftover was accepted by the process that stored it.
        refusal = self._lines.add(line, kept, is_refusable=not stored.is_leftover)
        if refusal is not None and not self.closed:
            kept.drop()
        return refusal

    def put(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """
        Let a worker call a function, which telebot calls a task.

        A task that telebot chooses for an update is part of the turn of that update. Any other
        task has a turn of its own, in the line of its first argument.

        Args:
            func: The function.
            args: Its arguments.
            kwargs: Its further arguments.

        Returns:
            Whether it was accepted. It is refused, and logged, if the pool is closed, or if the
            limit was reached and `when_full` is `"drop"`.
        """
        task = functools.partial(func, *args, **kwargs)
        turn = Turn.of_thread()
        if turn is not None and turn.is_choosing:
            turn.add(task)
            return True
        update = args[0] if args else None
        refusal = self.take(None if isinstance(update, list) else update, task)
        if refusal is not None:
            _log.warning("dropped a %s: %s", type(update).__name__, refusal)
        return refusal is None

    def fail(self, update: Any, error: Exception) -> None:
        """
        Tell `on_error` of an exception, or else the bot's `exception_handler`, or else the log.

        If one of the first two raises, its exception is logged, with the other as its context.
        """
        try:
            if self._on_error is not None:
                self._on_error(update, error)
                return
            handler = _users_handler(self._telebot)
            if handler is not None and handler.handle(error):
                return
        except Exception as failure:  # noqa: BLE001 -- the log is the last resort
            if failure is not error:
                failure.__context__ = failure.__context__ or error
            error = failure
        _log_failure(update, error, self._telebot.token)

    def on_exception(self, _worker: threading.Thread, exc_info: Exception) -> None:
        """Tell the bot of an exception that belongs to no update."""
        self.fail(None, exc_info)

    def notify(self, function: Callable[[], object]) -> None:
        """Call a function after each update, in its worker."""
        self._lines.on_done = function

    def raise_exceptions(self) -> None:
        """Do nothing: telebot's poll loop would stop for all users."""

    def clear_exceptions(self) -> None:
        """Do nothing, because there is nothing to clear."""

    def close(self) -> None:
        """
        Take no more updates, and end the workers when all are handled or `drain` is over.

        The rest is logged. May be repeated. A handler may call it, as `bot.stop_bot()` does: its
        own worker goes on when that handler returns, and the end of the program waits for it.
        """
        self._close_lines()

    def _close_lines(self, *, only_running: bool = False) -> None:
        if (intake := self.intake) is not None:
            intake.stop_pauses()
        self._lines.close(self._drain, only_running=only_running)
        if threading.current_thread() not in self.workers:
            # Not before, because the interpreter may end while another thread closes the pool.
            atexit.unregister(self._close_at_exit)
            self._finish()

    def _finish(self) -> None:
        """Log the updates that are left, and leave the inbox."""
        left, running = self._lines.crew.give_up(), self._lines.crew.running
        stored = sum(isinstance(turn, StoredTurn) for turn in left)
        if stored:
            _log.warning(
                "closed the worker pool: %d updates stay in the inbox for the next start", stored
            )
        if len(left) > stored:
            _log.warning(
                "closed the worker pool: %d updates that waited are dropped", len(left) - stored
            )
        if running:
            _log.warning("closed the worker pool: handlers that are still running: %d", running)
            if (intake := self.intake) is not None:
                intake.will_end()
        self._leave_inbox()

    def _leave_inbox(self) -> None:
        """Leave the stored updates to other processes, once no handler runs any more."""
        intake = self.intake
        if intake is not None and not self._lines.crew.running:
            intake.close()

    def renew(self) -> SequentialWorkers:
        """A new pool with the same settings. Use it if the bot polls again after it was stopped."""
        return SequentialWorkers(
            self._telebot,
            self.num_threads,
            get_key=self.get_key,
            limits=self._lines.limits,
            on_error=self._on_error,
            drain=self._drain,
            inbox=self._inbox,
            attempts=self._attempts,
        )

    def __repr__(self) -> str:
        return (
            f"<SequentialWorkers: {self.num_threads} threads, {len(self._lines.crew.lines)} keys, "
            f"{self.waiting} updates waiting>"
        )

    def _start(self) -> None:
        """Close the pool before the interpreter ends the threads. Ctrl-C closes nothing."""
        atexit.register(self._close_at_exit)

    def _close_at_exit(self) -> None:
        # At this time Python may start no threads, so handlers may fail. With an inbox the next
        # process handles the updates that wait.
        self._close_lines(only_running=self._inbox is not None)

    def _handle(self, turn: Turn) -> None:
        """Let a turn be run by this thread."""
        if self._telebot.use_class_middlewares:
            _Reporter.of(self._telebot, self)
        turn.run(self.fail)

    def _key_of(self, update: Any) -> str | None:
        """The key of an update as a string; `None` if it has none."""
        if update is None:
            return None
        try:
            return _checked_key(self.get_key(update), update)
        except Exception as error:  # noqa: BLE001 -- the bot is told
            error.add_note("get_key raised it; the update is handled without waiting for any")
            self.fail(update, error)
            return None


class _Reporter:
    """
    An `exception_handler` that tells a pool of the exceptions of handlers.

    With class middlewares telebot (4.37.1, `_run_middlewares_and_handler`) catches an exception
    before a pool sees it, and asks the bot's `exception_handler`.

    Args:
        pool: The pool.
        former: The exception handler of the bot, if it has one.
    """

    def __init__(self, pool: SequentialWorkers, former: Any) -> None:
        self.pool = pool
        self.former = former

    @staticmethod
    def of(bot: Any, pool: SequentialWorkers) -> None:
        """Give the bot a reporter of the pool, around its latest exception handler."""
        handler = bot.exception_handler
        if not isinstance(handler, _Reporter) or handler.pool is not pool:
            bot.exception_handler = _Reporter(pool, _users_handler(bot))

    def handle(self, exception: Exception) -> bool:
        """Tell the pool, if a handler raised it; called by telebot."""
        turn = Turn.of_thread()
        if turn is None or turn.is_failing:
            # The poll loop has raised it, or another exception handler passes it on.
            return bool(self.former is not None and self.former.handle(exception))
        turn.tell(self.pool.fail, exception)
        return True


def _users_handler(bot: Any) -> Any:
    """The exception handler that the user gave to the bot."""
    handler = bot.exception_handler
    return handler.former if isinstance(handler, _Reporter) else handler


def _log_failure(update: Any, error: Exception, token: str) -> None:
    """Log an exception with its traceback, in which the token of the bot is hidden."""
    place, line, function, stack = _log.findCaller(stacklevel=2)
    record = _log.makeRecord(
        _log.name,
        logging.ERROR,
        place,
        line,
        "a handler of a %s raised %s",
        (type(update).__name__, type(error).__name__),
        (type(error), error, error.__traceback__),
        function,
        sinfo=stack,
    )
    # The URL of a call to Telegram that failed has the token. A formatter takes this text.
    record.exc_text = "".join(traceback.format_exception(error)).rstrip().replace(token, "<token>")
    _log.handle(record)


def _checked_key(key: Any, update: object) -> str | None:
    if key is not None and (fault := key_fault(key)):
        raise TypeError(
            f"get_key returned {fault} for a {type(update).__name__}; let it return a non-empty "
            "str, an int, or None for an update that need not wait for others"
        )
    return None if key is None else str(key)
