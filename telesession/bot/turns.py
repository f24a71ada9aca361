"""Turns: the time in which a worker handles one update, and no other one of its key."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from telesession.unit.unit import Unit, unit_of_thread

if TYPE_CHECKING:
    from telesession.storage.base import Storage

#: Gets the update as handlers get it, and an exception that was raised for it.
Fail = Callable[[Any, Exception], object]
Choose = Callable[[], object]
Task = partial[Any]

_log = logging.getLogger("telesession")

# identifier of a thread or greenlet -> the turn that it has
_turns: dict[int, Turn] = {}


class Turn:
    """
    One update with its worker: telebot chooses the tasks for it, and the worker runs them.

    telebot chooses when the turn has come and not when the update arrives. So next steps, reply
    handlers and function middlewares see the effects of the user's update before.

    States and questions of the sender may be written with the handler's sessions, if the sender's
    next update waits until the turn is over. Without a turn, as on telebot's own pool, they are
    written at once, because the user may answer before the handler ends.

    It lives from the arrival of the update to the end of its last task. `begin` and `end` are
    called in the thread of the worker.

    Args:
        bot: The bot that got the update.
        update: The update as handlers get it, such as a `Message`; `None` if there is none.
        choose: Lets telebot choose the tasks, which it puts into the worker pool.
        is_in_order: Whether the other updates of its key wait for it.
    """

    __slots__ = (
        "_choose",
        "_tasks",
        "_thread",
        "_told",
        "_turn_around",
        "bot",
        "is_failing",
        "is_in_order",
        "update",
    )

    def __init__(
        self, bot: Any, update: Any, choose: Choose | None = None, *, is_in_order: bool
    ) -> None:
        self.bot = bot
        self.update = update
        self.is_in_order = is_in_order
        self._told: Exception | None = None
        self._turn_around: Turn | None = None
        self._thread: threading.Thread | None = None
        #: Whether an exception is just being reported.
        self.is_failing = False
        self._choose = choose
        # The tasks while telebot chooses, and `None` before and after.
        self._tasks: list[Task] | None = None

    @staticmethod
    def of_thread() -> Turn | None:
        """The turn of this thread or greenlet; the innermost one if there are several."""
        turn: Turn | None = _turns.get(threading.get_ident())
        # A forked child has the turns of its parent's threads, and may use their identifiers anew.
        return turn if turn is not None and turn._thread is threading.current_thread() else None

    def begin(self) -> None:
        """Become the turn of this thread."""
        self._turn_around = Turn.of_thread()
        self._thread = threading.current_thread()
        _turns[threading.get_ident()] = self

    def end(self) -> None:
        """End the turn of this thread, and bring back the turn around it."""
        if self._turn_around is None:
            _turns.pop(threading.get_ident(), None)
        else:
            _turns[threading.get_ident()] = self._turn_around

    @property
    def is_leftover(self) -> bool:
        """Whether another process had the update before. Its handlers may still run there."""
        return False

    @property
    def is_choosing(self) -> bool:
        """Whether telebot is choosing the tasks just now, in the thread that has the turn."""
        return self._tasks is not None

    def add(self, task: Task) -> None:
        """Take one of the tasks that telebot chose."""
        if self._tasks is not None:
            self._tasks.append(task)

    def run(self, fail: Fail) -> None:
        """
        Let telebot choose the tasks, and run them one after the other.

        Args:
            fail: Gets each exception. The other tasks are run in any case.
        """
        self.begin()
        try:
            for task in self._collect_tasks(fail):
                self._attempt(task, fail)
        finally:
            self.end()

    def tell(self, fail: Fail, error: Exception) -> None:
        """Report an exception that a task raised, once."""
        # A class middleware may raise it again after telebot has told of it.
        if error is self._told:
            return
        self._told = error
        self.is_failing = True
        try:
            fail(self.update, error)
        finally:
            self.is_failing = False

    def _collect_tasks(self, fail: Fail) -> list[Task]:
        """The tasks that telebot chose; also those before a failure."""
        tasks = self._tasks = []
        try:
            if self._choose is not None:
                self._attempt(self._choose, fail)
        finally:
            self._tasks = None
        return tasks

    def _attempt(self, task: Callable[[], object], fail: Fail) -> None:
        try:
            try:
                task()
            except Exception as error:  # noqa: BLE001 -- the bot is told
                self.tell(fail, error)
        except BaseException as error:  # noqa: BLE001 -- telebot's own pool would lose the worker
            _log.warning("a handler raised %s; its worker goes on", type(error).__name__)


def unit_in_turn(storage: Storage, place: str, *, is_of_sender: bool) -> Unit | None:
    """
    The unit of this thread that writes a state; `None` if the state is written at once.

    Args:
        storage: The storage of the record.
        place: Its key there.
        is_of_sender: Whether only updates that wait for the turn of this thread can need it.
    """
    # A lock that the thread has already cannot be taken by another unit.
    unit = Unit.owner_of(storage, place)
    if unit is None and is_of_sender:
        unit = unit_of_thread()
    return unit
