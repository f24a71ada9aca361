"""The storage of typed sessions."""

from __future__ import annotations

import pytest

from telesession import MemoryStorage


@pytest.fixture
def storage() -> MemoryStorage:
    """An empty storage."""
    return MemoryStorage()
