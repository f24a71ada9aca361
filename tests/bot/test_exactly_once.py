"""Bots with an inbox that are killed, stopped and replaced: each effect is there exactly once."""

from __future__ import annotations

import pytest

from support.effect_bot import Settings
from support.effect_runs import run_kills, run_restarts, run_stops
from support.effect_webhooks import run_webhooks
from support.effects import ANY_ORDER


@pytest.mark.parametrize(
    ("updates", "kills"), [(300, 5), pytest.param(5000, 60, marks=pytest.mark.long)]
)
def test_killed_bots_lose_and_double_nothing(place: str, updates: int, kills: int) -> None:
    """
    However often a polling bot is killed, each update has its effects once, in order.

    Its users send updates for chains of handlers, handlers that raise, handlers that are chosen by
    states, handlers with two sessions, and a slow handler that another user waits for.
    """
    report = run_kills(Settings(place), updates, kills)

    assert ({}, kills, True) == (report.faults, report.ends, report.with_backlog > 0)


@pytest.mark.parametrize(
    ("updates", "stops"), [(300, 4), pytest.param(2000, 20, marks=pytest.mark.long)]
)
def test_stopped_bots_lose_and_double_nothing(place: str, updates: int, stops: int) -> None:
    """However often a bot is stopped under load, with or without time to drain, nothing is lost."""
    report = run_stops(Settings(place), updates, stops)

    assert ({}, stops, True) == (report.faults, report.ends, report.with_backlog > 0)


@pytest.mark.parametrize("refuses", [True, False], ids=["refused-poll", "both-poll"])
@pytest.mark.parametrize(
    ("updates", "restarts"), [(300, 3), pytest.param(1500, 10, marks=pytest.mark.long)]
)
def test_rolling_restarts_lose_and_double_nothing(
    place: str, updates: int, restarts: int, refuses: bool
) -> None:
    """While the former process and the new one both live, each update has its effects once."""
    report = run_restarts(Settings(place), updates, restarts, refuses=refuses)

    assert ({}, restarts) == (report.faults, report.ends)


@pytest.mark.parametrize(
    ("updates", "kills"), [(300, 3), pytest.param(5000, 20, marks=pytest.mark.long)]
)
def test_killed_webhook_workers_lose_and_double_nothing(url: str, updates: int, kills: int) -> None:
    """Updates that Telegram repeats to workers that are killed have their effects once."""
    report = run_webhooks(url, updates, kills)

    assert ({}, kills) == (report.faults, report.ends)


def test_control_a_record_that_ends_after_the_commit_doubles_effects(place: str) -> None:
    """Killed between the commit of the sessions and that of its record, an update comes again."""
    # A doubled update of a state goes to another handler, whose effect counts as strange.
    report = run_kills(Settings(place, "gap", gap=3), updates=150, ends=2, kinds=ANY_ORDER)

    assert (2, [], True) == (report.ends, report.lost, len(report.twice) > 0)
