"""A storage as users write it."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING

from telesession import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator


class FiveMethods(Storage):
    """A custom storage: five short methods, and no call of `super().__init__`."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[bytes, float]] = {}
        self.mutex = threading.Lock()

    def get(self, key: str) -> bytes | None:
        payload, deadline = self.records.get(key, (None, math.inf))
        return None if time.monotonic() >= deadline else payload

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.records[key] = payload, deadline_in(lifetime)

    def delete(self, key: str) -> bool:
        with self.mutex:
            existed = self.has(key)
            self.records.pop(key, None)
            return existed

    def touch(self, key: str, lifetime: float | None) -> bool:
        with self.mutex:
            payload = self.get(key)
            if payload is None:
                return False
            self.set(key, payload, lifetime)
            return True

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter([key for key in list(self.records) if key.startswith(prefix) and self.has(key)])


def deadline_in(lifetime: float | None) -> float:
    return math.inf if lifetime is None else time.monotonic() + lifetime
