"""Decorated handlers: whatever can be called gets its session, wherever it takes it."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from support.handlers import (
    KEY,
    SESSION_PLACES,
    AsyncGreeter,
    Cart,
    Handler,
    async_generator,
    async_handler,
    generator,
    keep,
    no_update,
    note,
    signature_text,
)
from support.updates import said
from telesession import Session, Sessions, with_session

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.bots import Host


# The session's place, and what may be a handler.

OTHER_PLACES = [
    lambda session, message, /: note(session, message.text),
    lambda message, /, session: note(session, message.text),
    lambda message, session, unit="cm": note(session, message.text),
    lambda message, unit="cm", session=None: note(session, message.text),
    lambda message, unit="cm", session=None, scale=1: note(session, message.text),
    lambda *args, session: note(session, args[0].text),
]


@pytest.mark.parametrize("handler", [*SESSION_PLACES, *OTHER_PLACES], ids=signature_text)
def test_the_session_is_injected_whatever_its_place(
    handler: Handler, host: Host, sessions: Sessions[Session]
) -> None:
    """
    The session is injected whatever its place in the handler's parameters.
    """
    host.bot.message_handler()(sessions.with_session(handler))

    host.deliver(said("one"), said("two"))

    assert ([], {"seen": [["one"], ["two"]]}) == (host.raised, sessions.peek(KEY))


def decorated_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def handle(self, message, session):
            assert isinstance(self, Desk)
            note(session, message.text)

    return Desk().handle


def decorated_method_with_the_session_first(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def handle(self, session, message):
            assert isinstance(self, Desk)
            note(session, message.text)

    return Desk().handle


def decorated_method_with_a_keyword_only_session(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def handle(self, message, *, session):
            assert isinstance(self, Desk)
            note(session, message.text)

    return Desk().handle


def inherited_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def handle(self, message, session):
            note(session, message.text)

    class TeaDesk(Desk):
        def handle(self, message):
            return super().handle(message)

    return TeaDesk().handle


def decorated_bound_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        def handle(self, message, session):
            assert isinstance(self, Desk)
            note(session, message.text)

    return sessions.with_session(Desk().handle)


def static_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @staticmethod
        @sessions.with_session
        def handle(message, session):
            note(session, message.text)

    return Desk().handle


def class_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @classmethod
        @sessions.with_session
        def handle(cls, message, session):
            assert cls is Desk
            note(session, message.text)

    return Desk.handle


def callable_object(sessions: Sessions[Session]) -> Handler:
    class Greeter:
        def __call__(self, message, session):
            note(session, message.text)

    return sessions.with_session(Greeter())


def object_with_a_decorated_call(sessions: Sessions[Session]) -> Handler:
    class Greeter:
        @sessions.with_session
        def __call__(self, message, session):
            note(session, message.text)

    return Greeter()


def decorated_partial(sessions: Sessions[Session]) -> Handler:
    def handle(config, message, session, unit):
        assert (config, unit) == ("config", "cm")
        note(session, message.text)

    return sessions.with_session(functools.partial(handle, "config", unit="cm"))


def partial_of_a_decorated_function(sessions: Sessions[Session]) -> Handler:
    @sessions.with_session
    def handle(message, session, unit):
        assert unit == "cm"
        note(session, message.text)

    return functools.partial(handle, unit="cm")


def partial_with_a_session_of_its_own(sessions: Sessions[Session]) -> Handler:
    return sessions.with_session(functools.partial(keep, session=None))


def partial_method(sessions: Sessions[Session]) -> Handler:
    class Desk:
        @sessions.with_session
        def measure(self, message, session, unit):
            assert unit == "cm"
            note(session, message.text)

        handle = functools.partialmethod(measure, unit="cm")

    return Desk().handle


def decorated_above_another_decorator(sessions: Sessions[Session]) -> Handler:
    @functools.wraps(keep)
    def logged(*args, **kwargs):
        return keep(*args, **kwargs)

    return sessions.with_session(logged)


def decorated_below_another_decorator(sessions: Sessions[Session]) -> Handler:
    handler = sessions.with_session(keep)

    @functools.wraps(handler)
    def logged(*args, **kwargs):
        return handler(*args, **kwargs)

    return logged


KINDS = [
    decorated_method,
    decorated_method_with_the_session_first,
    decorated_method_with_a_keyword_only_session,
    inherited_method,
    decorated_bound_method,
    static_method,
    class_method,
    callable_object,
    object_with_a_decorated_call,
    decorated_partial,
    partial_of_a_decorated_function,
    partial_with_a_session_of_its_own,
    partial_method,
    decorated_above_another_decorator,
    decorated_below_another_decorator,
]


@pytest.mark.parametrize("make_handler", KINDS)
def test_any_kind_of_callable_may_be_a_handler(
    make_handler: Callable[[Sessions[Session]], Handler], host: Host, sessions: Sessions[Session]
) -> None:
    """
    The update is the first positional argument, or the second for a method.
    """
    host.bot.message_handler()(make_handler(sessions))

    host.deliver(said("one"), said("two"))

    assert ([], {"seen": [["one"], ["two"]]}) == (host.raised, sessions.peek(KEY))


@pytest.mark.parametrize(
    "decorate",
    [
        pytest.param(with_session, id="bare"),
        pytest.param(with_session(), id="called"),
        pytest.param(with_session(initial=dict), id="called-with-options"),
        pytest.param(Sessions().with_session, id="of-sessions"),
    ],
)
def test_decorators_that_name_no_storage_share_one(
    decorate: Callable[[Handler], Handler], host: Host
) -> None:
    """
    The decorator may be bare or have options; the default storage is one for the whole process.
    """
    person = {"id": 990_000_001, "is_bot": False, "first_name": "Nobody else"}
    default = Sessions()
    host.bot.message_handler()(decorate(keep))
    try:
        host.deliver(said("one", person), said("two", person))

        assert ([], {"seen": [["one"], ["two"]]}) == (host.raised, default.peek(person["id"]))
    finally:
        default.delete(person["id"])


# Handlers that are refused.


class GeneratorGreeter:
    def __call__(self, message, session):
        yield


def no_parameter(message): ...


def only_keywords(message, **kwargs): ...


def only_arguments(message, *args): ...


def keywords_named_session(message, **session): ...


def arguments_named_session(message, *session): ...


def misspelt(message, sesion): ...


REFUSED_HANDLERS = [
    (async_handler, ["async_handler", "blocking", "def async_handler", "without async"]),
    (async_generator, ["async_generator", "blocking", "def async_generator", "without async"]),
    (AsyncGreeter(), ["AsyncGreeter", "without async"]),
    (AsyncGreeter().greet, ["greet", "without async"]),
    (functools.partial(async_handler), ["without async"]),
    (generator, ["generator", "return", "instead of yielding"]),
    (GeneratorGreeter(), ["GeneratorGreeter", "instead of yielding"]),
    (functools.partial(generator), ["instead of yielding"]),
    (no_parameter, ["no parameter 'session'", "def no_parameter(message, session)", "name="]),
    (only_keywords, ["no parameter 'session'", "def only_keywords(message, session)"]),
    (only_arguments, ["no parameter 'session'", "def only_arguments(message, session)"]),
    (keywords_named_session, ["no parameter 'session'"]),
    (arguments_named_session, ["no parameter 'session'"]),
    (misspelt, ["no parameter 'session'", "name="]),
    (lambda message: None, ["no parameter 'session'"]),
    (no_update, ["no_update", "update"]),
    (staticmethod(keep), ["@staticmethod above @with_session"]),
    (classmethod(keep), ["@classmethod above @with_session"]),
    ({"counter": 0}, ["not dict", "initial="]),
    (Cart, ["Cart", "initial="]),
    ("session", ["not str", "with_session("]),
]


@pytest.mark.parametrize(
    ("handler", "advice"),
    REFUSED_HANDLERS,
    ids=[getattr(h, "__name__", type(h).__name__) for h, _ in REFUSED_HANDLERS],
)
@pytest.mark.parametrize(
    "decorate",
    [with_session, with_session(lifetime=60), Sessions().with_session],
    ids=["bare", "called", "of-sessions"],
)
def test_a_handler_that_cannot_work_is_refused_at_once(
    decorate: Callable[[Any], Any], handler: Any, advice: list[str]
) -> None:
    """
    A handler without that parameter, an `async` or generator function: `TypeError` at decoration,
    saying what to write instead.
    """
    with pytest.raises(TypeError) as caught:
        decorate(handler)

    assert advice == [part for part in advice if part in str(caught.value)]


@pytest.mark.parametrize(
    "handler", [no_parameter, only_keywords, lambda message: None, functools.partial(no_parameter)]
)
def test_the_advice_for_a_missing_parameter_is_code_that_works(
    handler: Handler, sessions: Sessions[Session]
) -> None:
    """
    What the error says to write instead can be written: it compiles, and is accepted.
    """
    with pytest.raises(TypeError) as caught:
        sessions.with_session(handler)

    _, found, rest = str(caught.value).partition("write def ")
    assert "write def " == found
    names: dict[str, Any] = {}
    exec(f"def {rest.partition(')')[0]}): pass", names)
    advised = next(value for name, value in names.items() if name != "__builtins__")
    assert ["message"] == list(inspect.signature(sessions.with_session(advised)).parameters)
