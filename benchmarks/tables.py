"""
The tables of `docs/figures.md`: `python -m benchmarks.tables` writes the results into the page.

A block of the page between `<!-- results: NAME -->` and `<!-- end of results -->` is made from
`benchmarks/results.json`. The other text is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contender import ROOT

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "figures.md"
BLOCK = re.compile(
    r"(?P<begin><!-- results: (?P<name>\w+) -->\n).*?(?P<end><!-- end of results -->)", re.DOTALL
)
OURS = "telesession"

Figures = Mapping[str, Any]


def render(page: str, results: Figures) -> str:
    """
    Return a page with the tables of some results.

    Raises:
        KeyError: The page has a block of another name, or the results lack a part.
    """
    return BLOCK.sub(
        lambda block: f"{block['begin']}\n{BLOCKS[block['name']](results)}\n\n{block['end']}", page
    )


def measured_in(results: Figures) -> str:
    """Return the date, the machine, its load and the versions of the results, in sentences."""
    measured = results["measured"]
    versions = ", ".join(f"{name} {text}" for name, text in measured["versions"].items())
    turns = " and ".join(f"{count} {part}" for part, count in measured["turns"].items())
    return (
        f"Measured on {measured['date']}: {measured['machine']}, Python {measured['python']}.\n"
        f"Before the run, {measured['load']:g} other programs were running or waiting for a core.\n"
        f"Turns of each contender: {turns}. Versions: {versions}."
    )


def memory_in(results: Figures) -> str:
    """Return the table of the updates in memory."""
    head = ["library", "sessions", "own cost", "with", "quartiles", "without", "of 800", "remark"]
    rows = [
        [
            row["library"],
            row["name"],
            f"**{micros(row['own_us'])}**" if row["library"] == OURS else micros(row["own_us"]),
            *times_of(row),
            count_of(row["increments"]),
            row["note"],
        ]
        for row in results["memory"]
    ]
    return table(head, rows)


def durable_in(results: Figures) -> str:
    """Return the table of the updates on storages."""
    head = ["library", "storage", "own cost", "with", "quartiles", "round trips", "of 800"]
    head += ["of two processes", "remark"]
    rows = [
        [
            row["library"],
            row["name"],
            f"**{micros(row['own_us'])}**" if row["library"] == OURS else micros(row["own_us"]),
            *times_of(row)[:2],
            f"{row['round_trips']:g}",
            count_of(row["increments"]),
            count_of(row["increments_of_two_processes"]),
            row["note"],
        ]
        for row in results["durable"]
    ]
    return table(head, rows)


def scale_in(results: Figures) -> str:
    """Return the table of the updates among many sessions."""
    head = ["storage", "stored sessions", "one update", "quartiles", "bytes of a session"]
    rows = [
        [
            row["storage"],
            f"{row['sessions']:,}",
            micros(row["us"]["median"]),
            f"{micros(row['us']['low'])} to {micros(row['us']['high'])}",
            f"{row['bytes']:,}",
        ]
        for row in results["scale"]
    ]
    return table(head, rows)


def cheaper_in_memory(results: Figures) -> str:
    """Return the list of the peers that cost less than a counter of telesession."""
    return cheaper(results["memory"], "a counter", "telesession's counter")


def cheaper_on_storages(results: Figures) -> str:
    """Return, for each storage of telesession, the list of the cheaper ways to it."""
    lines = []
    ours = ""
    rows: dict[str, list[Figures]] = {}
    # A row of telesession begins those of a kind of storage.
    for row in results["durable"]:
        if row["library"] == OURS and "inbox" not in row["name"]:
            ours = row["name"]
        rows.setdefault(ours, []).append(row)
    for name, kind in rows.items():
        lines.append(cheaper(kind, name, f"telesession on {name}"))
    return "\n".join(lines)


def cheaper(rows: Sequence[Figures], name: str, subject: str) -> str:
    """Return a list item about the rows of other libraries whose own cost is less."""
    (ours,) = (row["own_us"] for row in rows if (row["library"], row["name"]) == (OURS, name))
    found = [
        f"{row['name']} ({'' if says_its_library(row) else row['library'] + ', '}"
        f"{micros(row['own_us'])})"
        for row in sorted(rows, key=lambda row: row["own_us"])
        if row["library"] != OURS and row["own_us"] < ours
    ]
    return f"- Cheaper than {subject} ({micros(ours)}): {', '.join(found) or 'none'}."


def says_its_library(row: Figures) -> bool:
    """Whether the name of a row says its library, as "a global dict" does for "a dict"."""
    words = row["library"].casefold().split()
    return all(word in row["name"].casefold() for word in words if word != "a")


def times_of(row: Figures) -> list[str]:
    """Return the time with sessions, its quartiles, and the time without."""
    spread, plain = row["with_us"], row["without_us"]
    return [
        micros(spread["median"]),
        f"{micros(spread['low'])} to {micros(spread['high'])}",
        micros(plain["median"]),
    ]


def micros(value: float) -> str:
    """Return a time, with one digit behind the point if it is short."""
    return f"{value:.1f} µs" if abs(value) < 100 else f"{value:,.0f} µs"


def count_of(increments: int | None) -> str:
    """Return the result of increments; empty where there is none."""
    return "" if increments is None else str(increments)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of Markdown."""
    lines = [list(head)]
    lines += [["---"] * len(lines[0]), *map(list, rows)]
    return "\n".join(re.sub(r"\|  (?=\|)", "| ", f"| {' | '.join(line)} |") for line in lines)


BLOCKS: Mapping[str, Callable[[Figures], str]] = {
    "measured": measured_in,
    "memory": memory_in,
    "cheaper_in_memory": cheaper_in_memory,
    "durable": durable_in,
    "cheaper_on_storages": cheaper_on_storages,
    "scale": scale_in,
}


def main() -> None:
    """Write the results into the page."""
    results = json.loads(Path(sys.argv[1]).read_text() if sys.argv[1:] else RESULTS.read_text())
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")


if __name__ == "__main__":
    main()
