"""A bot whose handlers have returned once an update is delivered, in every mode of telebot."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from telebot import TeleBot, types
from updates import TOKEN

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
                barrier = threading.Barrier(WORKERS + 1, timeout=30)
                for _ in range(WORKERS):
                    self.bot.worker_pool.put(barrier.wait)
                barrier.wait()

    def close(self) -> None:
        if not self.bot.threaded:
            return
        for worker in self.bot.worker_pool.workers:
            worker.stop()
        for _ in self.bot.worker_pool.workers:
            self.bot.worker_pool.put(int)
        for worker in self.bot.worker_pool.workers:
            worker.join()


def make_host(*modes: str) -> Iterator[Host]:
    host = Host(threaded="threads" in modes, use_class_middlewares="class-middlewares" in modes)
    yield host
    host.close()
