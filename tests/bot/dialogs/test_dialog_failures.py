"""Dialogs: questions that could not be sent, steps that raise, and steps that nobody listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot.apihelper import ApiTelegramException

from support.bots import Refusal
from support.clocks import MICROSECOND
from support.dialogs import WITH_INBOX, Dialog, press, say, tick

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

pytestmark = [pytest.mark.usefixtures("frozen_module"), WITH_INBOX]

# Seconds after a failure at 20 of 60, and the function that gets a message then.
LEFT = pytest.mark.parametrize(("seconds", "gets"), [(40 - MICROSECOND, "take"), (40, "handle")])


@LEFT
@pytest.mark.parametrize("code", [429, 403])
def test_a_question_that_could_not_be_sent(
    code: int, seconds: float, gets: str, frozen_time: FrozenDateTimeFactory, dialog: Dialog
) -> None:
    """The question before it waits on, for the time that it has left."""
    dialog.ask(timeout=60)
    dialog.play(tick(20))
    dialog.ask_again(code=code, step="ask_next")
    assert ApiTelegramException is type(dialog.take_error())
    dialog.play(Dialog.restart, tick(seconds), say("five"), say("then"))
    assert [f"{gets}: five", "handle: then"] == dialog.heard


@pytest.mark.parametrize("act", [say("five"), press()], ids=["text", "press"])
def test_the_first_question_that_has_no_time_out(act: Any, dialog: Dialog) -> None:
    """It waits on for its own answers: also for a press of its own button."""
    dialog.ask()
    dialog.ask_again(code=429, step="ask_next", timeout=60)
    assert ApiTelegramException is type(dialog.take_error())
    dialog.play(Dialog.restart, act, say("then"))
    assert ("take", "handle: then") == (dialog.heard[0][:4], dialog.heard[1])


def test_the_first_question_that_is_late(
    frozen_time: FrozenDateTimeFactory, dialog: Dialog
) -> None:
    """It waits on for a late answer."""
    dialog.ask(timeout=60, on_timeout="take_late")
    dialog.play(tick(60))
    dialog.ask_again(code=429, step="ask_next")
    assert ApiTelegramException is type(dialog.take_error())
    dialog.play(Dialog.restart, say("five"), say("then"))
    assert ["late: five", "handle: then"] == dialog.heard


def test_a_step_whose_question_could_not_be_sent(dialog: Dialog) -> None:
    """The step raises, so its own question waits for another answer."""
    dialog.ask(step="ask_next")
    dialog.api.fail_next("sendMessage", 429)
    dialog.play(say("one"))
    assert ApiTelegramException is type(dialog.take_error())
    dialog.play(Dialog.restart, say("two"), Dialog.restart, say("three"), say("then"))
    assert ["next: one", "next: two", "take: three", "handle: then"] == dialog.heard


@LEFT
def test_a_step_that_raises(
    seconds: float, gets: str, frozen_time: FrozenDateTimeFactory, dialog: Dialog
) -> None:
    """Its question waits on, for the time that it has left."""
    dialog.ask(timeout=60)
    dialog.play(tick(20), say("bad"))
    assert Refusal is type(dialog.take_error())
    dialog.play(Dialog.restart, tick(seconds), say("five"), say("then"))
    assert ["take: bad", f"{gets}: five", "handle: then"] == dialog.heard


def test_a_late_step_that_raises(frozen_time: FrozenDateTimeFactory, dialog: Dialog) -> None:
    """Its question waits on for a late answer."""
    dialog.ask(timeout=60, on_timeout="take_late")
    dialog.play(tick(60), say("bad"))
    assert Refusal is type(dialog.take_error())
    dialog.play(Dialog.restart, say("five"), say("then"))
    assert ["late: bad", "late: five", "handle: then"] == dialog.heard


def test_a_step_that_raises_twice(dialog: Dialog) -> None:
    """Its question waits on, before and after a restart, until an answer is good."""
    dialog.ask()
    for _ in range(2):
        dialog.play(say("bad"))
        assert Refusal is type(dialog.take_error())
        dialog.restart()
    dialog.play(say("five"), say("then"))
    assert ["take: bad", "take: bad", "take: five", "handle: then"] == dialog.heard


def test_a_step_that_is_not_listed(dialog: Dialog, caplog: pytest.LogCaptureFixture) -> None:
    """After a restart the answer goes to the handlers, the log names the step, and it is over."""
    dialog.ask(step="take_unlisted")
    dialog.play(Dialog.restart, say("five"), say("then"))
    assert ["handle: five", "handle: then"] == dialog.heard
    errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert [True] == ["Asker.take_unlisted" in error for error in errors]
    assert "five" not in caplog.text


def test_a_step_that_is_not_listed_without_a_restart(dialog: Dialog) -> None:
    """The process that asked knows it."""
    dialog.ask(step="take_unlisted")
    dialog.play(say("five"), say("then"))
    assert ["unlisted: five", "handle: then"] == dialog.heard


def is_late_menu(message: Any) -> bool:
    """A predicate that is not listed."""
    return message.text == "menu"


def test_a_predicate_that_is_not_listed(dialog: Dialog, caplog: pytest.LogCaptureFixture) -> None:
    """After a restart it is left out, and the log names it."""
    dialog.ask(unless=is_late_menu)
    dialog.play(Dialog.restart, say("menu"), say("then"))
    assert ["take: menu", "handle: then"] == dialog.heard
    assert "is_late_menu" in caplog.text
