"""No session waits for the garbage collector after its handler."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from telesession import MemoryStorage, Session, Sessions, ttl

HANDLERS: dict[str, Callable[[Any], object]] = {
    "reads": lambda session: session.counter,
    "assigns": lambda session: setattr(session, "counter", 1),
    "keeps a list": lambda session: setattr(session, "log", [1]),
    "marks": lambda session: setattr(session, "code", ttl("1234", 300)),
    "unmarks": lambda session: setattr(session, "counter", ttl(1, 0)),
    "deletes": lambda session: delattr(session, "counter"),
}


@pytest.fixture
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def sessions_alive() -> int:
    # Not isinstance(), which asks the object for its class.
    return sum(issubclass(type(found), Session) for found in gc.get_objects())


@pytest.mark.usefixtures("_no_collection")
@pytest.mark.parametrize("ends", ["returns", "raises"])
@pytest.mark.parametrize("handle", HANDLERS.values(), ids=HANDLERS)
def test_a_session_is_freed_with_its_handler(handle: Callable[[Any], object], ends: str) -> None:
    """No circle of references keeps a session until the garbage collector comes."""
    sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())

    def use() -> None:
        with sessions.open(1) as session:
            handle(session)
            del session
            if ends == "raises":
                raise ZeroDivisionError

    before = sessions_alive()
    for _ in range(3):
        try:
            use()
        except ZeroDivisionError:
            assert "raises" == ends
    assert before == sessions_alive()


@pytest.mark.usefixtures("_no_collection")
def test_control_a_circle_stays() -> None:
    """The control: a session that refers to itself is found until the collector comes."""
    sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage({}))
    before = sessions_alive()
    with sessions.open(1) as session:
        circle = [session]
        circle.append(circle)  # type: ignore[arg-type]
    del session, circle
    alive = sessions_alive()
    gc.collect()
    assert (before + 1, before) == (alive, sessions_alive())
