"""The dialogs that the page on questions shows, held with its bot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

import telesession
from support.clocks import PATIENCE
from support.pages import ROOT, blocks_of, run_block
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from freezegun.api import FrozenDateTimeFactory

    from telesession.testing import Polling, SentMessage

PAGE = ROOT / "docs" / "bot" / "questions.md"

pytestmark = pytest.mark.usefixtures("fresh_process")


class Dialog:
    """User 1 and the bot of the page, which is polling."""

    def __init__(self, api: BotAPI, polling: Polling, names: dict[str, Any]) -> None:
        self.api = api
        self.user = api.user(1)
        self._polling = polling
        self._sessions = names["sessions"]

    def after(self, act: Callable[[], object]) -> list[str]:
        """The texts that the bot sends because of an act of a user."""
        sent = len(self.api.messages)
        act()
        self._polling.wait_idle(PATIENCE)
        return [message.text for message in self.api.messages[sent:]]

    def say(self, text: str) -> list[str]:
        return self.after(lambda: self.user.send(text))

    def press(self, message: SentMessage, label: str) -> list[str]:
        return self.after(lambda: self.user.press(message, label))

    @property
    def session(self) -> dict[str, Any]:
        return dict(self._sessions.peek(1) or {})


@pytest.fixture
def dialog(bot_api: BotAPI) -> Iterator[Dialog]:
    """The bot of the page, with all its blocks."""
    names = {name: getattr(telesession, name) for name in telesession.__all__}
    names["bot"] = bot = TeleBot(OFFLINE_TOKEN, threaded=False)
    for block in blocks_of(PAGE, "python"):
        run_block(block, names, "questions.md")
    bot.register_message_handler(
        lambda message: telesession.ask(bot, message, "photos, please", names["take_photos"]),
        commands=["photos"],
    )
    telesession.use_questions(bot, names["sessions"], steps=[names["take_photos"]])
    with run_polling(bot, bot_api, timeout=PATIENCE) as polling:
        yield Dialog(bot_api, polling, names)
    names["sessions"]._kind.storage.close()


def test_an_age_is_asked_for_until_it_is_a_number(dialog: Dialog) -> None:
    """The first dialog validates, and asks again."""
    said = [dialog.say(text) for text in ("/join", "Ada", "twelve", "12")]
    assert [["what is your name?"], ["how old are you?"], ["a number, please"], []] == said
    assert {"name": "Ada", "age": 12} == dialog.session


def test_an_admin_is_asked_in_a_topic(dialog: Dialog) -> None:
    """A message of the author is no verdict, and the reply of the admin reaches the author."""
    group, admin = dialog.api.group(-1001472583690, forum=True), dialog.api.user(412587349)
    assert [] == dialog.after(lambda: admin.send("hi", chat=group, topic=7))
    assert ["your verdict on /submit tea"] == dialog.say("/submit tea")
    assert [] == dialog.say("good")
    question = dialog.api.messages[-1]
    chatter = dialog.after(lambda: admin.send("fine", chat=group, topic=7))
    verdict = dialog.after(lambda: admin.send("fine", chat=group, topic=7, reply_to=question))
    assert ([], ["the verdict is: fine"]) == (chatter, verdict)
    assert 1 == dialog.api.messages[-1].chat_id


@pytest.mark.parametrize("by", ["press", "text"])
def test_a_colour_is_pressed_or_typed(dialog: Dialog, by: str) -> None:
    """A press and a text are answers, and a press on an earlier question is none."""
    dialog.say("/colour")
    first = dialog.api.messages[-1]
    assert ["red or blue?"] == dialog.say("green")
    assert [] == dialog.press(first, "red")
    notices = [call.params.get("text") for call in dialog.api.calls_of("answerCallbackQuery")]
    assert (["this question is over"], {}) == (notices, dialog.session)
    if by == "press":
        dialog.press(dialog.api.messages[-1], "blue")
    else:
        dialog.say("blue")
    assert {"colour": "blue"} == dialog.session


def test_an_album_is_one_answer(dialog: Dialog) -> None:
    """The step gets all photos, also if there is only one."""
    counts = []
    for act in (lambda: dialog.user.album(3), dialog.user.photo):
        dialog.say("/photos")
        dialog.after(act)
        counts.append(len(dialog.session["photos"]))
    assert [3, 1] == counts


def test_the_ways_out(dialog: Dialog, frozen_time: FrozenDateTimeFactory) -> None:
    """A command and a text of `unless` end the question, and a late answer has its own step."""
    dialog.say("/city")
    assert [["then not"], ["there is no question"]] == [dialog.say("/cancel") for _ in range(2)]
    dialog.say("/city")
    assert ([], ["there is no question"]) == (dialog.say("menu"), dialog.say("/cancel"))
    dialog.say("/city")
    frozen_time.tick(600)
    assert ["that took too long; send /city again"] == dialog.say("Bergen")
    assert {} == dialog.session
    dialog.say("/city")
    dialog.say("Bergen")
    assert {"city": "Bergen"} == dialog.session
