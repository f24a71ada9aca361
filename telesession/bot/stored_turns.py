"""Turns of stored updates: each handler's commit notes or ends the update in the inbox."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from telebot.handler_backends import ContinueHandling

from telesession.bot.attachable import LateStep
from telesession.bot.turns import Fail, Task, Turn
from telesession.errors import LockLostError, SessionError, StorageError, fault_of
from telesession.unit.endings import call_with

if TYPE_CHECKING:
    from telesession.bot.inbox import Stored
    from telesession.bot.intake import Intake
    from telesession.storage.base import Change

Handler = Mapping[str, Any]

# Seconds before each further attempt, if the storage fails before a handler is called. The last
# one is also the time between two looks whether the storage answers again.
_PAUSES = (0.1, 0.5, 2.0)

_log = logging.getLogger("telesession")


class StoredTurn(Turn):
    """
    The turn of an update that is stored in an inbox.

    The commit of a handler that telebot calls is the place where its effect becomes final. So it
    also notes in the record that the handler is done, and the commit of the last one deletes the
    record. If no commit has ended the update, a write does it at the end of the turn, before the
    next update of the key.

    If the storage fails before a handler is called, nothing has happened for the update. So it is
    handled again, once the storage answers.

    Args:
        intake: The way into the inbox.
        stored: The update in it.
        turn: The arguments of a `Turn`.
    """

    __slots__ = (
        "_failure",
        "_steps",
        "has_called",
        "inbox",
        "intake",
        "is_left",
        "is_lost",
        "stored",
    )

    def __init__(self, intake: Intake, stored: Stored, *turn: Any, is_in_order: bool) -> None:
        super().__init__(*turn, is_in_order=is_in_order)
        self.stored = stored
        #: Whether another process handles the update now.
        self.is_lost = False
        #: Whether the pool was closed before the storage answered, so that the update stays stored.
        self.is_left = False
        #: Whether a handler was called that the record does not note.
        self.has_called = False
        self._failure: StorageError | None = None
        self.intake = intake
        self.inbox = intake.inbox
        # The names of the steps so far; a function may be registered several times.
        self._steps: list[str] = []

    @property
    def is_leftover(self) -> bool:
        """See `Turn.is_leftover`."""
        return self.stored.is_leftover

    def run(self, fail: Fail) -> None:
        """See `Turn.run`. A leftover first notes in its record that its handlers begin again."""
        intake = self.intake
        if intake.is_superseded and (intake.is_replaced or not self._is_own()):
            self._lose()
        elif self.is_leftover:
            self.stored.has_begun = True
            self._write("begin", self.inbox.changing)
        if self.is_lost or self.stored.payload is None:
            self.intake.has_ended(self.stored)
        else:
            super().run(fail)

    def end(self) -> None:
        """End the update, unless a commit has."""
        try:
            self.drop()
        finally:
            super().end()

    def drop(self) -> None:
        """End the update if it has not ended."""
        if self.is_left:
            self.intake.give_back(self.stored)
            return
        if not self.is_lost and self.stored.payload is not None:
            self._write("end", self.inbox.ending)
        if self.is_lost or self.stored.payload is None:
            self.intake.has_ended(self.stored)
        else:
            self.intake.end_later(self.stored)

    def tell(self, fail: Fail, error: Exception) -> None:
        """
        See `Turn.tell`.

        It is no failure of a handler if another process handles the update. A failure of the
        storage is not reported before the last attempt.
        """
        is_of_record = isinstance(error, LockLostError) and error.key == self.stored.key
        if is_of_record and not self._is_own():
            self._lose()
        elif isinstance(error, StorageError) and not self.has_called and not self._tasks:
            self._failure = error
        else:
            super().tell(fail, error)

    def _attempt(self, task: Callable[[], object], fail: Fail) -> None:
        """See `Turn._attempt`. There are more attempts while the storage fails."""
        steps_before = len(self._steps)
        self.has_called = False
        super()._attempt(task, fail)
        pauses = iter(_PAUSES)
        while (failure := self._failure) is not None:
            self._failure = None
            pause = next(pauses, None)
            if pause is None:
                super()._attempt(functools.partial(super().tell, fail, failure), fail)
            elif self._wait_for_storage(failure, pause):
                del self._steps[steps_before:]
                super()._attempt(task, fail)
            else:
                self.is_left = True
                _log.warning("update %d stays in the inbox for the next start", self.stored.number)

    def _wait_for_storage(self, failure: StorageError, pause: float) -> bool:
        """Wait until the storage answers; `False` if the pool is closed before."""
        _log.warning(
            "update %d waits for the storage, because its handler could not be called yet: %s",
            self.stored.number,
            fault_of(failure),
        )
        while self.intake.pause(pause):
            try:
                self.inbox.storage.ping()
            except SessionError:
                pause = _PAUSES[-1]
            else:
                return True
        return False

    def _is_own(self) -> bool:
        """Look whether this process still handles the update, and read its record."""
        try:
            found = self.intake.own(self.stored.key)
        except SessionError:
            # The next write fails if the record has changed.
            return True
        if found is None:
            return False
        # It may be of a write of this process whose answer was lost.
        self.stored.payload, self.stored.done = found.payload, found.done
        return True

    def _lose(self) -> None:
        self.is_lost = True
        self.intake.lose()
        _log.warning(
            "update %d is handled by another process now, so nothing of it was saved here",
            self.stored.number,
        )

    def _write(self, verb: str, make_change: Callable[[Stored], Change]) -> None:
        change = make_change(self.stored)
        try:
            self._write_change(change, make_change)
        except LockLostError:
            self._lose()
        except Exception as error:  # noqa: BLE001 -- the worker goes on
            _log.error(
                "could not %s update %d in the inbox, and tries again later: %s",
                verb,
                self.stored.number,
                fault_of(error),
            )

    def _write_change(self, change: Change, make_change: Callable[[Stored], Change]) -> None:
        try:
            self.inbox.write([change])
        except LockLostError:
            if not self._is_own():
                raise
            change = make_change(self.stored)
            self.inbox.write([change])
        except StorageError as error:
            if error.outcome is None or self.inbox.storage.get(change.key) != change.payload:
                raise
        self.stored.payload = change.payload

    def _collect_tasks(self, fail: Fail) -> list[Task]:
        """See `Turn._collect_tasks`. The tasks note the handlers that are done."""
        tasks = super()._collect_tasks(fail)
        last = len(tasks) - 1
        return [
            functools.partial(self._run_task, task, is_last=number == last)
            for number, task in enumerate(tasks)
        ]

    def _run_task(self, task: functools.partial[Any], *, is_last: bool) -> None:
        if self.is_lost or self.is_left:
            return
        # A step may have been registered with one of these as an argument of its own.
        if not task.keywords.keys() >= {"handlers", "middlewares", "update_type"}:
            self._run_step(task, is_last=is_last)
            return
        handlers, kind = task.keywords["handlers"], task.keywords["update_type"]
        guarded = _Handlers(self, handlers, kind, is_last=is_last)
        task.func(*task.args, **{**task.keywords, "handlers": guarded})

    def _run_step(self, task: functools.partial[Any], *, is_last: bool) -> None:
        """Call a next step, a reply handler or a listener."""
        function: Any = task.func
        if isinstance(function, LateStep):
            function = function.decorated()
        base = _name_of(function, "step")
        name = f"{base}#{self._steps.count(base)}"
        self._steps.append(base)
        if name not in self.stored.done:
            self.intake.notice(function)
            ending = _TaskEnding(self, lambda: name, is_last=is_last)
            ending.call(function, *task.args, **task.keywords)


class _TaskEnding:
    """
    The writes for the commit of one handler: its name in the record, or the end of the update.

    Args:
        turn: The turn of the update.
        name: Gives the name of the handler.
        is_last: Whether telebot chose nothing behind the handlers of this task.
    """

    def __init__(self, turn: StoredTurn, name: Callable[[], str], *, is_last: bool) -> None:
        self.storage = turn.inbox.storage
        self.is_called = False
        self._is_noted = False
        self._turn = turn
        self._name = name
        self._is_last = is_last
        self._ended_names: list[str] = []
        self._payload: bytes | None = None

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the function of the task, and let the turn know whether it was called."""
        try:
            result = call_with(self, function, *args, **kwargs)
        except BaseException:
            self._turn.has_called |= self.is_called
            raise
        # A further attempt leaves out the handlers that the record notes.
        self._turn.has_called |= not self._is_noted
        return result

    def returned(self, result: object) -> None:
        """See `Ending.returned`. After `ContinueHandling` telebot goes on to the next handler."""
        if isinstance(result, ContinueHandling):
            self._is_last = False

    def changes(self) -> Sequence[Change]:
        """See `Ending.changes`."""
        inbox, stored = self._turn.inbox, self._turn.stored
        if self._is_last:
            self._payload = None
            return (inbox.ending(stored),)
        self._ended_names = [*stored.done, self._name()]
        change = inbox.changing(stored, self._ended_names)
        self._payload = change.payload
        return (change,)

    def happened(self) -> bool:
        """See `Ending.happened`."""
        stored = self._turn.stored
        try:
            return self.storage.get(stored.key) == self._payload != stored.payload
        except SessionError:
            return False

    def done(self) -> None:
        """See `Ending.done`."""
        self._turn.stored.payload, self._turn.stored.done = self._payload, self._ended_names
        self._is_noted = True


class _Handlers:
    """
    The handlers that telebot goes through for one update, without those that have committed.

    telebot (4.37.1, `_run_middlewares_and_handler`) calls the first one whose filters fit, and
    goes on if that returns `ContinueHandling`. Handlers up to the last one that has committed are
    left out, because after its effects their filters might fit.

    Args:
        turn: The turn of the update.
        handlers: telebot's handlers.
        kind: The kind of the update.
        is_last: Whether telebot chose no task behind this one.
    """

    def __init__(
        self, turn: StoredTurn, handlers: Sequence[Handler], kind: str, *, is_last: bool
    ) -> None:
        self._turn = turn
        self._kind = kind
        self._is_last = is_last
        self._handlers = handlers
        self._start = 0
        if done := turn.stored.done:
            places = [place for place, name in enumerate(self._handler_names()) if name in done]
            self._start = max(places, default=-1) + 1

    def __len__(self) -> int:
        return len(self._handlers) - self._start

    def __iter__(self) -> Iterator[Handler]:
        for place in range(self._start, len(self._handlers)):
            handler = self._handlers[place]
            yield {**handler, "function": self._guarded(handler["function"], place)}

    def _guarded(self, function: Callable[..., Any], place: int) -> Callable[..., Any]:
        turn, is_last = self._turn, self._is_last

        def call(*args: Any, **kwargs: Any) -> Any:
            turn.intake.notice(function)
            ending = _TaskEnding(turn, lambda: self._handler_names()[place], is_last=is_last)
            return ending.call(function, *args, **kwargs)

        if turn.bot.use_class_middlewares:
            # telebot decides by the signature which values to pass.
            guarded: Any = call
            guarded.__wrapped__ = function
        return call

    def _handler_names(self) -> list[str]:
        """The names of the handlers in a record; equal ones are counted."""
        names: list[str] = []
        for handler in self._handlers:
            base = _name_of(handler["function"], self._kind)
            names.append(f"{base}#{sum(each.startswith(f'{base}#') for each in names)}")
        return names


def _name_of(function: Any, kind: str) -> str:
    module = getattr(function, "__module__", "")
    return f"{kind}:{module}.{getattr(function, '__qualname__', type(function).__name__)}"
