"""The ids that Telegram makes for queries, polls, albums and the like."""

from __future__ import annotations

from uuid import uuid4


def new_id() -> str:
    """A new id: a random integer of 63 bits, as a string, because the clock may be frozen."""
    return str(uuid4().int >> 65)
