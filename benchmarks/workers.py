"""
The throughput of sequential workers for users who wait, and the cost of an update in them.

Run it with `python -m benchmarks.workers`. Handlers sleep where real ones wait for a network.
Each figure stands beside that of telebot's own pool in the same run; machines differ.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from telebot import TeleBot, types

from telesession import use_sequential_workers

USERS = 200
SECONDS = 0.01
WORKERS = (1, 2, 4, 8, 16, 32)

Pool = Callable[[TeleBot], Any]


def telebots(bot: TeleBot) -> None:
    """Leave the bot as it is."""


POOLS: dict[str, Pool] = {"telebot's pool": telebots, "sequential": use_sequential_workers}


def update_from(user_id: int, text: str = "hi") -> types.Update:
    user = {"id": user_id, "is_bot": False, "first_name": "Ann"}
    chat = {"id": user_id, "type": "private", "first_name": "Ann"}
    message = {"message_id": 1, "from": user, "chat": chat, "date": 1_700_000_000, "text": text}
    return types.Update.de_json(json.dumps({"update_id": 1, "message": message}))


def handle_all(
    pool: Pool, workers: int, updates: list[types.Update], seconds: float
) -> dict[str, float]:
    """Let a bot handle a batch, and say by text how long it took until the last such was done."""
    bot = TeleBot("123456:offline", num_threads=workers)
    pool(bot)
    done: dict[str, float] = {}
    left, all_done = [len(updates)], threading.Event()
    mutex = threading.Lock()

    @bot.message_handler()
    def handle(message: types.Message) -> None:
        if seconds:
            time.sleep(seconds)
        with mutex:
            done[message.text] = time.perf_counter()
            left[0] -= 1
            if not left[0]:
                all_done.set()

    start = time.perf_counter()
    bot.process_new_updates(updates)
    all_done.wait()
    bot.stop_bot()
    return {text: moment - start for text, moment in done.items()}


def show_two_users() -> None:
    print("Two workers; Anna sends six updates of 0.2 s, then Boris one. Seconds until Boris's is")
    print("done, and all of Anna's:")
    updates = [*(update_from(1, "Anna") for _ in range(6)), update_from(2, "Boris")]
    for name, pool in POOLS.items():
        done = handle_all(pool, 2, updates, 0.2)
        print(f"  {name:<15} {done['Boris']:6.2f} {done['Anna']:6.2f}")


def show_throughput() -> None:
    print(f"\n{USERS} users send one update of {1000 * SECONDS:g} ms each. Updates per second with")
    print(f"  {'workers':<15}", *(f"{workers:>6}" for workers in WORKERS))
    updates = [update_from(user_id) for user_id in range(1, USERS + 1)]
    for name, pool in POOLS.items():
        rates = [
            USERS / max(handle_all(pool, workers, updates, SECONDS).values()) for workers in WORKERS
        ]
        print(f"  {name:<15}", *(f"{rate:>6.0f}" for rate in rates))


def show_cost() -> None:
    print("\nHandlers that do nothing. Microseconds per update (best of five), two workers:")
    count = 5_000
    crowds = {
        "distinct users": [update_from(user_id) for user_id in range(1, count + 1)],
        "one user": [update_from(1)] * count,
    }
    for crowd, updates in crowds.items():
        for name, pool in POOLS.items():
            costs = [max(handle_all(pool, 2, updates, 0).values()) / count for _ in range(5)]
            print(f"  {crowd:<15} {name:<15} {1e6 * min(costs):6.1f}")


if __name__ == "__main__":
    logging.getLogger("TeleBot").setLevel(logging.CRITICAL)
    show_two_users()
    show_throughput()
    show_cost()
