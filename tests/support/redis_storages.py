"""Storages on a Redis server, as several processes have them, and what handlers do with them."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.clocks import DAY, PATIENCE
from support.counts import update
from support.servers import FrozenRedisStorage, RedisWire, Server, patient_url, wait_until
from telesession import Storage, StorageError
from telesession.storage import redis_hold
from telesession.storage.base import Change
from telesession.storage.redis import RedisStorage
from telesession.storage.redis_scripts import COMMIT, Script
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis
    from freezegun.api import FrozenDateTimeFactory


SECRET = "hunter2"
UPDATE = ["EVALSHA", "EVALSHA"]


@pytest.fixture
def server(server: Server) -> Server:
    """A server that has nothing stored, but knows the scripts."""
    with make_storage(server) as storage, server.client() as client:
        update(storage)
        client.flushall()
    return server


@pytest.fixture
def storage(server: Server) -> Iterator[RedisStorage]:
    with make_storage(server) as storage:
        storage.now()
        yield storage


@pytest.fixture
def other(server: Server) -> Iterator[RedisStorage]:
    """
    What another process has: a storage with a client and a lock table of its own.

    Who waits in it comes when it is called, and does not look by itself.
    """
    with make_storage(server) as storage:
        storage.server.patience = PATIENCE
        yield storage


@pytest.fixture
def admin(server: Server) -> Iterator[redis.Redis]:
    with server.client() as client:
        client.ping()
        yield client


@pytest.fixture
def frozen_storage(server: Server, clock: FrozenDateTimeFactory) -> Iterator[FrozenRedisStorage]:
    """A storage whose time, and that of its server, passes when it ticks."""
    with FrozenRedisStorage(server, clock) as storage:
        yield storage


@pytest.fixture
def lasting_reservations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was called may take any time to come, for a session is reserved for a whole lease."""
    lasting = COMMIT.text.replace("math.min(lease, 1000)", "lease")
    assert lasting != COMMIT.text
    monkeypatch.setattr(redis_hold, "COMMIT", Script(lasting))


@pytest.fixture
def wire(server: Server) -> Iterator[RedisWire]:
    with closing(RedisWire(server)) as wire:
        yield wire


def make_storage(place: Server | RedisWire) -> RedisStorage:
    """A storage whose server may take its time, and whose leases no test need renew."""
    return RedisStorage(patient_url(place), lease=DAY)


def hasty(storage: RedisStorage) -> RedisStorage:
    """The storage, which asks once more after a failure, and then leaves the lock for a day."""
    storage.server.pauses = storage.server.commit_pauses = (0.0,)
    storage.server.owner.leftovers._interval = DAY
    return storage


def locks(client: Any) -> list[bytes]:
    return list(client.scan_iter("*:lock"))


def use(storage: Storage, work: Callable[[Any], Any], key: str = "42") -> Any:
    """Let somebody work with a key that is held."""
    with storage.hold(key, PATIENCE) as held:
        return work(held)


def read_patiently(storage: Storage) -> bytes | None:
    return use(storage, lambda held: held.get())


def renewals() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "telesession-renewal"}


@contextmanager
def brief_client(make: Callable[..., Any]) -> Iterator[Any]:
    """A client that knows its server, and takes silence for failure after a moment."""
    retry = Retry(NoBackoff(), 1)
    clients: list[Any] = []

    def is_made() -> bool:
        if not clients:
            clients.append(make(socket_timeout=0.3, retry=retry))
        return clients[0].ping()

    # A server that takes its time is none that is silent.
    wait_until(is_made)
    with closing(clients[0]) as client:
        yield client


@contextmanager
def hurried(storage: RedisStorage, client: Any) -> Iterator[None]:
    """For as long as the block lasts, a storage asks by another client, and commits once."""
    server = storage.server
    patient, connections = server.client, server.owner.connections
    server.client, server.owner.connections = client, None
    server.commit_pauses = ()
    try:
        yield
    finally:
        server.client, server.owner.connections = patient, connections


@contextmanager
def brisk(storage: RedisStorage) -> Iterator[RedisStorage]:
    """A storage that renews leases as often as it can, until the block ends."""
    before = renewals()
    storage.server.owner.renewal._interval = 0.01
    with storage:
        yield storage
    # What the thread asks must not come to the server while the next test watches.
    for thread in renewals() - before:
        thread.join(PATIENCE)


def wait_for_renewals(client: Any, names: list[str]) -> None:
    """Take away half of leases of a day, again and again, and wait until all are renewed."""
    half = DAY * 500
    for _ in range(3):
        for name in names:
            client.pexpire(f"{{{name}}}:lock", half)
        wait_until(lambda: all(client.pttl(f"{{{name}}}:lock") > half for name in names))


def milliseconds_now(admin: redis.Redis) -> float:
    seconds, microseconds = admin.time()
    return seconds * 1000 + microseconds / 1000


def is_left(admin: redis.Redis, name: str, expected: int, begun: float, ended: float) -> bool:
    """Whether a key has so many milliseconds, from some moment between the two."""
    earliest = milliseconds_now(admin)
    left = admin.pttl(name)
    latest = milliseconds_now(admin)
    if left < 0:
        return begun + expected <= latest
    return earliest + left <= ended + expected + 1 and begun + expected <= latest + left + 2


WRITES: dict[str, Callable[[Any], object]] = {
    "set": lambda held: held.set(b"mine"),
    "touch": lambda held: held.touch(60),
    "delete": lambda held: held.delete(),
}


CALLS: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("42"),
    "set": lambda storage: storage.set("42", b"payload"),
    "has": lambda storage: storage.has("42"),
    "get_record": lambda storage: storage.get_record("42"),
    "ping": lambda storage: storage.ping(),
    "delete": lambda storage: storage.delete("42"),
    "touch": lambda storage: storage.touch("42", 10),
    "keys": lambda storage: list(storage.keys()),
    "now": lambda storage: storage.now(),
    "listed": lambda storage: storage.listed("@"),
    "hold": lambda storage: try_hold(storage, "42"),
    "update": update,
}


# Calls that are sent again for longer than the others if they get no answer.
COMMITS: dict[str, Callable[[Storage], object]] = {
    "commit": lambda storage: storage.commit([], [Change("@1", None, b"payload", index="@")]),
    "add_once": lambda storage: storage.add_once("@", {2: b"payload"}, pages="+", memory=60),
    "end": lambda storage: storage.commit([], [Change("@1", b"payload", None, index="@")]),
}


def failure(call: Callable[[Storage], object], storage: Storage) -> StorageError:
    """The error of a call."""
    with pytest.raises(StorageError) as caught:
        call(storage)
    return caught.value
