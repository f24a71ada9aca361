"""Timers of `threading` that wait on a frozen clock."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory

# Real seconds to wait for the end of a timer that runs.
_PATIENCE = 10.0


class Timers:
    """
    The timers of `threading` that were started while the clock stands still.

    Each waits in its own thread, as always, but on the frozen clock. `tick` goes from one moment at
    which timers are due to the next one, lets them run, and waits for their end. So a timer that
    starts another one, or itself again, runs as often as in real time.

    Keep one for as long as the clock is frozen. Threads may share it: the clock moves by the sum of
    their ticks.

    Args:
        clock: The frozen clock.
        move: Moves the clock by a time, and runs nothing.
    """

    def __init__(self, clock: FrozenDateTimeFactory, move: Callable[[timedelta], object]) -> None:
        self._clock = clock
        self._move = move
        self._changed = threading.Condition()
        # Those that have not ended, each with its deadline while it waits.
        self._deadlines: dict[threading.Timer, datetime | None] = {}
        self._ended: list[threading.Timer] = []
        self._errors: list[Exception] = []
        self._is_closed = False

    def start(self, timer: threading.Timer) -> None:
        """Start a timer that waits on the frozen clock; in the place of `threading.Timer.start`."""
        # One that was started before is refused.
        if timer.ident is None:
            self._adopt(timer)
        threading.Thread.start(timer)

    def wait(self, timer: threading.Timer, seconds: float) -> bool:
        """
        Wait in the thread of a timer until it is due, and return whether it was cancelled instead.

        Args:
            timer: The timer.
            seconds: Seconds on the frozen clock.
        """
        with self._changed:
            if self._is_closed:
                timer.cancel()
            elif seconds > 0:
                self._deadlines[timer] = self._clock() + timedelta(seconds=seconds)
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: timer.finished.is_set() or self._deadlines[timer] is None
                )
                self._deadlines[timer] = None
            return timer.finished.is_set()

    def notify(self) -> None:
        """Let the timers that wait look whether they are cancelled."""
        with self._changed:
            self._changed.notify_all()

    def tick(self, delta: timedelta | float) -> datetime:
        """
        Move the clock, and run the timers that are due until then, each at its own time.

        After all timers have run, it raises the exception of a timer, or several exceptions as an
        `ExceptionGroup`. They include the exceptions of timers of 0 s, which have run before.
        Raises `TimeoutError` if a timer does not end within 10 real seconds. The clock stands at
        the deadline of that timer then.

        Args:
            delta: How far, in seconds or as a `timedelta`. If it is negative, no timer runs.

        Returns:
            The time afterwards, in UTC.
        """
        rest: timedelta | None = delta if isinstance(delta, timedelta) else timedelta(seconds=delta)
        while rest is not None:
            self._settle()
            rest = self._advance(rest)
        self._raise_errors()
        return self._clock()

    def close(self) -> None:
        """
        Cancel all timers that wait.

        Raises the exceptions of timers that no `tick` has raised.
        """
        with self._changed:
            self._is_closed = True
            waiting = [timer for timer, deadline in self._deadlines.items() if deadline is not None]
        for timer in waiting:
            timer.cancel()
        self._raise_errors()

    def _adopt(self, timer: threading.Timer) -> None:
        """Let a timer wait on the frozen clock, and tell when it has ended."""
        run = timer.run

        def run_to_end() -> None:
            try:
                run()
            except Exception as error:  # noqa: BLE001 -- raised again by tick()
                self._keep(error)
            finally:
                with self._changed:
                    del self._deadlines[timer]
                    self._ended.append(timer)
                    self._changed.notify_all()

        timer.run = run_to_end  # type: ignore[method-assign]
        if not timer.finished.is_set():
            timer.finished = _Finished(self, timer)
        with self._changed:
            self._deadlines[timer] = None

    def _advance(self, time: timedelta) -> timedelta | None:
        """
        Move the clock to the first deadline within a time, and return the rest of the time.

        Without such a deadline, the clock moves by all of it, and nothing is left.
        """
        with self._changed:
            if self._running():
                # The tick of another thread has woken timers since.
                return time
            waiting = [deadline for deadline in self._deadlines.values() if deadline is not None]
            step = max(min(waiting) - self._clock(), timedelta()) if waiting else None
            if step is None or step > time:
                self._move(time)
                return None
            self._move(step)
            self._wake(min(waiting))
            return time - step

    def _wake(self, now: datetime) -> None:
        """Let the timers run that are due."""
        for timer, deadline in self._deadlines.items():
            if deadline is not None and deadline <= now:
                self._deadlines[timer] = None
        self._changed.notify_all()

    def _settle(self) -> None:
        """Wait until every timer waits, or has ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._running(), _PATIENCE):
                raise TimeoutError(
                    f"waited {_PATIENCE:g} s for {', '.join(self._running())} without success: "
                    "let the function of a timer return, and let it wait for nothing that the "
                    "test does later"
                )
            ended, self._ended = self._ended, []
        for timer in ended:
            timer.join(_PATIENCE)

    def _keep(self, error: Exception) -> None:
        """Keep the exception of a timer for `tick` or `close`; raise it if both are over."""
        with self._changed:
            if self._is_closed:
                raise error
            self._errors.append(error)

    def _raise_errors(self) -> None:
        """Raise the exceptions that were kept."""
        with self._changed:
            errors, self._errors = self._errors, []
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("timers have raised some exceptions", errors)

    def _running(self) -> list[str]:
        """The functions of the timers that neither wait nor have ended."""
        own = threading.current_thread()
        return [
            repr(timer.function)
            for timer, deadline in self._deadlines.items()
            if deadline is None and timer is not own
        ]


class _Finished(threading.Event):
    """The event of a timer, in the place of its own: set when the timer is cancelled or done."""

    def __init__(self, timers: Timers, timer: threading.Timer) -> None:
        super().__init__()
        self._timers = timers
        self._timer = timer

    def set(self) -> None:
        super().set()
        self._timers.notify()

    def wait(self, timeout: float | None = None) -> bool:
        # Others, such as the test, wait for the end of the timer in real time.
        if timeout is None or threading.current_thread() is not self._timer:
            return super().wait(timeout)
        return self._timers.wait(self._timer, timeout)
