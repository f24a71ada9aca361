"""Pools of sequential workers: what they take, how they end, and what they remember."""

from __future__ import annotations

import gc
import inspect
import re
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import telebot
from telebot import TeleBot, types
from telebot.async_telebot import AsyncTeleBot

from support.bots import (
    MakeBot,
    close_pool,
    messages_in,
    order_of_first_and_second,
    polling_in_a_thread,
)
from support.clocks import PATIENCE
from support.threads import Log, in_thread, wait_for
from support.updates import ANNA, BORIS, TOKEN, said, said_in_group
from telesession import by_chat, use_sequential_workers

if TYPE_CHECKING:
    from telesession.testing import BotAPI


def test_it_has_what_telebot_uses_of_a_pool(make_bot: MakeBot) -> None:
    """Everything that the installed telebot uses of its pool, this one has, with one call form."""
    bot = make_bot()
    theirs = bot.worker_pool
    used = set(re.findall(r"worker_pool\.(\w+)", inspect.getsource(telebot)))
    ours = use_sequential_workers(bot)

    assert {"put", "close", "exception_event", "raise_exceptions", "clear_exceptions"} <= used
    assert set() == {name for name in used | vars(theirs).keys() if not hasattr(ours, name)} - {
        "tasks",
        "telebot",
    }
    for name in ("put", "close", "on_exception", "raise_exceptions", "clear_exceptions"):
        forms = [inspect.signature(getattr(pool, name)).parameters for pool in (theirs, ours)]
        kinds = [[parameter.kind for parameter in form.values()] for form in forms]
        assert kinds[0] == kinds[1]


REFUSED = [
    pytest.param({"num_threads": 0}, ValueError, "num_threads must be 1 or more, not 0", id="none"),
    pytest.param({"num_threads": 2.0}, TypeError, "num_threads must be an int", id="float"),
    pytest.param({"num_threads": True}, TypeError, "num_threads must be an int", id="bool"),
    pytest.param({"limit": 0}, ValueError, "limit must be 1 or more, not 0", id="limit"),
    pytest.param({"limit": "2"}, TypeError, "limit must be an int or None", id="limit-text"),
    pytest.param({"when_full": "wait"}, ValueError, "'block' or 'drop', not 'wait'", id="policy"),
    pytest.param({"total_limit": 0}, ValueError, "total_limit must be 1 or more", id="no-total"),
    pytest.param({"total_limit": 1.5}, TypeError, "total_limit must be an int", id="half-total"),
    pytest.param({"when_full": "drop"}, ValueError, "without a limit", id="drop-what"),
    pytest.param({"get_key": "id"}, TypeError, "get_key must be a function", id="key"),
    pytest.param({"get_key": None}, TypeError, "get_key must be a function", id="no-key"),
    pytest.param({"on_error": "x"}, TypeError, "on_error must be a function", id="error"),
    pytest.param({"on_error": lambda e: e}, TypeError, "must take two arguments", id="one"),
    pytest.param({"drain": -1}, ValueError, "drain must be finite and not negative", id="drain"),
    pytest.param({"drain": "8"}, TypeError, "drain must be seconds or a timedelta", id="text"),
]


@pytest.mark.parametrize(("options", "kind", "reason"), REFUSED)
def test_silly_options_are_refused(
    options: dict[str, Any], kind: type[Exception], reason: str, make_bot: MakeBot
) -> None:
    """An option that makes no sense is refused at once, and the bot stays as it was."""
    bot = make_bot()
    pool, threads = bot.worker_pool, set(threading.enumerate())
    with pytest.raises(kind, match=re.escape(reason)):
        use_sequential_workers(bot, **options)
    # Threads of other tests may end meanwhile.
    assert (pool, set()) == (bot.worker_pool, set(threading.enumerate()) - threads)


def test_a_key_function_without_an_argument_is_refused(make_bot: MakeBot) -> None:
    """A `get_key` that cannot take an update is refused at once."""
    with pytest.raises(TypeError, match="get_key must take one argument, the update"):
        use_sequential_workers(make_bot(), get_key=lambda: 1)  # type: ignore[misc]


def test_an_async_key_is_refused(make_bot: MakeBot) -> None:
    """A coroutine function is no `get_key`."""

    async def get_key(update: Any) -> str:
        return "key"

    with pytest.raises(TypeError, match="get_key must not be async"):
        use_sequential_workers(make_bot(), get_key=get_key)  # type: ignore[arg-type]


def test_a_bot_without_threads_is_refused() -> None:
    """A bot with `threaded=False` has no workers to replace."""
    with pytest.raises(ValueError, match="threaded=False"):
        use_sequential_workers(TeleBot(TOKEN, threaded=False))


@pytest.mark.parametrize("bot", [AsyncTeleBot(TOKEN), TeleBot, None], ids=["async", "type", "None"])
def test_what_is_no_bot_is_refused(bot: Any) -> None:
    """Only a `TeleBot` has threads; the message names what was given instead."""
    with pytest.raises(TypeError, match=rf"telebot\.TeleBot, .* {type(bot).__name__}$"):
        use_sequential_workers(bot)


def test_calling_it_again_brings_new_workers_and_nothing_else(make_bot: MakeBot) -> None:
    """A second call replaces the pool, and leaves `process_new_updates` as others made it."""
    bot = make_bot()
    first = use_sequential_workers(bot, num_threads=3)
    first.put(int)
    process = bot.process_new_updates

    def theirs(updates: list[types.Update]) -> None:
        process(updates)

    bot.process_new_updates = theirs  # type: ignore[method-assign]
    second = use_sequential_workers(bot)
    second.put(int)

    assert (theirs, second, 3) == (bot.process_new_updates, bot.worker_pool, second.num_threads)
    alive = [worker.is_alive() for worker in [*first.workers, *second.workers]]
    assert [False] * 3 + [True] * 3 == alive


def test_the_former_workers_end(make_bot: MakeBot) -> None:
    """The former pool is closed. The new one has as many workers, from the first update on."""
    bot = make_bot(5)
    former = bot.worker_pool
    pool = use_sequential_workers(bot)
    assert (pool, 5, []) == (bot.worker_pool, pool.num_threads, pool.workers)
    pool.put(int)
    assert 5 == len(pool.workers)
    assert [False] * 5 == [worker.is_alive() for worker in former.workers]
    assert [True] * 5 == [worker.is_alive() and worker.daemon for worker in pool.workers]


def test_closing_may_be_repeated(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """A pool that is closed is closed once more without a word."""
    pool, begun = make_sequential().worker_pool, Log()
    pool.put(begun.add, "a worker")
    begun.wait_for(1)
    in_thread(pool.close)
    in_thread(pool.close)
    assert [[], [False, False]] == [messages_in(caplog), [w.is_alive() for w in pool.workers]]


def test_a_pool_without_an_update_has_nothing_to_close(make_sequential: MakeBot) -> None:
    """A pool that never got an update is closed without having started a thread."""
    pool = make_sequential().worker_pool
    pool.close()
    assert ([], True, False) == (pool.workers, pool.closed, pool.put(int))


def test_updates_after_the_end_stay_with_telegram(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """A bot that was stopped takes no update, confirms none, and one record says so."""
    bot, log = make_sequential(), Log()
    bot.message_handler()(lambda message: log.add(message.text))
    in_thread(bot.stop_bot)

    first = said("secret")
    bot.process_new_updates([first, said("secret")])

    assert ([], first.update_id - 1) == (log.entries, bot.last_update_id)
    told = (
        "did not take 2 updates: the worker pool is closed; a bot that polls gets them again when "
        "it is started"
    )
    assert [told] == messages_in(caplog)


def test_a_task_after_the_end_is_dropped(
    make_sequential: MakeBot, caplog: pytest.LogCaptureFixture
) -> None:
    """A task that is put into a closed pool is dropped, and a record says so."""
    bot, log = make_sequential(), Log()
    in_thread(bot.stop_bot)

    assert (False, []) == (bot.worker_pool.put(log.add, "secret"), log.entries)
    assert ["dropped a str: the worker pool is closed"] == messages_in(caplog)


def test_a_handler_stops_the_bot(bot_api: BotAPI, make_sequential: MakeBot) -> None:
    """A handler may call `stop_bot`: polling ends, and every worker."""
    bot, log, ended = make_sequential(), Log(), Log()

    @bot.message_handler()
    def stop(message: types.Message) -> None:
        bot.stop_bot()
        log.add("stopped from inside")

    thread = polling_in_a_thread(bot, ended)
    bot_api.user(1).send("stop")
    log.wait_for(1)
    with bot_api.short_polls():
        thread.join(PATIENCE)
    close_pool(bot.worker_pool)

    assert (["stopped"], False) == (ended.entries, thread.is_alive())
    assert [False, False] == [worker.is_alive() for worker in bot.worker_pool.workers]


def test_two_handlers_stop_the_bot_at_once(make_sequential: MakeBot) -> None:
    """Handlers that stop the bot at the same time do not wait for each other's end."""
    bot, log, both = make_sequential(), Log(), threading.Barrier(2, timeout=PATIENCE)

    @bot.message_handler()
    def stop(message: types.Message) -> None:
        both.wait()
        bot.stop_bot()
        log.add(message.text)

    bot.process_new_updates([said("Anna"), said("Boris", BORIS)])

    assert ["Anna", "Boris"] == sorted(log.wait_for(2))


def test_a_pool_can_be_renewed(make_sequential: MakeBot) -> None:
    """After its end a pool makes another with the same settings, which works."""
    bot = make_sequential(3, workers={"get_key": by_chat, "limit": 2, "when_full": "drop"})
    in_thread(bot.stop_bot)
    bot.worker_pool = bot.worker_pool.renew()

    updates = said_in_group("1", ANNA), said_in_group("2", BORIS)
    assert ["other", "1", "2"] == order_of_first_and_second(bot, *updates)
    assert "<SequentialWorkers: 3 threads" == repr(bot.worker_pool).partition(",")[0]


@contextmanager
def hold_all(bot: TeleBot) -> Iterator[str]:
    """A `with` block in which every worker is held, which shows what the pool shows by then."""
    workers = bot.worker_pool.num_threads
    met, leave = (threading.Barrier(workers + 1, timeout=PATIENCE) for _ in range(2))
    for _ in range(workers):
        bot.worker_pool.put(lambda: (met.wait(), leave.wait()))
    met.wait()
    try:
        yield repr(bot.worker_pool)
    finally:
        leave.wait()


def test_an_idle_pool_remembers_nobody(make_sequential: MakeBot) -> None:
    """After updates of a thousand users, the pool has no key and no update."""
    bot, log = make_sequential(2), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        log.add(weakref.ref(message))

    for number in range(1, 1_001):
        bot.process_new_updates([said("hi", {**ANNA, "id": number})] * 2)
    references = log.wait_for(2_000)

    with hold_all(bot) as shown:
        gc.collect()
        alive = [reference for reference in references if reference() is not None]
    assert ("<SequentialWorkers: 2 threads, 2 keys, 0 updates waiting>", []) == (shown, alive)


def test_what_waits_is_counted_and_not_shown(make_sequential: MakeBot) -> None:
    """A pool shows how many keys and updates it has, and neither whose nor which."""
    bot, release, begun = make_sequential(), threading.Event(), Log()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        begun.add(message.text)
        wait_for(release)

    bot.process_new_updates([said("1"), said("2"), said("3"), said("4", BORIS)])
    begun.wait_for(2)
    shown = repr(bot.worker_pool), bot.worker_pool.waiting
    release.set()
    begun.wait_for(4)

    assert ("<SequentialWorkers: 2 threads, 2 keys, 2 updates waiting>", 2) == shown
