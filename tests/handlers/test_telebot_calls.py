"""Calls as telebot makes them: what it passes to a handler comes beside the session."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from telebot import apihelper
from telebot.handler_backends import CancelUpdate, ContinueHandling, SkipHandler

from support.bots import Host, TeaMiddleware
from support.handlers import KEY, KIND_CASES, Handler, keep, note, signature_text
from support.storages import is_free
from support.updates import TOKEN, UpdateCase, register, said
from telesession import MemoryStorage, Session, Sessions


class Shop:
    """Handlers that are methods, to be decorated on an instance."""

    def take_data(self, message, data, session):
        note(session, message.text, data["tea"])

    def take_bot(self, message, bot, session):
        note(session, message.text, bot.token)


TAKING_DATA = [
    lambda message, session, data: note(session, message.text, data["tea"]),
    lambda message, data, session: note(session, message.text, data["tea"]),
    lambda session, message, data: note(session, message.text, data["tea"]),
    lambda message, data, *, session: note(session, message.text, data["tea"]),
    lambda message, session, /, data: note(session, message.text, data["tea"]),
    Shop().take_data,
]
TAKING_DATA_AND_BOT = [
    lambda message, data, bot, session: note(session, message.text, data["tea"], bot.token),
    lambda message, data, session, bot: note(session, message.text, data["tea"], bot.token),
    lambda message, session, data, bot: note(session, message.text, data["tea"], bot.token),
    lambda message, session, /, data, bot: note(session, message.text, data["tea"], bot.token),
    lambda session, message, data, bot: note(session, message.text, data["tea"], bot.token),
    lambda message, data, *, session, bot: note(session, message.text, data["tea"], bot.token),
]
TAKING_A_VALUE = [
    lambda message, session, tea: note(session, message.text, tea),
    lambda message, tea, session: note(session, message.text, tea),
    lambda session, message, tea: note(session, message.text, tea),
    lambda message, *, tea, session: note(session, message.text, tea),
    lambda message, session, milk=None, tea=None: note(session, message.text, tea),
]


@pytest.mark.parametrize("handler", [*TAKING_DATA, *TAKING_A_VALUE], ids=signature_text)
def test_the_values_of_class_middlewares_pass_through(
    handler: Handler, host_with_middlewares: Host, sessions: Sessions[Session]
) -> None:
    """
    Everything else passes through: `data`, and values of middlewares by name.
    """
    host = host_with_middlewares
    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(sessions.with_session(handler))

    host.deliver(said("one"))

    assert ([], {"seen": [["one", "sencha"]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("handler", TAKING_DATA_AND_BOT, ids=signature_text)
def test_data_passes_through_together_with_the_bot(
    handler: Handler, host_with_middlewares: Host, sessions: Sessions[Session]
) -> None:
    """
    Everything else passes through: telebot gives `bot` to whoever takes `data` and `bot`.
    """
    host = host_with_middlewares
    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(sessions.with_session(handler))

    host.deliver(said("one"))

    assert ([], {"seen": [["one", "sencha", TOKEN]]}) == (host.raised, sessions.peek(KEY))


def test_functools_wraps_alone_breaks_data(host_with_middlewares: Host) -> None:
    """
    `functools.wraps` alone breaks `(message, data, session)`: telebot counts three parameters.
    """
    host = host_with_middlewares
    calls = []

    def handle(message, data, session):
        calls.append(data)

    @functools.wraps(handle)
    def wrapper(*args, **kwargs):
        return handle(*args, session={}, **kwargs)

    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(wrapper)

    host.deliver(said("one"))

    assert ([], [TypeError]) == (calls, [type(error) for error in host.raised])


TAKING_BOT = [
    lambda message, session, bot: note(session, message.text, bot.token),
    lambda message, bot, session: note(session, message.text, bot.token),
    lambda session, message, bot: note(session, message.text, bot.token),
    lambda message, *, bot, session: note(session, message.text, bot.token),
    lambda message, session, /, bot: note(session, message.text, bot.token),
    lambda message, session=None, bot=None: note(session, message.text, bot.token),
    Shop().take_bot,
]


@pytest.mark.parametrize("handler", TAKING_BOT, ids=signature_text)
def test_the_bot_passes_through(handler: Handler, host: Host, sessions: Sessions[Session]) -> None:
    """
    Everything else passes through: `pass_bot=True`, in decorators and in `register_` methods.
    """
    wrapper = sessions.with_session(handler)
    host.bot.message_handler(regexp="one", pass_bot=True)(wrapper)
    host.bot.register_message_handler(wrapper, regexp="two", pass_bot=True)

    host.deliver(said("one"), said("two"))

    assert [] == host.raised
    assert {"seen": [["one", TOKEN], ["two", TOKEN]]} == sessions.peek(KEY)


def test_values_of_middlewares_and_the_bot_pass_through_together(
    host_with_middlewares: Host, sessions: Sessions[Session]
) -> None:
    """
    A handler may take the session, a middleware's value by name, and the bot of `pass_bot`.
    """
    host = host_with_middlewares

    @sessions.with_session
    def handle(message, tea, session, bot):
        note(session, message.text, tea, bot.token)

    host.bot.setup_middleware(TeaMiddleware())
    host.bot.register_message_handler(handle, pass_bot=True)

    host.deliver(said("one"))

    assert ([], {"seen": [["one", "sencha", TOKEN]]}) == (host.raised, sessions.peek(KEY))


def test_an_argument_named_session_passes_where_the_parameter_is_positional_only(
    sessions: Sessions[Session],
) -> None:
    """
    Everything else passes through, even a keyword `session` where `**kwargs` can take it.
    """

    @sessions.with_session
    def handle(message, session, /, **kwargs):
        note(session, message.text, kwargs["session"])

    handle(said("one").message, session="a session of a database")

    assert {"seen": [["one", "a session of a database"]]} == sessions.peek(KEY)


def test_name_leaves_the_name_session_to_a_middleware(
    host_with_middlewares: Host, storage: MemoryStorage
) -> None:
    """
    `name` is the handler's parameter that receives the session; `session` may be another value.
    """
    host, seen = host_with_middlewares, []
    mine = Sessions(storage=storage, name="mine")

    @mine.with_session
    def handle(message, session, mine):
        note(mine, message.text)
        seen.append(session)

    host.bot.setup_middleware(TeaMiddleware())
    host.bot.message_handler()(handle)

    host.deliver(said("one"))

    assert ([], {"seen": [["one"]]}) == (host.raised, mine.peek(KEY))
    assert ["a session of a database"] == seen


def test_a_middleware_sees_the_saved_session_after_the_handler(
    host_with_middlewares: Host, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    When telebot calls `post_process`, the session is saved and free.
    """
    host, seen = host_with_middlewares, []
    middleware = TeaMiddleware()
    middleware.on_done = lambda error: seen.append(
        (error, sessions.peek(KEY), is_free(storage, KEY))
    )
    host.bot.setup_middleware(middleware)
    host.bot.message_handler()(sessions.with_session(keep))

    host.deliver(said("one"))

    assert [(None, {"seen": [["one"]]}, True)] == seen


@pytest.mark.parametrize("answer", [SkipHandler(), CancelUpdate()], ids=["skip", "cancel"])
def test_a_middleware_that_keeps_the_update_away_keeps_the_session_away(
    answer: Any, host_with_middlewares: Host, sessions: Sessions[Session]
) -> None:
    """
    Where a middleware skips the handler, no session is made.
    """
    host = host_with_middlewares
    middleware = TeaMiddleware()
    middleware.answer = answer
    host.bot.setup_middleware(middleware)
    host.bot.message_handler()(sessions.with_session(keep))

    host.deliver(said("one"))

    assert ([], None) == (host.raised, sessions.peek(KEY))


def test_function_middlewares_reach_the_handler_through_the_update(
    monkeypatch: pytest.MonkeyPatch, sessions: Sessions[Session]
) -> None:
    """
    What a function middleware does to the update is there when the handler gets its session.
    """
    monkeypatch.setattr(apihelper, "ENABLE_MIDDLEWARE", True)
    host = Host()

    @host.bot.middleware_handler(update_types=["message"])
    def brew(bot, message):
        message.text = f"{message.text} with milk"

    host.bot.message_handler()(sessions.with_session(keep))

    host.deliver(said("tea"))

    assert ([], {"seen": [["tea with milk"]]}) == (host.raised, sessions.peek(KEY))


def test_handlers_in_a_chain_see_what_those_before_them_saved(
    host: Host, sessions: Sessions[Session]
) -> None:
    """
    `ContinueHandling` passes through: the next handler gets the session as the last one left it.
    """

    @host.bot.message_handler()
    @sessions.with_session
    def first(message, session):
        session.chain = ["first"]
        return ContinueHandling()

    @host.bot.message_handler()
    @sessions.with_session
    def second(message, session):
        session.chain.append("second")
        return ContinueHandling()

    @host.bot.message_handler()
    @sessions.with_session
    def third(message, session):
        session.chain.append("third")

    @host.bot.message_handler()
    @sessions.with_session
    def never(message, session):
        session.chain.append("never")

    host.deliver(said("one"))

    assert ([], {"chain": ["first", "second", "third"]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize("case", KIND_CASES, ids=lambda case: case.kind)
@pytest.mark.parametrize(
    "use_class_middlewares", [False, True], ids=["no-middlewares", "class-middlewares"]
)
def test_handlers_of_every_kind_may_be_registered_without_a_decorator(
    case: UpdateCase, use_class_middlewares: bool, storage: MemoryStorage
) -> None:
    """
    Works the same in handlers of every kind, registered with `register_*`.
    """
    host = Host(use_class_middlewares=use_class_middlewares)
    everybody = Sessions(storage=storage, get_storage_key=lambda _: "everybody")

    @everybody.with_session
    def handle(update, session):
        session.setdefault("updates", []).append(type(update).__name__)

    register(host.bot, case.kind, handle)

    host.deliver(case.parse(), case.parse())

    expected = {"updates": [type(case.payload()).__name__] * 2}
    assert ([], expected) == (host.raised, everybody.peek("everybody"))


RESULTS = [None, 0, "text", ContinueHandling(), ["a", "list"], NotImplemented]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_the_return_value_passes_through(result: Any, sessions: Sessions[Session]) -> None:
    """
    The wrapper returns the very object that the handler returned.
    """
    handler = sessions.with_session(lambda message, session: result)

    assert handler(said("one").message) is result
