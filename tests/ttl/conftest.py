"""Sessions in a storage that notes its calls, while the clock stands still."""

from __future__ import annotations

import pytest

from support.storages import SpyStorage
from telesession import Session, Sessions


@pytest.fixture(scope="module", autouse=True)
def frozen(frozen_module: None) -> None:
    """The clock stands still for the modules here, since nearly every test freezes it."""


@pytest.fixture
def storage() -> SpyStorage:
    """An empty storage in memory, which notes its calls."""
    return SpyStorage()


@pytest.fixture
def sessions(storage: SpyStorage) -> Sessions[Session]:
    """Sessions that live for ever."""
    return Sessions(storage=storage)
