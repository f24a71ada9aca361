"""Timers of `threading` wait on the clock of `frozen_time`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from threading import Timer
from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time
from telebot import TeleBot

from support.bots import ROOT
from support.clocks import PATIENCE
from support.threads import Log
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling, timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory


class Ticker(Timer):
    """A timer that repeats itself, as many programs write it."""

    def run(self) -> None:
        while not self.finished.wait(self.interval):
            self.function(*self.args, **self.kwargs)


def after(seconds: float, function: Callable[..., object], *args: Any) -> Timer:
    """A timer that was started."""
    timer = Timer(seconds, function, args)
    timer.start()
    return timer


class TestBots:
    def make_bot(self) -> TeleBot:
        bot = TeleBot(OFFLINE_TOKEN)

        @bot.message_handler()
        def remind(message: Any) -> None:
            after(600, bot.send_message, message.chat.id, f"{message.text}!")

        return bot

    def test_a_bot_reminds_a_user(
        self, bot_api: BotAPI, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """The reminder is sent when the clock has come to its time, and not a moment earlier."""
        with run_polling(self.make_bot()) as polling:
            bot_api.user(1).send("tea")
            polling.wait_idle()
            frozen_time.tick(599.999999)
            before = len(bot_api.messages)
            frozen_time.tick(0.000001)

        assert (0, ["tea!"]) == (before, [message.text for message in bot_api.messages])


class TestTicks:
    def test_each_timer_runs_at_its_own_time(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A timer sees the clock at its deadline, however far the clock is moved at once."""
        begun, seen = time.monotonic(), []
        for seconds in (30, 10.5, 20):
            after(seconds, lambda: seen.append(time.monotonic() - begun))
        frozen_time.tick(60)

        assert ([10.5, 20, 30], 60) == (seen, time.monotonic() - begun)

    def test_timers_of_one_moment_run_together(self, frozen_time: FrozenDateTimeFactory) -> None:
        """Timers with the same deadline run beside each other, as in real time."""
        barrier = threading.Barrier(3, timeout=PATIENCE)
        started = [after(5, barrier.wait) for _ in range(3)]
        frozen_time.tick(5)

        assert [False] * 3 == [timer.is_alive() for timer in started]

    def test_a_timer_runs_in_its_own_thread(self, frozen_time: FrozenDateTimeFactory) -> None:
        """The function is called in the thread of the timer, as always."""
        threads: list[threading.Thread] = []
        timer = after(1, lambda: threads.append(threading.current_thread()))
        frozen_time.tick()

        assert [timer] == threads

    def test_a_timer_starts_another_one(self, frozen_time: FrozenDateTimeFactory) -> None:
        """Timers that are started by timers run at the times at which they would."""
        begun, seen = time.monotonic(), []

        def repeat() -> None:
            seen.append(time.monotonic() - begun)
            after(10, repeat)

        after(10, repeat)
        frozen_time.tick(35)

        assert [10, 20, 30] == seen

    def test_a_timer_repeats_itself(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A subclass that waits again and again runs as often as in real time, until it ends."""
        begun, seen = time.monotonic(), []
        ticker = Ticker(10, lambda: seen.append(time.monotonic() - begun))
        ticker.start()
        frozen_time.tick(25)
        ticker.cancel()
        frozen_time.tick(25)

        assert ([10, 20], False) == (seen, ticker.is_alive())

    @pytest.mark.parametrize(
        "move",
        [
            lambda clock: clock.tick(60),
            lambda clock: clock.tick(60.0),
            lambda clock: clock.tick(timedelta(minutes=1)),
            lambda clock: clock.tick(delta=60),
            lambda clock: clock.move_to(clock() + timedelta(minutes=1)),
        ],
        ids=["int", "float", "timedelta", "by name", "move_to"],
    )
    def test_every_way_to_move_the_clock_runs_timers(
        self, frozen_time: FrozenDateTimeFactory, move: Callable[[Any], Any]
    ) -> None:
        """Each way moves the clock as far as it should, and runs what is due."""
        begun, seen = datetime.now(UTC), []
        after(60, seen.append, "due")
        after(61, seen.append, "not due")
        move(frozen_time)

        assert (["due"], timedelta(minutes=1)) == (seen, datetime.now(UTC) - begun)

    def test_the_clock_goes_back(self, frozen_time: FrozenDateTimeFactory) -> None:
        """Moved back, the clock runs no timer, which is due at its former time."""
        seen: list[str] = []
        after(10, seen.append, "due")
        frozen_time.tick(-60)
        before = list(seen)
        frozen_time.tick(70)

        assert ([], ["due"]) == (before, seen)

    def test_a_tick_returns_the_time(self, frozen_time: FrozenDateTimeFactory) -> None:
        """As without timers, `tick` returns the time that the clock shows then."""
        before = frozen_time()

        assert before + timedelta(seconds=1) == frozen_time.tick() == frozen_time()

    def test_a_timer_of_no_time_runs_at_once(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A timer of 0 s needs no tick."""
        log = Log()
        after(0, log.add, "now")

        assert ["now"] == log.wait_for(1)


class TestEnds:
    def test_a_cancelled_timer_does_not_run(self, frozen_time: FrozenDateTimeFactory) -> None:
        """Its thread ends at once, without a tick; one that was cancelled before never runs."""
        seen: list[str] = []
        timer, early = after(10, seen.append, "late"), Timer(10, seen.append, ["early"])
        early.cancel()
        early.start()
        timer.cancel()
        for each in (timer, early):
            each.join(PATIENCE)
        frozen_time.tick(60)

        assert ([], False, False) == (seen, timer.is_alive(), early.is_alive())

    def test_others_wait_for_a_timer_in_real_time(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A test may wait for the event of a timer, with a real time-out."""
        timer = after(10, bool)
        before = timer.finished.wait(0.01)
        frozen_time.tick(10)

        assert (False, True) == (before, timer.finished.wait(PATIENCE))

    def test_a_timer_is_started_once(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A second start is the usual error, and the timer runs once."""
        seen: list[str] = []
        timer = after(10, seen.append, "due")
        with pytest.raises(RuntimeError, match="once"):
            timer.start()
        frozen_time.tick(10)

        assert ["due"] == seen

    def test_an_exception_is_raised_by_the_tick(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A tick raises the exception of a timer after the other timers have run, and once."""
        seen: list[str] = []
        after(10, divmod, 1, 0)
        after(20, seen.append, "due")
        with pytest.raises(ZeroDivisionError):
            frozen_time.tick(30)
        frozen_time.tick(30)

        assert ["due"] == seen

    def test_several_exceptions_are_a_group(self, frozen_time: FrozenDateTimeFactory) -> None:
        """Exceptions of several timers are raised together, in the order of the timers."""
        after(10, divmod, 1, 0)
        after(20, int, "one")
        with pytest.raises(ExceptionGroup) as caught:
            frozen_time.move_to(frozen_time() + timedelta(seconds=30))

        assert [ZeroDivisionError, ValueError] == [type(one) for one in caught.value.exceptions]

    def test_an_exception_without_a_tick_is_raised_at_the_end(
        self, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """A timer of no time runs without a tick, and its exception is raised at the end."""
        without_tick = timers.Timers(frozen_time, frozen_time.tick)
        timer = Timer(0, divmod, (1, 0))
        without_tick.start(timer)
        timer.join(PATIENCE)
        with pytest.raises(ZeroDivisionError):
            without_tick.close()

    def test_an_exception_after_the_end_is_reported(
        self, frozen_time: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A timer that still runs after the end of the test reports its exception as always."""
        reported: list[Any] = []
        monkeypatch.setattr(threading, "excepthook", reported.append)
        ended, release = timers.Timers(frozen_time, frozen_time.tick), threading.Event()
        timer = Timer(0, lambda: divmod(release.wait(PATIENCE), 0))
        ended.start(timer)
        ended.close()
        release.set()
        timer.join(PATIENCE)

        assert [(ZeroDivisionError, timer)] == [(args.exc_type, args.thread) for args in reported]

    def test_a_timer_that_blocks_is_an_error(
        self, frozen_time: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A tick that waits in vain names the function, and the clock stands at its deadline."""
        released, begun = threading.Event(), frozen_time()
        timer = after(10, released.wait, PATIENCE)
        # From now on it waits.
        frozen_time.tick(0)
        monkeypatch.setattr(timers, "_PATIENCE", 0.01)
        with pytest.raises(TimeoutError, match=r"waited 0.01 s for <bound method Event.wait"):
            frozen_time.tick(60)
        stands_at = frozen_time()
        released.set()
        timer.join(PATIENCE)
        frozen_time.tick(50)

        assert (10, 60) == (
            (stands_at - begun).total_seconds(),
            (frozen_time() - begun).total_seconds(),
        )

    def test_a_timer_that_waits_after_the_end_is_cancelled(
        self, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """A timer that comes to wait when the clock is frozen no more ends at once."""
        seen: list[str] = []
        ended = timers.Timers(frozen_time, frozen_time.tick)
        ended.close()
        ticker = Ticker(10, seen.append, ["late"])
        ended.start(ticker)
        ticker.join(PATIENCE)

        assert ([], False) == (seen, ticker.is_alive())

    def test_a_timer_may_move_the_clock(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A tick in a timer does not wait for this timer."""
        seen: list[str] = []
        after(5, lambda: [frozen_time.tick(5), seen.append("moved")])
        frozen_time.tick(5)

        assert ["moved"] == seen

    def test_ticks_of_two_threads_add_up(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A tick that another thread makes during a tick moves the clock by its own time."""
        begun, seen = time.monotonic(), []
        after(5, frozen_time.tick, 10)
        after(12, lambda: seen.append(time.monotonic() - begun))
        after(18, lambda: seen.append(time.monotonic() - begun))
        frozen_time.tick(10)

        assert ([12, 18], 20) == (seen, time.monotonic() - begun)

    def test_a_tick_does_not_pass_timers_that_run(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A timer that another thread has woken since is waited for before the clock moves on."""
        begun = frozen_time()
        ticked = timers.Timers(frozen_time, frozen_time.tick)
        ticked._deadlines[Timer(5, bool)] = None

        assert (timedelta(seconds=9), begun) == (
            ticked._advance(timedelta(seconds=9)),
            frozen_time(),
        )

    @pytest.mark.parametrize("seconds", [60, 60.0, timedelta(minutes=1)])
    def test_a_clock_inside_has_timers_of_its_own(
        self, frozen_time: FrozenDateTimeFactory, seconds: Any
    ) -> None:
        """Under a `freeze_time` of the test, timers run when that clock is moved, and only then."""
        seen: list[str] = []
        after(30, seen.append, "outside")
        with freeze_time("2020-01-01") as clock:
            after(30, seen.append, "inside")
            frozen_time.tick(10)
            before = list(seen)
            clock.tick(seconds)
            now = datetime.now(UTC)
        between = list(seen)
        frozen_time.tick(20)

        assert datetime(2020, 1, 1, 0, 1, tzinfo=UTC) == now
        assert ([], ["inside"], ["inside", "outside"]) == (before, between, seen)

    def test_under_a_clock_that_ticks_timers_are_real(
        self, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """A clock that goes on by itself moves as time does, and so do the timers under it."""
        log = Log()
        with freeze_time("2020-01-01", tick=True):
            after(0.001, log.add, "real")

            assert ["real"] == log.wait_for(1)


MODULE = """
import threading
import pytest

seen, timers = [], []

def start(seconds, name):
    timers.append(threading.Timer(seconds, seen.append, [name]))
    timers[-1].start()

@pytest.fixture
def earlier():
    start(1000, "earlier")

def test_frozen(earlier, frozen_time):
    timers.append(threading.Timer(2000, seen.append, ["never started here"]))
    start(3000, "waits")
    frozen_time.tick(2999)
    assert [] == seen

def test_thawed():
    for timer in timers[2:]:
        timer.join(10)
    assert ([], [True, False, False]) == (seen, [timer.is_alive() for timer in timers])
    timers[1].start()
    assert ([], True) == (seen, timers[1].is_alive())
    for timer in timers:
        timer.cancel()

def test_a_timer_is_real_again():
    start(0.001, "real")
    timers[-1].join(10)
    assert ["real"] == seen

def test_one_waits_at_the_end(frozen_time):
    start(1000, "left")
"""


class TestFixture:
    def test_timers_around_a_frozen_test_are_real(self, pytester: pytest.Pytester) -> None:
        """Timers from before or after do not run early; one that waits is cancelled at the end."""
        pytester.makeconftest("pytest_plugins = ['telesession.testing.fixtures']")
        pytester.makepyfile(MODULE)
        pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=4)

    def test_a_timer_that_waits_does_not_keep_the_interpreter(
        self, pytester: pytest.Pytester
    ) -> None:
        """A process ends although a timer of its last test was to wait for long."""
        path = pytester.makepyfile(
            "import threading\n"
            "from telesession.testing.fixtures import frozen_time\n"
            "def test_left(frozen_time):\n"
            "    threading.Timer(100_000, print).start()\n"
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            command, check=True, env=environment, capture_output=True, timeout=2 * PATIENCE
        )

        assert b"" == ended.stderr
