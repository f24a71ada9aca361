"""Bots with workers, what is said to them, and the log of what their handlers do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clocks import PATIENCE
from other_threads import start
from telebot import TeleBot, types, util
from updates import ANNA, CLARA, GROUP, TOKEN, message, private, update

from telesession import use_sequential_workers
from telesession.testing.storage_suite import in_thread

MakeBot = Callable[..., TeleBot]


class Log:
    """What handlers did, in order; any thread may add to it and wait for it."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._changed = threading.Condition()

    def add(self, entry: Any) -> None:
        with self._changed:
            self.entries.append(entry)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[Any]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.entries) >= count, PATIENCE):
                raise TimeoutError(f"waited for {count} entries, and there are {self.entries}")
            return list(self.entries)


def wait(event: threading.Event) -> None:
    """Wait for an event, which fails the handler or the test if it does not come."""
    if not event.wait(PATIENCE):
        raise TimeoutError


def said(text: str, person: dict[str, Any] = ANNA, kind: str = "message") -> types.Update:
    """A message, in the private chat with its sender."""
    return update(kind, {**message(private(person), person), "text": text})


def asked(number: int) -> types.Update:
    """A poll, which nobody sends."""
    poll = {"id": str(number), "question": "Tea?", "options": [], "total_voter_count": 0}
    flags = {"is_closed": False, "is_anonymous": True, "allows_multiple_answers": False}
    return update("poll", {**poll, **flags, "type": "regular"})


@pytest.fixture
def make_bot() -> Iterator[MakeBot]:
    """Makes bots with threads, whose workers end with the test."""
    bots = []

    def make(num_threads: int = 2, **options: Any) -> TeleBot:
        bots.append(TeleBot(TOKEN, num_threads=num_threads, **options))
        return bots[-1]

    yield make
    for bot in bots:
        close(bot.worker_pool)


@pytest.fixture
def make_sequential(make_bot: MakeBot) -> MakeBot:
    """Makes bots whose workers are sequential."""

    def make(num_threads: int = 2, *, workers: Any = None, **options: Any) -> TeleBot:
        bot = make_bot(num_threads, **options)
        use_sequential_workers(bot, **(workers or {}))
        return bot

    return make


@pytest.fixture(params=["telebot's", "sequential"])
def make_either(request: pytest.FixtureRequest) -> MakeBot:
    """Makes bots with the one pool, then with the other."""
    name = "make_bot" if request.param == "telebot's" else "make_sequential"
    make: MakeBot = request.getfixturevalue(name)
    return make


def close(pool: Any) -> None:
    """Close a pool, without waiting for workers of telebot to look up by themselves."""
    if isinstance(pool, util.ThreadPool):
        for worker in pool.workers:
            worker.stop()
        for _ in pool.workers:
            pool.put(int)
    in_thread(pool.close)


def order_of_first_and_second(bot: TeleBot, first: types.Update, second: types.Update) -> list[str]:
    """Who ends first, when the first update lasts until somebody with another key is done."""
    log, over = Log(), threading.Event()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if message.text == "1":
            wait(over)
        log.add(message.text)
        if message.text == "other":
            over.set()

    bot.process_new_updates([first, second, said("other", CLARA)])
    return log.wait_for(3)


def in_group(text: str, person: dict[str, Any]) -> types.Update:
    """A message, in the group."""
    return update("message", {**message(GROUP, person), "text": text})


class DarknessError(Exception):
    """What handlers raise."""


def polling_in_a_thread(bot: TeleBot, log: Log) -> threading.Thread:
    """A bot that polls until it raises or is stopped; both are logged."""

    def poll() -> None:
        try:
            bot.polling(logger_level=None)
        except DarknessError as error:
            log.add(type(error))
        else:
            log.add("stopped")

    return start(poll)


def messages_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings that telesession has logged, which logged nothing else."""
    records = [record for record in caplog.records if record.name == "telesession"]
    assert {logging.WARNING} >= {record.levelno for record in records}
    return [record.getMessage() for record in records]
