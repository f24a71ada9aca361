"""Processes that share sessions, in a file or on a server: what they lose, and what survives."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.postgres_storages import FrozenPostgresStorage
from support.processes import (
    COINS,
    KEYS,
    USERS,
    make_purses,
    make_sessions,
    open_storage,
    run,
)
from support.servers import FrozenRedisStorage, patient_url
from telesession import Storage, ttl, ttl_left

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


@pytest.fixture(params=["file", "server", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where nothing is stored yet."""
    if request.param == "file":
        return str(tmp_path / "bot.db")
    if request.param == "postgres":
        return request.getfixturevalue("postgres").url()
    return patient_url(request.getfixturevalue("server"))


def count(storage: Storage, key: int, lock_timeout: float) -> None:
    """What one more handler does."""
    sessions = make_sessions(storage, lock_timeout=lock_timeout)
    with sessions.open(key) as session:
        session.counter += 1


def counters(place: str) -> dict[int, int]:
    """What all handlers have counted, by session."""
    with open_storage(place) as storage:
        sessions = make_sessions(storage)
        return {int(key): sessions.peek(key)["counter"] for key in list(sessions.keys())}


@pytest.mark.parametrize("times", [40, pytest.param(500, marks=pytest.mark.long)])
def test_processes_never_lose_an_update(place: str, times: int) -> None:
    """Increments of 5 sessions by 4 threads in each of 4 processes are counted exactly."""
    outcome = run("count", place, 4, 4, times)

    assert ([0] * 4, 4 * 4 * times) == (outcome["exit codes"], sum(counters(place).values()))


def test_without_a_lock_among_processes_updates_are_lost(place: str) -> None:
    """The control: with locks of one process each, of 4 updates at once at most one counts."""
    outcome = run("count_alone", place, 4, 4, 10)

    assert ([0] * 4, set(range(4))) == (outcome["exit codes"], set(counters(place)))
    assert max(counters(place).values()) <= 10


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.long)])
def test_killed_processes_lose_nothing_that_they_have_acknowledged(place: str, kills: int) -> None:
    """After kills every acknowledged update is there, every record sound, each session free."""
    # A Redis server learns of an end by the lease, a file on Linux at once.
    lease, patience = (0.25, PATIENCE) if "://" in place else (3600, 0)
    outcome = run("kill", place, kills, lease)
    acknowledged = {int(key): number for key, number in outcome["acknowledged"].items()}

    with open_storage(place) as storage:
        for key in acknowledged:
            count(storage, key, patience)
    extra = {key: number - 1 - acknowledged[key] for key, number in counters(place).items()}

    assert set(range(KEYS)) == set(acknowledged)
    assert 0 <= min(extra.values())
    # Each thread that died may have written what it had no time to report.
    assert sum(extra.values()) <= 2 * outcome["died"]


def coins(place: str) -> dict[str, int]:
    """The saved coins of all users."""
    with open_storage(place) as storage:
        purses = make_purses(storage)
        return {key: purses.peek(key)["coins"] for key in sorted(purses.keys())}


@pytest.mark.parametrize("times", [6, pytest.param(60, marks=pytest.mark.long)])
def test_processes_lose_no_coin(place: str, times: int) -> None:
    """Transfers among 6 users by 4 threads in each of 4 processes are done once or undone."""
    outcome = run("transfers", place, 4, 4, times)
    expected = Counter({str(user): COINS for user in range(USERS)})
    expected.update(outcome["got"])

    assert ([0] * 4, dict(expected)) == (outcome["exit codes"], coins(place))


def test_control_without_a_lock_among_processes_coins_are_lost(place: str) -> None:
    """Of four coins that one user gets at once, without locks, three are lost."""
    outcome = run("transfer_alone", place, 4)

    assert ([0] * 4, USERS * COINS - 3) == (outcome["exit codes"], sum(coins(place).values()))


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.long)])
def test_killed_processes_lose_no_coin(place: str, kills: int) -> None:
    """However many processes are killed in their transfers, the sum of all coins stays."""
    outcome = run("kill_transfers", place, kills, 1)

    assert (True, 0) == (outcome["done"] > 0, outcome["ended"])
    assert (USERS, USERS * COINS) == (len(coins(place)), sum(coins(place).values()))


def test_control_a_kill_tears_the_halves_of_a_transfer(place: str) -> None:
    """Where each half is a unit of its own, a process that is killed in between loses a coin."""
    run("die_between_halves", place)

    assert USERS * COINS - 1 == sum(coins(place).values())


def test_every_ttl_state_survives_a_restart(place: str) -> None:
    """After a restart a field has the time that remains, and is gone if it expired meanwhile."""
    run("leave", place)
    with open_storage(place) as storage, make_sessions(storage).open(1) as session:
        left = ttl_left(session, "long")
        assert {"counter": 0, "long": "long", "forever": "forever"} == dict(session)
        assert [None, None] == [ttl_left(session, name) for name in ("forever", "counter")]
        with pytest.raises(AttributeError, match="expired"):
            _ = session.brief

    assert left is not None
    assert 900 < left < 1000


def test_loading_and_saving_does_not_move_a_deadline(
    request: pytest.FixtureRequest, place: str, clock: FrozenDateTimeFactory
) -> None:
    """Ten processes, one after the other, move a deadline by no more than a millisecond."""

    def reopen() -> Storage:
        if place.startswith("postgresql:"):
            return FrozenPostgresStorage(request.getfixturevalue("postgres"), clock)
        if "://" in place:
            return FrozenRedisStorage(request.getfixturevalue("server"), clock)
        return open_storage(place)

    deadlines = []
    payload: Any = {}
    for number in range(10):
        clock.tick(1.234567)
        with reopen() as storage:
            with make_sessions(storage).open(42) as session:
                if not number:
                    session.code = ttl("1234", 300)
                session.counter += 1
            payload = json.loads(storage.get("42") or b"")
            deadlines.append(payload["ttl"]["code"][1])

    assert 10 == payload["fields"]["counter"]
    assert max(deadlines) - min(deadlines) <= 0.001
