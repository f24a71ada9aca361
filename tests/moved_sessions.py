"""Sessions that move, on storages of every kind and codec, and what is stored of them."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.fernet import Fernet
from redis_server import FrozenRedisStorage, patient_url

from telesession import (
    EncryptedCodec,
    JSONCodec,
    MemoryStorage,
    RedisStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory


SECRET = "hunter2"
FIELDS = {
    "counter": 3,
    "log": [(1, {"a": None}), {2, 3}],
    "when": datetime(2026, 1, 1, tzinfo=UTC),
    "text": "one pot of sencha, \N{HOT BEVERAGE}",
}

ENCRYPTED = EncryptedCodec(JSONCodec(), keys=[Fernet.generate_key()])
KINDS = ["memory", "memory-json", "memory-encrypted", "sqlite", "sqlite-encrypted", "redis"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextmanager
def storage_of(
    kind: str,
    path: Path,
    request: pytest.FixtureRequest,
    clock: FrozenDateTimeFactory | None = None,
) -> Iterator[Storage]:
    """An empty storage; the server is started only for those who need it."""
    storage: Storage
    if kind == "redis":
        server = request.getfixturevalue("server")
        frozen = clock is not None
        storage = FrozenRedisStorage(server, clock) if frozen else RedisStorage(patient_url(server))
    elif kind.startswith("sqlite"):
        codec = ENCRYPTED if kind.endswith("encrypted") else JSONCodec()
        storage = SQLiteStorage(path / "sessions.db", codec=codec)
    else:
        codecs = {"memory-json": JSONCodec(), "memory-encrypted": ENCRYPTED}
        storage = MemoryStorage(codec=codecs.get(kind))
    with storage:
        yield storage


@pytest.fixture
def storage(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Storage]:
    with storage_of(kind, tmp_path, request) as storage:
        yield storage


@pytest.fixture
def frozen_storage(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, clock: FrozenDateTimeFactory
) -> Iterator[Storage]:
    """A storage whose time is that of the clock."""
    with storage_of(kind, tmp_path, request, clock) as storage:
        yield storage


def record_of(storage: Storage, key: str) -> dict[str, Any] | None:
    """What a storage has of a key, decoded."""
    payload = storage.get(key)
    return None if payload is None else storage.codec.decode(payload, key)


def payloads(storage: Storage) -> dict[str, bytes | None]:
    return {key: storage.get(key) for key in list(storage.keys())}


def stored(sessions: Sessions[Session]) -> dict[str, Any]:
    """The fields of all sessions, by their keys."""
    return {key: sessions.peek(key) for key in list(sessions.keys())}
