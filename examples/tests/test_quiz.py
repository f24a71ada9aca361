"""The quiz: two topics of a group, and an admin who writes as the group."""

from collections.abc import Iterator

import pytest
import quiz

from telesession.testing import BotAPI, Group, Polling, run_polling


@pytest.fixture
def polling(bot_api: BotAPI, fresh_sessions: None) -> Iterator[Polling]:
    with run_polling(quiz.bot, bot_api) as polling:
        yield polling


@pytest.fixture
def group(bot_api: BotAPI) -> Group:
    return bot_api.group(-1001, forum=True)


def test_topics_have_quizzes_of_their_own(polling: Polling, bot_api: BotAPI, group: Group) -> None:
    ada, bob = bot_api.user(1, first_name="Ada"), bot_api.user(2, first_name="Bob")
    [question] = polling.say(ada, "/quiz", chat=group, topic=7)
    polling.replies_to(ada.press(question, "Paris"))
    polling.replies_to(bob.press(question, "Lyon"))
    assert (7, ["right!"], ["wrong"]) == (question.topic, ada.alerts, bob.alerts)
    assert ["Ada: 1\nBob: 0"] == polling.say(bob, "/score", chat=group, topic=7).texts
    assert ["no answers yet"] == polling.say(bob, "/score", chat=group, topic=8).texts


def test_an_anonymous_admin_asks_on(polling: Polling, bot_api: BotAPI, group: Group) -> None:
    bob, admin = bot_api.user(2), bot_api.user(3, first_name="Eve").anonymous_in(group)
    [first] = polling.say(bob, "/quiz", chat=group, topic=7)
    refusal = polling.say(bob, "/next", chat=group, topic=7)
    [second] = polling.say(admin, "/next", chat=group, topic=7)
    polling.replies_to(admin.press(second, "42"))
    polling.replies_to(bob.press(first, "Paris"))
    assert ["only admins ask the next question"] == refusal.texts
    assert (["right!"], ["that question is over"]) == (admin.alerts, bob.alerts)
