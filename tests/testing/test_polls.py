"""Polls on the loopback Bot API: the bot asks, users vote, the bot hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time
from telebot import TeleBot, types
from telebot.apihelper import ApiTelegramException

from telesession.testing import run_polling

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
    frozen_time: FrozenDateTimeFactory, api: BotAPI, bot: Any, ada: User, end: str
) -> None:
    """From its end on a poll takes no votes, cannot be stopped, and the bot is told."""
    now = int(frozen_time().timestamp())
    poll = ask(bot, -1001, **{end: 60 if end == "open_period" else now + 60})
    frozen_time.tick(59)
    ada.vote(poll, "tea")
    frozen_time.tick(1)
    told = api.unconfirmed[-1]["poll"]
    assert (True, 1) == (told["is_closed"], told["total_voter_count"])
    with pytest.raises(ValueError, match="it is closed"):
        api.user(2).vote(poll, "tea")
    with pytest.raises(ApiTelegramException, match="poll has already been closed"):
        bot.stop_poll(-1001, poll.message_id)
    assert told == api.unconfirmed[-1]["poll"]


@pytest.mark.usefixtures("frozen_time")
@pytest.mark.parametrize(
    "look",
    [
        lambda api, bot: api.messages[-1].json["poll"],
        lambda api, bot: api.user(1).messages[-1].json["poll"],
        lambda api, bot: api.find_message(1, 1)["poll"],
        lambda api, bot: bot.forward_message(2, 1, 1).json["poll"],
        lambda api, bot: bot.get_updates(timeout=1)[-1].poll.__dict__,
    ],
    ids=["messages", "messages of a user", "message", "forward", "updates"],
)
def test_every_look_finds_the_poll_closed(bot: Any, api: BotAPI, look: Any) -> None:
    """A poll whose time is over is closed for each look, also if the clock has told nothing."""
    with freeze_time("2030-01-01"):
        ask(bot, open_period=60)
    with freeze_time("2030-01-02"):
        assert look(api, bot)["is_closed"]
    assert 1 == kinds(api).count("poll")


def test_polls_close_in_order(
    frozen_time: FrozenDateTimeFactory, api: BotAPI, bot: Any, ada: User
) -> None:
    """The bot is told first of the poll that has ended first; one that was deleted is silent."""
    late, early, gone = (ask(bot, open_period=seconds) for seconds in (30, 20, 10))
    ada.vote(late, "tea")
    bot.delete_message(1, gone.message_id)
    frozen_time.tick(60)
    told = [update["poll"] for update in api.unconfirmed[1:]]
    assert [(early.poll.id, True), (late.poll.id, True)] == [
        (poll["id"], poll["is_closed"]) for poll in told
    ]


def test_a_bot_that_polls_hears_of_the_end(
    frozen_time: FrozenDateTimeFactory, bot_api: BotAPI
) -> None:
    """The tick of the clock that closes a poll wakes the bot, whose handler gets the result."""
    bot: Any = TeleBot("77:offline")

    @bot.poll_handler(lambda poll: poll.is_closed)
    def tell(poll: types.Poll) -> None:
        bot.send_message(1, f"{poll.options[0].voter_count} for tea")

    with run_polling(bot) as polling:
        bot_api.user(1).vote(ask(bot, open_period=60), "tea")
        polling.wait_idle()
        frozen_time.tick(61)
        polling.wait_idle()
    assert "1 for tea" == bot_api.messages[-1].text


def test_a_poll_that_was_stopped_ends_once(
    frozen_time: FrozenDateTimeFactory, api: BotAPI, bot: Any
) -> None:
    """The end of a poll that the bot has stopped is no news."""
    bot.stop_poll(1, ask(bot, open_period=60).message_id)
    frozen_time.tick(60)
    assert ["poll"] == kinds(api)


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
