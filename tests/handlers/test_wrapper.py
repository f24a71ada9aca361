"""The wrapper around a handler: what it looks like, and how it may be called by anybody."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from support.handlers import KEY, Cart, Handler, keep, note, signature_text
from support.storages import is_free
from support.updates import TOKEN, said
from telesession import MemoryStorage, Session, Sessions, with_session
from telesession.bot.attachment import Attachment

if TYPE_CHECKING:
    from collections.abc import Callable

    from telebot import types


def published_plain(message: types.Message, data: dict[str, Any], bot: Any = None) -> int: ...


def published_last(
    message: types.Message, data: dict[str, Any], bot: Any = None, session: Any = None
) -> int: ...


def published_first(
    session: Any, message: types.Message, data: dict[str, Any], bot: Any = None
) -> int: ...


def published_middle(
    message: types.Message, session: Any, data: dict[str, Any], bot: Any = None
) -> int: ...


def published_keyword_only(
    message: types.Message, data: dict[str, Any], bot: Any = None, *, session: Any
) -> int: ...


def kinds_plain(message, /, data, *args, bot=None, **kwargs): ...


def kinds_positional_only(message, session, /, data, *args, bot=None, **kwargs): ...


def kinds_keyword_only(message, /, data, *args, session, bot=None, **kwargs): ...


@pytest.mark.parametrize(
    ("handler", "plain"),
    [
        (published_last, published_plain),
        (published_first, published_plain),
        (published_middle, published_plain),
        (published_keyword_only, published_plain),
        (kinds_positional_only, kinds_plain),
        (kinds_keyword_only, kinds_plain),
        (lambda session, message: None, lambda message: None),
        (functools.partial(published_last, bot=None), functools.partial(published_plain, bot=None)),
    ],
)
def test_the_published_signature_has_no_session(
    handler: Handler, plain: Handler, sessions: Sessions[Session]
) -> None:
    """
    The wrapper publishes a signature without the session parameter, and else the handler's own.
    """
    wrapper = sessions.with_session(handler)

    assert inspect.signature(plain) == inspect.signature(wrapper)
    assert inspect.signature(plain) == inspect.signature(wrapper, follow_wrapped=False)


def test_the_published_signature_of_a_method_has_neither_self_nor_session(
    sessions: Sessions[Session],
) -> None:
    """
    Telebot sees of a decorated method what it may pass, wherever the session is.
    """

    class Desk:
        @sessions.with_session
        def handle(self, message, session, data): ...

    assert ["message", "data"] == list(inspect.signature(Desk().handle).parameters)


def test_the_wrapper_is_what_functools_wraps_makes(sessions: Sessions[Session]) -> None:
    """
    Name, qualified name, module, docstring and attributes are the handler's; it is `__wrapped__`.
    """

    def greet(message, session):
        """Greets."""

    greet.calls = 3
    wrapper = sessions.with_session(greet)

    names = ("__name__", "__qualname__", "__module__", "__doc__", "calls")
    assert [getattr(greet, name) for name in names] == [getattr(wrapper, name) for name in names]
    assert wrapper.__wrapped__ is greet
    assert inspect.unwrap(wrapper) is greet


def test_a_unit_test_may_call_the_handler_itself(storage: MemoryStorage) -> None:
    """
    `handler.__wrapped__` takes a hand-made session, and no storage has anything to do with it.
    """

    @with_session(storage=storage)
    def count(message, session):
        session.counter += 1
        return session.counter

    @with_session(storage=storage, initial=Cart)
    def add(message, session):
        return session.add(message.text)

    session, cart = Session({"counter": 1}), Cart(["milk"])

    assert (2, {"counter": 2}) == (count.__wrapped__(said("one").message, session), session)
    assert (2, Cart(["milk", "tea"])) == (add.__wrapped__(said("tea").message, cart), cart)
    assert [] == list(storage.keys())


# Calls that telebot does not make.


def session_first(session, message):
    note(session, message.text)


def test_the_update_may_be_passed_by_keyword(sessions: Sessions[Session]) -> None:
    """
    A caller may name the update's parameter, alone or among others, in functions and methods.
    """

    class Desk:
        @sessions.with_session
        def handle(self, message, session, unit="cm"):
            note(session, message.text)
            return unit

    handle = sessions.with_session(keep)
    handle_first = sessions.with_session(session_first)

    handle(message=said("one").message)
    handle_first(message=said("two").message)
    unit = Desk().handle(unit="inch", message=said("three").message)

    assert (unit, {"seen": [["one"], ["two"], ["three"]]}) == ("inch", sessions.peek(KEY))


CALLED_WRONGLY = [
    keep,
    session_first,
    lambda message, *, session: None,
    lambda message, session=None: None,
    lambda message, session, unit="cm": None,
]


@pytest.mark.parametrize("handler", CALLED_WRONGLY, ids=signature_text)
def test_a_call_without_the_update_says_so(
    handler: Handler, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    A call without the update is a `TypeError` that says so, and stores nothing.
    """
    with pytest.raises(TypeError, match="without the update"):
        sessions.with_session(handler)()

    assert [] == list(storage.keys())


def test_a_method_called_without_the_update_says_so(sessions: Sessions[Session]) -> None:
    """
    The update is the second argument for a method: the instance is not taken for one.
    """

    class Desk:
        @sessions.with_session
        def handle(self, message, session): ...

    with pytest.raises(TypeError, match=r"handle\(\).*without the update"):
        Desk().handle()


@pytest.mark.parametrize("handler", CALLED_WRONGLY, ids=signature_text)
@pytest.mark.parametrize("by_keyword", [False, True], ids=["update-by-position", "update-by-name"])
def test_a_session_of_the_caller_is_refused(
    handler: Handler, by_keyword: bool, sessions: Sessions[Session], storage: MemoryStorage
) -> None:
    """
    A caller that passes a session of its own gets a `TypeError` that names the parameter.
    """
    message = said("one").message
    args, kwargs = ((), {"message": message}) if by_keyword else ((message,), {})

    with pytest.raises(TypeError, match="'session'"):
        sessions.with_session(handler)(*args, session=Session(), **kwargs)

    assert ([], True) == (list(storage.keys()), is_free(storage, KEY))


@pytest.mark.parametrize(
    "order", ["message, first, second, inner", "message, inner, second, first"]
)
def test_stacked_sessions_pass_a_wrapper_that_takes_keywords(
    order: str, storage: MemoryStorage
) -> None:
    """Sessions of decorators above another wrapper come by name, as the wrapper passes them on."""
    scope: dict[str, Any] = {}
    exec(f"def handle({order}): return first.n, second.n, inner.n", scope)

    def other(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(message: Any, **kwargs: Any) -> Any:
            return function(message, **kwargs)

        return wrapper

    def named(name: str, n: int) -> Callable[..., Any]:
        return with_session(name=name, initial={"n": n}, storage=storage)

    handle = named("first", 1)(named("second", 2)(other(named("inner", 3)(scope["handle"]))))
    assert (1, 2, 3) == handle(said("hi").message)


def passing_all(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def passing_more(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(message: Any, *rest: Any) -> Any:
        return function(message, *rest)

    return wrapper


def passing_the_message(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(message: Any) -> Any:
        return function(message)

    return wrapper


def count_by_position(message: Any, session: Any) -> int:
    session.n += 1
    return int(session.n)


def count_by_name(message: Any, *, session: Any) -> int:
    return count_by_position(message, session)


@pytest.mark.parametrize(
    ("around", "handle"),
    [
        (passing_all, count_by_position),
        (passing_all, count_by_name),
        (passing_more, count_by_position),
    ],
)
def test_a_decorator_that_passes_the_session_on_is_taken(
    around: Callable[..., Any], handle: Callable[..., Any], storage: MemoryStorage
) -> None:
    """Another decorator may be below `with_session` if its inner function takes the session."""
    wrapped = with_session(initial={"n": 0}, storage=storage)(around(handle))
    assert 1 == wrapped(said("hi").message)


@pytest.mark.parametrize(
    ("around", "handle"),
    [
        (passing_the_message, count_by_position),
        (passing_the_message, count_by_name),
        (passing_more, count_by_name),
    ],
)
def test_a_decorator_that_hides_the_session_is_refused_at_once(
    around: Callable[..., Any], handle: Callable[..., Any]
) -> None:
    """A handler that could not get its session is a `TypeError`, before its first update."""
    text = (
        f"{handle.__name__} has the parameter 'session', but another decorator around it does not"
    )
    with pytest.raises(TypeError, match=text):
        with_session(around(handle))
    bot = TeleBot(TOKEN, threaded=False)
    bot.register_message_handler(around(handle))
    with pytest.raises(TypeError, match=text):
        Sessions().attach(bot)
    assert None is Attachment.of(bot)
