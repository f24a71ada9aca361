"""Turns: the time in which a worker handles one update, and no other one of its key."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Self

#: Gets the update as handlers get it, and an exception that was raised for it.
Fail = Callable[[Any, Exception], object]
Task = Callable[[], object]

_log = logging.getLogger("telesession")

# identifier of a thread -> the turn that it has
_turns: dict[int, Turn] = {}


class Turn:
    """
    One update with its worker: telebot chooses the tasks for it, and the worker runs them.

    telebot chooses when the turn has come and not when the update arrives. So next steps, reply
    handlers and function middlewares see the effects of the user's update before.

    It lives from the arrival of the update to the end of its last task.

    Args:
        update: The update as handlers get it, such as a `Message`; `None` if there is none.
        choose: Lets telebot choose the tasks, which it puts into the worker pool.
        is_in_order: Whether the other updates of its key wait for it.
    """

    __slots__ = ("_choose", "_tasks", "is_failing", "is_in_order", "update")

    def __init__(self, update: Any, choose: Task, *, is_in_order: bool) -> None:
        self.update = update
        self.is_in_order = is_in_order
        #: Whether an exception is just being told.
        self.is_failing = False
        self._choose = choose
        # The tasks while telebot chooses, and `None` before and after.
        self._tasks: list[Task] | None = None

    @classmethod
    def of_thread(cls) -> Turn | None:
        """The turn that this thread has, if it is a worker that handles an update."""
        return _turns.get(threading.get_ident())

    def begin(self) -> Self:
        """Let this thread have the turn."""
        _turns[threading.get_ident()] = self
        return self

    def end(self) -> None:
        """End the turn of this thread."""
        del _turns[threading.get_ident()]

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
            fail: Gets each exception. The other tasks are run all the same.
        """
        self.begin()
        try:
            for task in self._chosen(fail):
                self._attempt(task, fail)
        finally:
            self.end()

    def tell(self, fail: Fail, error: Exception) -> None:
        """Tell of an exception that a task raised."""
        self.is_failing = True
        try:
            fail(self.update, error)
        finally:
            self.is_failing = False

    def _chosen(self, fail: Fail) -> list[Task]:
        """The tasks that telebot chose; also those before a failure."""
        tasks = self._tasks = []
        try:
            self._attempt(self._choose, fail)
        finally:
            self._tasks = None
        return tasks

    def _attempt(self, task: Task, fail: Fail) -> None:
        try:
            try:
                task()
            except Exception as error:  # noqa: BLE001 -- the bot is told
                self.tell(fail, error)
        except BaseException as error:  # noqa: BLE001 -- telebot's own pool would lose the worker
            _log.warning("a handler raised %s; its worker goes on", type(error).__name__)
