"""Controls of the tests of the inbox: bots that lose or double the effects of updates."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.effect_bot import Settings
from support.effect_runs import run_kills
from support.effect_webhooks import run_webhooks
from support.effects import ANY_ORDER, Step, compare, expected_logs

UPDATES = 300
# telebot handles the buttons of a batch last, so a press would wait behind the end of the script.
MESSAGES = tuple(kind for kind in ANY_ORDER if kind != "press")


@pytest.mark.parametrize("mode", ["pool", "alone", "workers"])
def test_a_bot_that_is_not_killed_has_each_effect_once(tmp_path: Path, mode: str) -> None:
    """Without kills the runs find no lost and no doubled effect in a bot without an inbox."""
    settings = Settings(str(tmp_path / "bot.db"), mode)

    report = run_kills(settings, UPDATES, ends=0, kinds=MESSAGES)

    assert ([], [], [], []) == (report.lost, report.twice, report.strange, report.complaints)


def test_workers_that_are_not_killed_keep_the_order(tmp_path: Path) -> None:
    """Without kills the runs find no fault in a bot with workers, with updates of all kinds."""
    report = run_kills(Settings(str(tmp_path / "bot.db"), "workers"), UPDATES, ends=0)

    assert {} == report.faults


def test_control_telebots_pool_loses_effects(place: str) -> None:
    """Killed with waiting updates, a bot with telebot's own pool never handles them."""
    report = run_kills(Settings(place, "pool"), UPDATES, ends=5, kinds=MESSAGES)

    assert (5, True) == (report.ends, len(report.lost) > 0)
    assert [] == report.complaints


def test_control_a_bot_without_threads_doubles_effects(place: str) -> None:
    """Killed in the middle of a batch, a bot without threads gets the whole batch again."""
    report = run_kills(Settings(place, "alone"), UPDATES, ends=5, kinds=MESSAGES)

    assert (5, [], True) == (report.ends, report.lost, len(report.twice) > 0)
    assert [] == report.complaints


def test_control_repeated_webhooks_double_effects(url: str) -> None:
    """Without an inbox each update that Telegram repeats is counted again."""
    report = run_webhooks(url, UPDATES, kills=0, control="no inbox")

    assert (True, []) == (len(report.twice) > 0, report.complaints)


def test_the_comparison_finds_each_fault() -> None:
    """Lost, doubled, strange and reordered effects are told apart, in each log."""
    steps = [Step(1, 1, "count"), Step(1, 2, "chain"), Step(2, 1, "two"), Step(2, 2, "raise")]
    expected = expected_logs(steps)
    found = {"1": ["2 second", "1 count", "1 count"], "2": ["1 two", "2 refused"]}

    report = compare(expected, found)

    assert {
        "1": ["1 count", "2 first", "2 second"],
        "2": ["1 two"],
        "cart of 2": ["1 two"],
    } == expected
    assert ["1: 2 first", "cart of 2: 1 two"] == report.lost
    assert ["1: 1 count"] == report.twice
    assert ["2: 2 refused"] == report.strange
    assert ["1"] == report.reordered


def test_the_effects_of_states_follow_the_order() -> None:
    """Each update of the kind `state` goes to the handler of the state that the one before left."""
    steps = [Step(1, number, "state") for number in range(1, 5)]

    assert {"1": ["1 begin", "2 middle", "3 end", "4 begin"]} == expected_logs(steps)
