"""
What one update costs: `session.counter += 1`, and its neighbours in the same run.

Run it with `python -m pytest -n 0 benchmarks/bench_update.py`. Machines differ and are noisy:
compare medians within one run, not with figures from elsewhere.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from cachetools import TTLCache
from telebot import TeleBot, types

from telesession import MemoryStorage, Sessions, ttl


def message_from(user_id: int) -> types.Message:
    user = {"id": user_id, "is_bot": False, "first_name": "Ann"}
    message = {
        "message_id": 1,
        "from": user,
        "chat": {"id": user_id, "type": "private", "first_name": "Ann"},
        "date": 1_700_000_000,
        "text": "hi",
    }
    update = types.Update.de_json(json.dumps({"update_id": 1, "message": message}))
    return update.message


MESSAGE = message_from(42)

# What a bot of some substance keeps: nested data, a few texts, one short-lived field.
REALISTIC: dict[str, Any] = {
    "counter": 0,
    "language": "en",
    "name": "Ann of the long and winding name",
    "step": "checkout",
    "cart": {"apple": 3, "pear": 1, "quince": 12},
    "seen": list(range(20)),
    "settings": {"notify": True, "quiet_from": 22, "quiet_to": 7},
}


@dataclass
class Cart:
    counter: int = 0
    items: dict[str, int] = field(default_factory=dict)


@pytest.mark.benchmark(group="one update of a counter")
class TestCounter:
    """The smallest session there is, and what people use instead of one."""

    def test_bare_dict_behind_a_lock(self, benchmark: Any) -> None:
        lock, counters = threading.Lock(), {42: 0}

        def handler(message: types.Message) -> None:
            with lock:
                counters[message.from_user.id] += 1

        benchmark(handler, MESSAGE)

    def test_ttl_cache_behind_a_lock(self, benchmark: Any) -> None:
        lock, counters = threading.Lock(), TTLCache(10_000, 3600, timer=lambda: time.monotonic())

        def handler(message: types.Message) -> None:
            with lock:
                counters[message.from_user.id] = counters.get(message.from_user.id, 0) + 1

        benchmark(handler, MESSAGE)

    def test_retrieve_data(self, benchmark: Any) -> None:
        bot = TeleBot("1:offline", threaded=False)
        bot.set_state(42, "counting", 42)
        bot.add_data(42, 42, counter=0)

        def handler(message: types.Message) -> None:
            with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
                data["counter"] += 1

        benchmark(handler, MESSAGE)

    def test_session(self, benchmark: Any) -> None:
        sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())

        @sessions.with_session
        def handler(message: types.Message, session: Any) -> None:
            session.counter += 1

        benchmark(handler, MESSAGE)

    def test_typed_session(self, benchmark: Any) -> None:
        sessions = Sessions(initial=Cart, storage=MemoryStorage())

        @sessions.with_session
        def handler(message: types.Message, session: Any) -> None:
            session.counter += 1

        benchmark(handler, MESSAGE)

    def test_session_beside_a_field_with_a_lifetime(self, benchmark: Any) -> None:
        initial = {"counter": 0, "code": ttl("1234", 3600)}
        sessions = Sessions(initial=initial, storage=MemoryStorage())

        @sessions.with_session
        def handler(message: types.Message, session: Any) -> None:
            session.counter += 1

        benchmark(handler, MESSAGE)

    def test_session_that_is_only_read(self, benchmark: Any) -> None:
        sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())

        @sessions.with_session
        def handler(message: types.Message, session: Any) -> int:
            return session.counter

        benchmark(handler, MESSAGE)


@pytest.mark.benchmark(group="one update of a realistic session")
class TestRealistic:
    """Seven fields, some nested, of which one changes."""

    def test_retrieve_data(self, benchmark: Any) -> None:
        bot = TeleBot("1:offline", threaded=False)
        bot.set_state(42, "counting", 42)
        bot.add_data(42, 42, **REALISTIC)

        def handler(message: types.Message) -> None:
            with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
                data["counter"] += 1

        benchmark(handler, MESSAGE)

    def test_session(self, benchmark: Any) -> None:
        sessions = Sessions(initial=REALISTIC, storage=MemoryStorage())

        @sessions.with_session
        def handler(message: types.Message, session: Any) -> None:
            session.counter += 1

        benchmark(handler, MESSAGE)


@pytest.mark.benchmark(group="one update among many sessions")
@pytest.mark.parametrize("stored", [1_000, 1_000_000], ids="{:,} sessions".format)
def test_session_among_many(benchmark: Any, stored: int) -> None:
    """The cost must not grow with the number of sessions, beyond what memory caches do."""
    sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())

    @sessions.with_session
    def handler(message: types.Message, session: Any) -> None:
        session.counter += 1

    message = message_from(42)
    first = 5_000_000_000
    for user_id in range(first, first + stored):
        message.from_user.id = user_id
        handler(message)
    ids = iter(random.Random(1).choices(range(first, first + stored), k=1_000_000))

    def someone() -> tuple[tuple[types.Message], dict[str, Any]]:
        message.from_user.id = next(ids)
        return (message,), {}

    benchmark.pedantic(handler, setup=someone, rounds=50_000)
