"""Known numbers: the updates that a process handles, or that have ended."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

# Numbers of ended updates that a process remembers.
_MOST = 10_000


class KnownNumbers:
    """
    The numbers of the updates that the workers of this process have, or that have ended.

    Of the ended updates of this process the oldest are forgotten. It lives as long as its worker
    pool. Any thread may use it.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._taken: set[int] = set()
        # Not a dict, in which the search for the first key passes all deleted ones.
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._ended_elsewhere: frozenset[int] = frozenset()

    def __contains__(self, number: int) -> bool:
        return number in self._taken or number in self._ended or number in self._ended_elsewhere

    def take(self, number: int) -> bool:
        """Add the number of an update for the workers, and return whether it was new."""
        with self._mutex:
            if number in self:
                return False
            self._taken.add(number)
            return True

    def is_taken(self, number: int) -> bool:
        """Whether the workers have an update."""
        return number in self._taken

    def take_over(self, number: int) -> bool:
        """Add the number of an update with a record, which has not ended; false if it is known."""
        with self._mutex:
            if number in self._taken:
                return False
            self._taken.add(number)
            self._ended.pop(number, None)
            self._ended_elsewhere -= {number}
            return True

    def give_back(self, number: int) -> None:
        """Forget the number of an update that the workers did not get, and that may come again."""
        with self._mutex:
            self._taken.discard(number)

    def end(self, number: int) -> None:
        """Note that an update has ended."""
        with self._mutex:
            self._taken.discard(number)
            self._ended[number] = None
            if len(self._ended) > _MOST:
                self._ended.popitem(last=False)

    def end_elsewhere(self, numbers: Iterable[int]) -> None:
        """Add the numbers of updates of another process that Telegram may deliver again."""
        with self._mutex:
            self._ended_elsewhere = self._ended_elsewhere.union(numbers) - self._taken
