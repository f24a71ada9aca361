"""A storage that says when a key is asked for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pytest

    from telesession import Storage
    from telesession.storage.base import Hold


class Asked:
    """A storage that says when a key is asked for, to be put in front of another one."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        self._hold = storage.hold
        self._asked: dict[str, threading.Event] = {}
        monkeypatch.setattr(storage, "hold", self.hold)

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        self.event(key).set()
        return self._hold(key, timeout)

    def event(self, key: str) -> threading.Event:
        return self._asked.setdefault(key, threading.Event())
