"""The contenders in Python that need nothing but telebot, and the figures made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.contender import Contender, ContenderError, Spread, count_increments, peer
from benchmarks.contest import measure_rows
from benchmarks.lineup import DURABLE, MEMORY

if TYPE_CHECKING:
    from pathlib import Path

LOCKED = [("dicts", "locked"), ("telesessions", "counter"), ("telesessions", "inbox")]


@pytest.mark.parametrize(("module", "variant"), LOCKED)
def test_a_locked_counter_keeps_all_increments(module: str, variant: str) -> None:
    """800 concurrent increments of one user end with 800 behind a lock, and with telesession."""
    assert 800 == count_increments(peer(module, variant, "increments"))


def test_two_processes_count_on_one_storage(tmp_path: Path) -> None:
    """The counter on a file has the increments of both processes, and another process reads it."""
    command = peer("telesessions", "counter", "increments")
    assert 800 == count_increments(command, str(tmp_path / "bot.db"), 2)


@pytest.mark.parametrize("mode", ["with", "without"])
def test_a_contender_prints_a_time_for_each_turn(mode: str) -> None:
    """It answers each line with the time of an update, and ends with its input."""
    with Contender(peer("telesessions", "counter", mode)) as contender:
        assert [True, True] == [contender.measure() > 0 for _ in range(2)]


def test_a_contender_that_cannot_run_says_why() -> None:
    """The error of a contender is the last error that its program printed."""
    command = peer("telesessions", "unknown", "with")
    with Contender(command) as contender, pytest.raises(ContenderError, match="invalid choice"):
        contender.measure()


def test_a_row_without_its_peer_is_left_out() -> None:
    """A table has the rows whose programs run, and their own cost is the difference of medians."""
    rows = [row for row in MEMORY if row.command[-1] in ("locked", "retrieve_data")]
    assert 2 == len(rows)
    missing = [row for row in MEMORY if row.origin == "grammY"]
    broken = [type(row)(row.name, row.origin, ("false",)) for row in missing]
    figures = measure_rows([*rows, *broken], 6)
    assert ["a dict", "telebot"] == [row["library"] for row in figures]
    for row in figures:
        expected = round(row["with_us"]["median"] - row["without_us"]["median"], 2)
        assert expected == row["own_us"]


def test_a_spread_has_the_quartiles() -> None:
    """The median of some times stands between the values at a quarter and three quarters."""
    assert Spread(median=3.0, low=2.0, high=4.0) == Spread.of([5.0, 1.0, 4.0, 2.0, 3.0])


def test_the_names_of_rows_are_unique() -> None:
    """No two rows of a table have the same library and name, so a reader can tell them apart."""
    for rows in (MEMORY, DURABLE):
        names = [(row.origin, row.name) for row in rows]
        assert sorted(set(names)) == sorted(names)
