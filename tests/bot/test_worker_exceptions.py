"""Exceptions under sequential workers: the bot learns of them, and no worker is lost."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.bots import (
    DarknessError,
    MakeBot,
    TeaMiddleware,
    messages_in,
    polling_in_a_thread,
)
from support.clocks import PATIENCE
from support.threads import Log, in_thread
from support.updates import said
from telesession.testing import BotAPI, RecordingExceptionHandler

if TYPE_CHECKING:
    from telebot import TeleBot, types


def raise_on_one(bot: TeleBot, log: Log) -> None:
    """Log each message, and raise for the first."""

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)
        if message.text == "1":
            raise DarknessError


def test_the_exception_handler_gets_exceptions(make_either: MakeBot) -> None:
    """As with telebot's pool, the `exception_handler` of the moment gets what handlers raise."""
    bot, log = make_either(1), Log()
    raise_on_one(bot, log)
    bot.exception_handler = handler = RecordingExceptionHandler()

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    assert [DarknessError] == [type(error) for error in handler.exceptions]
    assert not bot.worker_pool.exception_event.is_set()
    bot.worker_pool.raise_exceptions()


@pytest.mark.parametrize("handled", [None, False], ids=["no-handler", "refuses"])
@pytest.mark.parametrize("middlewares", [False, True], ids=["plain", "class-middlewares"])
def test_an_unhandled_exception_is_logged_once(
    handled: Any, middlewares: bool, make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """An exception that is not handled gives one record with its traceback, and no other."""
    bot, log = make_sequential(1, use_class_middlewares=middlewares), Log()
    raise_on_one(bot, log)
    if handled is False:
        handler = RecordingExceptionHandler()
        bot.exception_handler = handler
        handler.handle = lambda error: False  # type: ignore[method-assign]

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    (record,) = caplog.records
    assert "a handler of a Message raised DarknessError" == record.getMessage()
    assert record.exc_info is not None
    assert (logging.ERROR, DarknessError) == (record.levelno, record.exc_info[0])


def test_the_log_does_not_show_the_token(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback of a call to Telegram that failed has the URL without the token."""
    bot, log = make_sequential(1), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)
        if message.text == "1":
            raise OSError(f"no connection to /bot{bot.token}/sendMessage")

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    (record,) = caplog.records
    shown = logging.Formatter().format(record)
    assert (False, True) == (bot.token in shown, "no connection to /bot<token>/send" in shown)


def test_telebots_poll_loop_ends_with_an_exception(bot_api: BotAPI, make_bot: MakeBot) -> None:
    """Control: with telebot's pool an exception that nobody handles leaves `bot.polling()`."""
    bot, log, ended = make_bot(), Log(), Log()
    raise_on_one(bot, log)
    thread = polling_in_a_thread(bot, ended)
    bot_api.user(1).send("1")
    log.wait_for(1)
    # telebot (4.37.1) may miss that the pool has an exception until its long poll is over.
    with bot_api.short_polls():
        entries = ended.wait_for(1)
        thread.join(PATIENCE)

    assert [DarknessError] == entries


@pytest.mark.parametrize("middlewares", [False, True], ids=["plain", "class-middlewares"])
def test_polling_goes_on_after_an_exception(
    middlewares: bool, bot_api: BotAPI, make_sequential: MakeBot
) -> None:
    """An exception that nobody handles does not end or pause polling: others are served."""
    bot, log, ended = make_sequential(use_class_middlewares=middlewares), Log(), Log()
    raise_on_one(bot, log)
    thread = polling_in_a_thread(bot, ended)
    for text in "123":
        bot_api.user(1).send(text)
    texts = log.wait_for(3)
    with bot_api.short_polls():
        in_thread(bot.stop_bot)
        thread.join(PATIENCE)

    assert (["1", "2", "3"], ["stopped"]) == (texts, ended.entries)


@pytest.mark.parametrize("middlewares", [False, True], ids=["plain", "class-middlewares"])
class TestOnError:
    """`on_error(update, error)`, which gets the exceptions instead of the `exception_handler`."""

    def test_it_gets_the_update_that_handlers_get(
        self, middlewares: bool, make_sequential: MakeBot
    ) -> None:
        """It gets the message and the exception, in the worker, before the next update."""
        log = Log()
        handler = RecordingExceptionHandler()

        def on_error(update: types.Message, error: Exception) -> None:
            log.add((update.text, type(error), threading.current_thread().name))

        bot = make_sequential(
            1,
            use_class_middlewares=middlewares,
            exception_handler=handler,
            workers={"on_error": on_error},
        )
        raise_on_one(bot, log)

        bot.process_new_updates([said("1"), said("2")])

        expected = ["1", ("1", DarknessError, "SequentialWorker-1"), "2"]
        assert (expected, []) == (log.wait_for(3), handler.exceptions)

    def test_if_it_raises_both_are_logged(
        self, middlewares: bool, make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its own exception is logged, with that of the handler as the context."""

        def on_error(update: types.Message, error: Exception) -> None:
            raise LookupError

        bot, log = (
            make_sequential(1, use_class_middlewares=middlewares, workers={"on_error": on_error}),
            Log(),
        )
        raise_on_one(bot, log)

        bot.process_new_updates([said("1"), said("2")])
        log.wait_for(2)

        (record,) = caplog.records
        assert record.exc_info is not None
        error = record.exc_info[1]
        assert error is not None
        assert [LookupError, DarknessError] == [type(error), type(error.__context__)]

    def test_middlewares_still_learn_of_the_exception(
        self, middlewares: bool, make_sequential: MakeBot
    ) -> None:
        """A class middleware gets the exception afterwards, as without workers."""
        bot = make_sequential(
            1,
            use_class_middlewares=middlewares,
            workers={"on_error": lambda update, error: log.add("on_error")},
        )
        log, middleware = Log(), TeaMiddleware()
        middleware.on_done = lambda error: log.add(type(error))
        if middlewares:
            bot.setup_middleware(middleware)
        raise_on_one(bot, log)

        bot.process_new_updates([said("1"), said("2")])

        expected = (
            ["1", "on_error", DarknessError, "2", type(None)]
            if middlewares
            else ["1", "on_error", "2"]
        )
        assert expected == log.wait_for(len(expected))


def test_an_exception_handler_of_later_is_asked(make_sequential: MakeBot) -> None:
    """With class middlewares the `exception_handler` of the moment is asked, once."""
    bot, log = make_sequential(1, use_class_middlewares=True), Log()
    raise_on_one(bot, log)
    handlers = [RecordingExceptionHandler(), RecordingExceptionHandler()]
    for handler in handlers:
        bot.exception_handler = handler
        bot.process_new_updates([said("1"), said("2")])
        log.wait_for(2)
        log.entries.clear()

    assert [[DarknessError]] * 2 == [
        [type(error) for error in handler.exceptions] for handler in handlers
    ]


def test_an_exception_that_is_handled_does_not_end_polling(
    bot_api: BotAPI, make_either: MakeBot
) -> None:
    """As with telebot's pool, polling goes on after an exception that was handled."""
    handler = RecordingExceptionHandler()
    bot, log, ended = make_either(exception_handler=handler), Log(), Log()
    raise_on_one(bot, log)
    thread = polling_in_a_thread(bot, ended)
    for text in "123":
        bot_api.user(1).send(text)
    texts = log.wait_for(3)
    with bot_api.short_polls():
        in_thread(bot.stop_bot)
        thread.join(PATIENCE)

    assert (["1", "2", "3"], ["stopped"]) == (sorted(texts), ended.entries)
    assert [DarknessError] == [type(error) for error in handler.exceptions]


@pytest.mark.parametrize("error", [DarknessError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_exception_keeps_a_key_busy_or_a_worker(
    error: type[BaseException], make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a handler raises, its worker goes on, and the user's next update has its turn."""
    bot, log = make_sequential(1, exception_handler=RecordingExceptionHandler()), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(message.text)
        if message.text == "secret":
            raise error("secret")

    bot.process_new_updates([said("secret"), said("2"), said("3")])

    assert ["secret", "2", "3"] == log.wait_for(3)
    assert [True] == [worker.is_alive() for worker in bot.worker_pool.workers]
    told = (
        [] if error is DarknessError else [f"a handler raised {error.__name__}; its worker goes on"]
    )
    assert told == messages_in(caplog)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LookupError, "a handler of a Message raised LookupError"),
        (SystemExit, "a handler raised SystemExit; its worker goes on"),
    ],
    ids=["LookupError", "SystemExit"],
)
def test_an_exception_handler_that_raises_costs_no_worker(
    error: type[BaseException],
    expected: str,
    make_sequential: MakeBot,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the `exception_handler` raises, its worker goes on, and the log tells of it."""

    class Faulty:
        def handle(self, exception: Exception) -> bool:
            raise error

    bot, log = make_sequential(1, exception_handler=Faulty()), Log()
    raise_on_one(bot, log)

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    assert [expected] == [record.getMessage() for record in caplog.records]
    assert [True] == [worker.is_alive() for worker in bot.worker_pool.workers]


def test_an_exception_handler_that_raises_costs_no_update(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """If `get_key` raises and the `exception_handler`, too, a batch is delivered to its end."""

    class Faulty:
        def handle(self, exception: Exception) -> bool:
            raise DarknessError

    bot = make_sequential(exception_handler=Faulty(), workers={"get_key": lambda update: 1 / 0})
    log = Log()
    bot.message_handler()(lambda message: log.add(message.text))

    bot.process_new_updates([said("1"), said("2")])

    assert ["1", "2"] == sorted(log.wait_for(2))
    assert ["a handler of a Message raised DarknessError"] * 2 == [
        record.getMessage() for record in caplog.records
    ]
