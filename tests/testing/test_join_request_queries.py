"""Queries about join requests on the loopback Bot API, for a bot that answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from telesession.testing import BotAPI, User

GROUP = -1001


@pytest.fixture
def query(api: BotAPI, ada: User) -> str:
    """The id of the query about a request of Ada."""
    request = {
        "chat": api.group(GROUP).json,
        "from": ada.json,
        "user_chat_id": ada.id,
        "date": 1767225600,
        "query_id": "42",
    }
    api.push({"chat_join_request": request})
    return "42"


@pytest.mark.parametrize(
    ("result", "status"), [("approve", "member"), ("decline", "left"), ("queue", "left")]
)
def test_a_query_is_decided(bot: Any, ada: User, query: str, result: str, status: str) -> None:
    """Only a user who was approved is a member afterwards."""
    bot.answer_chat_join_request_query(query, result)

    assert status == bot.get_chat_member(GROUP, ada.id).status


def test_a_queued_request_waits_for_another_decision(bot: Any, ada: User, query: str) -> None:
    """A request that the bot leaves to administrators can be approved later."""
    bot.answer_chat_join_request_query(query, "queue")
    bot.approve_chat_join_request(GROUP, ada.id)

    assert "member" == bot.get_chat_member(GROUP, ada.id).status


def test_a_web_app_decides_nothing(bot: Any, ada: User, query: str) -> None:
    """The bot shows a web app first, and answers then."""
    bot.send_chat_join_request_web_app(query, "https://example.com")
    before = bot.get_chat_member(GROUP, ada.id).status
    bot.answer_chat_join_request_query(query, "approve")

    assert ("left", "member") == (before, bot.get_chat_member(GROUP, ada.id).status)


def test_a_query_is_answered_once(bot: Any, query: str) -> None:
    """A second answer is refused, and so is an unknown query."""
    bot.answer_chat_join_request_query(query, "decline")

    for unknown in (query, "1"):
        with pytest.raises(ApiTelegramException, match="query ID is invalid"):
            bot.answer_chat_join_request_query(unknown, "decline")
        with pytest.raises(ApiTelegramException, match="query ID is invalid"):
            bot.send_chat_join_request_web_app(unknown, "https://example.com")


def test_a_query_has_one_of_three_results(bot: Any, query: str) -> None:
    """Another result is refused."""
    with pytest.raises(ApiTelegramException, match="invalid result"):
        bot.answer_chat_join_request_query(query, "maybe")
