"""Sessions in a storage that notes its calls, and bots with class middlewares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.bots import Host, make_host
from support.storages import SpyStorage
from telesession import Session, Sessions


@pytest.fixture
def storage() -> SpyStorage:
    """An empty storage in memory, which notes its calls."""
    return SpyStorage()


@pytest.fixture
def sessions(storage: SpyStorage) -> Sessions[Session]:
    """Sessions without options, in that storage."""
    return Sessions(storage=storage)


@pytest.fixture(params=["one-thread", "threads"])
def host_with_middlewares(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A bot that looks at the signatures of its handlers."""
    yield from make_host(request.param, "class-middlewares")
