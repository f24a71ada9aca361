"""Worker pools that know how much of their work is unfinished."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from telesession.bot.pool import SequentialWorkers
from telesession.bot.workers import is_telebots, stop_workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class CountingPool:
    """
    Stands in for a bot's `worker_pool`: counts its tasks and leaves the work to it.

    Args:
        pool: The pool that runs the tasks, telebot's or one with the same methods.
        report: Called with each exception that a task raised. The exception goes no further.
        on_done: Called after each task, in the thread that ran it.
    """

    def __init__(
        self,
        pool: Any,
        report: Callable[[Exception | SystemExit], object],
        on_done: Callable[[], object],
    ) -> None:
        self.pool = pool
        self._report = report
        self._on_done = on_done
        self._lock = threading.Lock()
        self._number_unfinished = 0

    def __getattr__(self, name: str) -> Any:
        """Any other attribute that telebot uses is that of the pool."""
        return getattr(self.pool, name)

    @property
    def unfinished(self) -> int:
        """How many tasks wait or run."""
        return self._number_unfinished

    def watch(self, bot: Any) -> None:
        """Take the place of the bot's pool."""
        bot.worker_pool = self

    def put(self, task: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Let the pool run a task."""

        @functools.wraps(task)
        def counted(*args: Any, **kwargs: Any) -> None:
            try:
                with Reporting(self._report):
                    task(*args, **kwargs)
            finally:
                self._change_unfinished(-1)
                self._on_done()

        self._change_unfinished(1)
        taken = False
        try:
            # A pool may refuse a task and return false; telebot's returns nothing.
            taken = self.pool.put(counted, *args, **kwargs) is not False
        finally:
            if not taken:
                self._change_unfinished(-1)
                self._on_done()

    def close(self, timeout: float = 10) -> None:
        """
        End the workers after the tasks that they run now; the tasks that wait are dropped.

        Waits up to `timeout` seconds for each worker, where a pool's own `close` would wait for
        ever. Raises `RuntimeError` if one still runs then.
        """
        workers, caller = getattr(self.pool, "workers", []), threading.current_thread()
        if is_telebots(self.pool):
            stop_workers(self.pool)
            _join([worker for worker in workers if worker is not caller], workers, timeout)
        else:
            _close_pool(self.pool, timeout)

    def _change_unfinished(self, change: int) -> None:
        with self._lock:
            self._number_unfinished += change


class WatchedWorkers:
    """
    Sequential workers, which count their updates themselves.

    Args:
        pool: The workers.
        on_done: Called after each update, in its worker.
    """

    def __init__(self, pool: SequentialWorkers, on_done: Callable[[], object]) -> None:
        self.pool = pool
        pool.notify(on_done)

    @property
    def unfinished(self) -> int:
        """How many updates wait or are being handled."""
        return self.pool.unfinished

    def watch(self, bot: Any) -> None:
        """Give the bot the workers, which may be new ones."""
        bot.worker_pool = self.pool

    def close(self, timeout: float = 10) -> None:
        """End the workers as `bot.stop_bot()` does; otherwise see `CountingPool.close`."""
        _close_pool(self.pool, timeout)


def watch_pool(
    bot: Any, report: Callable[[Exception | SystemExit], object], on_done: Callable[[], object]
) -> CountingPool | WatchedWorkers:
    """Let a bot have a pool that counts: its own, or a new one like it if that was closed."""
    pool = _open_pool(bot)
    watched: CountingPool | WatchedWorkers
    if isinstance(pool, SequentialWorkers):
        watched = WatchedWorkers(pool, on_done)
    else:
        watched = CountingPool(pool, report, on_done)
    watched.watch(bot)
    return watched


def _close_pool(pool: Any, timeout: float) -> None:
    """Close a pool that ends its workers itself, and wait for them."""
    workers = getattr(pool, "workers", [])
    if threading.current_thread() in workers:
        # A handler stops its bot: only the pool knows that this worker cannot end yet.
        pool.close()
        return
    closing = threading.Thread(target=pool.close, daemon=True)
    closing.start()
    _join([closing, *workers], workers, timeout)


def _join(threads: list[threading.Thread], workers: list[threading.Thread], timeout: float) -> None:
    for thread in threads:
        thread.join(timeout)
    if any(thread.is_alive() for thread in threads):
        running = sum(worker.is_alive() for worker in workers) or "some"
        raise RuntimeError(
            f"could not stop the bot: {running} of its handlers still run after {timeout:g} s; "
            "let them return before the `with` block ends"
        )


def _open_pool(bot: Any) -> Any:
    """The worker pool of a bot, or a new one like it if that was closed by `stop_bot`."""
    pool = bot.worker_pool
    if isinstance(pool, SequentialWorkers):
        return pool.renew() if pool.closed else pool
    # A worker of telebot that was asked to end may not have ended yet; 4.37.1 has no public way to
    # know.
    if any(
        worker.is_alive() and getattr(worker, "_running", True)
        for worker in getattr(pool, "workers", ())
    ):
        return pool
    return type(pool)(bot, num_threads=pool.num_threads) if is_telebots(pool) else pool


class Reporting:
    """
    A `with` block whose exceptions are reported and go no further.

    A `SystemExit` is one of them, because it would end the thread in silence.
    """

    def __init__(self, report: Callable[[Exception | SystemExit], object]) -> None:
        self._report = report

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, (Exception, SystemExit)):
            return False
        self._report(error)
        return True
