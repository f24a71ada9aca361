"""Successions: sessions that go on under another key."""

from __future__ import annotations


class Successions:
    """
    Which keys others have taken over from, as far as this process has heard of it.

    A succession is pending until its record has been moved: whoever wants to use the new key has
    to see to that first. It is remembered for ever after, for what still asks for the old key.

    Keep one for as long as its storage; any thread may use it.

    Attributes:
        heirs: By old key, the key under which the session is now.
        pending: By new key, the old one that has a record to be moved.
    """

    def __init__(self) -> None:
        self.heirs: dict[str, str] = {}
        self.pending: dict[str, str] = {}

    def add(self, key: str, heir: str) -> None:
        """Let a key be taken over by another one; once more makes no difference."""
        if self.heirs.get(key) != heir:
            # In this order: who is sent to the new key has to know of what is pending there.
            self.pending[heir] = key
            self.heirs[key] = heir
