"""Waits of the lock table that a test watches."""

from __future__ import annotations

import pytest

from support.threads import Waits


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The waits of every lock that the lock table makes in the test."""
    return Waits.watch(monkeypatch)
