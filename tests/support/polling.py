"""Waits for a state that no server announces."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg
import redis

from support.clocks import PATIENCE


def wait_until(condition: Callable[[], object]) -> None:
    """
    Wait until a condition holds; a server that cannot be asked does not fulfil it.

    Raises:
        TimeoutError: It did not hold within `PATIENCE` and the time of the questions.
    """
    pause = threading.Event()
    for _ in range(PATIENCE * 200):
        with suppress(redis.RedisError, psycopg.OperationalError):
            if condition():
                return
        pause.wait(0.005)
    raise TimeoutError
