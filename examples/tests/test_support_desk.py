"""The support desk: a question of a user, and an answer that is an album."""

from collections.abc import Iterator

import pytest
import support_desk

from telesession.testing import BotAPI, Polling, User, forget_sessions, run_polling


@pytest.fixture
def polling(bot_api: BotAPI) -> Iterator[Polling]:
    forget_sessions(support_desk.storage)
    with run_polling(support_desk.bot, bot_api) as polling:
        yield polling


@pytest.fixture
def ada(bot_api: BotAPI) -> User:
    return bot_api.user(1, first_name="Ada")


@pytest.fixture
def operator(bot_api: BotAPI) -> User:
    return bot_api.user(support_desk.OPERATOR_ID)


def test_an_album_is_the_answer(polling: Polling, ada: User, operator: User) -> None:
    polling.say(ada, "/ask")
    polling.say(ada, "how do I get in?")
    assert ["Ada asks: how do I get in?"] == operator.messages.texts
    assert [] == polling.replies_to(operator.album(3, "by this door"))
    assert ["by this door", "", ""] == ada.messages.texts[-3:]
    assert 1 == len({photo.media_group_id for photo in ada.messages[-3:]} - {None})


def test_a_photo_is_no_question(polling: Polling, ada: User) -> None:
    polling.say(ada, "/ask")
    assert ["please ask in words"] == polling.replies_to(ada.photo()).texts
