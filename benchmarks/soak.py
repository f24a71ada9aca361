"""
A bot under load for minutes: does it keep its memory, its descriptors and every update?

Run it with `python -m benchmarks.soak`, with `--minutes 10` and `--storage sqlite`, `valkey`,
`postgresql` or `memory` (Linux only). The bot is a process of its own with sequential workers and
an inbox. It polls a Bot API on the loopback interface, to which 20 users write without a pause.
Every five seconds a confirmation is lost, so that the bot gets a batch of updates again.

Each user numbers the messages, and the session notes the number of updates, the latest number and
the gaps. A second session of each message expires after 20 seconds. The program fails if

- the memory of the bot or the size of the storage grows: the median of the last third of the run is
  more than 3 % above that of the middle third;
- the descriptors or threads grow: that median is higher by more than 2;
- a session has counted an update twice or never, or in the wrong order;
- a handler has raised, for example because the server was too slow. Its update has no effect then;
- an update is left in the inbox, or a lock is left when the bot has nothing more to do.

The size is that of the files of SQLite, of the memory that Valkey uses for its data, and of the
database of PostgreSQL. A run needs about five minutes to be flat. On PostgreSQL 80 seconds pass
until the first expired sessions are removed, and its autovacuum frees their space later.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from benchmarks import servers
from benchmarks.contender import ROOT
from benchmarks.soak_bot import Counters, open_storage
from telesession.testing import BotAPI

USERS, UPDATES_A_SECOND = 20, 300
# Seconds.
PAUSE_OF_LOSSES, PATIENCE = 5, 60
# How much higher the last third of the run may be than the middle third: a ratio for figures of
# megabytes, and a number for counts.
GROWTH, MORE = 1.03, 2
ROWS = 10
STORAGES = ("sqlite", "valkey", "postgresql", "memory")


class Bot:
    """The process of the bot."""

    def __init__(self, url: str, api_url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.soak_bot", url, api_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def report(self) -> dict[str, Any]:
        """The report of the bot itself; see `Counters.report`."""
        self._process.stdin.write("\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())  # type: ignore[union-attr]
        return answer

    def figures(self) -> tuple[float, int, int]:
        """Its memory in megabytes, and the numbers of its descriptors and threads."""
        folder = Path(f"/proc/{self._process.pid}")
        lines = dict(
            line.split(":", 1) for line in (folder / "status").read_text().splitlines() if line
        )
        memory = int(lines["VmRSS"].split()[0]) / 1024
        return memory, len(os.listdir(folder / "fd")), int(lines["Threads"])

    def stop(self) -> int:
        """End it as systemd does, and return the exit code."""
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class Sample(NamedTuple):
    """
    The figures of the run after one more second.

    Attributes:
        updates: The updates that were sent so far.
        memory: Megabytes of the bot.
        descriptors: The open descriptors of the bot.
        threads: The threads of the bot.
        size: Megabytes of the storage.
    """

    updates: int
    memory: float
    descriptors: int
    threads: int
    size: float


class Crowd:
    """Users who write to the bot, each in a thread."""

    def __init__(self, api: BotAPI) -> None:
        self._api = api
        self.sent = dict.fromkeys(map(str, range(1, USERS + 1)), 0)
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(key,)) for key in self.sent]

    def _write(self, key: str) -> None:
        user, rng = self._api.user(int(key)), random.Random(key)
        while not self._is_over.wait(rng.expovariate(UPDATES_A_SECOND / USERS)):
            user.send(str(self.sent[key] + 1))
            self.sent[key] += 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def watch(
    bot: Bot, crowd: Crowd, api: BotAPI, size: Callable[[], float], seconds: float
) -> Iterator[Sample]:
    """Take a sample each second, and lose a confirmation now and then."""
    began = time.monotonic()
    for second in range(1, int(seconds) + 1):
        time.sleep(max(0, began + second - time.monotonic()))
        if second % PAUSE_OF_LOSSES == 0:
            api.lose_confirmations()
        yield Sample(sum(crowd.sent.values()), *bot.figures(), size())


def settled(report: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The report once the inbox is empty, or after a minute."""
    end = time.monotonic() + PATIENCE
    while (last := report())["unfinished"] and time.monotonic() < end:
        time.sleep(0.5)
    return last


def thirds(samples: list[Sample]) -> Iterator[tuple[str, float, float]]:
    """The median of each figure in the middle and in the last third."""
    third = len(samples) // 3
    for name in Sample._fields[1:]:
        figures = [getattr(sample, name) for sample in samples]
        yield name, statistics.median(figures[third:-third]), statistics.median(figures[-third:])


def faults_of(samples: list[Sample], report: dict[str, Any], sent: dict[str, int]) -> list[str]:
    """The rules that the run has broken."""
    faults = [
        f"{name}: {middle:.1f} in the middle third, {last:.1f} in the last"
        for name, middle, last in thirds(samples)
        if last > (middle + MORE if name in ("descriptors", "threads") else GROWTH * middle)
    ]
    raised = Counter(key for key, _ in report["raised"])
    for key, number in sent.items():
        count, latest, gaps = report["users"].get(key, (0, 0, 0))
        # The session of a user has a gap for each handler that raised, except behind the last one.
        is_right = (latest, gaps) == (number, 0) or raised[key]
        if count != number - raised[key] or not is_right:
            faults.append(f"user {key} sent {number}: count {count}, latest {latest}, gaps {gaps}")
    for name, number in Counter(name for _, name in report["raised"]).items():
        faults.append(f"{number} handlers raised {name}")
    if report["locked"]:
        faults.append(f"{len(report['locked'])} locks are left")
    if report["unfinished"]:
        faults.append(f"{report['unfinished']} updates are left in the inbox")
    return faults


def show(samples: list[Sample]) -> None:
    """Print ten rows of the run, and the medians of two thirds."""
    print("   second   updates  memory MB  descriptors  threads  storage MB")
    for row in range(1, ROWS + 1):
        second = max(1, len(samples) * row // ROWS)
        it = samples[second - 1]
        print(
            f"{second:>9}{it.updates:>10,}{it.memory:>11.1f}{it.descriptors:>13}"
            f"{it.threads:>9}{it.size:>12.2f}"
        )
    print("\n  median of       middle third  last third   ratio")
    for name, middle, last in thirds(samples):
        ratio = f"{last / middle:.3f}" if middle else ""
        print(f"  {name:<16}{middle:>12.1f}{last:>12.1f}{ratio:>8}")


@contextmanager
def place(kind: str) -> Iterator[tuple[str, Callable[[], float]]]:
    """A URL for a storage of a kind, and a function that gives its megabytes."""
    if kind == "valkey":
        import redis

        with servers.valkey() as port, redis.Redis(port=port) as client:
            url = f"redis://127.0.0.1:{port}/0"
            yield url, lambda: client.info("memory")["used_memory"] / 1e6
    elif kind == "postgresql":
        import psycopg

        with servers.postgres() as port:
            url = f"postgresql://bot@127.0.0.1:{port}/bots"
            query = "SELECT pg_database_size(current_database())"
            with psycopg.connect(url, autocommit=True) as connection:
                yield url, lambda: connection.execute(query).fetchone()[0] / 1e6
    else:
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder)
            url = str(files / "bot.db") if kind == "sqlite" else ""
            yield url, lambda: sum(file.stat().st_size for file in files.iterdir()) / 1e6


def soak(kind: str, minutes: float) -> list[str]:
    """Run it, print the figures, and return the rules that were broken."""
    with place(kind) as (url, size), BotAPI() as api, Bot(url, api.url) as bot:
        with Crowd(api) as crowd:
            samples = list(watch(bot, crowd, api, size, 60 * minutes))
        api.wait_until_confirmed(PATIENCE)
        show(samples)
        report = settled(bot.report)
        if url:
            # Another process sees each lock that the bot has.
            with open_storage(url) as storage:
                report |= Counters(storage).report()
        faults = faults_of(samples, report, crowd.sent)
        if code := bot.stop():
            faults.append(f"the bot ended with the code {code}")
    print(f"\n{sum(crowd.sent.values()):,} updates of {USERS} users on {kind}: ", end="")
    print("\n".join(["these rules are broken:", *faults]) if faults else "every rule holds.")
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--storage", choices=STORAGES, default="sqlite")
    options = parser.parse_args()
    if options.minutes < 0.5:
        parser.error("--minutes is at least 0.5, so that each third of the run has ten samples")
    if soak(options.storage, options.minutes):
        sys.exit(1)


if __name__ == "__main__":
    main()
