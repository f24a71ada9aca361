"""Polls on the loopback Bot API: the bot asks, users vote, the bot hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import types
from telebot.apihelper import ApiTelegramException

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import BotAPI, User


def ask(bot: Any, chat_id: int = 1, **options: Any) -> Any:
    """A poll with three options."""
    choices = [types.InputPollOption(text) for text in ("tea", "milk", "water")]
    return bot.send_poll(chat_id, "what?", choices, **options)


def counts(api: BotAPI) -> list[int]:
    """The votes for each option of the latest poll, as its chat shows them."""
    return [option.voter_count for option in api.messages[-1].parse().poll.options]


def kinds(api: BotAPI) -> list[str]:
    """The kinds of the updates that wait for the bot."""
    return [kind for update in api.unconfirmed for kind in update if kind != "update_id"]


def test_a_poll_is_as_the_bot_asked(bot: Any) -> None:
    """A poll is anonymous and takes one answer, unless the bot says otherwise."""
    poll, other = ask(bot).poll, ask(bot, is_anonymous=False, allows_multiple_answers=True).poll
    assert ("what?", ["tea", "milk", "water"]) == (
        poll.question,
        [one.text for one in poll.options],
    )
    assert (True, False, False, True) == (
        poll.is_anonymous,
        poll.allows_multiple_answers,
        other.is_anonymous,
        other.allows_multiple_answers,
    )


def test_votes_are_counted(api: BotAPI, bot: Any, ada: User, boris: User) -> None:
    """Each voter has one vote, the latest, and can take it back."""
    poll = ask(bot, -1001)
    ada.vote(poll, "tea")
    boris.vote(poll, 1)
    assert [1, 1, 0] == counts(api)
    ada.vote(poll, "milk")
    assert [0, 2, 0] == counts(api)
    ada.vote(poll)
    assert [0, 1, 0] == counts(api)
    assert 1 == api.messages[-1].parse().poll.total_voter_count


def test_anonymous_votes_have_no_voter(api: BotAPI, bot: Any, ada: User) -> None:
    """The bot hears of an anonymous vote by the new state of the poll alone."""
    poll = ask(bot)
    update = ada.vote(poll, "tea")
    assert (["poll"], [1, 0, 0]) == (
        kinds(api),
        [option["voter_count"] for option in update["poll"]["options"]],
    )


def test_other_votes_have_one(api: BotAPI, bot: Any, ada: User) -> None:
    """The bot hears of a vote with a name by the state and by an answer."""
    poll = ask(bot, is_anonymous=False, allows_multiple_answers=True)
    answer = ada.vote(poll, "water", "tea")["poll_answer"]
    assert ["poll", "poll_answer"] == kinds(api)
    assert (1, [0, 2], poll.poll.id) == (
        answer["user"]["id"],
        answer["option_ids"],
        answer["poll_id"],
    )


def test_an_anonymous_admin_votes_as_the_group(api: BotAPI, bot: Any, ada: User) -> None:
    """The answer of an anonymous administrator has the group in place of a user."""
    group = api.group(-1001)
    poll = ask(bot, -1001, is_anonymous=False)
    answer = ada.anonymous_in(group).vote(poll, "tea")["poll_answer"]
    assert (-1001, False) == (answer["voter_chat"]["id"], "user" in answer)


def test_a_poll_is_stopped(api: BotAPI, bot: Any, ada: User) -> None:
    """The bot gets the closed poll as the answer and as an update, and nobody votes any more."""
    sent = ask(bot)
    ada.vote(sent, "tea")
    poll = bot.stop_poll(1, sent.message_id)
    assert (True, 1) == (poll.is_closed, poll.total_voter_count)
    assert api.unconfirmed[-1]["poll"]["is_closed"]
    with pytest.raises(ValueError, match="cannot vote in the poll 'what\\?': it is closed"):
        ada.vote(sent, "milk")
    with pytest.raises(ApiTelegramException, match="poll has already been closed"):
        bot.stop_poll(1, sent.message_id)


def test_only_polls_are_stopped(bot: Any) -> None:
    """A message without a poll has nothing to stop."""
    number = bot.send_message(1, "hi").message_id
    with pytest.raises(ApiTelegramException, match="message with poll to stop not found"):
        bot.stop_poll(1, number)


def test_a_quiz_takes_one_vote(bot: Any, ada: User) -> None:
    """A quiz has right answers, and a voter answers once."""
    quiz = ask(bot, type="quiz", correct_option_ids=[1], explanation="it is white")
    assert ("quiz", [1], "it is white") == (
        quiz.poll.type,
        quiz.poll.correct_option_ids,
        quiz.poll.explanation,
    )
    ada.vote(quiz, "tea")
    with pytest.raises(ValueError, match="this voter has voted, and it allows no other vote"):
        ada.vote(quiz, "milk")


def test_a_quiz_has_a_right_answer(bot: Any) -> None:
    """Telegram refuses a quiz without one."""
    with pytest.raises(ApiTelegramException, match="correct_option_ids is empty"):
        ask(bot, type="quiz")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("tea", "milk"), "it takes one answer"),
        (("beer",), "has no option 'beer'"),
        ((7,), "has no option 7"),
        ((), "there is no vote to take back"),
    ],
)
def test_impossible_votes_are_refused(
    bot: Any, ada: User, options: tuple[str | int, ...], reason: str
) -> None:
    """A vote that Telegram's apps do not offer is an error of the test."""
    with pytest.raises(ValueError, match=reason):
        ada.vote(ask(bot), *options)


@pytest.mark.parametrize("end", ["open_period", "close_date"])
def test_a_poll_closes_in_time(
    frozen_time: FrozenDateTimeFactory, bot: Any, ada: User, boris: User, end: str
) -> None:
    """From its end on a poll takes no votes."""
    now = int(frozen_time().timestamp())
    poll = ask(bot, -1001, **{end: 60 if end == "open_period" else now + 60})
    frozen_time.tick(59)
    ada.vote(poll, "tea")
    frozen_time.tick(1)
    with pytest.raises(ValueError, match="it is closed"):
        boris.vote(poll, "tea")


def test_a_poll_needs_options(bot: Any) -> None:
    """A poll without options is refused."""
    with pytest.raises(ApiTelegramException, match="poll must have at least one answer option"):
        bot.send_poll(1, "what?", [])


class TestCopies:
    def test_a_forwarded_poll_is_the_same(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A vote in a forwarded poll counts in each message that shows the poll."""
        sent = ask(bot)
        forwarded = bot.forward_message(-5, 1, sent.message_id)
        ada.vote(forwarded, "tea")
        bot.stop_poll(1, sent.message_id)
        polls = [message.parse().poll for message in api.messages]

        assert [(1, True)] * 2 == [(one.total_voter_count, one.is_closed) for one in polls]
        assert 1 == len({one.id for one in polls})

    def test_a_forward_of_a_user_has_the_votes(self, api: BotAPI, bot: Any, ada: User) -> None:
        """The poll that a user has forwarded to the bot shows the votes, too."""
        sent = ask(bot)
        number = ada.forward(sent)["message"]["message_id"]
        ada.vote(sent, "tea")
        shown = api.find_message(1, number)

        assert shown is not None
        assert (1, 1) == (shown["poll"]["total_voter_count"], len(api.messages))

    def test_a_copied_poll_is_another(self, api: BotAPI, bot: Any, ada: User) -> None:
        """A copy begins without votes, open, and with votes of its own."""
        sent = ask(bot)
        ada.vote(sent, "tea")
        bot.stop_poll(1, sent.message_id)
        bot.copy_message(-5, 1, sent.message_id)
        bot.copy_messages(-5, 1, [sent.message_id])
        ada.vote(api.messages[2], "milk")
        polls = [message.parse().poll for message in api.messages]

        assert [(1, 0, 0), (0, 0, 0), (0, 1, 0)] == [
            tuple(option.voter_count for option in one.options) for one in polls
        ]
        assert [True, False, False] == [one.is_closed for one in polls]
        assert 3 == len({one.id for one in polls})

    def test_a_copy_has_its_own_time(
        self, frozen_time: FrozenDateTimeFactory, api: BotAPI, bot: Any, ada: User
    ) -> None:
        """The time of a copied poll begins with the copy."""
        sent = ask(bot, open_period=60)
        frozen_time.tick(60)
        bot.copy_message(-5, 1, sent.message_id)
        ada.vote(api.messages[-1], "tea")

        assert [1, 0, 0] == counts(api)

    def test_a_quiz_of_a_user_has_a_secret(self, bot: Any, ada: User) -> None:
        """A quiz is copied only if the bot knows the right answer."""
        poll = ada.poll("2 + 2?", ["3", "4"])["message"]["poll"]
        riddle = ada.send_content({"poll": {**poll, "type": "quiz"}})["message"]
        own = bot.send_poll(1, "2 + 2?", ["3", "4"], type="quiz", correct_option_id=1)
        with pytest.raises(ApiTelegramException, match="message can't be copied"):
            bot.copy_message(2, 1, riddle["message_id"])

        assert bot.copy_message(2, 1, own.message_id)
