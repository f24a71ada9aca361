"""Records that a server or a cache drops while a handler has their sessions."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from cachetools import LRUCache

from support.servers import patient_url
from telesession import LockLostError, MemoryStorage, RedisStorage, Sessions, forget

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from telesession import Storage

LOG = "evicted while held"


class Evicting:
    """A storage that can drop a record, as a full server or cache does."""

    def __init__(self, storage: Storage, client: redis.Redis | None) -> None:
        self.storage = storage
        self._client = client

    def evict(self, name: str) -> None:
        if self._client is not None:
            self._client.delete(name)
            return
        # The cache has room for two records.
        for key in ("other", "another"):
            self.storage.set(key, b"{}")


@pytest.fixture(params=["memory", "redis", "cluster"])
def evicting(request: pytest.FixtureRequest) -> Iterator[Evicting]:
    """A cache of two records, a server and a cluster."""
    with ExitStack() as exits:
        if request.param == "memory":
            yield Evicting(MemoryStorage(LRUCache(2)), None)
        elif request.param == "redis":
            server = request.getfixturevalue("server")
            client = exits.enter_context(server.client())
            yield Evicting(exits.enter_context(RedisStorage(patient_url(server))), client)
        else:
            client = request.getfixturevalue("cluster").client()
            exits.callback(client.close)
            yield Evicting(RedisStorage(client), client)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    """The session and the level of each record about an eviction."""
    return [(str(each.args[0]), each.levelno) for each in caplog.records if LOG in each.message]


def filled(evicting: Evicting, **options: Any) -> Sessions[Any]:
    sessions: Sessions[Any] = Sessions(storage=evicting.storage, **options)
    with sessions.open("ada") as session:
        session.update(name="ada", visits=1)
    return sessions


def test_a_change_is_logged_and_saved(evicting: Evicting, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the key and no value, and the session is stored with all its fields."""
    sessions = filled(evicting)
    with sessions.open("ada") as session:
        evicting.evict("telesession:ada")
        session.visits += 1

    assert [("ada", logging.WARNING)] == logged(caplog)
    assert {"name": "ada", "visits": 2} == sessions.peek("ada")


def test_records_that_stay_are_not_logged(
    evicting: Evicting, caplog: pytest.LogCaptureFixture
) -> None:
    """New sessions, changes and deletions of records that are there log nothing."""
    sessions = filled(evicting)
    for change in ("changes", "deletes", "begins"):
        with sessions.open("ada") as session:
            session.visits = change
            if change == "deletes":
                forget(session)

    assert [] == logged(caplog)


class TestServer:
    @pytest.fixture
    def evicting(self, request: pytest.FixtureRequest) -> Iterator[Evicting]:
        """A server."""
        server = request.getfixturevalue("server")
        with RedisStorage(patient_url(server)) as storage, server.client() as client:
            yield Evicting(storage, client)

    def test_a_renewed_lifetime_is_logged(
        self, evicting: Evicting, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler that only renews the lifetime finds that the record is gone."""
        sessions = filled(evicting, lifetime=3600)
        with sessions.open("ada"):
            evicting.evict("telesession:ada")

        assert (["ada"], None) == ([key for key, _ in logged(caplog)], sessions.peek("ada"))

    def test_a_record_that_nearly_ends_is_not_logged(
        self, evicting: Evicting, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A record whose lifetime ends within a minute may have ended, so it is not logged."""
        sessions = filled(evicting, lifetime=30)
        with sessions.open("ada") as session:
            evicting.evict("telesession:ada")
            session.visits += 1

        assert [] == logged(caplog)

    def test_an_evicted_lock_is_a_lost_lock(
        self, evicting: Evicting, caplog: pytest.LogCaptureFixture
    ) -> None:
        """If the lock is gone as well, nothing is written, and the error says so."""
        sessions = filled(evicting)

        def change() -> None:
            with sessions.open("ada") as session:
                evicting.evict("telesession:ada")
                evicting.evict("{telesession:ada}:lock")
                session.visits += 1

        with pytest.raises(LockLostError):
            change()
        assert ([], None) == (logged(caplog), sessions.peek("ada"))
