"""Dialogs: the time-outs of questions, and late answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.clocks import MICROSECOND
from support.dialogs import Dialog, Row, press, reply, say, tick

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

pytestmark = pytest.mark.usefixtures("frozen_module")

TIMEOUT = {"timeout": 60}
LATE = {**TIMEOUT, "on_timeout": "take_late"}
ALMOST = tick(60 - MICROSECOND)
OVER = tick(60)
THEN = say("then")
ROWS = [
    Row("in-time", [ALMOST, say("five"), THEN], ["take: five", "handle: then"], TIMEOUT),
    Row("late", [OVER, say("five")], ["handle: five"], TIMEOUT),
    Row("late-press", [OVER, press()], ["handle: press yes"], TIMEOUT),
    Row("step-in-time", [ALMOST, say("five"), THEN], ["take: five", "handle: then"], LATE),
    Row("step-answered", [say("five"), OVER, THEN], ["take: five", "handle: then"], LATE),
    Row("step-late", [OVER, say("five"), THEN], ["late: five", "handle: then"], LATE),
    Row("step-at-last", [OVER, OVER, say("five"), THEN], ["late: five", "handle: then"], LATE),
    Row("step-late-press", [OVER, press(), THEN], ["late: press yes", "handle: then"], LATE),
    Row(
        "step-late-command",
        [OVER, say("/cancel"), THEN],
        ["handle: /cancel", "cancel: False", "cancel: False", "handle: then"],
        LATE,
    ),
    Row(
        "command-in-time",
        [ALMOST, say("/cancel"), OVER, THEN],
        ["handle: /cancel", "cancel: True", "cancel: False", "handle: then"],
        LATE,
    ),
    Row(
        "step-late-data",
        [OVER, say("five"), THEN],
        ["late 5: five", "handle: then"],
        {**LATE, "step": "take_all", "data": {"size": 5}},
    ),
    Row(
        "step-late-reply",
        [OVER, say("no"), reply("five"), THEN],
        ["handle: no", "late: five", "handle: then"],
        {**LATE, "reply_only": True},
    ),
    Row(
        "step-late-elsewhere",
        [OVER, say("no", "group"), say("five")],
        ["handle: no", "late: five"],
        LATE,
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_after_a_restart(row: Row, frozen_time: FrozenDateTimeFactory, dialog: Dialog) -> None:
    """The step gets answers before the deadline; then the late step gets one, or the handlers."""
    row.play(dialog)
    assert row.heard == dialog.heard


def test_the_time_passes_while_the_bot_is_down(
    frozen_time: FrozenDateTimeFactory, dialog: Dialog
) -> None:
    """A deadline is a moment, however often the bot is restarted before it."""
    dialog.ask(**LATE)
    dialog.play(tick(40), Dialog.restart, tick(20), Dialog.restart, say("five"))
    assert ["late: five"] == dialog.heard
