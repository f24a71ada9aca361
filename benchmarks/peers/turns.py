"""
The protocol of a contender.

Its arguments are a variant, a mode, and `--storage` for a durable one. The modes are

    with         for each line of input, handle a hundred updates in a row, and print the mean
                 microseconds of one
    without      the same by a handler that uses no session
    increments   handle a number of updates of one user at the same time, and print the counter

In the mode `increments` the handler waits between reading the counter and writing it, as a handler
does that calls Telegram. A library without locks loses updates there. A contender on a storage says
that it is ready, and waits for a line, so that several processes begin together. It says that it is
done, and waits for a line again before it reads the counter, so that all of them have ended.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

UPDATES = 100
# The seconds that a handler waits between reading and writing.
PAUSE = 0.001
USER = 42
MESSAGE: dict[str, Any] = {
    "message_id": 1,
    "from": {"id": USER, "is_bot": False, "first_name": "Ann"},
    "chat": {"id": USER, "type": "private", "first_name": "Ann"},
    "date": 1_700_000_000,
    "text": "hi",
}
UPDATE: dict[str, Any] = {"update_id": 1, "message": MESSAGE}
TOKEN = "123456:offline"


class Turn(argparse.Namespace):
    """The arguments of a contender."""

    variant: str
    mode: str
    storage: str
    updates: int


def parse_turn(variants: Sequence[str]) -> Turn:
    """Return the arguments of this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", choices=variants)
    parser.add_argument("mode", choices=("with", "without", "increments"))
    parser.add_argument("updates", type=int, nargs="?", default=800, help="of increments")
    parser.add_argument("--storage", default="", help="a path or URL")
    return parser.parse_args(namespace=Turn())


def wait_for_line(turn: Turn, state: str) -> None:
    """Tell the state of a contender on a storage, and wait for a line."""
    if turn.storage:
        print(state, flush=True)
        sys.stdin.readline()


def take_turns(
    handle_all: Callable[[list[Any]], object], make_updates: Callable[[int], list[Any]]
) -> None:
    """Handle a hundred new updates for each line of input, and print the microseconds of one."""
    handle_all(make_updates(UPDATES))
    for _ in sys.stdin:
        updates = make_updates(UPDATES)
        begun = time.perf_counter()
        handle_all(updates)
        print((time.perf_counter() - begun) / UPDATES * 1e6, flush=True)


async def take_turns_async(handle: Callable[[Any], Awaitable[object]], update: Any) -> None:
    """Do the same in an event loop, one update after the other."""
    await handle(update)
    for _ in sys.stdin:
        begun = time.perf_counter()
        for _ in range(UPDATES):
            await handle(update)
        print((time.perf_counter() - begun) / UPDATES * 1e6, flush=True)
