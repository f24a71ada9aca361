"""
The longest pauses of sessions in memory, up to ten million of them.

Run it with `python -m benchmarks.pauses`; it takes some minutes and 4 GB. With a number, as in
`python -m benchmarks.pauses 1000000`, it stops at that number of sessions. Each row is measured in
a process of its own. The updates are measured in seconds of the processor: a shared machine
has pauses of its own. The loop over the keys, and an update in another thread during that loop, are
in seconds of the clock. `benchmarks.scale` measures the median update.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
import time
from typing import NamedTuple

from benchmarks.scale import COUNTS, FIRST, CountingBot, in_new_process
from telesession import MemoryStorage

LIFETIMES = (None, 86_400.0)
UPDATES = 100_000
SHORT = 15.0


class Pauses(NamedTuple):
    """
    The measured pauses of a number of sessions.

    Attributes:
        longest: Seconds of the longest update, or new session in which no dict grew.
        growing: Seconds of the longest new session in which the dict of the sessions grew.
        references: How many references a full garbage collection follows for the sessions.
        listing: Seconds of a loop over `keys()`.
        waiting: Seconds of the longest update in another thread during `keys()`.
    """

    longest: float
    growing: float
    references: int
    listing: float
    waiting: float


class GrowingBot(CountingBot):
    """Sessions in memory whose dict is watched while it grows."""

    def __init__(self, lifetime: float | None) -> None:
        storage = MemoryStorage()
        super().__init__(storage, lifetime)
        # Its growth is a pause of its own.
        self.store = storage._store
        self._lifetime = lifetime

    def fill(self, count: int) -> tuple[float, float]:
        """Store new sessions; the longest seconds of one without and with growth of the dict."""
        longest = growing = 0.0
        size = sys.getsizeof(self.store)
        for key, payload in self.records(count):
            start = time.thread_time()
            self.storage.set(key, payload, self._lifetime)
            seconds = time.thread_time() - start
            if seconds > longest and size == sys.getsizeof(self.store):
                longest = seconds
            elif size != sys.getsizeof(self.store):
                size, growing = sys.getsizeof(self.store), max(growing, seconds)
        return longest, growing


def references() -> int:
    """Return how many references a full garbage collection follows."""
    gc.collect()
    return sum(len(gc.get_referents(thing)) for thing in gc.get_objects())


def measure_pauses(count: int, lifetime: float | None) -> Pauses:
    """Return the pauses of a number of sessions."""
    bot = GrowingBot(lifetime)
    references()
    followed = references()
    longest, growing = bot.fill(count)
    followed = references() - followed
    users = random.Random(1).choices(range(FIRST, FIRST + count), k=UPDATES)
    longest = max(longest, *(bot.update(user_id) for user_id in users))
    return Pauses(longest, growing, followed, *measure_keys(bot, users))


def measure_keys(bot: GrowingBot, users: list[int]) -> tuple[float, float]:
    """Seconds of a loop over all keys, and of the longest update beside such a loop."""
    times = [0.0]
    done = threading.Event()

    def update_all() -> None:
        for user_id in users:
            if done.is_set():
                return
            times.append(bot.update(user_id, time.perf_counter))

    start = time.perf_counter()
    sum(map(len, bot.storage.keys()))
    seconds = time.perf_counter() - start
    thread = threading.Thread(target=update_all)
    thread.start()
    sum(map(len, bot.storage.keys()))
    done.set()
    thread.join()
    return seconds, max(times)


def measure_end(count: int) -> tuple[int, float, float]:
    """Remove expired sessions: the number of updates, and the seconds of the longest and of all."""
    bot = GrowingBot(SHORT)
    bot.fill(count)
    time.sleep(SHORT)
    times = []
    while len(bot.store) > 1:
        times.append(bot.update(FIRST - 3))
    return len(times), max(times), sum(times)


def show_pauses(counts: tuple[int, ...]) -> None:
    for lifetime in LIFETIMES:
        print(f"Sessions {'without' if lifetime is None else 'with'} a lifetime. Pauses in ms:\n")
        print("              longest    a dict    gc follows    keys()      update")
        print("  sessions     update     grows    references              beside it")
        for count in counts:
            it = in_new_process(measure_pauses, count, lifetime)
            print(
                f"{count:>10,}{1e3 * it.longest:>11.1f}{1e3 * it.growing:>10.1f}"
                f"{it.references:>14,}{1e3 * it.listing:>10.0f}{1e3 * it.waiting:>12.0f}"
            )
        print()


def show_end(count: int) -> None:
    updates, longest, total = in_new_process(measure_end, count)
    print(f"{count:,} sessions whose lifetime is over leave with {updates:,} updates;")
    print(f"the longest takes {1e3 * longest:.1f} ms, all of them {total:.1f} s.")


def main() -> None:
    most = int(sys.argv[1]) if sys.argv[1:] else COUNTS[-1]
    show_pauses(tuple(count for count in COUNTS if count <= most))
    show_end(min(most, 1_000_000))


if __name__ == "__main__":
    main()
