"""
The cost of one update in memory, in multiples of telebot's `retrieve_data` in the same run.

Run it with `python benchmarks/bench_update.py`; parts of names choose cases. The rounds of all
cases are interleaved, and the fastest round of each counts, because other programs only ever make
a round slower. Compare ratios of one run: machines differ.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cachetools import TTLCache
from telebot import TeleBot, types
from telebot.storage import StateMemoryStorage

from telesession import MemoryStorage, Sessions, ttl

ROUNDS, CALLS = 400, 100

Handler = Callable[[types.Message], Any]


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

# The session of a larger bot: nested data, some texts, one number that changes.
REALISTIC: dict[str, Any] = {
    "counter": 0,
    "language": "en",
    "name": "Ann of the long and winding name",
    "step": "checkout",
    "cart": {"apple": 3, "pear": 1, "quince": 12},
    "seen": list(range(20)),
    "settings": {"notify": True, "quiet_from": 22, "quiet_to": 7},
}
EXPIRING = {"counter": 0, "code": ttl("1234", 3600)}


@dataclass
class Cart:
    counter: int = 0
    items: dict[str, int] = field(default_factory=dict)


@dataclass
class Profile:
    counter: int = 0
    name: str = "Ann"
    language: str = "en"
    rating: float = 0.5
    step: str | None = None


@dataclass
class Item:
    name: str = "tea"
    count: int = 1
    price: float = 2.5


@dataclass
class Order:
    counter: int = 0
    items: list[Item] = field(default_factory=lambda: [Item() for _ in range(10)])


def dict_behind_a_lock() -> Handler:
    lock, counters = threading.Lock(), {42: 0}

    def handler(message: types.Message) -> None:
        with lock:
            counters[message.from_user.id] += 1

    return handler


def cache_behind_a_lock() -> Handler:
    lock, counters = threading.Lock(), TTLCache(10_000, 3600, timer=lambda: time.monotonic())

    def handler(message: types.Message) -> None:
        with lock:
            counters[message.from_user.id] = counters.get(message.from_user.id, 0) + 1

    return handler


def retrieve_data(**fields: Any) -> Handler:
    # Of its own: all bots of a process that get none share one.
    bot = TeleBot("123456:offline", threaded=False, state_storage=StateMemoryStorage())
    bot.set_state(42, "counting", 42)
    bot.add_data(42, 42, **fields)

    def handler(message: types.Message) -> None:
        with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
            data["counter"] += 1

    return handler


def counting_session(initial: Any, **options: Any) -> Handler:
    @Sessions(initial=initial, storage=MemoryStorage(), **options).with_session
    def handler(message: types.Message, session: Any) -> None:
        session.counter += 1

    return handler


def reading_session() -> Handler:
    @Sessions(initial={"counter": 0}, storage=MemoryStorage()).with_session
    def handler(message: types.Message, session: Any) -> int:
        counter: int = session.counter
        return counter

    return handler


def stacked_sessions() -> Handler:
    storage = MemoryStorage()

    @Sessions(initial={"counter": 0}, storage=storage).with_session
    @Sessions(initial={"counter": 0}, storage=storage, name="cart").with_session
    def handler(message: types.Message, session: Any, cart: Any) -> None:
        session.counter += 1
        cart.counter += 1

    return handler


CASES: dict[str, Callable[[], Handler]] = {
    "retrieve_data, a counter": lambda: retrieve_data(counter=0),
    "retrieve_data, 7 fields, some nested": lambda: retrieve_data(**REALISTIC),
    "a dict behind a lock": dict_behind_a_lock,
    "a TTLCache behind a lock": cache_behind_a_lock,
    "session.counter += 1": lambda: counting_session({"counter": 0}),
    "a handler that only reads": reading_session,
    "a counter with a lifetime": lambda: counting_session({"counter": 0}, lifetime=3600),
    "a counter beside a field with ttl": lambda: counting_session(EXPIRING),
    "7 fields, some nested": lambda: counting_session(REALISTIC),
    "a dataclass of two fields": lambda: counting_session(Cart),
    "a dataclass of five fields": lambda: counting_session(Profile),
    "a dataclass with ten nested ones": lambda: counting_session(Order),
    "two stacked sessions": stacked_sessions,
}


def fastest(cases: dict[str, Handler], rounds: int) -> dict[str, float]:
    """Seconds of one call in the fastest round of each case."""
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for name, handler in cases.items():
            started = time.perf_counter()
            for _ in range(CALLS):
                handler(MESSAGE)
            best[name] = min(best[name], (time.perf_counter() - started) / CALLS)
    return best


def main() -> None:
    wanted = sys.argv[1:]
    cases = {
        name: make()
        for number, (name, make) in enumerate(CASES.items())
        if not number or not wanted or any(part in name for part in wanted)
    }
    best = fastest(cases, ROUNDS)
    floor = best[next(iter(best))]
    print(f"{'one update in memory':40} {'µs':>7} {'times retrieve_data':>22}")
    for name, seconds in best.items():
        print(f"{name:40} {seconds * 1e6:7.2f} {seconds / floor:22.2f}")


if __name__ == "__main__":
    main()
