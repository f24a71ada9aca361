"""telebot's states on our storages, and the user in a chat who has one."""

from __future__ import annotations

import pytest

from telesession import MemoryStorage, SessionStateStorage, Storage

CHAT, USER = -100, 42


@pytest.fixture
def states(storage: Storage) -> SessionStateStorage:
    """States in an empty storage."""
    return SessionStateStorage(storage)


@pytest.fixture
def in_memory() -> SessionStateStorage:
    """States in memory, for what no storage sees."""
    return SessionStateStorage(MemoryStorage())
