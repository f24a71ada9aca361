"""Workers that handle the updates of one key in order, and those of different keys in parallel."""

from __future__ import annotations

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from telebot import TeleBot, util

from telesession.attachment import Attachment
from telesession.bot.turns import Turn
from telesession.forks import PerProcess
from telesession.keys import by_sender, key_fault
from telesession.options import checked_key_function

GetKey = Callable[[Any], str | int | None]
WhenFull = Literal["block", "drop"]

_log = logging.getLogger("telesession")
_IN_ORDER = "_telesession_in_order"


def use_sequential_workers(
    bot: TeleBot,
    *,
    num_threads: int | None = None,
    get_key: GetKey = by_sender,
    limit: int | None = None,
    when_full: WhenFull = "block",
    total_limit: int | None = None,
) -> SequentialWorkers:
    """
    Let a bot handle the updates of one sender in order, one at a time, and others meanwhile.

    Puts a `SequentialWorkers` in the place of `bot.worker_pool` and closes the pool that was
    there, with what waited in it. Call it before polling starts: a poll loop of telebot (4.37.1)
    listens to the exceptions of the pool that it began with. Calling it again brings new workers.

    The threads start with the first update of each process. So a web server may load the bot in
    one process and fork others, as gunicorn does with `--preload`, and uWSGI always.

    The bot's `process_new_updates` is replaced, too, by one that hands the updates of a batch to
    the former one by one. By itself telebot (4.37.1) regroups a batch by kind, first all messages
    and then what was edited or pressed between them, and does not offer every message of a batch
    to the next-step handlers. Update listeners get each message in a list of its own.

    Which next-step or reply handler gets an update is still decided by telebot as the update
    arrives, not when its turn comes.

    Args:
        bot: A bot with threads. `AsyncTeleBot` has none.
        num_threads: How many updates are handled at the same time; as many as before by default.
        get_key: From the update to the key whose updates are kept in order, the sender's id by
            default. Where the sessions of handlers have another, such as `by_chat`, give it here,
            too: else several updates of one session wait for it in a worker each. An update whose
            key is `None` does not wait for any other. If it raises, the bot learns of it as of an
            exception of a handler, and the update waits for no other.
        limit: How many updates of one key may wait for their turn; `None` is any number.
            Updates without a key are not limited, and telebot's several tasks for one update, such
            as a reply handler and a message handler, are not torn apart.
        when_full: The treatment of an update that exceeds a limit. `"block"` lets the thread that
            delivers it wait for room: polling stands still, for all users, and a webhook does not
            answer. A handler that delivers updates in its own thread never waits. `"drop"` drops
            it, and logs a record.
        total_limit: How many updates may wait together, those without a key too; `None` is any
            number. An update takes about 6 kB. telebot's several tasks for one update count one
            each.

    Returns:
        The new pool, which is `bot.worker_pool` from now on.

    Raises:
        TypeError: It is no `TeleBot`, or an option is of the wrong type.
        ValueError: The bot has no threads, or an option has a value that makes no sense.
    """
    _refuse_bot(bot)
    former: Any = bot.worker_pool
    threads = former.num_threads if num_threads is None else num_threads
    pool = SequentialWorkers(
        bot, threads, get_key=get_key, limit=limit, when_full=when_full, total_limit=total_limit
    )
    place: Any = bot
    place.worker_pool = pool
    # Marked on the bot: somebody else's process_new_updates may hide this one by now.
    if not hasattr(bot, _IN_ORDER):
        place.process_new_updates = _one_by_one(place, bot.process_new_updates)
        setattr(bot, _IN_ORDER, True)
    if is_telebots(former):
        stop_workers(former)
    former.close()
    return pool


class SequentialWorkers:
    """
    A worker pool for `TeleBot` in which the updates of one key form a line.

    A worker takes the first of the key whose turn it is, and when that is done the key goes to
    the end of the queue of keys. So an update that waits for another occupies no worker, and a
    key with a thousand updates delays another by one turn. A key is remembered for as long as an
    update of it waits or runs.

    Made by `use_sequential_workers`, for as long as the bot runs. Any thread may use it. It has
    the methods and attributes that telebot (4.37.1) uses of its own `util.ThreadPool`. A process
    that is forked has the settings of its parent, and begins with no threads and no updates.

    Args:
        telebot: The bot whose `exception_handler` is asked first.
        num_threads: How many workers there are. They are daemons, as telebot's.
        get_key: See `use_sequential_workers`; so are the next three.
        limit: How many updates of one key may wait.
        when_full: Whether one more blocks or is dropped.
        total_limit: How many updates may wait together.

    Attributes:
        closed: Whether the pool was closed and takes no more updates.
        exception_event: Set when an exception was not handled.
        exception_info: The latest of these.
    """

    def __init__(
        self,
        telebot: TeleBot,
        num_threads: int,
        *,
        get_key: GetKey = by_sender,
        limit: int | None = None,
        when_full: WhenFull = "block",
        total_limit: int | None = None,
    ) -> None:
        _refuse_limits(limit, when_full, total_limit)
        self.num_threads = _checked_count(num_threads)
        self.exception_event = threading.Event()
        self.exception_info: Exception | None = None
        self._telebot: Any = telebot
        self._get_key = checked_key_function(get_key, "get_key")
        self._limit = limit
        self._when_full: WhenFull = when_full
        self._total_limit = total_limit
        self.closed = False
        self._crews: PerProcess[_Crew] = PerProcess()

    @property
    def workers(self) -> list[threading.Thread]:
        """The threads of this process; none before its first update."""
        return self._crew.workers

    @property
    def _crew(self) -> _Crew:
        return self._crews.get(_Crew)

    def put(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """
        Let a worker call a function, after everything that was put before with the same key.

        Args:
            func: What telebot wants to be run.
            args: Its arguments. The first is the update; a list, as update listeners get it, has
                no key.
            kwargs: Its further arguments.

        Returns:
            Whether it was accepted: not if the pool is closed, or the limit was reached and
            `when_full` is `"drop"`. Both are logged.
        """
        update = args[0] if args else None
        task = functools.partial(func, *args, **kwargs)
        refusal = self._queue_up(self._key_of(update), update, task)
        if refusal is not None:
            _log.warning("dropped a %s: %s", type(update).__name__, refusal)
        return refusal is None

    def on_exception(self, _worker: threading.Thread, exc_info: Exception) -> None:
        """
        Tell the bot of an exception: its `exception_handler`, or else its poll loop.

        If the `exception_handler` raises, the poll loop gets that, with the other as its context.
        """
        try:
            handler = self._telebot.exception_handler
            handled = handler is not None and handler.handle(exc_info)
        except Exception as failure:  # noqa: BLE001 -- the poll loop raises it
            exc_info, handled = failure, False
        if not handled:
            self.exception_info = exc_info
            self.exception_event.set()

    def raise_exceptions(self) -> None:
        """Raise the latest exception that was not handled, if there is one."""
        if self.exception_event.is_set() and self.exception_info is not None:
            raise self.exception_info

    def clear_exceptions(self) -> None:
        """Take the exceptions so far for handled."""
        self.exception_event.clear()

    def close(self) -> None:
        """
        End the workers after what they run now, and wait for them; may be repeated.

        What still waits is not run, which the logger `telesession` tells. A handler may call it,
        as `bot.stop_bot()` does: its own worker ends when that handler returns.
        """
        caller, crew = threading.current_thread(), self._crew
        with crew.mutex:
            self.closed = True
            dropped, crew.waiting = crew.waiting, 0
            crew.lines, crew.ready = {}, deque()
            crew.work.notify_all()
            crew.room.notify_all()
            # Two handlers that close the pool at the same time must not wait for each other.
            crew.closing.add(caller)
            others = [worker for worker in crew.workers if worker not in crew.closing]
        if dropped:
            _log.warning("closed the worker pool: %d updates that waited are dropped", dropped)
        try:
            for worker in others:
                worker.join()
        finally:
            with crew.mutex:
                crew.closing.discard(caller)

    def renew(self) -> SequentialWorkers:
        """A new pool with the same settings, for a bot that polls again after it was stopped."""
        return SequentialWorkers(
            self._telebot,
            self.num_threads,
            get_key=self._get_key,
            limit=self._limit,
            when_full=self._when_full,
            total_limit=self._total_limit,
        )

    @property
    def waiting(self) -> int:
        """How many updates wait for their turn or for a worker."""
        crew = self._crew
        with crew.mutex:
            return crew.waiting

    def __repr__(self) -> str:
        return (
            f"<SequentialWorkers: {self.num_threads} threads, {len(self._crew.lines)} keys, "
            f"{self.waiting} updates waiting>"
        )

    def _key_of(self, update: Any) -> object:
        """The key of an update as a string, or an object like no other if it has none."""
        key = None
        if update is not None and not isinstance(update, list):
            try:
                key = _checked_key(self._get_key(update), update)
            except Exception as error:  # noqa: BLE001 -- the bot is told
                error.add_note("get_key raised it; the update is handled without waiting for any")
                self.on_exception(threading.current_thread(), error)
        return object() if key is None else key

    def _queue_up(self, key: object, update: object, task: functools.partial[Any]) -> str | None:
        """Put a task at the end of the line of its key, or say why not."""
        crew = self._crew
        with crew.mutex:
            if self.closed:
                return "the worker pool is closed"
            if len(crew.workers) < self.num_threads:
                self._start_workers(crew)
            line = crew.lines.get(key)
            is_half = line is not None and bool(line.tasks) and update is line.latest
            # The other half of an update that waits already is never refused.
            if not is_half and (fault := self._full(crew, key, line)):
                return fault
            if line is None:
                line = crew.lines[key] = _Line()
                crew.ready.append(key)
                crew.work.notify()
            line.latest = update
            line.tasks.append(task)
            crew.waiting += 1
            if not is_half:
                self._wait_for_room(crew, line)
            return None

    def _start_workers(self, crew: _Crew) -> None:
        """Start the threads that are missing, while the mutex keeps them from looking for work."""
        for number in range(len(crew.workers) + 1, self.num_threads + 1):
            name = f"SequentialWorker-{number}"
            worker = threading.Thread(target=self._run_all, args=(crew,), name=name, daemon=True)
            worker.start()
            crew.workers.append(worker)

    def _full(self, crew: _Crew, key: object, line: _Line | None) -> str | None:
        """Say why an update is dropped, if it is."""
        if self._when_full != "drop":
            return None
        if line is not None and self._limit is not None and len(line.tasks) >= self._limit:
            return f"{self._limit} updates of {key!r} wait already, which is the limit"
        if self._total_limit is not None and crew.waiting >= self._total_limit:
            return f"{self._total_limit} updates wait already, which is the total limit"
        return None

    def _wait_for_room(self, crew: _Crew, line: _Line) -> None:
        """Hold back the caller that put the last task of a line, until it is within the limits."""
        limit, total = self._limit, self._total_limit
        # A handler that waited for its own worker would wait for ever.
        if threading.current_thread() in crew.workers:
            return
        place = line.taken + len(line.tasks)
        if limit is not None:
            crew.room.wait_for(lambda: self.closed or place - line.taken <= limit)
        if total is not None:
            crew.room.wait_for(lambda: self.closed or crew.waiting <= total)

    def _run_all(self, crew: _Crew) -> None:
        while self._run_next(crew):
            pass

    def _run_next(self, crew: _Crew) -> bool:
        """Wait for a task and run it; false if it was the last one of this thread."""
        # The task lives in this call alone: an idle worker must not keep the update it had.
        with crew.mutex:
            crew.work.wait_for(lambda: crew.ready or self.closed)
            if self.closed:
                return False
            key = crew.ready.popleft()
            task = crew.lines[key].take()
            crew.waiting -= 1
            crew.room.notify_all()
        update = task.args[0] if task.args else None
        turn = Turn(self._telebot, update, is_in_order=isinstance(key, str))
        turn.begin()
        try:
            self._run(task)
        finally:
            turn.end()
            # A child that the handler forked ends here: the queue that it has is its parent's.
            is_parent = crew is self._crew
            if is_parent:
                crew.give_back(key)
        return is_parent

    def _run(self, task: Callable[[], Any]) -> None:
        try:
            try:
                task()
            except Exception as error:  # noqa: BLE001 -- the bot is told
                self.on_exception(threading.current_thread(), error)
        except BaseException as error:  # noqa: BLE001 -- telebot's own pool would lose the worker
            _log.warning("a handler raised %s; its worker goes on", type(error).__name__)


class _Crew:
    """
    The threads of one process, and the updates that wait for them.

    Made with the first update of the process, and not before: gevent may patch `threading` after
    the pool was made, and a greenlet that waits for a lock from before stops all others.

    Attributes:
        workers: The threads that were started.
        mutex: Guards the others.
        work: Notified when a key becomes ready, or the pool is closed.
        room: Notified when a task leaves its line, or the pool is closed.
        lines: key -> its tasks, while one of them runs or waits.
        ready: The keys that have tasks, none of which runs.
        waiting: The number of tasks that wait.
        closing: The threads that close the pool just now.
    """

    def __init__(self) -> None:
        self.workers: list[threading.Thread] = []
        self.mutex = threading.Lock()
        self.work = threading.Condition(self.mutex)
        self.room = threading.Condition(self.mutex)
        self.lines: dict[object, _Line] = {}
        self.ready: deque[object] = deque()
        self.waiting = 0
        self.closing: set[threading.Thread] = set()

    def give_back(self, key: object) -> None:
        """Let a key queue up again if more of it waits, or else forget it."""
        with self.mutex:
            line = self.lines.get(key)
            if line is None:
                return
            if line.tasks:
                # No worker needs to be woken for it: this one is about to look.
                self.ready.append(key)
            else:
                del self.lines[key]


class _Line:
    """The tasks of one key that wait, and how many were taken before them."""

    __slots__ = ("latest", "taken", "tasks")

    def __init__(self) -> None:
        # The update that the last task is about.
        self.latest: object = None
        self.tasks: deque[functools.partial[Any]] = deque()
        self.taken = 0

    def take(self) -> functools.partial[Any]:
        self.taken += 1
        return self.tasks.popleft()


def _one_by_one(bot: Any, process: Callable[[list[Any]], Any]) -> Callable[[list[Any]], None]:
    """A `process_new_updates` that hands each update over in a batch of its own."""
    # Made in each process when it is used, because threads wait for it: see `_Crew`.
    batches: PerProcess[Any] = PerProcess()

    def hand_over(updates: list[Any]) -> None:
        # Sessions that follow a group have to know of all the batch, as they would without workers.
        if (attachment := Attachment.of(bot)) is not None:
            attachment.follow(updates)
        # As telebot does it: whoever polls meanwhile must not ask for this batch once more.
        bot.last_update_id = max([bot.last_update_id, *(update.update_id for update in updates)])
        for update in updates:
            try:
                process([update])
            except Exception:
                bot.last_update_id = update.update_id - 1
                raise

    @functools.wraps(process)
    def process_new_updates(updates: list[Any]) -> None:
        # After an exception infinity_polling() polls in a new thread, even while the former one
        # waits for room in the middle of a batch. What is newer must not overtake the rest of it.
        if threading.current_thread() in getattr(bot.worker_pool, "workers", ()):
            hand_over(updates)
        elif len(updates) > 1:
            with batches.get(threading.Lock):
                hand_over(updates)
        else:
            # From webhooks: nobody has to wait for one that waits for room, and holds no more.
            with batches.get(threading.Lock):
                pass
            hand_over(updates)

    return process_new_updates


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
        raise ValueError(
            "the bot was made with threaded=False and has no workers: it handles one update after "
            "the other; make it with threaded=True to use workers"
        )


def _checked_count(num_threads: Any) -> int:
    if type(num_threads) is not int:
        raise TypeError(f"num_threads must be an int, not {type(num_threads).__name__}")
    if num_threads < 1:
        raise ValueError(f"num_threads must be 1 or more, not {num_threads}")
    return num_threads


def _refuse_limits(limit: Any, when_full: Any, total_limit: Any) -> None:
    for what, number in (("limit", limit), ("total_limit", total_limit)):
        if number is not None and type(number) is not int:
            raise TypeError(f"{what} must be an int or None, not {type(number).__name__}")
        if number is not None and number < 1:
            raise ValueError(f"{what} must be 1 or more, not {number}; None lets any number wait")
    if when_full not in ("block", "drop"):
        raise ValueError(f"when_full must be 'block' or 'drop', not {when_full!r}")
    if limit is None and total_limit is None and when_full == "drop":
        raise ValueError("when_full='drop' drops nothing without a limit; pass a limit, too")


def _checked_key(key: Any, update: object) -> str | None:
    if key is not None and (fault := key_fault(key)):
        raise TypeError(
            f"get_key returned {fault} for a {type(update).__name__}; let it return a non-empty "
            "str, an int, or None for an update that need not wait for others"
        )
    return None if key is None else str(key)
