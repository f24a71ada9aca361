"""Mistakes of a first bot, and the advice of their errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from telebot import TeleBot

from telesession import MemoryStorage, Sessions, SQLiteStorage, use_sequential_workers, with_session

SESSIONS: Sessions[Any] = Sessions(storage=MemoryStorage(), prefix="first-mistakes:")


def call_save_as_method() -> None:
    with SESSIONS.open(1) as session:
        session.save()


def use_a_path_as_inbox() -> None:
    use_sequential_workers(TeleBot("1:token"), inbox="bot.db")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mistake", "advice"),
    [
        (call_save_as_method, "save is a function of telesession: write save(session)"),
        (lambda: with_session(commands=["start"]), "as in @bot.message_handler(commands=[...])"),
        (lambda: SQLiteStorage("sqlite:///bot.db"), "takes the path of a file, and neither a URI"),
        (use_a_path_as_inbox, "inbox must extend telesession.Storage"),
    ],
    ids=["method", "filter", "URL", "inbox"],
)
def test_the_error_says_what_to_write(mistake: Callable[[], object], advice: str) -> None:
    """The error of a common mistake names the right call, option or value."""
    with pytest.raises((AttributeError, TypeError, ValueError)) as raised:
        mistake()

    assert advice in str(raised.value)
