"""Storages that are opened again, as after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.servers import patient_url
from support.storages import storage_of_test
from telesession import JSONCodec, MemoryStorage, PickleCodec, RedisStorage, SQLiteStorage, Storage

CODECS = {"sqlite": JSONCodec(), "sqlite-pickle": PickleCodec()}


@pytest.fixture(params=["memory", "sqlite", "redis"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage; fields are the same in all that have bytes."""
    with storage_of_test(request, tmp_path) as storage:
        yield storage


@pytest.fixture(params=["memory", *CODECS, "redis"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Storage]]:
    """A function that gives another storage with the same records; in memory it is the same one."""
    opened: Callable[[], Any]
    memory = MemoryStorage()
    if request.param == "memory":
        opened = lambda: memory  # noqa: E731
    elif request.param == "redis":
        server = request.getfixturevalue("server")
        opened = lambda: RedisStorage(patient_url(server))  # noqa: E731
    else:
        path, codec = tmp_path / "sessions.db", CODECS[request.param]
        opened = lambda: SQLiteStorage(path, codec=codec)  # noqa: E731
    with ExitStack() as storages:
        yield lambda: storages.enter_context(opened())
