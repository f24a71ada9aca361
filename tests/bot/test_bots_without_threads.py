"""Attached bots with `threaded=False`: a handler that raises does not drop the rest of a batch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from telebot import ExceptionHandler, TeleBot, apihelper
from telebot.handler_backends import BaseMiddleware

from support.bots import DarknessError, messages_in
from support.clocks import PATIENCE
from support.updates import said
from telesession import MemoryStorage, Session, Sessions
from telesession.testing import OFFLINE_TOKEN, BotAPI, RecordingExceptionHandler, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable

TEXTS = ["1", "2", "3", "4", "5"]


class Raising:
    """
    A bot that notes every text, and raises after some of them.

    Attributes:
        bot: The bot, attached or not.
        handled: The texts whose handlers returned or raised.
        sessions: Sessions that count the handlers that returned.
    """

    def __init__(self, *texts: str, attached: bool = True, **options: Any) -> None:
        self.bot = TeleBot(OFFLINE_TOKEN, threaded=False, **options)
        self.handled: list[str] = []
        self.sessions = Sessions(storage=MemoryStorage())
        if attached:
            self.sessions.attach(self.bot)

        @self.bot.message_handler()
        @self.sessions.with_session
        def handle(message: Any, session: Session) -> None:
            self.handled.append(message.text)
            session.count = session.get("count", 0) + 1
            if message.text in texts:
                raise DarknessError(message.text)

    def poll_batch(self, api: BotAPI) -> list[Any]:
        """Let the bot poll five messages in one batch, and return what it did not handle."""
        for text in TEXTS:
            api.user(1).send(text)
        with run_polling(self.bot, timeout=PATIENCE) as polling:
            polling.wait_idle(PATIENCE)
            raised = [*polling.exceptions]
            polling.exceptions.clear()
        return raised

    def left_after(self, number: int, api: BotAPI) -> list[Any]:
        """The updates that Telegram has after the one with a number, which this call confirms."""
        with api.short_polls():
            return self.bot.get_updates(offset=number + 1)

    def raised_by_hand(self, *texts: str) -> str:
        """The text of the exception that a batch ends with, without an `exception_handler`."""
        with pytest.raises(DarknessError) as caught:
            self.bot.process_new_updates([said(text) for text in texts or TEXTS])
        return str(caught.value)


def test_the_rest_of_a_batch_is_handled() -> None:
    """Of five updates the second raises: all five are handled, and then its exception goes on."""
    bot = Raising("2")

    assert ("2", TEXTS) == (bot.raised_by_hand(), bot.handled)
    assert {"count": 4} == bot.sessions.peek(said("1").message.from_user.id)


def test_without_attach_telebot_drops_the_rest() -> None:
    """The control: five sent, two handled."""
    bot = Raising("2", attached=False)

    assert ("2", ["1", "2"]) == (bot.raised_by_hand(), bot.handled)


def test_a_detached_bot_is_telebots_again() -> None:
    """After `detach` the bot drops the rest, as before `attach`."""
    bot = Raising("2")
    bot.sessions.detach(bot.bot)

    assert ("2", ["1", "2"]) == (bot.raised_by_hand(), bot.handled)


def test_the_first_exception_goes_on_and_others_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Later exceptions of a batch are logged with their tracebacks."""
    bot = Raising("2", "4", "5")

    assert ("2", TEXTS) == (bot.raised_by_hand(), bot.handled)
    records = [record for record in caplog.records if record.name == "telesession"]
    assert [(logging.ERROR, "4"), (logging.ERROR, "5")] == [
        (record.levelno, str((record.exc_info or (None, None))[1])) for record in records
    ]


@pytest.mark.parametrize("middlewares", [False, True], ids=["no-middlewares", "class-middlewares"])
def test_a_bot_that_polls_handles_all_of_a_batch(middlewares: bool, bot_api: BotAPI) -> None:
    """All five are handled once, and polling goes on after the exception, with nothing lost."""
    bot = Raising("2", "4", use_class_middlewares=middlewares)

    raised = bot.poll_batch(bot_api)

    assert (TEXTS, {"count": 3}) == (bot.handled, bot.sessions.peek(1))
    assert {"2", "4"} == {str(error) for error in raised}


def test_a_bot_that_polls_drops_them_without_attach(bot_api: BotAPI) -> None:
    """The control: an exception that no `exception_handler` handles drops the rest of the poll."""
    bot = Raising("2", attached=False)
    for text in TEXTS:
        bot_api.user(1).send(text)

    with pytest.raises(DarknessError):
        bot.bot.polling(non_stop=False, logger_level=None, timeout=1, long_polling_timeout=0)
    number = bot.bot.last_update_id

    assert (["1", "2"], []) == (bot.handled, bot.left_after(number, bot_api))


def test_nothing_is_handled_twice_after_the_raise(bot_api: BotAPI) -> None:
    """The next poll confirms all of the batch, because all of it was handled."""
    bot = Raising("2")
    for text in TEXTS:
        bot_api.user(1).send(text)

    with pytest.raises(DarknessError):
        bot.bot.polling(non_stop=False, logger_level=None, timeout=1, long_polling_timeout=0)
    number = bot.bot.last_update_id

    assert (TEXTS, []) == (bot.handled, bot.left_after(number, bot_api))


@pytest.mark.parametrize("handles", [True, False])
def test_the_exception_handler_is_asked_about_each(handles: bool) -> None:
    """telebot asks it about each exception; those that it refuses are raised or logged."""
    asked: list[str] = []

    class Asked(ExceptionHandler):
        def handle(self, exception: Exception) -> bool:
            asked.append(str(exception))
            return handles

    bot = Raising("2", "4", exception_handler=Asked())
    if handles:
        bot.bot.process_new_updates([said(text) for text in TEXTS])
    else:
        bot.raised_by_hand()

    assert (["2", "4"], TEXTS) == (asked, bot.handled)


class Refusing(BaseMiddleware):
    """Raises before the handlers of one text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.update_types = ["message"]
        self.text = text

    def pre_process(self, message: Any, data: dict[str, Any]) -> None:
        if message.text == self.text:
            raise DarknessError(message.text)

    def post_process(self, message: Any, data: dict[str, Any], exception: Any) -> None:
        pass


def test_a_class_middleware_that_raises_stops_no_other() -> None:
    """Its exception counts as that of a handler."""
    bot = Raising(use_class_middlewares=True)
    bot.bot.setup_middleware(Refusing("2"))

    assert ("2", ["1", "3", "4", "5"]) == (bot.raised_by_hand(), bot.handled)


def test_an_update_that_a_function_middleware_refused_comes_again(
    monkeypatch: pytest.MonkeyPatch, bot_api: BotAPI
) -> None:
    """telebot does not confirm it, and later updates wait for it: none is lost or handled twice."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    bot, refusals = Raising(exception_handler=RecordingExceptionHandler()), ["3", "3"]

    @bot.bot.middleware_handler(update_types=["message"])
    def refuse(_bot: Any, message: Any) -> None:
        if message.text in refusals:
            refusals.remove(message.text)
            raise DarknessError(message.text)

    bot.poll_batch(bot_api)

    assert (TEXTS, []) == (bot.handled, refusals)


def test_a_middleware_that_is_suppressed_skips_its_update(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With `suppress_middleware_excepions` telebot skips the update, and others are handled."""
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    bot = Raising(suppress_middleware_excepions=True)

    @bot.bot.middleware_handler(update_types=["message"])
    def refuse(_bot: Any, message: Any) -> None:
        if message.text == "2":
            raise DarknessError(message.text)

    bot.bot.process_new_updates([said(text) for text in TEXTS])

    assert (["1", "3", "4", "5"], []) == (bot.handled, messages_in(caplog))


def test_an_interrupt_ends_the_batch() -> None:
    """Ctrl-C goes on at once; what was not handled is not confirmed, either."""
    bot = Raising()
    listeners: list[Callable[[Any], None]] = bot.bot.update_listener

    def interrupt(messages: list[Any]) -> None:
        if messages[0].text == "3":
            raise KeyboardInterrupt

    listeners.append(interrupt)
    updates = [said(text) for text in TEXTS]
    with pytest.raises(KeyboardInterrupt):
        bot.bot.process_new_updates(updates)

    assert (["1", "2"], updates[2].update_id) == (bot.handled, bot.bot.last_update_id)
