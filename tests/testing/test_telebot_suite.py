"""The run of telebot's own tests, and the outcomes that it does not accept."""

from __future__ import annotations

from telebot_suite import COLLECTED, NOT_PASSED, Outcomes, differences, verdict


def outcomes(collected: int = COLLECTED, **not_passed: str) -> Outcomes:
    """A run in which the listed tests and some more did not pass."""
    run = Outcomes()
    run.collected = collected
    run.not_passed = {**dict.fromkeys(NOT_PASSED, "skipped"), **not_passed}
    return run


def test_the_expected_outcome() -> None:
    """A run is accepted if exactly the listed tests did not pass."""
    assert [] == differences(outcomes())


def test_another_failure() -> None:
    """A test that fails without being listed is named."""
    assert ["failed, but not listed: test_chat"] == differences(outcomes(test_chat="failed"))


def test_a_success_too_many() -> None:
    """A listed test that passes is named, so that the list stays short."""
    run = outcomes()
    listed, *_ = NOT_PASSED
    del run.not_passed[listed]
    assert [f"listed, but passed: {listed}"] == differences(run)


def test_tests_that_are_missing() -> None:
    """Tests that were not collected are missed."""
    expected = [f"expected {COLLECTED} tests, found {COLLECTED - 1}"]
    assert expected == differences(outcomes(COLLECTED - 1))


def test_the_verdict_is_an_exit_status() -> None:
    """`sys.exit` ends with 0 for no difference, and prints the differences otherwise."""
    assert (None, "a\nb") == (verdict([]), verdict(["a", "b"]))
