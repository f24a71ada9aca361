"""The end of a bot: its workers handle the waiting updates, and tell of those that are left."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.bots import MakeBot, close_pool, messages_in
from support.clocks import PATIENCE
from support.processes import run_program
from support.threads import Log, in_thread, start, wait_for
from support.updates import BORIS, said

if TYPE_CHECKING:
    from telebot import TeleBot, types

    from telesession.testing import BotAPI


def stop_with_a_backlog(bot: TeleBot, count: int = 50) -> list[str]:
    """The updates that are handled if the bot is stopped while its first handler runs."""
    log, begun, stops = Log(), threading.Event(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.set()
        wait_for(stops)
        log.add(message.text)

    bot.process_new_updates([said(str(number)) for number in range(count)])
    wait_for(begun)
    pool: Any = bot.worker_pool
    stopping = start(bot.stop_bot)
    # Only now the handler returns: no worker may look for more before it knows of the stop.
    while not (pool.closed if hasattr(pool, "closed") else not pool.workers[0]._running):
        stopping.join(0.001)
    stops.set()
    stopping.join(PATIENCE)
    return log.entries


def test_telebot_drops_the_waiting_updates(make_bot: MakeBot) -> None:
    """Control: `stop_bot` of telebot's own pool handles none of the waiting updates."""
    assert ["0"] == stop_with_a_backlog(make_bot(1))


@pytest.mark.parametrize("drain", [8, None], ids=["default", "any-time"])
def test_stop_bot_handles_the_waiting_updates(
    drain: float | None, make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """`stop_bot` returns when all waiting updates are handled, in order, and logs nothing."""
    expected = [str(number) for number in range(50)]
    assert expected == stop_with_a_backlog(make_sequential(4, workers={"drain": drain}))
    assert [] == messages_in(caplog)


def test_without_time_nothing_more_is_handled(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """With `drain=0` a record says how many updates are dropped, and how many handlers run."""
    bot, log, begun, release = (
        make_sequential(1, workers={"drain": 0}),
        Log(),
        threading.Event(),
        threading.Event(),
    )

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.set()
        wait_for(release)
        log.add(message.text)

    bot.process_new_updates([said("1"), said("2"), said("3")])
    wait_for(begun)
    bot.stop_bot()
    told = messages_in(caplog)
    release.set()
    for worker in bot.worker_pool.workers:
        worker.join(PATIENCE)

    assert ["1"] == log.entries
    assert [
        "closed the worker pool: 2 updates that waited are dropped",
        "closed the worker pool: handlers that are still running: 1",
    ] == told


def test_a_handler_that_stops_the_bot_drops_nothing(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """After a handler called `stop_bot`, its own user's updates are handled as well as others."""
    bot, log = make_sequential(2), Log()
    ready = threading.Barrier(2, timeout=PATIENCE)

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "stop":
            ready.wait()
            bot.stop_bot()
        log.add(message.text)

    bot.process_new_updates([said("stop"), said("1"), said("2"), said("Boris", BORIS)])
    ready.wait()
    close_pool(bot.worker_pool)

    assert ["Boris", "stop", "1", "2"] == log.entries
    assert [] == messages_in(caplog)


def test_closing_it_again_gives_no_more_time(make_sequential: MakeBot) -> None:
    """The second `stop_bot` counts the time from the first one."""
    bot = make_sequential(1, workers={"drain": 5})
    bot.worker_pool.put(int)
    in_thread(bot.stop_bot)
    deadline = bot.worker_pool._lines.crew.deadline
    in_thread(bot.stop_bot)

    assert deadline == bot.worker_pool._lines.crew.deadline


PROGRAM = """
import os, signal, sys, threading, time
from telebot import TeleBot, types
from telesession import use_sequential_workers
from telesession.testing import BotAPI, OFFLINE_TOKEN

signal.signal(signal.SIGTERM, signal.default_int_handler)
bot = TeleBot(OFFLINE_TOKEN, num_threads=2)
if sys.argv[1] == "sequential":
    use_sequential_workers(bot)
begun, confirmed = threading.Event(), threading.Event()

@bot.message_handler()
def handle(message):
    begun.set()
    confirmed.wait()
    if message.text == "0" and sys.argv[2] == "handler":
        bot.stop_bot()
    if message.text == "0" and sys.argv[2] == "thread":
        threading.Thread(target=bot.stop_bot, daemon=True).start()
    # As long as a call to Telegram takes, in which the control's program ends.
    time.sleep(0.05)
    # In one write: the main thread writes a line, too.
    os.write(1, f"{message.text}\\n".encode())

with BotAPI() as api:
    for number in range(20):
        api.user(1).send(str(number))
    threading.Thread(target=lambda: (begun.wait(), poll_again(), end()), daemon=True).start()

    def poll_again():
        api.wait_for(lambda: not api.unconfirmed, 60)

    def end():
        confirmed.set()
        if sys.argv[2] == "signal":
            signal.raise_signal(signal.SIGTERM)

    with api.short_polls():
        bot.infinity_polling(logger_level=None)
    os.write(1, b"stopped\\n")
"""


@pytest.mark.parametrize("way", ["signal", "handler", "thread"])
@pytest.mark.parametrize("pool", ["sequential", "telebot"])
def test_a_program_that_ends_handles_the_waiting_updates(pool: str, way: str) -> None:
    """
    After SIGTERM, or `stop_bot` in a handler or a daemon thread, 20 confirmed updates are handled.

    As a control, telebot's pool loses some.
    """
    code, printed, _ = run_program([sys.executable, "-c", PROGRAM, pool, way])
    handled = [line for line in printed.splitlines() if line != "stopped"]

    assert 0 == code
    assert (pool == "sequential") == ([str(number) for number in range(20)] == handled)


def test_a_stopped_bot_does_not_poll_again_without_new_workers(
    bot_api: BotAPI, make_sequential: MakeBot
) -> None:
    """A poll that was begun before the stop brings nothing, and the next one is an error."""
    bot = make_sequential()
    in_thread(bot.stop_bot)
    bot_api.user(1).send("hi")

    assert [] == bot.get_updates(offset=1)
    with pytest.raises(RuntimeError, match=r"bot was stopped, .* bot\.worker_pool\.renew"):
        bot.get_updates(offset=1)
    bot.worker_pool = bot.worker_pool.renew()
    with bot_api.short_polls():
        assert 1 == len(bot.get_updates(offset=1))
