"""Polls in the terminal chat."""

from __future__ import annotations

from typing import Any

import pytest
from telebot import TeleBot

from support.chats import talk
from telesession.testing import OFFLINE_TOKEN
from telesession.testing.terminal.choices import choose_options

OPTIONS = ["Paris", "Rome", "3"]


def drawn(*votes: int, head: str = "(poll) Where to?") -> list[str]:
    """The lines of the poll with some votes."""
    rows = [
        f"  {number}. {text}: {count} vote{'' if count == 1 else 's'}"
        for number, (text, count) in enumerate(zip(OPTIONS, votes, strict=True), 1)
    ]
    return [head, *rows]


@pytest.fixture
def bot() -> Any:
    """A bot that sends polls of some kinds, stops and deletes them, and tells of votes."""
    bot: Any = TeleBot(OFFLINE_TOKEN, threaded=False)
    sent = []
    kinds: dict[str, dict[str, Any]] = {
        "poll": {},
        "several": {"allows_multiple_answers": True},
        "open": {"is_anonymous": False},
        "quiz": {"type": "quiz", "correct_option_ids": [0]},
    }

    @bot.message_handler(commands=list(kinds))
    def ask(message: Any) -> None:
        options = kinds.get(message.text[1:], {})
        sent.append(bot.send_poll(message.chat.id, "Where to?", OPTIONS, **options))

    @bot.message_handler(commands=["stop"])
    def stop(message: Any) -> None:
        bot.stop_poll(message.chat.id, sent[-1].message_id)

    @bot.message_handler(commands=["drop"])
    def drop(message: Any) -> None:
        bot.delete_message(message.chat.id, sent[-1].message_id)

    @bot.poll_answer_handler()
    def tell(answer: Any) -> None:
        bot.send_message(answer.user.id, f"you voted {answer.option_ids}")

    return bot


def test_a_poll_has_numbered_options(bot: Any) -> None:
    """A poll shows its question, and each option with its number and its votes."""
    assert drawn(0, 0, 0) == talk(bot, "/poll")
    assert drawn(0, 0, 0, head="(quiz) Where to?") == talk(bot, "/quiz")
    assert drawn(0, 0, 0, head="(poll, several answers) Where to?") == talk(bot, "/several")


@pytest.mark.parametrize("choice", ["Rome", "rome", "2"])
def test_a_vote_is_shown(bot: Any, choice: str) -> None:
    """An option is named by its text in upper or lower case, or by its number."""
    assert drawn(0, 1, 0) == talk(bot, "/poll", f"/vote {choice}")[4:]


@pytest.mark.parametrize("choice", ["paris, 3", "1,3", " 3 , Paris ,"])
def test_several_options_have_commas_between(bot: Any, choice: str) -> None:
    """In a poll with several answers, options are named with commas between them."""
    expected = drawn(1, 0, 1, head="(poll, several answers) Where to?")
    assert expected == talk(bot, "/several", f"/vote {choice}")[4:]


def test_a_text_comes_before_a_number() -> None:
    """A text of an option is not a number, and one with a comma is not several options."""
    poll = {"options": [{"text": "2"}, {"text": "1"}, {"text": "1, 2"}]}
    choices = "1", "3", "1, 2", "2, 1", "4"
    assert [[1], [2], [2], [0, 1], ["4"]] == [choose_options(poll, one) for one in choices]


def test_a_vote_is_taken_back(bot: Any) -> None:
    """Without an option the vote is taken back, and another user has a vote of their own."""
    printed = talk(bot, "/in -5", "/poll", "/vote 1", "/as 2", "/vote 1", "/as 1", "/vote")
    counts = [line.rpartition(": ")[2] for line in printed if line.startswith("  1. Paris")]
    assert ["0 votes", "1 vote", "2 votes", "1 vote"] == counts


def test_a_vote_reaches_the_bot(bot: Any) -> None:
    """The bot answers to a vote that is not anonymous below the new votes."""
    assert [*drawn(1, 0, 0), "you voted [0]"] == talk(bot, "/open", "/vote 1")[4:]


def test_a_closed_poll_says_so(bot: Any) -> None:
    """A poll that the bot stops is shown as closed, and takes no votes."""
    *_, head, paris, _rome, _three, complaint = talk(bot, "/poll", "/vote 1", "/stop", "/vote 2")
    assert ["(poll, closed) Where to?", "  1. Paris: 1 vote"] == [head, paris]
    assert "! cannot vote in the poll 'Where to?': it is closed" == complaint


def test_the_latest_poll_of_the_chat_is_meant(bot: Any) -> None:
    """A vote is for the latest poll of the chat on the screen that was not deleted."""
    missing = "! there is no poll of the bot in this chat to vote in"
    lines = "/vote 1", "/poll", "/quiz", "/in -5", "/vote 1", "/in private", "/vote 1"
    complaint, *_, second, head, paris, _rome, _three = talk(bot, *lines)
    assert [missing, missing] == [complaint, second]
    assert ["(quiz) Where to?", "  1. Paris: 1 vote"] == [head, paris]
    *_, deleted, gone = talk(bot, "/poll", "/drop", "/vote 1")
    assert ["(deleted) (poll)", missing] == [deleted[:16], gone]


def test_wrong_votes_are_explained(bot: Any) -> None:
    """A vote that Telegram's apps do not offer is explained."""
    lines = "/vote Nice", "/vote 4", "/vote 1,2", "/vote"
    assert [
        "! the poll 'Where to?' has no option 'Nice'; it has ['Paris', 'Rome', '3']",
        "! the poll 'Where to?' has no option '4'; it has ['Paris', 'Rome', '3']",
        "! cannot vote in the poll 'Where to?': it takes one answer",
        "! cannot vote in the poll 'Where to?': give an option; there is no vote to take",
        "  back",
    ] == talk(bot, "/poll", *lines)[4:]


def test_numbers_start_at_one(bot: Any) -> None:
    """A vote for option 0 says that the numbers start at 1."""
    complaint = "! the options of a poll have numbers from 1: /vote 1"
    assert [complaint] == talk(bot, "/poll", "/vote 0")[4:]


class TestTheBotsOwnCommand:
    @pytest.fixture
    def bot(self, bot: Any) -> Any:
        """The same bot with a handler that names `vote`."""
        bot.message_handlers[0]["filters"]["commands"].append("vote")
        return bot

    def test_the_bot_gets_it_without_an_option(self, bot: Any) -> None:
        """A line that names no option of a poll is the bot's, whose handler sends a poll."""
        twice = [*drawn(0, 0, 0), *drawn(0, 0, 0)]
        assert twice == talk(bot, "/vote 1", "/vote")
        assert [*twice, *drawn(0, 1, 0)] == talk(bot, "/vote", "/vote Nice", "/vote Rome")

    def test_two_slashes_send_it(self, bot: Any) -> None:
        """With two slashes the line is the bot's, whatever it names."""
        assert drawn(0, 0, 0) == talk(bot, "/poll", "//vote 1")[4:]
