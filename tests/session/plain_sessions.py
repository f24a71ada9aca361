"""Sessions in memory that begin empty, and the messages that reach them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from telesession import MemoryStorage, Session, Sessions


@pytest.fixture
def storage() -> MemoryStorage:
    """An empty storage."""
    return MemoryStorage()


@pytest.fixture
def sessions(storage: MemoryStorage) -> Sessions[Session]:
    """Sessions without an initial field in that storage, keyed by whatever the update is."""
    return Sessions(storage=storage, get_storage_key=lambda update: update)


def fail_in(sessions: Sessions[Session], key: int, change: Callable[[Session], Any]) -> None:
    """Open a session, change it and raise."""
    with sessions.open(key) as session:
        change(session)
        raise ZeroDivisionError
