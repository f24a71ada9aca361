"""A store and a storage that count what is done to them."""

from __future__ import annotations

from collections import Counter, UserDict
from typing import Any

from telesession import MemoryStorage


class CountedStore(UserDict[str, bytes]):
    """A store that counts how often it is written, not counting what it was made with."""

    def __init__(self, records: dict[str, bytes] | None = None) -> None:
        super().__init__()
        self.data.update(records or {})
        self.writes = 0

    def __setitem__(self, key: str, payload: bytes) -> None:
        self.writes += 1
        super().__setitem__(key, payload)

    def __delitem__(self, key: str) -> None:
        self.writes += 1
        super().__delitem__(key)


class CountedStorage(MemoryStorage):
    """A storage in memory that counts its calls, by their names."""

    def __init__(self, store: Any = None) -> None:
        super().__init__(store)
        self.calls: Counter[str] = Counter()

    def get(self, key: str) -> bytes | None:
        self.calls["get"] += 1
        return super().get(key)

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.calls["set"] += 1
        super().set(key, payload, lifetime)

    def touch(self, key: str, lifetime: float | None) -> bool:
        self.calls["touch"] += 1
        return super().touch(key, lifetime)

    def delete(self, key: str) -> bool:
        self.calls["delete"] += 1
        return super().delete(key)
