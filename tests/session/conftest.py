"""Sessions in a storage that notes its calls, and handlers that change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.servers import patient_url
from support.sessions import LIFETIME, UPDATE, Change, Handle
from support.storages import FiveMethods, SpyStorage
from telesession import (
    MemoryStorage,
    PostgresStorage,
    RedisStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    with_session,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telebot import types


@pytest.fixture
def storage() -> SpyStorage:
    """An empty storage in memory, which notes its calls."""
    return SpyStorage()


@pytest.fixture(params=["memory", "five methods", "sqlite", "redis", "postgres"])
def each_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage of each kind."""
    with make_storage(request, tmp_path) as storage:
        yield storage


def make_storage(request: pytest.FixtureRequest, folder: Path) -> Storage:
    """The storage that the parameter of a fixture names."""
    if request.param == "memory":
        return MemoryStorage()
    if request.param == "five methods":
        return FiveMethods()
    if request.param == "sqlite":
        return SQLiteStorage(folder / "sessions.db")
    if request.param == "postgres":
        return PostgresStorage(request.getfixturevalue("postgres").socket_conninfo())
    # The server is started only for tests that need it.
    return RedisStorage(patient_url(request.getfixturevalue("server")))


@pytest.fixture
def sessions(storage: MemoryStorage) -> Sessions[Session]:
    """Sessions without an initial field in that storage, keyed by whatever the update is."""
    return Sessions(storage=storage, get_storage_key=lambda update: update)


@pytest.fixture
def sliding_sessions(storage: SpyStorage) -> Sessions[Session]:
    """Sessions that live for `LIFETIME` after their last use."""
    return Sessions(storage=storage, lifetime=LIFETIME)


@pytest.fixture
def handle(storage: SpyStorage) -> Handle:
    """Lets a handler of one of Anna's messages do something to her session."""

    def call(change: Change, **options: Any) -> Any:
        @with_session(**{"storage": storage, **options})
        def handler(message: types.Message, session: Any) -> Any:
            return change(session)

        return handler(UPDATE.message)

    return call
