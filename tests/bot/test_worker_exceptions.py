"""Exceptions under sequential workers: the bot learns of them, and no worker is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.bots import DarknessError, MakeBot, messages_in, polling_in_a_thread
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
def test_the_pool_keeps_what_is_not_handled(handled: Any, make_either: MakeBot) -> None:
    """As with telebot's pool, what no handler handles is raised until it is cleared."""
    bot, log = make_either(1), Log()
    raise_on_one(bot, log)
    if handled is False:
        handler = RecordingExceptionHandler()
        bot.exception_handler = handler
        handler.handle = lambda error: False  # type: ignore[method-assign]

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    pool = bot.worker_pool
    assert pool.exception_event.is_set()
    with pytest.raises(DarknessError) as caught:
        pool.raise_exceptions()
    assert pool.exception_info is caught.value
    pool.clear_exceptions()
    pool.raise_exceptions()
    assert not pool.exception_event.is_set()


def test_the_poll_loop_raises_what_is_not_handled(bot_api: BotAPI, make_either: MakeBot) -> None:
    """As with telebot's pool, an exception that nobody handles leaves `bot.polling()`."""
    bot, log, ended = make_either(), Log(), Log()
    raise_on_one(bot, log)
    thread = polling_in_a_thread(bot, ended)
    bot_api.user(1).send("1")
    log.wait_for(1)
    # telebot (4.37.1) may miss that the pool has an exception until its long poll is over.
    with bot_api.short_polls():
        entries = ended.wait_for(1)
        thread.join(PATIENCE)

    assert ([DarknessError], False) == (entries, bot.worker_pool.exception_event.is_set())


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
    [(LookupError, [LookupError, DarknessError]), (SystemExit, [type(None), type(None)])],
    ids=["LookupError", "SystemExit"],
)
def test_an_exception_handler_that_raises_costs_no_worker(
    error: type[BaseException], expected: list[type], make_sequential: MakeBot
) -> None:
    """If the `exception_handler` raises, its worker goes on, and the poll loop learns of both."""

    class Faulty:
        def handle(self, exception: Exception) -> bool:
            raise error

    bot, log = make_sequential(1, exception_handler=Faulty()), Log()
    raise_on_one(bot, log)

    bot.process_new_updates([said("1"), said("2")])
    log.wait_for(2)

    info = bot.worker_pool.exception_info
    assert expected == [type(info), type(getattr(info, "__context__", None))]
    assert [True] == [worker.is_alive() for worker in bot.worker_pool.workers]


def test_an_exception_handler_that_raises_costs_no_update(make_sequential: MakeBot) -> None:
    """If `get_key` raises and the `exception_handler`, too, a batch is delivered to its end."""

    class Faulty:
        def handle(self, exception: Exception) -> bool:
            raise DarknessError

    bot = make_sequential(exception_handler=Faulty(), workers={"get_key": lambda update: 1 / 0})
    log = Log()
    bot.message_handler()(lambda message: log.add(message.text))

    bot.process_new_updates([said("1"), said("2")])

    assert ["1", "2"] == sorted(log.wait_for(2))
    with pytest.raises(DarknessError):
        bot.worker_pool.raise_exceptions()
