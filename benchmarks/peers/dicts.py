"""A global dict, as most bots begin: without a lock, and with one."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from benchmarks.peers.on_telebot import Handler, Pause, Peer, PlainPeer, run
from benchmarks.peers.turns import USER, parse_turn

if TYPE_CHECKING:
    from telebot import TeleBot, types


class DictPeer(Peer):
    """A dict; all users share the lock."""

    def __init__(self, *, has_lock: bool) -> None:
        super().__init__()
        self._lock: Any = threading.Lock() if has_lock else nullcontext()
        self._counters = {USER: 0}

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        counters, lock = self._counters, self._lock

        def unlocked(message: types.Message) -> None:
            count = counters[message.from_user.id]
            pause()
            counters[message.from_user.id] = count + 1

        def locked(message: types.Message) -> None:
            with lock:
                unlocked(message)

        return unlocked if isinstance(lock, nullcontext) else locked

    def total(self, bot: TeleBot) -> int:
        return self._counters[USER]


if __name__ == "__main__":
    turn = parse_turn(["unlocked", "locked"])
    run(DictPeer(has_lock=turn.variant == "locked"), PlainPeer(), turn)
