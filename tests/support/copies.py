"""Storages with records to copy, and the records as both storages have them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet

from support.postgres_storages import FrozenPostgresStorage, make_storage
from support.servers import FrozenRedisStorage, patient_url
from support.storages import FIELDS
from telesession import (
    EncryptedCodec,
    JSONCodec,
    MemoryStorage,
    PickleCodec,
    RedisStorage,
    Sessions,
    SessionStateStorage,
    SQLiteStorage,
    Storage,
    ttl,
    ttl_left,
)
from telesession.codecs import Codec

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    import pytest
    from freezegun.api import FrozenDateTimeFactory

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()
CODECS: dict[str, Codec] = {
    "json": JSONCodec(),
    "pickle": PickleCodec(),
    "encrypted": EncryptedCodec(JSONCodec(), [NEW]),
}
KINDS = ["memory", "sqlite", "redis", "postgres"]

#: Makes a storage of a kind, with a codec, and by a name that tells it from others of its kind.
Make = Callable[[str, Codec, str], Storage]


def maker(request: pytest.FixtureRequest, folder: Path, exits: ExitStack) -> Make:
    """Make storages that are closed in the end, and whose clock is that of the test."""
    clocks = [name for name in ("clock", "frozen_time") if name in request.fixturenames]
    clock: FrozenDateTimeFactory | None = None
    if clocks:
        clock = request.getfixturevalue(clocks[0])

    def make(kind: str, codec: Codec, name: str) -> Storage:
        storage: Storage
        if kind == "memory":
            storage = MemoryStorage(codec=codec)
        elif kind == "sqlite":
            storage = SQLiteStorage(folder / f"{name}.db", codec)
        elif kind == "cluster":
            client = request.getfixturevalue("cluster").client()
            exits.callback(client.close)
            storage = RedisStorage(client, codec, prefix=f"{folder.name}-{name}:")
        elif kind == "postgres":
            postgres = request.getfixturevalue("postgres")
            storage = (
                make_storage(postgres, codec=codec, table=name)
                if clock is None
                else FrozenPostgresStorage(postgres, clock, codec=codec, table=name)
            )
        elif clock is None:
            url = patient_url(request.getfixturevalue("server"))
            storage = RedisStorage(url, codec, prefix=f"{name}:")
        else:
            server = request.getfixturevalue("server")
            storage = FrozenRedisStorage(server, clock, codec=codec, prefix=f"{name}:")
        return exits.enter_context(storage)

    return make


def fill(storage: Storage) -> None:
    """Store records of all rooms: with lifetimes and without, and with fields that expire."""
    sessions = Sessions(storage=storage, lifetime=3000)
    with sessions.open("ada") as session:
        session.update(FIELDS)
        session.code = ttl("1234", 90)
        session.gone = ttl(1, 60)
    with Sessions(storage=storage).open("@bob") as session:
        session.counter = 1
        session.until = ttl([1, {"a": (2,)}], 10_000)
    with Sessions(storage=storage, name="cart", lifetime=1_000_000).open("bob \ud800") as session:
        session.items = ["tea"]
    states = SessionStateStorage(storage)
    states.set_state(1, 2, "name")
    states.set_data(1, 2, "age", 30)


def view(storage: Storage) -> dict[str, Any]:
    """The fields of all records by key, each with the milliseconds that they and it have left."""
    sessions: Sessions[Any] = Sessions(storage=storage)
    rooms = {"": sessions, "cart": Sessions(storage=storage, name="cart")}
    seen: dict[str, Any] = {}
    for name, room in rooms.items():
        for key, session in room.items():
            left = {field: ttl_left(session, field) for field in session}
            seen[f"{name}/{key}"] = (
                dict(session),
                {field: seconds and round(seconds * 1000) for field, seconds in left.items()},
            )
    states = SessionStateStorage(storage)
    seen["state"] = states.get_state(1, 2), states.get_data(1, 2)
    return seen


def lefts(storage: Storage) -> dict[str, int | str | None]:
    """The milliseconds that each record has left; `None` is for ever."""
    found: dict[str, int | str | None] = {}
    for key in list(storage.keys()):
        record = storage.get_record(key)
        if record is not None:
            is_number = isinstance(record.left, float)
            found[key] = round(float(record.left or 0) * 1000) if is_number else record.left
    return found


def ends(storage: Storage) -> dict[str, tuple[float, float]]:
    """By key, the earliest and the latest monotonic time at which the record can expire."""
    found = {}
    for key in list(storage.keys()):
        before = time.monotonic()
        record = storage.get_record(key)
        if record is not None and isinstance(record.left, float):
            found[key] = before + record.left, time.monotonic() + record.left
    return found


class InTheMiddle(EncryptedCodec):
    """
    A codec that calls a function once, when the record of a copy is encoded.

    At that moment the copy has read the records, and has not written.
    """

    def __init__(self, action: Callable[[], object], *keys: bytes) -> None:
        super().__init__(JSONCodec(), keys)
        self._actions = [action]

    def encode(self, record: dict[str, Any], key: str, previous: bytes | None = None) -> bytes:
        payload = super().encode(record, key, previous)
        while self._actions:
            self._actions.pop()()
        return payload
