"""Storages between which records are copied."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.copies import Make, maker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes storages of each kind, which are closed after the test."""
    with ExitStack() as exits:
        yield maker(request, tmp_path, exits)
