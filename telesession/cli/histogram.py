"""Histograms that are drawn with characters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

# The widest bar.
_WIDTH = 40


class Histogram:
    """
    Counts of numbers by their ranges.

    Keep one for as long as the numbers come; one thread uses it.

    Args:
        edges: The ends of the ranges, in order. A range has its first number and not its end.
        labels: A label for each range, and one for all numbers from the last end on.

    Attributes:
        counts: The count of each range, in the order of the labels.
    """

    def __init__(self, edges: Sequence[float], labels: Sequence[str]) -> None:
        self._edges = edges
        self.labels = labels
        self.counts = [0] * len(labels)

    def add(self, number: float) -> None:
        """Count a number."""
        self.counts[bisect_right(self._edges, number)] += 1

    def by_label(self) -> dict[str, int]:
        """The count of each range, by its label."""
        return dict(zip(self.labels, self.counts, strict=True))

    def lines(self) -> list[str]:
        """A line for each range: the label, the count and a bar."""
        largest = max(self.counts, default=0) or 1
        widest = max(map(len, self.labels))
        return [
            f"{label:>{widest}} {count:>11,} {'#' * -(-count * _WIDTH // largest)}".rstrip()
            for label, count in zip(self.labels, self.counts, strict=True)
        ]
