"""A bot whose handlers have returned once an update is delivered, in every mode of telebot."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from clocks import PATIENCE
from telebot import TeleBot, types
from updates import TOKEN

from telesession.bot.workers import stop_workers
from telesession.testing import RecordingExceptionHandler

WORKERS = 2
# Whether handlers run in workers, and whether telebot looks at their signatures.
MODES = [
    ("one-thread", "no-middlewares"),
    ("one-thread", "class-middlewares"),
    ("threads", "no-middlewares"),
    ("threads", "class-middlewares"),
]


class Host:
    """
    A bot and what it needs to be sure that its handlers have returned.

    Args:
        threaded: Whether handlers run in telebot's worker threads.
        use_class_middlewares: Whether telebot looks at the signatures of handlers.
    """

    def __init__(self, *, threaded: bool = False, use_class_middlewares: bool = False) -> None:
        self.handler = RecordingExceptionHandler()
        self.bot = TeleBot(
            TOKEN,
            threaded=threaded,
            num_threads=WORKERS,
            use_class_middlewares=use_class_middlewares,
            exception_handler=self.handler,
        )

    @property
    def raised(self) -> list[Exception]:
        return self.handler.exceptions

    def deliver(self, *updates: types.Update) -> None:
        """Let the bot process updates, one after the other, and its handlers finish."""
        for update in updates:
            self.bot.process_new_updates([update])
            if self.bot.threaded:
                # Every worker has to come to the barrier, so none has a handler left to run.
                barrier = threading.Barrier(WORKERS + 1, timeout=PATIENCE)
                for _ in range(WORKERS):
                    self.bot.worker_pool.put(barrier.wait)
                barrier.wait()

    def close(self) -> None:
        if self.bot.threaded:
            end_workers(self.bot)


def end_workers(bot: TeleBot) -> None:
    """End the workers of a bot, without the half second that an idle one takes to notice."""
    stop_workers(bot.worker_pool)
    for worker in bot.worker_pool.workers:
        worker.join(PATIENCE)
    assert [] == [worker.name for worker in bot.worker_pool.workers if worker.is_alive()]


def make_host(*modes: str) -> Iterator[Host]:
    host = Host(threaded="threads" in modes, use_class_middlewares="class-middlewares" in modes)
    yield host
    host.close()
