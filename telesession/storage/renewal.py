"""Leases, and the thread that renews them for as long as handlers run."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Generic, TypeVar

L = TypeVar("L")


class Renewal(Generic[L]):
    """
    Leases that are to be renewed in time, each until it is given up.

    One thread renews all of them together. It begins with the first lease. It ends when a round
    finds no lease, so short handlers, one after the other, do not start a thread each.

    Keep one for as long as the storage it serves; any thread may use it. In a forked process
    there is no thread: it needs a new one.

    Args:
        renew: Renews leases, given as a list. It must not raise.
        interval: Seconds from one round to the next; a third of a lease leaves time to retry.
        name: The name of the thread.
    """

    def __init__(
        self,
        renew: Callable[[list[L]], None],
        interval: float,
        name: str = "telesession-renewal",
    ) -> None:
        self._renew = renew
        self._interval = interval
        self._name = name
        self._mutex = threading.Lock()
        self._leases: set[L] = set()
        # Belongs to the running thread; None without one.
        self._stopped: threading.Event | None = None

    def add(self, lease: L) -> None:
        """Renew a lease from now on."""
        with self._mutex:
            self._leases.add(lease)
            if self._stopped is None:
                self._start()

    def discard(self, lease: L) -> None:
        """End the renewal of a lease."""
        with self._mutex:
            self._leases.discard(lease)

    def stop(self) -> None:
        """End the thread. The next lease starts another."""
        with self._mutex:
            if self._stopped is not None:
                self._stopped.set()
                self._stopped = None

    def _start(self) -> None:
        stopped = threading.Event()
        thread = threading.Thread(target=self._run, args=(stopped,), name=self._name, daemon=True)
        # While the interpreter ends no thread can start; a handler's last lease has to do then.
        with suppress(RuntimeError):
            thread.start()
            self._stopped = stopped

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._interval):
            with self._mutex:
                leases = list(self._leases)
                if not leases:
                    if self._stopped is stopped:
                        self._stopped = None
                    return
            self._renew(leases)


def checked_lease(lease: object, storage: str) -> float:
    """
    The seconds of a lease, which a class of storages got as seconds or as a `timedelta`.

    Raises:
        TypeError: It is neither.
        ValueError: It is not finite, or not more than 0 s.
    """
    seconds = lease.total_seconds() if isinstance(lease, timedelta) else lease
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(
            f"{storage}(lease=...) must be seconds or a timedelta, not {type(lease).__name__}"
        )
    if not 0 < seconds < math.inf:
        raise ValueError(
            f"{storage}(lease=...) must be finite and more than 0 s, not {seconds:g} s"
        )
    return seconds
