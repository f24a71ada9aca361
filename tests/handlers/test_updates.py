"""Sessions over every kind of update: telebot's own dispatch, `@with_session`, a storage."""

from __future__ import annotations

import queue
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from telebot import ExceptionHandler, TeleBot

from support.updates import CASES, TOKEN, UpdateCase, decorate
from telesession import (
    MemoryStorage,
    NoSessionKeyError,
    Sessions,
    by_chat,
    by_sender_in_chat,
    by_sender_in_topic,
    by_topic,
    session_key,
    with_session,
)

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS: dict[str, dict[str, Any]] = {
    "sender": {},
    "chat": {"get_storage_key": by_chat},
    "sender_in_chat": {"get_storage_key": by_sender_in_chat},
    "topic": {"get_storage_key": by_topic},
    "sender_in_topic": {"get_storage_key": by_sender_in_topic},
}

KEYED = [
    pytest.param(case, field, id=f"{case.name}-{field}")
    for case in CASES
    for field in OPTIONS
    if getattr(case, field) is not None
]
KEYLESS = [
    pytest.param(case, field, id=f"{case.name}-{field}")
    for case in CASES
    for field in OPTIONS
    if getattr(case, field) is None
]

in_both_modes = pytest.mark.parametrize(
    "use_class_middlewares", [False, True], ids=["no-middlewares", "class-middlewares"]
)


class Reporter(ExceptionHandler):
    """
    Passes on whatever a handler raises, and tells telebot that it is dealt with.

    Args:
        report: Called with each exception, in the thread of the handler that raised it.
    """

    def __init__(self, report: Callable[[Exception], object]) -> None:
        self.report = report

    def handle(self, exception: Exception) -> bool:
        self.report(exception)
        return True


def deliver(
    case: UpdateCase, handler: Callable[..., Any], *, times: int, use_class_middlewares: bool
) -> list[Exception]:
    """Lets a bot with this handler process the update so many times; returns what it raised."""
    raised: list[Exception] = []
    bot = TeleBot(
        TOKEN,
        threaded=False,
        use_class_middlewares=use_class_middlewares,
        exception_handler=Reporter(raised.append),
    )
    decorate(bot, case.kind, handler)
    bot.process_new_updates([case.parse() for _ in range(times)])
    return raised


@in_both_modes
@pytest.mark.parametrize(("case", "field"), KEYED)
def test_a_handler_loads_and_saves_the_session_of_exactly_that_key(
    case: UpdateCase, field: str, use_class_middlewares: bool
) -> None:
    """
    Two updates from one place load and save one record, stored under the key of the table.
    """
    storage = MemoryStorage()
    key = getattr(case, field)
    seen: list[tuple[str, int]] = []

    @with_session(storage=storage, initial=lambda: {"calls": 0}, **OPTIONS[field])
    def handler(update: Any, session: Any) -> None:
        seen.append((session_key(session), session.calls))
        session.calls += 1

    raised = deliver(case, handler, times=2, use_class_middlewares=use_class_middlewares)

    assert ([], [(key, 0), (key, 1)]) == (raised, seen)
    assert [key] == list(storage.keys())


@in_both_modes
@pytest.mark.parametrize(("case", "field"), KEYLESS)
def test_an_update_without_a_key_never_reaches_its_handler(
    case: UpdateCase, field: str, use_class_middlewares: bool
) -> None:
    """
    Where the table has no key, the handler is not called, nothing is stored, and the error names
    the class of the update and the option to change.
    """
    storage = MemoryStorage()
    update_type = type(case.payload()).__name__
    calls: list[Any] = []

    @with_session(storage=storage, **OPTIONS[field])
    def handler(update: Any, session: Any) -> None:
        calls.append(update)

    raised = deliver(case, handler, times=1, use_class_middlewares=use_class_middlewares)

    assert [NoSessionKeyError] == [type(error) for error in raised]
    assert update_type == raised[0].update_type
    assert update_type in str(raised[0])
    assert "get_storage_key" in str(raised[0])
    assert not calls
    assert not list(storage.keys())


def test_without_an_exception_handler_the_error_leaves_the_bot() -> None:
    """
    Telebot lets `NoSessionKeyError` out of `process_new_updates` when nobody handles it.
    """
    poll = next(case for case in CASES if case.kind == "poll")
    bot = TeleBot(TOKEN, threaded=False)

    @with_session(storage=MemoryStorage())
    def handler(update: Any, session: Any) -> None:
        session.calls = 1

    decorate(bot, poll.kind, handler)

    with pytest.raises(NoSessionKeyError, match=r"Poll.*get_storage_key"):
        bot.process_new_updates([poll.parse()])


@in_both_modes
def test_threads_count_every_update_of_every_sender(use_class_middlewares: bool) -> None:
    """
    With `threaded=True` all the updates of the table, at once, are counted once for their sender.
    """
    cases = [case for case in CASES if case.sender is not None]
    expected = Counter(case.sender for case in cases)
    storage = MemoryStorage()
    sessions = Sessions(storage=storage, initial=lambda: {"updates": 0})
    outcomes: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()

    @sessions.with_session
    def handler(update: Any, session: Any) -> None:
        session.updates += 1
        outcomes.put(session_key(session))

    bot = TeleBot(
        TOKEN,
        threaded=True,
        num_threads=8,
        use_class_middlewares=use_class_middlewares,
        exception_handler=Reporter(outcomes.put),
    )
    for kind in {case.kind for case in cases}:
        decorate(bot, kind, handler)
    try:
        bot.process_new_updates([case.parse() for case in cases])
        actual = Counter(outcomes.get(timeout=30) for _ in cases)
    finally:
        bot.stop_bot()

    assert expected == actual
    assert set(expected) == set(storage.keys())
    assert expected == Counter({key: sessions.peek(key)["updates"] for key in expected})
