"""The page on figures: its tables are those of the committed results."""

from __future__ import annotations

import copy
import json
from typing import Any

from benchmarks import charts, tables
from support.pages import ROOT, read

PAGE = read(ROOT / "docs" / "figures.md")


def results() -> Any:
    """The results of the last run of `python -m benchmarks`."""
    return json.loads(read(ROOT / "benchmarks" / "results.json"))


def test_its_tables_are_those_of_the_results() -> None:
    """`python -m benchmarks.tables` would change nothing on the page."""
    assert PAGE == tables.render(PAGE, results())


def test_it_has_every_table() -> None:
    """The page has a block for each table that can be made from the results."""
    blocks = [block["name"] for block in tables.BLOCK.finditer(PAGE)]
    assert sorted(tables.BLOCKS) == sorted(blocks)


def test_its_charts_are_those_of_the_results() -> None:
    """`python -m benchmarks.charts` would change no chart, and the page shows each one."""
    drawn = charts.charts(results())
    assert drawn == {name: read(ROOT / "docs" / "assets" / name) for name in drawn}
    assert [True] * len(drawn) == [f"(assets/{name})" in PAGE for name in drawn]


def test_another_result_makes_another_page() -> None:
    """A changed figure of each part changes the page, so the tables are made from the results."""
    found = results()
    for part, key in (("memory", "own_us"), ("durable", "round_trips"), ("scale", "bytes")):
        changed = copy.deepcopy(found)
        changed[part][0][key] += 1000
        assert (part, True) == (part, tables.render(PAGE, changed) != PAGE)


def test_a_cheaper_peer_is_named() -> None:
    """The list has the peers that cost less, with the library if the name does not say it."""
    ours = {"library": "telesession", "name": "a counter", "own_us": 5.0}
    least = {"library": "a dict", "name": "a global dict", "own_us": 1.0}
    less = {"library": "telebot", "name": "`retrieve_data`", "own_us": 2.0}
    more = {"library": "telebot", "name": "`StateContext`", "own_us": 9.0}
    text = tables.cheaper_in_memory({"memory": [ours, least, less, more]})
    expected = (
        "- Cheaper than telesession's counter (5.0 µs): a global dict (1.0 µs), "
        "`retrieve_data` (telebot, 2.0 µs)."
    )
    assert expected == text
