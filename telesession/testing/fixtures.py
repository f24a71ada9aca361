"""
Fixtures for pytest.

Name this module in `pytest_plugins`, or import the fixtures into a `conftest.py`. It needs pytest
and freezegun, which nothing else in telesession does. As a plugin it also shows the conversation
with the bot under a test that failed; imported fixtures alone do not.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

import freezegun
import freezegun.api
import pytest
from freezegun.api import FrozenDateTimeFactory
from telebot import apihelper

from telesession.testing.bot_api import BotAPI
from telesession.testing.sessions import forget_sessions
from telesession.testing.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime

#: The servers that a test has started.
_STARTED = pytest.StashKey[list[BotAPI]]()


@pytest.fixture
def bot_api() -> Iterator[BotAPI]:
    """A running loopback Bot API, which every bot of the test talks to."""
    with BotAPI() as api:
        yield api


@pytest.fixture
def fresh_sessions() -> None:
    """
    Delete the sessions of earlier tests from the default storage.

    A bot with a storage of its own needs `forget_sessions(storage)`, or a new storage for each
    test.
    """
    forget_sessions()


@pytest.fixture
def frozen_time() -> Iterator[FrozenDateTimeFactory]:
    """
    A clock that stands still, at the time of the test's start, until `frozen_time.tick(seconds)`.

    It stands still in every thread. freezegun by itself gives real time to a call that has
    `threading` among its five innermost frames (`freezegun.api.call_stack_inspection_limit`). So in
    a bot with threads, a shallow call would see the real clock, and a deep call the frozen one.
    Here only the calling frame counts. Waits for locks, queues and sockets stay real, and so do the
    durations that pytest reports.

    Each `threading.Timer` that is started during the test waits on this clock. `tick` and `move_to`
    run the timers that are due until then, each at its own time, and return when they have ended.
    They raise the exception of a timer, or several exceptions as an `ExceptionGroup`. They raise
    `TimeoutError` if a timer does not end within 10 real seconds. Then the polls whose time is over
    close, and a bot that waits gets the updates about them. At the end of the test, timers that
    wait are cancelled. A block of `freeze_time` inside the test has a clock of its own. The timers
    that are started in the block wait on that clock.
    """
    frozen = freezegun.freeze_time(ignore=["_pytest"])
    with pytest.MonkeyPatch.context() as patch, frozen as clock:
        patch.setattr(freezegun.api, "call_stack_inspection_limit", 1)
        with _timers_on_frozen_clocks(patch):
            yield cast("FrozenDateTimeFactory", clock)


@contextmanager
def _timers_on_frozen_clocks(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each timer of `threading` wait on the frozen clock that it is started under."""
    move, start = FrozenDateTimeFactory.tick, threading.Timer.start
    all_timers: dict[FrozenDateTimeFactory, Timers] = {}

    def timers_on(clock: FrozenDateTimeFactory) -> Timers:
        return all_timers.setdefault(clock, Timers(clock, partial(move, clock)))

    def tick(
        clock: FrozenDateTimeFactory, delta: timedelta | float = timedelta(seconds=1)
    ) -> datetime:
        try:
            return timers_on(clock).tick(delta)
        finally:
            # Polls may have come to their end.
            if api := getattr(apihelper.API_URL, "api", None):
                api.notify()

    def start_on_clock(timer: threading.Timer) -> None:
        # The clock of the innermost freeze_time. It may tick by itself, as time does.
        clock = freezegun.api.freeze_factories[-1]
        if isinstance(clock, FrozenDateTimeFactory):
            timers_on(clock).start(timer)
        else:
            start(timer)

    patch.setattr(FrozenDateTimeFactory, "tick", tick)
    patch.setattr(threading.Timer, "start", start_on_clock)
    yield
    for timers in all_timers.values():
        timers.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Remember the servers that a test starts, because they may be closed before its report."""
    started: list[BotAPI] = []
    item.stash[_STARTED] = started
    start = BotAPI.start

    def remember(api: BotAPI) -> BotAPI:
        started.append(api)
        return start(api)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BotAPI, "start", remember)
        try:
            return (yield)
        finally:
            # The items live as long as the test run.
            del item.stash[_STARTED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the conversations with the bot, if there were any, into the report of a failure."""
    report = yield
    if report.failed:
        servers = item.stash.get(_STARTED, [])
        running: BotAPI | None = getattr(apihelper.API_URL, "api", None)
        if running is not None:
            servers = [*servers, running]
        for transcript in filter(None, (api.transcript for api in dict.fromkeys(servers))):
            report.sections.append(("Conversation with the bot", transcript))
    return report
