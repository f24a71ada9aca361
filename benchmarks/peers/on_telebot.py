"""Contenders whose handlers are called by telebot: its real dispatch of an update."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from telebot import TeleBot, types

from benchmarks.peers.turns import PAUSE, TOKEN, UPDATE, Turn, take_turns, wait_for_line

THREADS = 8
PATIENCE = 300.0

Handler = Callable[..., object]
Pause = Callable[[], object]


class Done:
    """Counts handled updates."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def counting(self, handler: Handler) -> Handler:
        """Wrap a handler, so that its ends are counted, even if it raises."""

        @functools.wraps(handler)
        def counted(*args: Any, **kwargs: Any) -> None:
            try:
                handler(*args, **kwargs)
            except Exception as error:
                # A thread of telebot that raises waits for the poll, and there is none.
                logging.getLogger("benchmarks").debug("a handler failed", exc_info=error)
            finally:
                self.count()

        return counted

    def count(self) -> None:
        """Count one end."""
        with self._condition:
            self._count += 1
            self._condition.notify()

    def wait(self, count: int) -> None:
        """Wait until a number of handlers have ended, and count from 0 again."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._count == count, PATIENCE):
                raise TimeoutError(f"{self._count} of {count} updates were handled")
            self._count = 0


class Peer:
    """
    A way to count in a handler of telebot.

    Attributes:
        options: Further options of the bot.
        is_threaded: Whether updates are handled by worker threads when they are measured, too.
        done: The count of updates that worker threads have handled.
    """

    is_threaded = False

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.done = Done()

    def prepare(self, bot: TeleBot) -> None:
        """Set up the bot, before its handler is added."""

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        """Return the handler, which calls `pause` between reading and writing."""
        raise NotImplementedError

    def total(self, bot: TeleBot) -> int:
        """Return the stored counter."""
        raise NotImplementedError

    def feed(self, bot: TeleBot, updates: list[Any]) -> None:
        """Hand updates to the bot, one by one."""
        for update in updates:
            bot.process_new_updates([update])

    def make_updates(self, count: int) -> list[Any]:
        """Return updates of one user, ready for `feed`."""
        return [types.Update.de_json(UPDATE)] * count

    def counting(self, handler: Handler) -> Handler:
        """Wrap a handler for worker threads, so that `done` counts its ends."""
        return self.done.counting(handler)


def make_idle_handler(pause: Pause) -> Handler:
    """Return the handler that uses no session."""

    def handle(message: types.Message) -> None:
        pause()

    return handle


def run(peer: Peer, plain: Peer, turn: Turn) -> None:
    """
    Be a contender.

    Args:
        peer: The contender.
        plain: The bot without sessions that it is compared with.
        turn: The arguments of this process.
    """
    is_counting = turn.mode == "increments"
    peer = plain if turn.mode == "without" else peer
    is_threaded = is_counting or peer.is_threaded
    threads = THREADS if is_counting else 2
    bot = TeleBot(TOKEN, threaded=is_threaded, num_threads=threads, **peer.options)
    peer.prepare(bot)
    pause: Pause = functools.partial(time.sleep, PAUSE) if is_counting else bool
    handler = make_idle_handler(pause) if turn.mode == "without" else peer.make_handler(bot, pause)
    bot.register_message_handler(peer.counting(handler) if is_threaded else handler)

    def handle_all(updates: list[Any]) -> None:
        peer.feed(bot, updates)
        if is_threaded:
            peer.done.wait(len(updates))

    if is_counting:
        wait_for_line(turn, "ready")
        handle_all(peer.make_updates(turn.updates))
        wait_for_line(turn, "done")
        print(peer.total(bot))
    else:
        take_turns(handle_all, peer.make_updates)
    bot.stop_bot()


class PlainPeer(Peer):
    """A bot without sessions, for the mode `without`."""


class ThreadedPlainPeer(Peer):
    """The same with telebot's own worker threads."""

    is_threaded = True


class WebhookPlainPeer(ThreadedPlainPeer):
    """The same with updates as a webhook gets them."""

    def __init__(self) -> None:
        super().__init__()
        # An inbox handles no number twice, not even in another process. Two processes begin in the
        # same millisecond, so the number of the process comes first.
        self._numbers = itertools.count(os.getpid() << 29 | time.time_ns() // 10**6 % 2**28)

    def make_updates(self, count: int) -> list[Any]:
        return [json.dumps({**UPDATE, "update_id": next(self._numbers)}) for _ in range(count)]

    def feed(self, bot: TeleBot, updates: list[Any]) -> None:
        for body in updates:
            bot.process_new_updates([types.Update.de_json(body)])
