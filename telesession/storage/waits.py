"""Waits for events without a notification, in pauses that grow."""

from __future__ import annotations

import math
import time

# Seconds of the first pause; each later one is twice as long.
_FIRST = 0.0005
_GROWTH = 2.0


class Wait:
    """
    A wait in pauses that grow, up to a time-out.

    Args:
        timeout: Seconds that all pauses together may take; `math.inf` for no limit.
    """

    def __init__(self, timeout: float) -> None:
        self._deadline = math.inf if timeout == math.inf else time.monotonic() + timeout
        self._left = timeout
        self._next_pause = _FIRST
        # Seconds of pauses since the wait began or came nearer to its end.
        self._slept = 0.0

    def come_nearer(self) -> None:
        """
        Expect the next step of the wait after about as long as this one took.

        After a short step the pauses are short again, and after a long step they are long.
        """
        self._next_pause = max(_FIRST, self._slept / 2)
        self._slept = 0.0

    def pause(self, longest: float) -> bool:
        """
        Wait for a moment; return false, at once, if the time is up.

        Args:
            longest: Seconds that this pause may take.
        """
        # The pauses are summed up, too, because a test may have stopped the clock.
        left = self._left
        if left != math.inf:
            left = min(left, self._deadline - time.monotonic())
        seconds = min(self._next_pause, longest, left)
        if seconds <= 0:
            return False
        time.sleep(seconds)
        self._left -= seconds
        self._slept += seconds
        self._next_pause = min(self._next_pause * _GROWTH, longest)
        return True
