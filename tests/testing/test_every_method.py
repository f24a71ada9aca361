"""Every method of telebot is answered by the loopback Bot API, with the type that it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, apihelper
from telebot.apihelper import ApiTelegramException

from support.methods import (
    BROKEN,
    METHODS,
    OF_METHOD,
    RESULTS,
    Prepared,
    arguments,
    fits,
    result_of,
)

if TYPE_CHECKING:
    from telesession.testing import BotAPI


@pytest.mark.parametrize("method", sorted(set(METHODS) - BROKEN))
def test_a_method_is_answered(api: BotAPI, bot: Any, method: str) -> None:
    """A call with realistic arguments has a result of the type that telebot promises."""
    result = getattr(bot, method)(**arguments(method, Prepared(bot, api)))

    assert (True, result) == (fits(result, result_of(method)), result)


@pytest.mark.parametrize("method", sorted(BROKEN))
def test_telebot_cannot_call_a_method(api: BotAPI, bot: Any, method: str) -> None:
    """telebot 4.37.1 has no function for the call, so that no request is made."""
    with pytest.raises(AttributeError, match=method):
        getattr(bot, method)(**arguments(method, Prepared(bot, api)))

    assert [] == api.calls


def test_methods_of_all_kinds_are_found() -> None:
    """The walk finds methods that call the Bot API, through others too, and no others."""
    found = {"send_message", "reply_to", "get_chat_members_count", "remove_webhook"}
    others = {"polling", "message_handler", "register_next_step_handler", "process_new_updates"}

    assert (found, set()) == (found & set(METHODS), others & set(METHODS))


def test_tables_name_methods_of_telebot() -> None:
    """No row of the tables of the walk outlives its method."""
    assert set() == {*OF_METHOD, *RESULTS, *BROKEN} - set(METHODS)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(1, str), ([1], list[str]), (None, int | str), ({}, list[int]), ("yes", bool)],
)
def test_a_wrong_type_would_be_noticed(value: object, kind: Any) -> None:
    """The control: a value of another type does not fit."""
    assert not fits(value, kind)


def test_an_unknown_method_is_refused_with_its_name(bot: Any) -> None:
    """A method that telebot does not have either is refused, with the way to answer it."""
    refusal = "has no answer to getFortune; give it one in the test, .*answer_with.'getFortune'"
    with pytest.raises(ApiTelegramException, match=refusal):
        apihelper._make_request(bot.token, "getFortune")


def test_an_answer_of_the_test_replaces_that_of_the_server(api: BotAPI, bot: TeleBot) -> None:
    """`answer_with` answers unknown methods and known ones."""
    api.answer_with("getFortune", "tea")
    api.answer_with("getMyName", {"name": "Tea bot"})

    answers = apihelper._make_request(bot.token, "getFortune"), bot.get_my_name().name

    assert ("tea", "Tea bot") == answers
