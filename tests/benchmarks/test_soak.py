"""The soak finds growth, lost updates and leftovers."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.soak import Sample, faults_of, thirds
from benchmarks.soak_bot import Counters
from telesession import MemoryStorage
from telesession.bot.inbox import Inbox
from telesession.testing import in_threads

FLAT = [Sample(second, 70.0, 15, 8, 4.0) for second in range(30)]
SENT = {"1": 5, "2": 3}
GOOD: dict[str, Any] = {
    "users": {"1": [5, 5, 0], "2": [3, 3, 0]},
    "locked": [],
    "unfinished": 0,
    "raised": [],
}


def grown(**figures: float) -> list[Sample]:
    """A run whose last third has other figures."""
    return FLAT[:20] + [sample._replace(**figures) for sample in FLAT[20:]]  # type: ignore[arg-type]


def test_a_flat_run_without_losses_breaks_no_rule() -> None:
    """A run passes if its figures are flat and each session has counted each update once."""
    assert [] == faults_of(FLAT, GOOD, SENT)


def test_the_beginning_of_a_run_may_be_higher_or_lower() -> None:
    """The first third is left out, because the bot starts then."""
    samples = [sample._replace(memory=20.0, size=99.0) for sample in FLAT[:10]] + FLAT[10:]
    assert [] == faults_of(samples, GOOD, SENT)


@pytest.mark.parametrize(
    ("figures", "fault"),
    [
        ({"memory": 72.2}, "memory: 70.0 in the middle third, 72.2 in the last"),
        ({"descriptors": 18}, "descriptors: 15.0 in the middle third, 18.0 in the last"),
        ({"threads": 11}, "threads: 8.0 in the middle third, 11.0 in the last"),
        ({"size": 4.2}, "size: 4.0 in the middle third, 4.2 in the last"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_growth_is_found(figures: dict[str, float], fault: str) -> None:
    """Each figure that grows from the middle third to the last one breaks a rule."""
    assert [fault] == faults_of(grown(**figures), GOOD, SENT)


@pytest.mark.parametrize(
    "figures", [{"memory": 72.0}, {"descriptors": 17}, {"threads": 10}, {"size": 4.1}]
)
def test_small_differences_are_no_growth(figures: dict[str, float]) -> None:
    """A difference of 3 %, or of two descriptors or threads, is none."""
    assert [] == faults_of(grown(**figures), GOOD, SENT)


@pytest.mark.parametrize(
    ("users", "fault"),
    [
        ({"1": [6, 5, 1], "2": [3, 3, 0]}, "user 1 sent 5: count 6, latest 5, gaps 1"),
        ({"1": [4, 5, 1], "2": [3, 3, 0]}, "user 1 sent 5: count 4, latest 5, gaps 1"),
        ({"1": [5, 5, 2], "2": [3, 3, 0]}, "user 1 sent 5: count 5, latest 5, gaps 2"),
        ({"1": [5, 5, 0]}, "user 2 sent 3: count 0, latest 0, gaps 0"),
    ],
    ids=["twice", "lost", "disordered", "no session"],
)
def test_an_update_that_counts_twice_or_never_is_found(
    users: dict[str, list[int]], fault: str
) -> None:
    """Each user whose session differs from the sent updates is named."""
    assert [fault] == faults_of(FLAT, {**GOOD, "users": users}, SENT)


def test_an_update_whose_handler_raised_is_no_lost_one() -> None:
    """An exception breaks a rule of its own; the session must lack this update and no other."""
    raised = [["1", "StorageError"]]
    lacking = {**GOOD, "raised": raised, "users": {"1": [4, 5, 1], "2": [3, 3, 0]}}
    assert ["1 handlers raised StorageError"] == faults_of(FLAT, lacking, SENT)
    assert [
        "user 1 sent 5: count 5, latest 5, gaps 0",
        "1 handlers raised StorageError",
    ] == faults_of(FLAT, {**GOOD, "raised": raised}, SENT)


def test_leftovers_are_found() -> None:
    """Locks and updates that are left break a rule each."""
    report = {**GOOD, "locked": ["1"], "unfinished": 2}
    assert ["1 locks are left", "2 updates are left in the inbox"] == faults_of(FLAT, report, SENT)


def test_the_medians_are_those_of_the_thirds() -> None:
    """The middle third ends where the last one begins."""
    samples = [Sample(0, float(number), 0, 0, 0) for number in range(9)]
    assert ("memory", 4.0, 7.0) == next(thirds(samples))


def test_a_report_names_locked_sessions_and_counts_unfinished_updates() -> None:
    """A report has the figures of each user, each locked key, and the number of stored updates."""
    storage = MemoryStorage()
    counters, inbox = Counters(storage), Inbox(storage, 1)
    with counters.users.open(1) as session:
        session.update(count=2, latest=3, gaps=1)
    stored, payload = inbox.make(7, "{}", "owner")
    storage.set(stored.key, payload)
    with storage.hold("1", None):
        [report] = in_threads([counters.report])
    assert {"users": {"1": [2, 3, 1]}, "locked": ["1"], "unfinished": 1} == report
