"""A bot that really polls in a thread for the length of a `with` block."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self, Unpack

from telebot import util

from telesession.testing.bot_api import BotAPI
from telesession.testing.explain import explain
from telesession.testing.pool import Reporting, watch_pool

if TYPE_CHECKING:
    from telebot import TeleBot

    from telesession.testing.people.outbox import Where
    from telesession.testing.people.senders import Sender
    from telesession.testing.pool import CountingPool, WatchedWorkers
    from telesession.testing.server.call import JSON
    from telesession.testing.telegram.history import Messages

_JOIN_SECONDS = 0.05

#: How a bot polls: as in production, with every kind of update, but in short turns.
_OPTIONS: dict[str, Any] = {
    "timeout": 30,
    "long_polling_timeout": 5,
    "logger_level": None,
    "allowed_updates": util.update_types,
}


def run_polling(bot: TeleBot, api: BotAPI | None = None, *, timeout: float = 10) -> Polling:
    """
    Run `bot.infinity_polling()` in a thread for the length of a `with` block.

    The block starts when the bot polls, and ends when its threads have ended: the bot is then
    stopped, as by `bot.stop_bot()`, and may be run again. The end of the block does not wait for
    updates that were not handled by then; see `Polling.wait_idle`. Like a new process, the bot
    starts with the oldest update that was not confirmed.

    An exception of a handler or of the polling is raised at the end of the block, unless the
    `on_error` of the bot's workers or its `exception_handler` handles it. Several exceptions are
    raised as an `ExceptionGroup`. If the block itself raises, the exceptions of the bot become
    notes of its exception, each with the files and lines of the bot's own code. A `SystemExit` of a
    handler, which would end a worker of telebot in silence, is raised as the cause of a
    `RuntimeError`.

    Args:
        bot: The bot, with or without threads.
        api: The server to poll, by default the one that is running.
        timeout: Real seconds to wait for the first poll and for replies (`TimeoutError`), and at
            the end for the bot's threads (`RuntimeError`).

    Raises `RuntimeError` if telebot does not talk to this server, but to the real Telegram or to
    another `BotAPI`.
    """
    running = BotAPI.running()
    if api not in (None, running):
        raise RuntimeError(
            "the bot would not poll `api`, because another BotAPI was started after it"
        )
    return Polling(bot, running, timeout)


class RecordingExceptionHandler:
    """
    An `exception_handler` for a bot, which keeps the exceptions of handlers in `exceptions`.

    It counts as handled, so that telebot goes on at once. Threads may share it.
    """

    def __init__(self) -> None:
        self.exceptions: list[Exception] = []

    def handle(self, exception: Exception) -> bool:
        """Keep an exception; called by telebot."""
        self.exceptions.append(exception)
        return True


class Polling:
    """
    A bot that polls, made by `run_polling`.

    `exceptions` has the exceptions in the bot that were not handled so far. At the end of the
    `with` block, those that are still in it are raised.
    """

    def __init__(self, bot: TeleBot, api: BotAPI, timeout: float) -> None:
        self._bot: Any = bot
        self._api = api
        self._timeout = timeout
        self._unhandled = _Unhandled(bot.exception_handler)
        self._pool: CountingPool | WatchedWorkers | None = None
        self._polls_before = 0
        self._stopping = False
        self._ended = False
        self._thread = threading.Thread(target=self._poll, name="infinity_polling", daemon=True)

    @property
    def exceptions(self) -> list[Exception]:
        """The exceptions in the bot that were not handled; may be emptied."""
        return self._unhandled.exceptions

    def wait_idle(self, timeout: float | None = 10) -> None:
        """
        Wait until the bot has nothing to do: every update confirmed, every handler returned.

        Raises `TimeoutError` after `timeout` real seconds (`None` waits for ever), and
        `RuntimeError` if the bot has stopped polling before it confirmed every update.
        """
        try:
            self._api.wait_for(
                lambda: self._ended or self._is_idle(), timeout, what="the bot to finish"
            )
        except TimeoutError as error:
            handlers = f"{self._unfinished} handlers of the bot have not returned"
            raise TimeoutError(f"{handlers}: {error}") from None
        if not self._is_idle():
            raise RuntimeError("the bot has stopped polling, and left updates unhandled")

    def say(self, sender: Sender, text: str, **where: Unpack[Where]) -> Messages:
        """
        Send a text, wait until the bot has nothing to do, and return its replies.

        The options and the errors are those of `User.send` and `replies_to`.

        Args:
            sender: The user, or the channel.
            text: The text.
            where: Where it is sent, see `Where`.
        """
        return self.replies_to(sender.send(text, **where))

    def replies_to(self, update: JSON | list[JSON]) -> Messages:
        """
        Wait until the bot has nothing to do, and return its replies to an update.

        They are the messages that it has sent since the update, in the chat of the update. For an
        update without a chat, such as a vote, it is the private chat of the user. Messages that the
        bot has deleted again are left out.

        Args:
            update: The update, or a list of them, as an act of a user has returned it.

        Raises the errors of `wait_idle`, and `RuntimeError` inside a block of `BotAPI.batch`, at
        whose end the bot gets the update.
        """
        self.wait_idle(self._timeout)
        return self._api.replies_to(update[0] if isinstance(update, list) else update)

    def __enter__(self) -> Self:
        self._start()
        try:
            # Before its first poll telebot would forget that it was told to stop.
            self._api.wait_for(
                lambda: self._ended or self._has_polled, self._timeout, what="the bot to poll"
            )
        except TimeoutError as error:
            self.__exit__(TimeoutError, error, None)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._stop()
        finally:
            if error is not None:
                for unhandled in self.exceptions:
                    lines = ["The bot did not handle this in the block:", *explain(unhandled)]
                    error.add_note("\n".join(lines))
        if error is None:
            self._raise_unhandled()

    def _start(self) -> None:
        bot = self._bot
        # A bot that cannot get its own name would make infinity_polling() retry for ever.
        self._thread.name = f"infinity_polling @{bot.user.username}"
        bot.last_update_id = 0
        bot.exception_handler = self._unhandled
        if bot.threaded:
            self._pool = watch_pool(bot, self._unhandled.report, self._api.notify)
        self._polls_before = self._polls
        self._thread.start()

    def _poll(self) -> None:
        with Reporting(self._unhandled.report):
            self._bot.infinity_polling(**_OPTIONS)
            # A bot that was stopped once leaves each later infinity_polling() at once.
            if not (self._has_polled or self._stopping):
                self._bot.polling(non_stop=True, **_OPTIONS)
        self._ended = True
        self._api.notify()

    def _stop(self) -> None:
        self._stopping = True
        try:
            with self._api.short_polls():
                self._join()
            if self._pool is not None:
                self._pool.close(self._timeout)
        finally:
            self._bot.exception_handler = self._unhandled.former
            if self._pool is not None:
                self._bot.worker_pool = self._pool.pool

    def _join(self) -> None:
        # Repeated, because telebot forgets a stop that comes while it retries after an error.
        for _ in range(max(1, round(self._timeout / _JOIN_SECONDS))):
            self._bot.stop_polling()
            self._thread.join(_JOIN_SECONDS)
            if not self._thread.is_alive():
                return
        raise RuntimeError(
            f"could not stop the bot: it still polls after {self._timeout:g} s; let its "
            "handlers return before the `with` block ends"
        )

    def _raise_unhandled(self) -> None:
        if len(self.exceptions) == 1:
            raise self.exceptions[0]
        if self.exceptions:
            raise ExceptionGroup("the bot did not handle some exceptions", self.exceptions)

    @property
    def _polls(self) -> int:
        return len(self._api.calls_of("getUpdates"))

    @property
    def _has_polled(self) -> bool:
        return self._polls > self._polls_before

    @property
    def _unfinished(self) -> int:
        return 0 if self._pool is None else self._pool.unfinished

    def _is_idle(self) -> bool:
        return not self._api.unconfirmed and not self._unfinished


class _Unhandled(RecordingExceptionHandler):
    """Keeps the exceptions that the bot's former exception handler, if any, does not handle."""

    def __init__(self, former: Any) -> None:
        super().__init__()
        self.former = former

    def handle(self, exception: Exception) -> bool:
        handled = self.former is not None and self.former.handle(exception)
        return bool(handled) or super().handle(exception)

    def report(self, error: Exception | SystemExit) -> None:
        """Keep the exception that ended a task, unless the former handler handles it."""
        if isinstance(error, Exception):
            self.handle(error)
            return
        # telebot asks no exception handler about it.
        ended = RuntimeError(
            f"a handler raised {error!r}, which ends its worker, or the polling without threads: "
            "return from the handler, or call bot.stop_bot()"
        )
        ended.__cause__ = error
        self.exceptions.append(ended)
