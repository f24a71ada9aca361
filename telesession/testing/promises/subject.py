"""The parts of a suite that all its tests use: time, keys and the state of a lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.errors import LockTimeoutError

if TYPE_CHECKING:
    from telesession.storage.base import Storage

FOR_AGES = 10.0**9
HOSTILE_KEYS = [
    "", " ", "  ", "\0", "a\0", "a", "A", "a ", " a", "\n", "a\nb", "\r\n", "\t", "*", "?", "[a]",
    "%", "%a", "_", "\\", "\\x00", "'", '"', "'; DROP TABLE sessions; --", "{a}", "{a}b", "}{",
    "a:b", "a::b", "a/b", "../a", "é", "e\u0301", "ß", "ss", "İ", "i", "🦊", "\U0010ffff", "\ufeff",
    "\ud800", "-1", "1", "01", "1.0", "None", "x" * 10_000, "x" * 10_001,
]  # fmt: skip


def try_hold(storage: Storage, key: str) -> str:
    """The result of asking for a key without waiting."""
    try:
        with storage.hold(key, 0):
            return "held"
    except LockTimeoutError:
        return "busy"


class Subject:
    """
    The attributes and methods of a `StorageSuite` that its tests use.

    Attributes:
        second: Seconds; see `StorageSuite`.
        margin: Seconds; see `StorageSuite`.
        ages: Seconds; see `StorageSuite`.
    """

    second: float
    margin: float
    ages: float

    def tick(self, seconds: float) -> None:
        """See `StorageSuite.tick`."""
        raise NotImplementedError
