"""
Fixtures for pytest.

Name this module in `pytest_plugins`, or import the fixtures into a `conftest.py`. It needs pytest
and freezegun, which nothing else in telesession does. As a plugin it also shows the conversation
with the bot under a test that failed.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

import freezegun
import freezegun.api
import pytest
from telebot import apihelper

from telesession.testing.bot_api import BotAPI
from telesession.testing.sessions import forget_sessions
from telesession.testing.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from freezegun.api import FrozenDateTimeFactory


@pytest.fixture
def bot_api() -> Iterator[BotAPI]:
    """A running loopback Bot API, which every bot of the test talks to."""
    with BotAPI() as api:
        yield api


@pytest.fixture
def fresh_sessions() -> None:
    """
    No sessions of earlier tests, in the storage of those that name none.

    A bot with another storage needs `forget_sessions(storage)`, or a new one for each test.
    """
    forget_sessions()


@pytest.fixture
def frozen_time() -> Iterator[FrozenDateTimeFactory]:
    """
    A clock that stands still, at the time of the test's start, until `frozen_time.tick(seconds)`.

    It stands still in every thread. freezegun by itself gives real time to a call that has
    `threading` among its five innermost frames (`freezegun.api.call_stack_inspection_limit`), so
    in a bot with threads a shallow call would see the real clock and a deep one the frozen.
    Here only the calling frame counts. Waits for locks, queues and sockets stay real, and so do
    the durations that pytest reports.

    Each `threading.Timer` that is started meanwhile waits on this clock. `tick` and `move_to` run
    the timers that are due until then, each at its own time, and return when they have ended. They
    raise the exception of a timer, several as an `ExceptionGroup`, and `TimeoutError` if a timer
    does not end within 10 real seconds. At the end of the test, timers that wait are cancelled.
    """
    frozen = freezegun.freeze_time(ignore=["_pytest"])
    with pytest.MonkeyPatch.context() as patch, frozen as clock:
        patch.setattr(freezegun.api, "call_stack_inspection_limit", 1)
        frozen_clock = cast("FrozenDateTimeFactory", clock)
        timers = Timers(frozen_clock)

        def start(timer: threading.Timer) -> None:
            timers.start(timer)

        patch.setattr(frozen_clock, "tick", timers.tick)
        patch.setattr(threading.Timer, "start", start)
        yield frozen_clock
        timers.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the conversation with the bot, if there was one, into the report of a failure."""
    report = yield
    api = getattr(apihelper.API_URL, "api", None)
    if report.failed and api is not None and api.transcript:
        report.sections.append(("Conversation with the bot", api.transcript))
    return report
