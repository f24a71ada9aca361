"""Leases on a server whose wall clock steps back, so that it ends them too late."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.clocks import DAY, PATIENCE
from support.counts import update
from support.redis_storages import make_storage
from support.servers import Monitor, Server
from support.threads import began
from telesession.storage.redis_scripts import RESERVATION

if TYPE_CHECKING:
    import redis
    from freezegun.api import FrozenDateTimeFactory

    from telesession.storage.redis import RedisStorage


LOCK = "{telesession:42}:lock"
LEASE = 30_000
DEAD = b"abc.7.%d" % LEASE


def test_a_lock_without_renewal_is_over_after_its_lease(
    storage: RedisStorage, clock: FrozenDateTimeFactory
) -> None:
    """A waiter takes a lock over when it has seen no renewal for a lease, by its own clock."""
    owner, left = storage.server.owner, []
    for seconds in (0, 10, 19.5, 0.5):
        clock.tick(seconds)
        left.append(owner.observe("42", DEAD, 1_000_000))

    assert [30, 20, 0.5, 0] == left


@pytest.mark.parametrize(
    ("holder", "end"),
    [(DEAD, 1_010_000), (DEAD, 400_000), (b"abc.8.30000", 1_000_000)],
    ids=["renewed", "renewed-after-a-step-back", "another-hold"],
)
def test_a_lock_that_changes_is_not_over(
    storage: RedisStorage, clock: FrozenDateTimeFactory, holder: bytes, end: int
) -> None:
    """A renewal moves the end of the lease, so the holder has its full lease again."""
    owner = storage.server.owner
    owner.observe("42", DEAD, 1_000_000)
    clock.tick(29)

    assert 30 == owner.observe("42", holder, end)


def test_an_end_that_jitters_is_no_renewal(
    storage: RedisStorage, clock: FrozenDateTimeFactory
) -> None:
    """A server that is slow in a script reports an end some milliseconds away."""
    owner, left = storage.server.owner, []
    for end in (1_000_000, 1_000_020, 999_999):
        left.append(owner.observe("42", DEAD, end))
        clock.tick(15)

    assert [30, 15, 0] == left


@pytest.mark.parametrize(
    ("holder", "expected"),
    [(b"~" + DEAD, RESERVATION / 1000), (b"~abc.7.300", 0.3), (b"5f3b", DAY)],
    ids=["reservation", "short-reservation", "older-version"],
)
def test_a_lease_is_that_of_its_holder(
    storage: RedisStorage, clock: FrozenDateTimeFactory, holder: bytes, expected: float
) -> None:
    """The lease is in the token; the token of an older version is taken for one of our own."""
    assert pytest.approx(expected) == storage.server.owner.observe("42", holder, 0)


def test_a_process_observes_a_limited_number_of_locks(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions that stay busy for ever do not fill the memory of the bot."""
    monkeypatch.setattr("telesession.storage.redis_owner._MANY", 3)
    owner = storage.server.owner
    for number in range(5):
        owner.observe(f"{number}", DEAD, 0)

    assert len(owner._sightings) <= 3


@pytest.mark.parametrize("holder", [b"abc.7.300", b"~abc.7.300"], ids=["lock", "reservation"])
def test_a_killed_holder_is_found_after_a_step_back(
    storage: RedisStorage, admin: redis.Redis, holder: bytes
) -> None:
    """Ten minutes back, a lock of 0.3 s has ten minutes left; the waiter does not wait for them."""
    update(storage)
    admin.set(LOCK, holder, px=300 + 600_000)

    assert 2 == update(storage, lock_timeout=PATIENCE)
    assert {} == storage.server.owner._sightings


def test_without_the_observation_a_step_back_locks_for_minutes(
    storage: RedisStorage, admin: redis.Redis, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a waiter that trusts the clock of the server keeps asking."""
    monkeypatch.setattr(storage.server.owner, "observe", lambda *_: DAY)
    storage.server.patience = 0.05
    admin.set(LOCK, b"abc.7.1", px=1 + 600_000)
    with Monitor(server) as monitor, began(update, storage) as waiter:
        for _ in range(5):
            monitor.next("BLPOP")
        assert not waiter.done()
        admin.delete(LOCK)


def test_waits_shorter_than_a_lease_add_up(
    server: Server, storage: RedisStorage, clock: FrozenDateTimeFactory, admin: redis.Redis
) -> None:
    """Waiters that give up early leave their observation to the next one."""
    admin.set(LOCK, DEAD, px=LEASE + 600_000)
    with ExitStack() as exits:
        other = exits.enter_context(make_storage(server))
        seen = []
        for _ in range(3):
            for each in (storage, other):
                try:
                    seen.append(update(each, lock_timeout=0))
                except Exception as error:
                    seen.append(type(error).__name__)
            clock.tick(15)

    assert ["LockTimeoutError"] * 4 + [1, 2] == seen
