"""Events: the figures of each unit of work, such as its waits, bytes and outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from telesession.errors import StorageError

if TYPE_CHECKING:
    from telesession.storage.base import Hold, Note

_log = logging.getLogger("telesession")

Outcome = Literal["saved", "raised", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEvent:
    """
    The figures of one unit of work: a handler call, or a block of `open` outside of handlers.

    `Sessions(on_event=...)` gets it once the locks are free, in the thread of the handler. It
    covers the sessions of all `Sessions` that have this `on_event`. It has no value of a field.

    Attributes:
        keys: The keys of the sessions, in the order of their locks, as `open` takes them.
        handler: The module and the name of the handler; `None` outside of handlers.
        waited: Seconds that the unit waited for its locks, including one that it did not get.
        held: Seconds from the first lock until all locks were free.
        loaded: Bytes of the records that were loaded.
        saved: Bytes of the records that were written.
        changed: Whether a record was written or deleted. A renewed lifetime is no change.
        outcome: `"saved"` if the handler returned and its sessions are saved, `"raised"` if it
            raised, and `"failed"` if its sessions could not be locked, read, made or saved.
        error: The class of the exception, such as `"LockTimeoutError"`; `None` without one.
    """

    keys: tuple[str, ...]
    handler: str | None
    waited: float
    held: float
    loaded: int
    saved: int
    changed: bool
    outcome: Outcome
    error: str | None


OnEvent = Callable[[UnitEvent], object]


class Watch:
    """
    The figures of a running unit that one callback gets.

    Lives as long as its unit, in the thread of the unit.

    Attributes:
        callback: The callback.
    """

    __slots__ = (
        "_asked",
        "_changed",
        "_end",
        "_holds",
        "_keys",
        "_loaded",
        "_noted",
        "_saved",
        "_since",
        "_waited",
        "callback",
    )

    def __init__(self, callback: OnEvent) -> None:
        self.callback = callback
        self._keys: list[str] = []
        self._holds: list[Hold] = []
        self._asked = self._waited = 0.0
        # The time of the first lock.
        self._since: float | None = None
        self._loaded = self._saved = 0
        self._changed = False
        # The notes of the commit that has begun.
        self._noted: list[tuple[Hold, Note]] = []
        self._end: tuple[Outcome, str | None] = "saved", None

    def begin_wait(self, key: str) -> None:
        """Note that the unit begins to wait for the lock of a session."""
        self._keys.append(key)
        self._asked = time.monotonic()

    def end_wait(self, hold: Hold) -> None:
        """Note that the unit has got the lock of a session."""
        now = time.monotonic()
        self._waited += now - self._asked
        if self._since is None:
            self._since = now
        self._holds.append(hold)
        # An error of the storage is raised when the record is loaded.
        with suppress(StorageError):
            self._loaded += len(hold.get() or b"")

    def fail_wait(self) -> None:
        """Note that the unit has not got the lock."""
        self._waited += time.monotonic() - self._asked

    def begin_commit(self) -> None:
        """Note the writes that the unit is about to do."""
        self._noted = [(hold, hold.note) for hold in self._holds if hold.note is not None]

    def count_write(self, hold: Hold, note: Note) -> None:
        """Count a write that was done, if its session is one of this callback."""
        if hold not in self._holds:
            return
        if note.action != "touch":
            self._changed = True
        if note.action == "set":
            self._saved += len(note.payload or b"")

    def set_outcome(self, outcome: Outcome, error: BaseException) -> None:
        """Note the outcome of the unit. Without this call it is `"saved"`."""
        self._end = outcome, type(error).__name__

    def report(self, handler: str | None) -> None:
        """
        Call the callback after the locks are free. An exception of the callback is logged.

        A process that was forked while its parent had the sessions calls nothing.
        """
        if any(hold.is_inherited() for hold in self._holds):
            return
        held = 0.0 if self._since is None else time.monotonic() - self._since
        outcome, error = self._end
        if outcome != "failed":
            for noted in self._noted:
                self.count_write(*noted)
        event = UnitEvent(
            keys=tuple(self._keys),
            handler=handler,
            waited=self._waited,
            held=held,
            loaded=self._loaded,
            saved=self._saved,
            changed=self._changed,
            outcome=outcome,
            error=error,
        )
        try:
            self.callback(event)
        except Exception as failure:  # noqa: BLE001 -- the sessions are saved all the same
            # Not the text of the exception, which may show stored values.
            _log.error("a function given as on_event raised %s", type(failure).__name__)
