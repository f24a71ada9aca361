from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import freezegun
import freezegun.api
import pytest
from telebot import TeleBot

from support.threads import start
from telesession.testing import BotAPI, run_polling

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


YEARS = 10 * 365 * 24 * 3600


def read_clock(depth: int) -> float:
    """Read the clock from so many frames further down the stack."""
    return time.time() if depth == 0 else read_clock(depth - 1)


def make_clock_bot(clocks: list[float]) -> Any:
    bot: Any = TeleBot("77:offline")

    @bot.message_handler()
    def look(message: Any) -> None:
        clocks.append(time.time())
        clocks.append(read_clock(10))

    return bot


class TestBotAPI:
    def test_it_runs(self, bot_api: BotAPI) -> None:
        """The fixture is a running server, which the test's bots talk to."""
        assert bot_api is BotAPI.running()


class TestFrozenTime:
    def test_the_clock_stands_still_until_told(self, frozen_time: FrozenDateTimeFactory) -> None:
        """The clock moves only by tick()."""
        before = time.time(), time.monotonic()
        frozen_time.tick(30)
        assert (30, 30) == (time.time() - before[0], time.monotonic() - before[1])

    def test_it_starts_now(self, frozen_time: FrozenDateTimeFactory) -> None:
        """The clock starts at the time of the test."""
        assert 600 > freezegun.api.real_time() - time.time()

    def test_the_clock_stands_still_in_every_handler(
        self, bot_api: BotAPI, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """A handler in a real bot's thread sees the frozen clock, near its top and deep inside."""
        clocks: list[float] = []
        frozen_time.tick(YEARS)
        with run_polling(make_clock_bot(clocks)) as polling:
            bot_api.user(1).send("when?")
            polling.wait_idle()
            frozen_time.tick(60)
            bot_api.user(1).send("and now?")
            polling.wait_idle()
        now = time.time()
        assert [now - 60, now - 60, now, now] == clocks

    def test_freezegun_alone_freezes_some_calls_only(self, bot_api: BotAPI) -> None:
        """Control: with freezegun's own limit a shallow call in a thread sees the real clock."""
        clocks: list[float] = []
        assert 5 == freezegun.api.call_stack_inspection_limit
        with freezegun.freeze_time() as clock, run_polling(make_clock_bot(clocks)) as polling:
            clock.tick(YEARS)
            bot_api.user(1).send("when?")
            polling.wait_idle()
            now = time.time()
        assert [False, True] == [now == clock for clock in clocks]

    def test_waits_stay_real(self, bot_api: BotAPI, frozen_time: FrozenDateTimeFactory) -> None:
        """A wait with a timeout ends in real time, in threads too."""
        ended = []
        start(lambda: ended.append(threading.Event().wait(0.01))).join(10)
        with pytest.raises(TimeoutError):
            bot_api.wait_for_messages(1, timeout=0.01)
        assert [False] == ended

    def test_freezegun_is_as_before(self, pytester: pytest.Pytester) -> None:
        """Imported into somebody's conftest the fixtures work, and the limit is restored."""
        pytester.makeconftest("pytest_plugins = ['telesession.testing.fixtures']")
        pytester.makepyfile(
            """
            import time
            import freezegun.api

            def test_frozen(bot_api, frozen_time):
                assert 1 == freezegun.api.call_stack_inspection_limit
                assert time.time is not freezegun.api.real_time

            def test_thawed():
                assert 5 == freezegun.api.call_stack_inspection_limit
                assert time.time is freezegun.api.real_time
            """
        )
        pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=2)

    def test_durations_stay_real(self, pytester: pytest.Pytester) -> None:
        """A test that moves the clock by years has not taken years."""
        pytester.makeconftest("pytest_plugins = ['telesession.testing.fixtures']")
        pytester.makepyfile(f"def test_old(frozen_time): frozen_time.tick({YEARS})")
        reports = pytester.inline_run("-p", "no:cacheprovider").getreports(
            "pytest_runtest_logreport"
        )
        assert 3 == len(reports)
        assert 600 > max(abs(report.duration) for report in reports)
