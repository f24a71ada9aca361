"""Storages between which records are copied."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.copies import Make, maker
from support.threads import Waits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes storages of each kind, which are closed after the test."""
    with ExitStack() as exits:
        yield maker(request, tmp_path, exits)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The waits of every lock that the lock table makes in the test."""
    return Waits.watch(monkeypatch, has_attempts=False)
