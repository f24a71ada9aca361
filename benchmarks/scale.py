"""An update among many sessions: its time, and the bytes that each session takes."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from telebot import types

from benchmarks.contender import Spread
from benchmarks.peers.turns import MESSAGE
from telesession import MemoryStorage, Sessions, SQLiteStorage, Storage

FIRST = 5_000_000_000
COUNTS = (1_000, 100_000, 1_000_000, 10_000_000)
MEMORY_UPDATES, SQLITE_UPDATES = 100_000, 10_000

Clock = Callable[[], float]


class CountingBot:
    """Sessions of users who send messages to one handler, which is called directly."""

    def __init__(self, storage: Storage, lifetime: float | None = None) -> None:
        self.storage = storage
        sessions = Sessions(initial={"counter": 0}, storage=storage, lifetime=lifetime)

        @sessions.with_session
        def handler(message: types.Message, session: Any) -> None:
            session.counter += 1

        self._handler = handler
        self._message = types.Message.de_json(MESSAGE)
        self.update(FIRST - 1)
        self.payload: bytes = storage.get(str(FIRST - 1)) or b""

    def update(self, user_id: int, clock: Clock = time.thread_time) -> float:
        """Handle a message of a user; the seconds that it took on a clock."""
        self._message.from_user.id = user_id
        start = clock()
        self._handler(self._message)
        return clock() - start

    def records(self, count: int) -> Iterator[tuple[str, bytes]]:
        """Give the keys and payloads of new users, each with bytes of its own."""
        for user_id in range(FIRST, FIRST + count):
            yield str(user_id), bytes(bytearray(self.payload))

    def spread(self, count: int, updates: int, clock: Clock = time.thread_time) -> Spread:
        """Handle messages of random users, and return the spread of the times of one."""
        users = random.Random(1).choices(range(FIRST, FIRST + count), k=updates)
        return Spread.of(self.update(user_id, clock) * 1e6 for user_id in users)


def resident_bytes() -> int:
    """Return the memory that this process has from the system, on Linux; 0 elsewhere."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = status.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def measure_memory(count: int) -> dict[str, Any]:
    """Return the figures of a number of sessions in memory, in time of the processor."""
    # Many small storages, because a page of memory is not little beside one of them.
    bots = [CountingBot(MemoryStorage()) for _ in range(max(1, 100_000 // count))]
    size = resident_bytes()
    for bot in bots:
        for key, payload in bot.records(count):
            bot.storage.set(key, payload)
    size = (resident_bytes() - size) // len(bots)
    spread = bots[0].spread(count, MEMORY_UPDATES)
    return figures("memory", count, spread, size / count)


def measure_sqlite(count: int) -> dict[str, Any]:
    """Return the figures of a number of sessions in a file, by the wall clock."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bot.db"
        with SQLiteStorage(path) as storage:
            bot = CountingBot(storage)
            connection = sqlite3.connect(path)
            rows = ((key, None, payload.decode()) for key, payload in bot.records(count))
            connection.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
            size = path.stat().st_size
            spread = bot.spread(count, SQLITE_UPDATES, time.perf_counter)
    return figures("SQLite", count, spread, size / count)


def figures(storage: str, count: int, spread: Spread, size: float) -> dict[str, Any]:
    """Return a row of the scale."""
    us, bytes_ = spread._asdict(), round(size)
    return {"sessions": count, "storage": storage, "us": us, "bytes": bytes_}


def measure_scale(most: int, most_on_sqlite: int) -> list[dict[str, Any]]:
    """Return all rows up to numbers of sessions, each measured in a process of its own."""
    found = []
    for measure, limit in ((measure_memory, most), (measure_sqlite, most_on_sqlite)):
        for count in (count for count in COUNTS if count <= limit):
            print(f"{measure.__name__} {count:,}", file=sys.stderr, flush=True)
            found.append(in_new_process(measure, count))
    return found


def in_new_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a new process, whose memory has nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()
