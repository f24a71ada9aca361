"""Dialogs: the arguments of steps, and the steps and data that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from telebot import TeleBot

from support.dialogs import ADA, DIAGONAL, Dialog, Row, press, say
from telesession import MemoryStorage, Sessions, use_questions
from telesession.testing import OFFLINE_TOKEN

DATA: list[Any] = [5, 2.5, "five", True, None, [1, ["two", None]], {"a": {"b": [1.5]}}, ""]


@DIAGONAL
@pytest.mark.parametrize("size", DATA, ids=repr)
def test_data(size: Any, dialog: Dialog) -> None:
    """Data comes back as keyword arguments, beside the bot and the session."""
    dialog.ask(step="take_all", data={"size": size})
    dialog.play(Dialog.restart, say("hi"))
    saved = dialog.asker.sessions.peek(ADA)
    assert ([f"{size} True: hi"], size) == (dialog.heard, saved["size"])


ROWS = [
    Row("value", [say("hi")], ["sencha none: hi"], {"step": "take_tea"}),
    Row(
        "data-too",
        [say("hi")],
        ["sencha milk: hi"],
        {"step": "take_tea", "data": {"topping": "milk"}},
    ),
    Row("data-and-bot", [say("hi")], ["5 True: hi"], {"step": "take_all", "data": {"size": 5}}),
    Row("press", [press()], ["take: press yes"]),
    Row("list", [say("hi")], ["list: album of 1"], {"step": "take_list"}),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_class_middlewares(row: Row, dialog: Dialog) -> None:
    """Steps take the values of class middlewares by their names, and our session keeps its name."""
    dialog.options["use_class_middlewares"] = True
    dialog.restart()
    row.play(dialog)
    assert row.heard == dialog.heard


NO_JSON: dict[str, Any] = {
    "object": object(),
    "bytes": b"5",
    "tuple": (1, 2),
    "set": {1},
    "nan": float("nan"),
    "numbers-as-keys": {1: 2},
}
REFUSED = {
    **{name: ({"data": {"size": value}}, "JSON") for name, value in NO_JSON.items()},
    "list-of-pairs": ({"data": [("size", 5)]}, "must be a dict"),
    "no-name": ({"data": {"the size": 5}}, "must be names"),
    "unknown": ({"data": {"size": 5, "colour": "red"}}, "does not take colour"),
    "lacking": ({}, "needs size"),
    "late-unknown": (
        {"data": {"size": 5, "topping": ""}, "timeout": 60, "on_timeout": "take_late"},
        "does not take topping",
    ),
}


@DIAGONAL
@pytest.mark.parametrize("name", REFUSED)
def test_data_that_is_refused(name: str, dialog: Dialog) -> None:
    """Nothing is sent, no value is shown, and the question before waits on."""
    options, reason = REFUSED[name]
    dialog.ask()
    question = dialog.question
    dialog.ask_again(step="take_all", **options)
    error = dialog.take_error()
    assert (TypeError, True) == (type(error), reason in str(error))
    dialog.play(Dialog.restart, say("then"))
    assert (question, ["take: then"]) == (dialog.question, dialog.heard)


def without_parameters() -> None: ...


def by_keyword(*, message: Any) -> None: ...


def by_position(message: Any, size: int, /) -> None: ...


class Form:
    def take(self, message: Any) -> None: ...


STEPS: dict[Callable[..., Any], str] = {
    without_parameters: "has no parameter for the message",
    by_keyword: "has no parameter for the message",
    by_position: "takes no keyword",
    Form.take: "a method without its object",
}


@pytest.mark.parametrize("option", ["steps", "unless"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__qualname__)
def test_a_function_that_could_not_be_called(step: Any, option: str) -> None:
    """`use_questions` refuses it when the bot starts, and not with each answer."""
    bot, sessions = TeleBot(OFFLINE_TOKEN, threaded=False), Sessions(storage=MemoryStorage())
    with pytest.raises(TypeError, match=STEPS[step]):
        use_questions(bot, sessions, **{option: [step]})


def test_a_method_of_an_object_can_be_called() -> None:
    """It is a step, as all those of these tests are."""
    bot, sessions = TeleBot(OFFLINE_TOKEN, threaded=False), Sessions(storage=MemoryStorage())
    assert None is use_questions(bot, sessions, steps=[Form().take])
