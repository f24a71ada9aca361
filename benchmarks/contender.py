"""The process of a contender, and the times that it prints."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

ROOT = Path(__file__).parent.parent
PATIENCE = 600.0
INCREMENTS = 800


class ContenderError(Exception):
    """A contender failed. The message is the last line that it printed."""


class Spread(NamedTuple):
    """The median of the rounds and their quartiles, in microseconds of an update."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, times: Iterable[float]) -> Self:
        """Return the spread of at least two times."""
        low, median, high = statistics.quantiles(times, n=4, method="inclusive")
        return cls(*(round(each, 2) for each in (median, low, high)))


def popen(command: list[str]) -> subprocess.Popen[str]:
    """Start a program of the benchmarks, with the package of this clone."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class Contender:
    """
    A contender that waits for its turns. Used as a context manager.

    Args:
        command: Its program and arguments, which `benchmarks.peers.turns` describes.
    """

    def __init__(self, command: list[str]) -> None:
        self._process = popen(command)

    def measure(self) -> float:
        """
        Return the mean microseconds of one update, over a hundred updates in a row.

        Raises:
            ContenderError: The process has ended.
        """
        try:
            print("go", file=self._process.stdin, flush=True)
        except BrokenPipeError:
            line = ""
        else:
            line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise ContenderError(last_line(self._process.communicate()[1]))
        return float(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.communicate(timeout=PATIENCE)


def count_increments(command: list[str], storage: str = "", processes: int = 1) -> int:
    """
    Let processes count together, and return the counter at the end.

    Args:
        command: The program and its arguments, with the mode.
        storage: The place of a storage.
        processes: The number of processes, 1 without a storage.

    Raises:
        ContenderError: A process failed.
    """
    if not storage:
        return int(output_of(popen(command)).split()[-1])
    counting = [*command, str(INCREMENTS // processes), "--storage", storage]
    running = [popen(counting) for _ in range(processes)]
    for _ in ("ready", "done"):
        for process in running:
            process.stdout.readline()  # type: ignore[union-attr]
        for process in running:
            # One that has failed has lost its updates, which the counter shows.
            with suppress(BrokenPipeError):
                print("go", file=process.stdin, flush=True)
    counts, errors = [], []
    for process in running:
        try:
            counts.append(int(output_of(process)))
        except ContenderError as error:
            errors.append(error)
    if not counts:
        raise errors[0]
    return counts[0]


def output_of(process: subprocess.Popen[str]) -> str:
    """Return the output of a process at its end, or raise a `ContenderError`."""
    output, errors = process.communicate(timeout=PATIENCE)
    if process.returncode:
        raise ContenderError(last_line(errors))
    return output


def last_line(text: str) -> str:
    """Return the last line of an output that names an error, or the last line."""
    lines = [line for line in text.splitlines() if line.strip()] or ["no output"]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1])


def peer(module: str, *arguments: str) -> list[str]:
    """Return the command of a contender in Python."""
    return [sys.executable, "-m", f"benchmarks.peers.{module}", *arguments]
