"""Spies, storages without locks, a storage of five methods, and storages of every kind."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, UserDict
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import pytest
from cryptography.fernet import Fernet

from support.clocks import MICROSECOND, frozen_clock
from support.postgres_storages import FrozenPostgresStorage, make_storage
from support.servers import FrozenRedisStorage, patient_url
from telesession import (
    EncryptedCodec,
    JSONCodec,
    LockTimeoutError,
    MemoryStorage,
    PostgresStorage,
    RedisStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
)
from telesession.storage import server_hold
from telesession.storage.base import Change, Hold
from telesession.testing.storage_faults import StorageFaults
from telesession.testing.storage_suite import FOR_AGES, StorageSuite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory


class SpyStore(UserDict[str, bytes]):
    """
    A store that counts its writes after it was made, and fails if told to.

    `failing` has the names of the operations that raise an `OSError`: `"read"`, `"read back"`
    (the first read after a write of the same key), `"write"`, `"delete"` and `"look up"`.
    """

    def __init__(self, records: dict[str, bytes] | None = None) -> None:
        super().__init__()
        self.data.update(records or {})
        self.writes = 0
        self.failing: set[str] = set()
        self._written: str | None = None

    def __getitem__(self, key: str) -> bytes:
        operation = "read back" if key == self._written else "read"
        self._written = None
        self._fail_if(operation)
        return super().__getitem__(key)

    def __setitem__(self, key: str, payload: bytes) -> None:
        self.writes += 1
        self._fail_if("write")
        self._written = key
        super().__setitem__(key, payload)

    def __delitem__(self, key: str) -> None:
        self.writes += 1
        self._fail_if("delete")
        super().__delitem__(key)

    def __contains__(self, key: object) -> bool:
        self._fail_if("look up")
        return super().__contains__(key)

    def _fail_if(self, operation: str) -> None:
        if operation in self.failing:
            raise OSError(f"cannot {operation}")


class Spy(StorageFaults):
    """
    The first base class of a storage that counts its calls, lists its writes, and fails if told to.

    `FaultyStorage` stands in front of a storage, and sees what others ask of it. A spy is the
    backend itself: it sees what the base class asks of it for each lock, read and write. `writes`
    has the names of the methods that change a record, in the order of their calls. A commit of
    several writes, which a `MemoryStorage` does without these methods, is a call of `commit`.
    """

    def __init__(self, *args: Any) -> None:
        StorageFaults.__init__(self)
        super(StorageFaults, self).__init__(*args)
        self.writes: list[str] = []

    def get(self, key: str) -> bytes | None:
        return self._call("get", [key], partial(super().get, key))  # type: ignore[misc]

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.writes.append("set")
        self._call("set", [key], partial(super().set, key, payload, lifetime))

    def touch(self, key: str, lifetime: float | None) -> bool:
        self.writes.append("touch")
        return self._call("touch", [key], partial(super().touch, key, lifetime))

    def delete(self, key: str) -> bool:
        self.writes.append("delete")
        return self._call("delete", [key], partial(super().delete, key))

    def keys(self, prefix: str = "") -> Iterator[str]:
        return self._call("keys", (), partial(super().keys, prefix))

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        return self._call("hold", [key], partial(super().hold, key, timeout))

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        noted = [hold.note.action for hold in holds if hold.note is not None]
        commit = partial(super().commit, holds, also)
        if len(noted) + len(also) < 2:
            commit()
            return

        def write() -> None:
            if isinstance(self, MemoryStorage):
                self.writes += noted
            commit()

        keys = [each.key for each in (*holds, *also)]
        self._call("commit", keys, write)


class SpyStorage(Spy, MemoryStorage):
    """A storage in memory that is a spy."""


class UnlockedHold(Hold):
    """A hold that takes no lock."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.flush()


class WithoutLocks:
    """The control of exclusive use, as a first base class: a hold keeps no other thread out."""

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        return UnlockedHold(self, key, timeout)  # type: ignore[arg-type]

    # The commit of a storage with locks asks its own holds for them.
    commit = Storage.commit


class UnlockedStorage(WithoutLocks, MemoryStorage):
    """A storage in memory without locks."""


# What it costs to load a session, and to save what has changed.
ONE_USE = Counter(hold=1, get=1, set=1)


def is_free(storage: Storage, key: str) -> bool:
    """Whether nobody holds the lock of a key, which is not reentrant."""
    try:
        with storage.hold(key, 0):
            return True
    except LockTimeoutError:
        return False


def is_held(storage: Storage, key: str) -> bool:
    """Whether somebody holds it."""
    return not is_free(storage, key)


class Asked:
    """A storage that says when a key is asked for, to be put in front of another one."""

    def __init__(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        self._hold = storage.hold
        self._asked: dict[str, threading.Event] = {}
        self._hold_beside = storage.hold_beside
        self._enter_hold = storage.enter_hold
        monkeypatch.setattr(storage, "hold", self.hold)
        monkeypatch.setattr(storage, "hold_beside", self.hold_beside)
        monkeypatch.setattr(storage, "enter_hold", self.enter_hold)

    def enter_hold(
        self, key: str, timeout: float | None, beside: Hold | None = None
    ) -> tuple[AbstractContextManager[Hold], Hold]:
        self.event(key).set()
        return self._enter_hold(key, timeout, beside)

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        self.event(key).set()
        return self._hold(key, timeout)

    def hold_beside(
        self, hold: Hold, key: str, timeout: float | None = None
    ) -> AbstractContextManager[Hold]:
        self.event(key).set()
        return self._hold_beside(hold, key, timeout)

    def event(self, key: str) -> threading.Event:
        return self._asked.setdefault(key, threading.Event())


class FiveMethods(Storage):
    """A custom storage: five short methods, and no call of `super().__init__`."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[bytes, float]] = {}
        self.mutex = threading.Lock()

    def get(self, key: str) -> bytes | None:
        payload, deadline = self.records.get(key, (None, math.inf))
        return None if time.monotonic() >= deadline else payload

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self.records[key] = payload, deadline_in(lifetime)

    def delete(self, key: str) -> bool:
        with self.mutex:
            existed = self.has(key)
            self.records.pop(key, None)
            return existed

    def touch(self, key: str, lifetime: float | None) -> bool:
        with self.mutex:
            payload = self.get(key)
            if payload is None:
                return False
            self.set(key, payload, lifetime)
            return True

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter([key for key in list(self.records) if key.startswith(prefix) and self.has(key)])


class SpyOfFiveMethods(Spy, FiveMethods):
    """A custom storage that is a spy, and commits one record after the other."""


def deadline_in(lifetime: float | None) -> float:
    return math.inf if lifetime is None else time.monotonic() + lifetime


class FrozenClockSuite(StorageSuite):
    """The suite by a clock that stands still until it ticks: exact, and done in no time."""

    second = 1.0
    margin = MICROSECOND
    ages = FOR_AGES / 2

    @pytest.fixture(autouse=True)
    def clock(self) -> Iterator[FrozenDateTimeFactory]:
        with frozen_clock() as self.frozen:
            yield self.frozen

    def tick(self, seconds: float) -> None:
        self.frozen.tick(seconds)


class ServerClockSuite(StorageSuite):
    """The suite by the clock of a server, which a subclass lets go on in `tick`."""

    # So long that the time which a test takes does not matter, even if it takes minutes.
    second = 1000.0
    ages = FOR_AGES / 2

    def test_a_commit_renews_a_record_that_has_just_expired(  # type: ignore[override]
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same; only the records get older, so no renewal would look late."""
        monkeypatch.setattr(server_hold, "_LATE", math.inf)
        super().test_a_commit_renews_a_record_that_has_just_expired(storage)

    def test_get_record_gives_the_rest_of_a_lifetime(  # type: ignore[override]
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same by the time of the server itself, because the test lets none pass."""
        monkeypatch.setattr(self, "second", StorageSuite.second)
        monkeypatch.setattr(self, "tick", partial(StorageSuite.tick, self))
        super().test_get_record_gives_the_rest_of_a_lifetime(storage)


SECRET = "hunter2"
FIELDS = {
    "counter": 3,
    "log": [(1, {"a": None}), {2, 3}],
    "when": datetime(2026, 1, 1, tzinfo=UTC),
    "text": "one pot of sencha, \N{HOT BEVERAGE}",
}

ENCRYPTED = EncryptedCodec(JSONCodec(), keys=[Fernet.generate_key()])
KINDS = ["memory", "memory-json", "memory-encrypted", "sqlite", "sqlite-encrypted", "redis"]
KINDS += ["postgres", "postgres-encrypted"]


@contextmanager
def storage_of_test(request: pytest.FixtureRequest, path: Path) -> Iterator[Storage]:
    """An empty storage of the kind of a fixture, with the clock of the test if that has one."""
    names = [name for name in ("clock", "frozen_time") if name in request.fixturenames]
    clock = request.getfixturevalue(names[0]) if names else None
    with storage_of(request.param, path, request, clock) as storage:
        yield storage


@contextmanager
def storage_of(
    kind: str,
    path: Path,
    request: pytest.FixtureRequest,
    clock: FrozenDateTimeFactory | None = None,
) -> Iterator[Storage]:
    """An empty storage; the server is started only for those who need it."""
    storage: Storage
    if kind == "postgres":
        postgres = request.getfixturevalue("postgres")
        frozen = clock is not None
        storage = FrozenPostgresStorage(postgres, clock) if frozen else make_storage(postgres)
    elif kind == "redis":
        server = request.getfixturevalue("server")
        frozen = clock is not None
        storage = FrozenRedisStorage(server, clock) if frozen else RedisStorage(patient_url(server))
    elif kind.startswith("postgres"):
        postgres = request.getfixturevalue("postgres")
        codec = ENCRYPTED if kind.endswith("encrypted") else JSONCodec()
        if clock is None:
            storage = PostgresStorage(postgres.socket_conninfo(), codec)
        else:
            storage = FrozenPostgresStorage(postgres, clock, codec=codec)
    elif kind.startswith("sqlite"):
        codec = ENCRYPTED if kind.endswith("encrypted") else JSONCodec()
        storage = SQLiteStorage(path / "sessions.db", codec=codec)
    else:
        codecs = {"memory-json": JSONCodec(), "memory-encrypted": ENCRYPTED}
        storage = MemoryStorage(codec=codecs.get(kind))
    with storage:
        yield storage


def record_of(storage: Storage, key: str) -> dict[str, Any] | None:
    """What a storage has of a key, decoded."""
    payload = storage.get(key)
    return None if payload is None else storage.codec.decode(payload, key)


def payloads(storage: Storage) -> dict[str, bytes | None]:
    return {key: storage.get(key) for key in list(storage.keys())}


def fields_by_key(sessions: Sessions[Session]) -> dict[str, Any]:
    """The fields of all sessions, by their keys."""
    return {key: sessions.peek(key) for key in list(sessions.keys())}
