"""A process that is killed at each moment of a dialog, and the process that follows it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from support.question_kills import EFFECTS, run_kills

# The moment of the kill, the number of effects that were saved before, and the functions that get
# the next message of the user, and of another one who is asked by the first handler.
Row = tuple[str, int, str, str]

WITH_THE_HANDLER: list[Row] = [
    # The handler asks its sender and another user.
    ("the handler begins", 0, "handler", "handler"),
    ("a question is sent", 0, "handler", "handler"),
    ("the handler goes on", 0, "handler", "handler"),
    ("written: question", 0, "handler", "third"),
    ("a question is sent", 0, "handler", "third"),
    ("written: question", 0, "handler", "third"),
    ("the handler ends", 0, "handler", "third"),
    ("written: question, session", 1, "first", "third"),
    # The first step asks the second question.
    ("the answer is locked", 1, "first", "third"),
    ("the step begins", 1, "first", "third"),
    ("a question is sent", 1, "first", "third"),
    ("the step ends", 1, "first", "third"),
    ("written: question, session", 2, "second", "third"),
    ("the answer is free", 2, "second", "third"),
    # The second step asks nothing.
    ("the answer is locked", 2, "second", "third"),
    ("the step begins", 2, "second", "third"),
    ("written: question, session", 3, "handler", "third"),
    ("the answer is free", 3, "handler", "third"),
    # A handler asks the second question again, and a command ends it.
    ("the handler begins", 3, "handler", "third"),
    ("a question is sent", 3, "handler", "third"),
    ("written: question, session", 4, "second", "third"),
    ("written: question", 4, "handler", "third"),
    ("the handler begins", 4, "handler", "third"),
    ("written: question, session", 5, "handler", "third"),
]

AT_ONCE: list[Row] = [
    ("the handler begins", 0, "handler", "handler"),
    ("written: question", 0, "first", "handler"),
    ("a question is sent", 0, "first", "handler"),
    ("written: question", 0, "first", "handler"),
    ("the handler goes on", 0, "first", "handler"),
    ("written: question", 0, "first", "third"),
    ("a question is sent", 0, "first", "third"),
    ("written: question", 0, "first", "third"),
    ("the handler ends", 0, "first", "third"),
    ("written: session", 1, "first", "third"),
    ("the answer is locked", 1, "first", "third"),
    ("the step begins", 1, "first", "third"),
    # The second question is asked before the step has ended, and counts if that commits.
    ("written: question", 1, "first", "third"),
    ("a question is sent", 1, "first", "third"),
    ("written: question", 1, "first", "third"),
    ("the step ends", 1, "first", "third"),
    ("written: question, session", 2, "second", "third"),
    ("the answer is free", 2, "second", "third"),
    ("the answer is locked", 2, "second", "third"),
    ("the step begins", 2, "second", "third"),
    ("written: question, session", 3, "handler", "third"),
    ("the answer is free", 3, "handler", "third"),
    ("the handler begins", 3, "handler", "third"),
    ("written: question", 3, "second", "third"),
    ("a question is sent", 3, "second", "third"),
    ("written: question", 3, "second", "third"),
    ("written: session", 4, "second", "third"),
    ("written: question", 4, "handler", "third"),
    ("the handler begins", 4, "handler", "third"),
    ("written: question", 4, "handler", "third"),
    ("written: session", 5, "handler", "third"),
]


@pytest.mark.parametrize(
    ("mode", "rows"), [("workers", WITH_THE_HANDLER), ("pool", AT_ONCE)], ids=["workers", "pool"]
)
def test_without_an_inbox_the_next_message_finds_the_question(
    place: str, mode: str, rows: list[Row]
) -> None:
    """
    A question waits from its commit to the commit of its step, and never again.

    With sequential workers it is saved with the handler that asks, and on telebot's own pool it is
    written before it is sent. A question to another user is written at once on both.
    """
    expected = [
        {
            "moment": moment,
            "saved": EFFECTS[:count],
            "next": following,
            "other": other,
            "effects": [*EFFECTS[:count], f"{following} more"],
            # The first step has asked the second question.
            "left": 1 if following == "first" else 0,
            "raised": [],
        }
        for moment, count, following, other in rows
    ]

    outcomes = [asdict(outcome) for outcome in run_kills(place, mode)]

    assert expected == [{**outcome, "left": len(outcome["left"])} for outcome in outcomes]


def test_with_an_inbox_the_same_message_finds_the_question(place: str) -> None:
    """Each message has its effect once, in order, and no question and no update is left."""
    outcomes = run_kills(place, "inbox")

    ends = [(o.effects, o.next, o.other, o.left, o.raised) for o in outcomes]
    saved = [(o.moment, len(o.saved)) for o in outcomes]
    with_the_update = {"written: question, session": "written: question, session, update"}
    expected = [(with_the_update.get(name, name), count) for name, count, *_ in WITH_THE_HANDLER]
    # The command is done as far as it has ended the question.
    expected[-3] = ("written: question, update", 4)
    assert expected == saved
    assert [([*EFFECTS, "handler more"], "handler", "third", [], [])] * len(outcomes) == ends


def test_control_commits_that_write_one_record_after_the_other(tmp_path: Path) -> None:
    """Killed between two records of a commit, a question waits on although its step was saved."""
    outcomes = run_kills(str(tmp_path / "bot.db"), "apart")

    doubled = [o.moment for o in outcomes if EFFECTS[1] in o.saved and o.next == "first"]
    assert ["written: session"] == doubled
