"""
Runs of the bot of `support.effect_bot` in processes that are killed, stopped and replaced.

Each run feeds a script of updates through a loopback Bot API, and reports the difference between
the effects that the script must have and those that the sessions show. By hand:
`python -m support.effect_runs kills PLACE --updates 5000 --ends 60`, in the folder `tests`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Self

import telesession
from support.clocks import PATIENCE
from support.effect_bot import COMPLAINT, Settings, open_place, read_logs
from support.effects import (
    ALL_USERS,
    BEGINS,
    Report,
    Step,
    begins_of,
    compare,
    expected_logs,
    make_script,
)
from support.one_poller import OnePoller

TESTS = Path(__file__).parents[1]
# The lines of a log that tell of an exception for which no handler has asked.
SIGNS = (COMPLAINT, "Exception in thread", "Exception ignored")
# Seconds without any progress after which a run takes the missing effects for lost.
SILENCE = 15


class Life:
    """
    One process of the bot. It imports its modules when it is made, and polls after `begin`.

    Args:
        settings: Of the bot.
        log: The file for its complaints.

    Attributes:
        program: The module that is run.
    """

    program = "support.effect_bot"

    def __init__(self, settings: Any, log: IO[str]) -> None:
        self.settings = settings
        paths = [str(TESTS), str(Path(telesession.__file__).parents[1])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.program, settings.as_argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self.begins = 0

    def begin(self) -> None:
        """Let it poll."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"begin\n")
        self._process.stdin.flush()

    def wait_for_begins(self, count: int) -> bool:
        """Wait until so many more handlers have begun; false if it ends or falls silent before."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        target = self.begins + count
        while self.begins < target:
            if not select.select([pipe], [], [], SILENCE)[0]:
                return False
            dots = os.read(pipe, min(target - self.begins, 4096))
            if not dots:
                return False
            self.begins += len(dots)
        return True

    def read_begins(self) -> int:
        """The number of handlers that have begun since the last question, without waiting."""
        assert self._process.stdout is not None
        pipe, before = self._process.stdout.fileno(), self.begins
        while select.select([pipe], [], [], 0)[0] and (dots := os.read(pipe, 4096)):
            self.begins += len(dots)
        return self.begins - before

    def end(self, number: int) -> int:
        """Send a signal and return the exit code, negative for a signal."""
        self._process.send_signal(number)
        self._process.communicate(timeout=2 * PATIENCE)
        return self._process.returncode

    def close(self) -> None:
        """End it if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


class Run:
    """
    The processes of one run, one after the other, and the updates for them.

    Args:
        settings: Of each bot, but for its token and the address of the Bot API.
        steps: The script.
        lives: The number of processes.
        api: The Bot API.
        folder: An empty folder for the complaints of the bots.
        seed: Of the random moments.
    """

    def __init__(
        self,
        settings: Settings,
        steps: list[Step],
        *,
        lives: int,
        api: OnePoller,
        folder: Path,
        seed: int,
    ) -> None:
        self.api = api
        self.rng = random.Random(f"run {seed}")
        self.report = Report([], [], [], [])
        self._settings = settings
        self._steps = steps
        self._log = (folder / "complaints").open("a+")
        self._storage = open_place(Settings(settings.place))
        self._bursts = self._cut(lives)
        self._pushed = 0
        self._tokens = itertools.count(1)
        self._lives: list[Life] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for life in self._lives:
            life.close()
        self._storage.close()
        self._log.close()

    def prepare(self, **changes: Any) -> Life:
        """A new process, which is ready to begin."""
        token = f"1:life{next(self._tokens)}"
        settings = {**vars(self._settings), "url": self.api.url, "token": token, **changes}
        self._lives.append(Life(Settings(**settings), self._log))
        return self._lives[-1]

    def push(self) -> list[Step]:
        """Give the next burst of updates to the bot."""
        burst = next(self._bursts)
        for step in burst:
            self.api.push(step.as_json())
        self._pushed += len(burst)
        return burst

    def wait_for_a_moment(self, life: Life, burst: Iterable[Step]) -> None:
        """
        Wait until a random moment in the life of a process that got a burst of updates.

        It is soon after one of its first polls has come, or after a number of handlers has begun
        that the burst reaches even if no earlier update waits. A process that kills itself is
        waited for.
        """
        if life.settings.gap:
            life.wait_for_begins(sys.maxsize)
        elif self.rng.random() < 0.2:
            self.api.wait_for_poll(life.settings.token, self.rng.randint(1, 2))
        else:
            life.wait_for_begins(self.rng.randint(1, max(1, begins_of(burst) * 3 // 4)))
        # Part of the random moment: nothing that is asserted depends on it.
        time.sleep(self.rng.random() * 0.01)

    def check(self, code: int, expected: int) -> None:
        """Note an exit code that is not as expected."""
        if code != expected:
            self.report.complaints.append(f"a process ended with {code}, not {expected}")

    def end(self, life: Life, number: int) -> None:
        """End a process by a signal, and note whether it has left updates."""
        self.check(life.end(number), -number if number == signal.SIGKILL else 0)
        self.report.ends += 1
        self.report.with_backlog += bool(self.api.unconfirmed) or self._compare().counts[0] > 0

    def finish(self, life: Life) -> Report:
        """Wait until the last process has handled the rest, stop it, and report the effects."""
        pause, silent_since = threading.Event(), time.monotonic()
        while not self._is_over():
            if life.read_begins():
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > SILENCE:
                break
            pause.wait(0.02)
        code = life.end(signal.SIGTERM)
        found = self._compare()
        found.ends, found.with_backlog = self.report.ends, self.report.with_backlog
        self._log.seek(0)
        found.complaints = [line.strip() for line in self._log if line.startswith(SIGNS)]
        self.check(code, 0)
        found.complaints += self.report.complaints
        return found

    def _is_over(self) -> bool:
        """Whether each log ends with the last effect of its user, which every script has."""
        expected, found = expected_logs(self._steps), read_logs(self._storage)
        return all(
            log[-1] in found.get(name, []) for name, log in expected.items() if name.isdecimal()
        )

    def _compare(self) -> Report:
        expected = expected_logs(self._steps[: self._pushed])
        return compare(expected, read_logs(self._storage))

    def _cut(self, count: int) -> Iterator[list[Step]]:
        """Cut the script into bursts of random sizes; the last one has the end of each user."""
        size = max(1, len(self._steps) // count)
        body = iter(self._steps[: -len(ALL_USERS)])
        for _ in range(count - 1):
            yield list(itertools.islice(body, self.rng.randint(1, 2 * size - 1)))
        yield [*body, *self._steps[-len(ALL_USERS) :]]


@contextmanager
def run_of(
    settings: Settings,
    updates: int,
    *,
    lives: int,
    seed: int,
    kinds: Iterable[str],
    refuses: bool = True,
) -> Iterator[Run]:
    """A run with a Bot API of its own."""
    steps = make_script(updates, seed, kinds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="telesession-")))
        api = stack.enter_context(OnePoller(refuses=refuses))
        yield stack.enter_context(
            Run(settings, steps, lives=lives, api=api, folder=folder, seed=seed)
        )


def run_kills(
    settings: Settings,
    updates: int = 5000,
    ends: int = 60,
    *,
    seed: int = 1,
    kinds: Iterable[str] = tuple(BEGINS),
) -> Report:
    """Kill a process of the bot again and again, at random moments."""
    with run_of(settings, updates, lives=ends + 1, seed=seed, kinds=kinds) as run:
        life = run.prepare()
        for number in range(1, ends + 1):
            # The last one must not kill itself, whatever the mode.
            following = run.prepare(gap=0) if number == ends else run.prepare()
            burst = run.push()
            life.begin()
            run.wait_for_a_moment(life, burst)
            run.end(life, signal.SIGKILL)
            life = following
        run.push()
        life.begin()
        return run.finish(life)


def run_stops(
    settings: Settings,
    updates: int = 2000,
    ends: int = 20,
    *,
    seed: int = 1,
    kinds: Iterable[str] = tuple(BEGINS),
) -> Report:
    """Stop and start the bot again and again under load; every other time it may not drain."""
    with run_of(settings, updates, lives=ends + 1, seed=seed, kinds=kinds) as run:
        life = run.prepare()
        for number in range(1, ends + 1):
            following = run.prepare(drain=0.01) if number % 2 and number < ends else run.prepare()
            burst = run.push()
            life.begin()
            run.wait_for_a_moment(life, burst)
            run.end(life, signal.SIGTERM)
            life = following
        run.push()
        life.begin()
        return run.finish(life)


def run_restarts(
    settings: Settings,
    updates: int = 1500,
    ends: int = 10,
    *,
    seed: int = 1,
    kinds: Iterable[str] = tuple(BEGINS),
    refuses: bool = True,
) -> Report:
    """
    Replace the process of the bot again and again, by one that begins before the former one stops.

    Args:
        settings: Of the bots.
        updates: The number of updates.
        ends: The number of replaced processes.
        seed: Of the random numbers.
        kinds: The names of the kinds of updates.
        refuses: Whether Telegram refuses a poll when another one comes; if not, both get the same
            updates.
    """
    lives = 2 * ends + 1
    with run_of(settings, updates, lives=lives, seed=seed, kinds=kinds, refuses=refuses) as run:
        life = run.prepare()
        life.begin()
        run.api.wait_for_poll(life.settings.token, 1)
        for _ in range(ends):
            following = run.prepare()
            run.push()
            following.begin()
            run.api.wait_for_poll(following.settings.token, 1)
            run.push()
            run.api.wait_for_poll(following.settings.token, run.rng.randint(1, 2))
            # As in `wait_for_a_moment`.
            time.sleep(run.rng.random() * 0.02)
            run.end(life, signal.SIGTERM)
            life = following
        run.push()
        return run.finish(life)


RUNS = {"kills": run_kills, "stops": run_stops, "restarts": run_restarts}


def main() -> None:
    """Do a run and print its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("place", help="the path of a new SQLite file, or the URL of a server")
    parser.add_argument("--mode", default="inbox")
    parser.add_argument("--updates", type=int, default=5000)
    parser.add_argument("--ends", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gap", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=BEGINS, default=list(BEGINS))
    given = parser.parse_args()
    settings = Settings(given.place, given.mode, gap=given.gap)
    run = RUNS[given.run]
    report = run(settings, given.updates, given.ends, seed=given.seed, kinds=given.kinds)
    sys.stdout.write(report.details())


if __name__ == "__main__":
    main()
