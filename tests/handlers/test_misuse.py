"""Each misuse of the decorators and of `Sessions` is an error that says what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.updates import said
from telesession import (
    MemoryStorage,
    Session,
    SessionClosedError,
    Sessions,
    with_session,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Cart:
    count: int = 0


@dataclass
class Callback:
    """A dataclass whose instances can be called, so that they could be taken for functions."""

    count: int = 0

    def __call__(self) -> dict[str, int]:
        return {"count": self.count}


def make_cart() -> Cart:
    return Cart()


def greet(message: Any, session: Session) -> None:
    session.greeted = message.text


# As untyped code has them.
make_sessions: Any = Sessions
decorate: Any = with_session
sessions: Any = Sessions(storage=MemoryStorage())

MISUSES: dict[str, tuple[Callable[[], object], str]] = {
    "an instance": (lambda: make_sessions(initial=Cart()), "write initial=Cart, or initial=lambda"),
    "a callable instance": (lambda: make_sessions(initial=Callback()), "write initial=Callback,"),
    "an instance in the decorator": (lambda: decorate(initial=Cart()), "write initial=Cart, or"),
    "Sessions of a class": (lambda: make_sessions(Cart), r"write Sessions\(initial=Cart\)"),
    "Sessions of an instance": (lambda: make_sessions(Cart()), r"write Sessions\(initial=Cart\)"),
    "Sessions of a function": (
        lambda: make_sessions(make_cart),
        r"write Sessions\(initial=make_cart\)",
    ),
    "Sessions of a lambda": (
        lambda: make_sessions(lambda: {"a": 1}),
        r"write Sessions\(initial=\.\.\.\)",
    ),
    "Sessions of a dict": (lambda: make_sessions({"a": 1}), r"write Sessions\(initial=\.\.\.\)"),
    "Sessions of a storage": (
        lambda: make_sessions(MemoryStorage()),
        r"write Sessions\(storage=\.\.\.\)",
    ),
    "Sessions of two": (lambda: make_sessions(Cart, "cart"), r"write Sessions\(initial=Cart\)"),
    "a class": (lambda: decorate(Cart), r"write with_session\(initial=Cart\)"),
    "an instance instead of a handler": (
        lambda: decorate(Cart()),
        r"write with_session\(initial=Cart\)",
    ),
    "a dict": (lambda: decorate({"a": 1}), r"write with_session\(initial=\.\.\.\)"),
    "a storage": (lambda: decorate(MemoryStorage()), r"write with_session\(storage=\.\.\.\)"),
    "a function that makes sessions": (
        lambda: decorate(make_cart),
        r"write def make_cart\(message, session\) or, .* with_session\(initial=make_cart\)",
    ),
    "a lambda that makes sessions": (
        lambda: decorate(lambda: {"a": 1}),
        r"write def handler\(message, session\) or, .* with_session\(initial=\.\.\.\)",
    ),
    "sessions": (lambda: decorate(sessions), "write @sessions.with_session above the handler"),
    "parentheses": (sessions.with_session, "without parentheses"),
    "options": (
        lambda: sessions.with_session(name="cart"),
        r"those of sessions = Sessions\(\.\.\.",
    ),
    "a handler and options": (
        lambda: sessions.with_session(greet, name="session"),
        "without parentheses",
    ),
    "sessions as a decorator": (lambda: sessions(greet), "write @sessions.with_session above"),
    "sessions as a function": (lambda: sessions(initial=Cart), r"sessions\.open\(key\)"),
    "the method of the class": (
        lambda: make_sessions.with_session(greet),
        r"write sessions = Sessions\(\.\.\.\), and @sessions\.with_session",
    ),
}


@pytest.mark.parametrize(("misuse", "advice"), MISUSES.values(), ids=MISUSES)
def test_a_misuse_is_an_error_that_says_what_to_write(
    misuse: Callable[[], object], advice: str
) -> None:
    """The option, the decorator or the method in the wrong place is a `TypeError` with the cure."""
    with pytest.raises(TypeError, match=advice):
        misuse()


@pytest.fixture(params=[dict, Cart], ids=["mapping", "dataclass"])
def kind(request: pytest.FixtureRequest) -> Any:
    """Sessions that are mappings, and sessions that are instances."""
    return Sessions(initial=request.param, storage=MemoryStorage())


@pytest.fixture
def passed_on(kind: Any) -> Any:
    """A session whose handler has returned."""

    @kind.with_session
    def ask(message: Any, session: Any) -> Any:
        session.count = 1
        return session

    return ask(said("name").message)


@pytest.mark.parametrize("how", ["by position", "by name"])
def test_a_session_that_is_passed_on_to_a_decorated_step_is_refused(
    kind: Any, passed_on: Any, how: str
) -> None:
    """A decorated step with another session is a `TypeError` that says to leave it out."""

    @kind.with_session
    def step(message: Any, session: Any) -> None: ...

    given: Any = ((passed_on,), {}) if how == "by position" else ((), {"session": passed_on})
    with pytest.raises(TypeError, match=r"step\(\) gets its 'session' from with_session.* leave"):
        step(said("ada").message, *given[0], **given[1])


def test_a_session_that_is_passed_on_to_stacked_decorators_is_refused(passed_on: Any) -> None:
    """Two decorators above a step refuse a third session as one does."""
    carts = Sessions(initial=Cart, storage=MemoryStorage(), name="cart")

    @sessions.with_session
    @carts.with_session
    def step(message: Any, session: Session, cart: Cart) -> None: ...

    with pytest.raises(TypeError, match=r"register_next_step_handler\(message, step\)"):
        step(said("ada").message, passed_on)


def test_a_session_is_an_argument_like_others(kind: Any, passed_on: Any) -> None:
    """A decorated function that has a parameter for another session gets it."""

    @kind.with_session
    def compare(message: Any, session: Any, other: Any, *more: Any) -> list[Any]:
        return [session.count, other.count, *(one.count for one in more)]

    assert [1, 1, 1] == compare(said("ada").message, passed_on, passed_on)


def test_too_many_other_arguments_are_the_error_of_python() -> None:
    """A call with too many arguments that are no sessions is refused by the handler itself."""
    step: Any = sessions.with_session(greet)

    with pytest.raises(TypeError, match="positional arguments"):
        step(said("ada").message, "surplus")


def test_a_session_that_is_passed_on_to_an_undecorated_step_is_closed(passed_on: Any) -> None:
    """A step without a decorator reads the old session, and a change says how to get its own."""

    def step(_message: Any, session: Any) -> None:
        session.count += 1

    with pytest.raises(SessionClosedError, match="let with_session give the handler its session"):
        step(said("ada").message, passed_on)
