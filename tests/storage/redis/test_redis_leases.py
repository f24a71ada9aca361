"""Leases of sessions on a server: who renews them, and what comes of those that are lost."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import DAY, PATIENCE
from support.counts import count, handle, update
from support.redis_storages import (
    WRITES,
    brisk,
    is_left,
    make_storage,
    milliseconds_now,
    renewals,
    use,
    wait_for_renewals,
)
from support.servers import Monitor, Server, patient_url
from telesession import LockLostError, save
from telesession.storage.redis import RedisStorage
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis


@pytest.mark.parametrize("kind", ["server", "cluster"])
def test_a_lease_is_renewed_while_the_handler_runs(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """A handler may take longer than its lease, and nobody else gets in meanwhile."""
    with closing(request.getfixturevalue(kind).client()) as client, ExitStack() as exits:
        storage, other = (
            exits.enter_context(brisk(RedisStorage(client, prefix=f"{kind}:", lease=DAY)))
            for _ in range(2)
        )
        with ExitStack() as holding:
            held = [holding.enter_context(storage.hold(key)) for key in "abcde"]
            wait_for_renewals(client, [f"{kind}:{key}" for key in "abcde"])
            assert ["busy"] * 5 == [try_hold(other, key) for key in "abcde"]
            for each in held:
                each.set(b"payload")
        assert [b"payload"] * 5 == [storage.get(key) for key in "abcde"]


def test_one_thread_renews_all_leases_together(server: Server) -> None:
    """However many sessions are held, there is one thread, and one round trip for all of them."""
    before = renewals()
    with brisk(make_storage(server)) as storage, ExitStack() as holding:
        for number in range(20):
            holding.enter_context(storage.hold(f"{number}"))
        with Monitor(server) as monitor:
            # A round may have begun before the last session was held.
            _, *rounds = [monitor.next("EVALSHA").split() for _ in range(4)]
        assert 1 == len(renewals() - before)

    assert ["20"] * 3 == [words[2] for words in rounds]


def test_updates_share_a_thread(server: Server) -> None:
    """Updates, one after the other, do not start a thread each: it looks thrice in a lease."""
    before = renewals()
    with make_storage(server) as storage:
        for _ in range(20):
            update(storage)
        assert 1 == len(renewals() - before)
        assert DAY / 3 == storage.server.owner.renewal._interval


def test_the_thread_ends_when_nothing_is_held(server: Server) -> None:
    """When the thread comes round and nothing is held it ends, and the next session has another."""
    before = renewals()
    with brisk(make_storage(server)) as storage:
        seen = []
        for _ in range(2):
            with storage.hold("42"):
                seen.extend(renewals() - before)
            for thread in seen:
                thread.join(PATIENCE)

    assert [False, False] == [thread.is_alive() for thread in seen]


def test_close_ends_the_thread(server: Server) -> None:
    """A closed storage leaves no thread behind; used again, it has one again."""
    before = renewals()
    storage = make_storage(server)
    for _ in range(2):
        update(storage)
        (thread,) = renewals() - before
        storage.close()
        thread.join(PATIENCE)

    assert set() == renewals() - before


def test_a_round_that_fails_is_not_the_last(
    server: Server, storage: RedisStorage, admin: redis.Redis
) -> None:
    """What goes wrong with one renewal leaves the next to try again."""
    with brisk(make_storage(server)) as renewing, renewing.hold("42") as held:
        held.set(b"payload")
        token = admin.getset("{telesession:42}:lock", "another token")
        admin.delete("{telesession:42}:lock")
        admin.rpush("{telesession:42}:lock", "something else")
        with Monitor(server) as monitor:
            admin.script_flush()
            monitor.next("EVAL")
            admin.delete("{telesession:42}:lock")
            admin.set("{telesession:42}:lock", token, px=DAY * 1000)
            wait_for_renewals(admin, ["telesession:42"])
        assert "busy" == try_hold(storage, "42")

    assert b"payload" == storage.get("42")


def test_an_update_needs_no_thread(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the interpreter ends no thread can start; handlers that are quick still work."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert [1, 2] == [update(storage) for _ in range(2)]


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("flush", [False, True], ids=["commit", "flush"])
def test_a_holder_without_its_lock_writes_nothing(
    storage: RedisStorage, admin: redis.Redis, write: Callable[[Any], object], flush: bool
) -> None:
    """If the lock is gone at the commit, `LockLostError` names the key and the record stays."""

    def work(held: Any) -> None:
        write(held)
        admin.delete("{telesession:42}:lock")
        if flush:
            held.flush()

    storage.set("42", b"old")
    with pytest.raises(LockLostError) as caught:
        use(storage, work)

    assert "42" == caught.value.key
    assert (b"old", -1) == (storage.get("42"), admin.ttl("telesession:42"))
    assert "held" == try_hold(storage, "42")


@pytest.mark.parametrize("flush", [False, True], ids=["commit", "flush"])
def test_a_late_holder_leaves_the_lock_of_the_next_alone(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis, flush: bool
) -> None:
    """Neither a late commit nor a late renewal touches what belongs to somebody else by then."""
    with ExitStack() as holding:

        def work(held: Any) -> None:
            admin.delete("{telesession:42}:lock")
            holding.enter_context(other.hold("42")).set(b"next")
            admin.persist("{telesession:42}:lock")
            storage.server.renew([(held.token, b"{telesession:42}:lock")])
            held.set(b"late")
            if flush:
                held.flush()

        with pytest.raises(LockLostError):
            use(storage, work)
        assert -1 == admin.pttl("{telesession:42}:lock")

    assert b"next" == storage.get("42")


def test_a_reader_without_its_lock_is_not_troubled(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """Who has nothing to write has nothing to lose."""
    update(storage)
    handle(storage, lambda session: admin.delete("{telesession:42}:lock"))

    assert 1 == count(storage)


def test_a_lost_lock_fails_the_handler(storage: RedisStorage, admin: redis.Redis) -> None:
    """The error arrives, what was saved before stays, and the next update works."""

    def work(session: Any) -> None:
        session.n = 10
        save(session)
        session.n = 20
        admin.delete("{telesession:42}:lock")

    with pytest.raises(LockLostError):
        handle(storage, work)

    assert [10, 11] == [count(storage), update(storage)]


def test_a_lock_is_a_random_token_with_a_lease_of_30_seconds(
    server: Server, admin: redis.Redis
) -> None:
    """Nobody else has the token of a lock, and it ends by itself after half a minute."""
    tokens = set()
    with RedisStorage(patient_url(server)) as storage:
        storage.server.owner.renewal._interval = DAY
        for key in "ab" * 2:
            begun = milliseconds_now(admin)
            with storage.hold(key):
                ended = milliseconds_now(admin)
                tokens.add(admin.get(f"{{telesession:{key}}}:lock"))
                assert is_left(admin, f"{{telesession:{key}}}:lock", 30_000, begun, ended)

    assert [24] * 4 == [len(token) for token in tokens]


def test_a_lease_may_be_a_timedelta(server: Server, admin: redis.Redis) -> None:
    """The lease is what the lock has left when it was just taken."""
    with RedisStorage(patient_url(server), lease=timedelta(minutes=5)) as storage:
        storage.server.owner.renewal._interval = DAY
        begun = milliseconds_now(admin)
        with storage.hold("42"):
            ended = milliseconds_now(admin)
            assert is_left(admin, "{telesession:42}:lock", 300_000, begun, ended)
