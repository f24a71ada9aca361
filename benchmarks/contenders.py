"""Contenders of a comparison: each runs in a process of its own, and they take turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent
ROUNDS, UPDATES = 60, 100


def work(update: Callable[[], object]) -> None:
    """Be a contender: for each line of input, print the microseconds of an update."""
    update()
    for _ in sys.stdin:
        begun = time.perf_counter()
        for _ in range(UPDATES):
            update()
        print((time.perf_counter() - begun) / UPDATES * 1e6, flush=True)


class Contender:
    """
    The process of a contender.

    Args:
        program: The program, which calls `work`.
        arguments: Its arguments.
        tree: The work tree with the package.
    """

    def __init__(self, program: str, *arguments: str, tree: Path = ROOT) -> None:
        self._process = subprocess.Popen(
            [sys.executable, program, *arguments],
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self) -> float:
        """The microseconds of an update, of a hundred in a row."""
        print("go", file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def compare(
    contenders: Mapping[str, Contender],
    ratios: Sequence[tuple[str, str]],
    bounds: Mapping[tuple[str, str], float],
) -> bool:
    """Measure all contenders, print a table and their ratios, and say whether the bounds hold."""
    with ExitStack() as exits:
        for contender in contenders.values():
            exits.enter_context(contender)
            contender.measure()
        rounds = [
            {name: contender.measure() for name, contender in contenders.items()}
            for _ in range(ROUNDS)
        ]
    best = {name: min(each[name] for each in rounds) for name in contenders}
    for name in contenders:
        middle = statistics.median(each[name] for each in rounds)
        print(f"{name:10} {best[name]:6.0f} us at best, {middle:6.0f} us in the middle")
    holds = True
    for one, other in ratios:
        ratio, bound = best[one] / best[other], bounds.get((one, other))
        middle = statistics.median(each[one] / each[other] for each in rounds)
        limit = "" if bound is None else f", at most {bound:.2f}"
        print(f"{one} / {other}: {ratio:.2f} ({middle:.2f} in the middle{limit})")
        holds &= bound is None or ratio <= bound
    return holds
