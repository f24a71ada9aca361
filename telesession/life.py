"""The life of one session: a lifetime of its own, and a fixed end."""

from __future__ import annotations

import math
import time
from typing import NamedTuple


class Life(NamedTuple):
    """
    The parts of a record that say how long its session lives, beside the lifetime of its kind.

    Attributes:
        lifetime: Seconds that the session lives after its last use; `math.inf` is for ever, and
            `None` the lifetime of its kind.
        end: The time at which the session ends, however often it is used, as a `time.monotonic()`
            value; `None` without an end.
        stored: The end as the storage has it. To convert it forth and back would move it a little
            with every save.
    """

    lifetime: float | None = None
    end: float | None = None
    stored: float | None = None

    def sliding(self, usual: float | None) -> float | None:
        """
        Seconds that the session lives after its last use, without its end; `None` is for ever.

        Args:
            usual: The lifetime of its kind.
        """
        if self.lifetime is None:
            return usual
        return None if self.lifetime == math.inf else self.lifetime

    def left(self, usual: float | None) -> float | None:
        """Seconds that a record lives from now on: its lifetime, but not longer than to its end."""
        sliding = self.sliding(usual)
        if self.end is None:
            return sliding
        left = self.end - time.monotonic()
        return left if sliding is None else min(left, sliding)

    def is_over(self) -> bool:
        """Whether the session has ended. A record that still exists counts as deleted then."""
        return self.end is not None and time.monotonic() >= self.end
