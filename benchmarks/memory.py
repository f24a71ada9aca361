"""
How sessions in memory scale: their bytes, the cost of an update among them, and the pauses.

Run it with `python benchmarks/memory.py`; it takes some minutes and 4 GB. With a number, as in
`python benchmarks/memory.py 1000000`, it stops at so many sessions. Each row is measured in a
process of its own. The bytes are those that the process takes from the system (Linux only). The
updates are measured in seconds of the processor, because a shared machine has pauses of its own.
The loop over the keys, and an update in another thread meanwhile, are in seconds of the clock.
"""

from __future__ import annotations

import gc
import multiprocessing
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench_update import message_from

from telesession import MemoryStorage, Sessions

if TYPE_CHECKING:
    from telebot import types

COUNTS = (1_000, 100_000, 1_000_000, 10_000_000)
LIFETIMES = (None, 86_400.0)
UPDATES = 100_000
FIRST = 5_000_000_000
SHORT = 15.0

Clock = Callable[[], float]


class Scale(NamedTuple):
    """
    What was measured among so many sessions.

    Attributes:
        size: Bytes a session.
        update: Median seconds of an update of a random user.
        longest: Seconds of the longest update, or new session in which no dict grew.
        growing: Seconds of the longest new session in which the dict of the sessions grew.
        references: How many references a full garbage collection follows for the sessions.
        listing: Seconds of a loop over `keys()`.
        waiting: Seconds of the longest update in another thread during `keys()`.
    """

    size: float
    update: float
    longest: float
    growing: float
    references: int
    listing: float
    waiting: float


class Bot:
    """Sessions of users who send messages to one handler."""

    def __init__(self, lifetime: float | None) -> None:
        self.storage = MemoryStorage()
        # Its growth is a pause of its own.
        self.store = self.storage._store
        self._lifetime = lifetime
        sessions = Sessions(initial={"counter": 0}, storage=self.storage, lifetime=lifetime)

        @sessions.with_session
        def handler(message: types.Message, session: Any) -> None:
            session.counter += 1

        self._handler = handler
        self._message = message_from(FIRST - 1)
        self.update(FIRST - 1)
        self._payload = self.store[str(FIRST - 1)]

    def update(self, user_id: int, clock: Clock = time.thread_time) -> float:
        """Handle a message of a user; the seconds that it took on a clock."""
        self._message.from_user.id = user_id
        start = clock()
        self._handler(self._message)
        return clock() - start

    def fill(self, count: int) -> tuple[float, float]:
        """Store new sessions; the longest seconds of one without and with growth of the dict."""
        longest = growing = 0.0
        size = sys.getsizeof(self.store)
        for user_id in range(FIRST, FIRST + count):
            # Each session has bytes of its own, as if its user had sent the message.
            key, payload = str(user_id), bytes(bytearray(self._payload))
            start = time.thread_time()
            self.storage.set(key, payload, self._lifetime)
            seconds = time.thread_time() - start
            if seconds > longest and size == sys.getsizeof(self.store):
                longest = seconds
            elif size != sys.getsizeof(self.store):
                size, growing = sys.getsizeof(self.store), max(growing, seconds)
        return longest, growing


def resident_bytes() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = status.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def references() -> int:
    gc.collect()
    return sum(len(gc.get_referents(thing)) for thing in gc.get_objects())


def measure_scale(count: int, lifetime: float | None) -> Scale:
    # So many storages that a page of memory is little beside them.
    bots = [Bot(lifetime) for _ in range(max(1, 100_000 // count))]
    references()
    followed, size = references(), resident_bytes()
    longest, growing = map(max, zip(*(bot.fill(count) for bot in bots), strict=True))
    size = (resident_bytes() - size) // len(bots)
    bot = bots[0]
    followed = references() - followed
    users = random.Random(1).choices(range(FIRST, FIRST + count), k=UPDATES)
    times = [bot.update(user_id) for user_id in users]
    median, longest = statistics.median(times), max(longest, *times)
    listing, waiting = measure_keys(bot, users)
    return Scale(size / count, median, longest, growing, followed, listing, waiting)


def measure_keys(bot: Bot, users: list[int]) -> tuple[float, float]:
    """Seconds of a loop over all keys, and of the longest update meanwhile."""
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
    """How many updates remove so many expired sessions; the longest, and the seconds of all."""
    bot = Bot(SHORT)
    bot.fill(count)
    time.sleep(SHORT)
    times = []
    while len(bot.store) > 1:
        times.append(bot.update(FIRST - 3))
    return len(times), max(times), sum(times)


def in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def show_scale(counts: tuple[int, ...]) -> None:
    for lifetime in LIFETIMES:
        print(f"Sessions {'without' if lifetime is None else 'with'} a lifetime. An update in µs,")
        print("the longest pauses in ms:\n")
        print("            bytes  update  longest    a dict    gc follows  keys()   update")
        print("  sessions   each                      grows    references         meanwhile")
        for count in counts:
            it = in_new_process(measure_scale, count, lifetime)
            print(
                f"{count:>10,}{it.size:>7.0f}{1e6 * it.update:>8.1f}{1e3 * it.longest:>9.1f}"
                f"{1e3 * it.growing:>10.1f}{it.references:>14,}{1e3 * it.listing:>8.0f}"
                f"{1e3 * it.waiting:>9.0f}"
            )
        print()


def show_end(count: int) -> None:
    updates, longest, total = in_new_process(measure_end, count)
    print(f"{count:,} sessions whose lifetime is over leave with {updates:,} updates;")
    print(f"the longest takes {1e3 * longest:.1f} ms, all of them {total:.1f} s.")


def main() -> None:
    most = int(sys.argv[1]) if sys.argv[1:] else COUNTS[-1]
    show_scale(tuple(count for count in COUNTS if count <= most))
    show_end(min(most, 1_000_000))


if __name__ == "__main__":
    main()
