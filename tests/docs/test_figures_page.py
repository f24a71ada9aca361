"""The page on figures: its tables are those of the committed results."""

from __future__ import annotations

import copy
import json
import runpy
from typing import Any

from support.pages import ROOT, read

# The folder is in no wheel, and the tests import the installed package.
TABLES = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
CHARTS = runpy.run_path(str(ROOT / "benchmarks" / "charts.py"))
PAGE = read(ROOT / "docs" / "figures.md")


def results() -> Any:
    """The results of the last run of `python -m benchmarks`."""
    return json.loads(read(ROOT / "benchmarks" / "results.json"))


def test_its_tables_are_those_of_the_results() -> None:
    """`python -m benchmarks.tables` would change nothing on the page."""
    assert PAGE == TABLES["render"](PAGE, results())


def test_it_has_every_table() -> None:
    """The page has a block for each table that can be made from the results."""
    blocks = [block["name"] for block in TABLES["BLOCK"].finditer(PAGE)]
    assert sorted(TABLES["BLOCKS"]) == sorted(blocks)


def test_its_charts_are_those_of_the_results() -> None:
    """`python -m benchmarks.charts` would change no chart, and the page shows each one."""
    drawn = CHARTS["charts"](results())
    assert drawn == {name: read(ROOT / "docs" / "assets" / name) for name in drawn}
    assert [True] * len(drawn) == [f"(assets/{name})" in PAGE for name in drawn]


def test_another_result_makes_another_page() -> None:
    """A changed figure of each part changes the page, so the tables are made from the results."""
    found = results()
    for part, key in (("memory", "own_us"), ("durable", "round_trips"), ("scale", "bytes")):
        changed = copy.deepcopy(found)
        changed[part][0][key] += 1000
        assert (part, True) == (part, TABLES["render"](PAGE, changed) != PAGE)


def test_a_cheaper_peer_is_named() -> None:
    """The list of cheaper peers has the peer that costs less, and not the one that costs more."""
    ours = {"library": "telesession", "name": "a counter", "own_us": 5.0}
    less = {"library": "a dict", "name": "a dict", "own_us": 1.0}
    more = {"library": "telebot", "name": "`StateContext`", "own_us": 9.0}
    text = TABLES["cheaper_in_memory"]({"memory": [ours, less, more]})
    expected = "- Cheaper than telesession's counter (5.0 µs): a dict (a dict, 1.0 µs)."
    assert expected == text
