"""Handlers of every form end their stored update in their commit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from support.bots import Refusal, TeaMiddleware
from support.inboxes import (
    TOGETHER,
    Journal,
    MakeLife,
    effects,
    noting,
    records,
    send,
    states_with,
)
from telesession import MemoryStorage, Session, Sessions

if TYPE_CHECKING:
    from telesession.testing import BotAPI


def method_of(sessions: Sessions[Any]) -> Any:
    class Shop:
        @sessions.with_session
        def handle(self, message: Any, session: Session) -> None:
            noting(session, message.text)

    return Shop().handle


def class_method_of(sessions: Sessions[Any]) -> Any:
    class Shop:
        @classmethod
        @sessions.with_session
        def handle(cls, message: Any, session: Session) -> None:
            noting(session, message.text)

    return Shop.handle


def static_method_of(sessions: Sessions[Any]) -> Any:
    class Shop:
        @staticmethod
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            noting(session, message.text)

    return Shop().handle


def callable_object_of(sessions: Sessions[Any]) -> Any:
    class Shop:
        @sessions.with_session
        def __call__(self, message: Any, session: Session) -> None:
            noting(session, message.text)

    return Shop()


def partial_of(sessions: Sessions[Any]) -> Any:
    @sessions.with_session
    def handle(message: Any, session: Session, unit: str) -> None:
        noting(session, message.text)

    return functools.partial(handle, unit="cup")


def partial_below(sessions: Sessions[Any]) -> Any:
    def handle(unit: str, message: Any, session: Session) -> None:
        noting(session, message.text)

    return sessions.with_session(functools.partial(handle, "cup"))


def lambda_of(sessions: Sessions[Any]) -> Any:
    return sessions.with_session(lambda message, session: noting(session, message.text))


def stacked_of(sessions: Sessions[Any]) -> Any:
    others: Sessions[Any] = Sessions(storage=sessions._kind.storage, name="cart")

    @others.with_session
    @sessions.with_session
    def handle(message: Any, session: Session, cart: Session) -> None:
        noting(session, message.text)
        noting(cart, message.text)

    return handle


FORMS: list[Callable[[Sessions[Any]], Any]] = [
    method_of,
    class_method_of,
    static_method_of,
    callable_object_of,
    partial_of,
    partial_below,
    lambda_of,
    stacked_of,
]


@pytest.mark.parametrize("middlewares", [False, True], ids=["no-middlewares", "class-middlewares"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_of_handler_ends_the_update(
    form: Callable[[Sessions[Any]], Any], middlewares: bool, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A decorated function ends the update in its commit, in each form that telebot can call."""
    storage = MemoryStorage()
    life = make_life(storage, use_class_middlewares=middlewares)
    life.bot.register_message_handler(form(Sessions(storage=storage)))

    states = states_with(life, storage, bot_api)
    assert ([], TOGETHER) == (life.errors, states)


def test_class_middlewares_see_the_handler_and_its_exception(
    make_life: MakeLife, bot_api: BotAPI
) -> None:
    """`post_process` is called, handlers get the values, and exceptions reach `on_error`."""
    storage, ends = MemoryStorage(), []
    life = make_life(storage, use_class_middlewares=True)
    middleware = TeaMiddleware()
    middleware.on_done = lambda error: ends.append(type(error))
    life.bot.setup_middleware(middleware)
    sessions: Sessions[Any] = Sessions(storage=storage)

    def handle(message: Any, session: Session, tea: str, bot: Any) -> None:
        noting(session, f"{message.text} {tea} {bot is life.bot}")
        if message.text == "2":
            raise Refusal

    life.bot.register_message_handler(sessions.with_session(handle), pass_bot=True)
    send(bot_api, "1", "2")
    life.run()

    assert (["1 sencha True"], []) == (effects(storage), records(storage))
    assert [type(None), Refusal] == ends
    assert [Refusal] == [type(error) for error in life.errors]


def test_a_handler_gets_the_bot(make_life: MakeLife, bot_api: BotAPI) -> None:
    """`pass_bot` works for a handler that ends its update."""
    storage = MemoryStorage()
    life = make_life(storage)
    sessions: Sessions[Any] = Sessions(storage=storage)

    def handle(message: Any, session: Session, bot: Any) -> None:
        noting(session, message.text if bot is life.bot else "another bot")

    life.bot.register_message_handler(sessions.with_session(handle), pass_bot=True)

    assert TOGETHER == states_with(life, storage, bot_api)


def test_attached_handlers_end_the_update(make_life: MakeLife, bot_api: BotAPI) -> None:
    """The commit of a function that got its session by `attach` ends the update."""
    storage = MemoryStorage()
    life = make_life(storage)
    sessions: Sessions[Any] = Sessions(storage=storage)
    sessions.attach(life.bot)

    @life.bot.message_handler()
    def handle(message: Any, session: Session) -> None:
        noting(session, message.text)

    assert TOGETHER == states_with(life, storage, bot_api)


def test_attach_takes_an_inbox(bot_api: BotAPI) -> None:
    """`attach` gives the bot workers with the inbox that it gets."""
    storage = MemoryStorage()
    bot = TeleBot("1:inbox")
    Sessions(storage=storage).attach(bot, inbox=storage)

    @bot.message_handler()
    def handle(message: Any, session: Session) -> None:
        noting(session, message.text)

    journal = Journal(storage)
    send(bot_api, "tea")
    bot.process_new_updates(bot.get_updates(long_polling_timeout=0))
    bot.stop_bot()

    assert TOGETHER == journal.states
