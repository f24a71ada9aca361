"""Who may use a session on a server, and who is next."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import DAY, PATIENCE
from support.counts import count, handle, update
from support.redis_storages import is_left, locks, make_storage, milliseconds_now, read_patiently
from support.servers import Monitor, Server, patient_url, wait_until
from support.storages import WithoutLocks
from support.threads import began
from telesession import LockTimeoutError
from telesession.storage.redis import RedisStorage
from telesession.storage.redis_scripts import milliseconds
from telesession.testing.storage_suite import try_hold
from telesession.testing.threads import in_threads

if TYPE_CHECKING:
    import redis
    from freezegun.api import FrozenDateTimeFactory


def test_a_held_session_is_busy_for_other_processes(
    storage: RedisStorage, other: RedisStorage
) -> None:
    """What one process holds, no thread of another gets; other sessions are free."""
    with storage.hold("42"):
        assert ["busy", "held"] == [try_hold(other, "42"), try_hold(other, "43")]
    assert "held" == try_hold(other, "42")


def test_a_wait_for_another_process_ends_with_its_timeout(
    storage: RedisStorage, other: RedisStorage, server: Server, clock: FrozenDateTimeFactory
) -> None:
    """The time in the queue of the process counts, and the error has the whole of it."""

    def wait() -> tuple[str, float]:
        with pytest.raises(LockTimeoutError) as caught, other.hold("42", 1000):
            pass
        return caught.value.key, caught.value.seconds

    other.process_state.locks.acquire("42")
    with storage.hold("42"), Monitor(server) as monitor, began(wait) as waiter:
        wait_until(lambda: other.process_state.locks.queues.get("42"))
        clock.tick(999.5)
        other.process_state.locks.release("42")
        asked = monitor.next("BLPOP")
        clock.tick(0.5)

    assert "BLPOP {telesession:42}:calls 0.5" == asked
    assert ("42", 1000) == waiter.result()
    assert "held" == try_hold(other, "42")


def test_a_waiter_is_called_and_does_not_poll(
    storage: RedisStorage, other: RedisStorage, server: Server
) -> None:
    """A wait is a question, a silence at the server, and a question when it is called."""
    other.now()
    with Monitor(server) as monitor, ExitStack() as holding:
        holding.enter_context(storage.hold("42"))
        with began(read_patiently, other) as waiter:
            monitor.next("BLPOP")
            during = [monitor.so_far(), waiter.done()]
            holding.close()
        then = monitor.so_far()

    assert ([[], False], ["EVALSHA"] * 3) == (during, then)


@pytest.mark.parametrize(("options", "longest"), [({}, "2.0"), ({"socket_timeout": 3}, "1.5")])
def test_a_silence_is_shorter_than_the_time_out_of_the_client(
    storage: RedisStorage, server: Server, options: dict[str, Any], longest: str
) -> None:
    """Who waits looks again after two seconds, or before its client takes that for a failure."""
    with (
        server.client(**{"socket_timeout": None, **options}) as client,
        Monitor(server) as monitor,
        ExitStack() as holding,
    ):
        holding.enter_context(storage.hold("42"))
        with RedisStorage(client) as waiting, began(read_patiently, waiting):
            asked = monitor.next("BLPOP")
            holding.close()

    assert f"BLPOP {{telesession:42}}:calls {longest}" == asked


def test_the_shortest_silence_is_not_for_ever(
    storage: RedisStorage, other: RedisStorage, server: Server
) -> None:
    """Who has a millisecond left looks again soon, also on Redis 6.2, which takes it for ever."""
    other.server.patience = 0.001
    with Monitor(server) as monitor, ExitStack() as holding:
        holding.enter_context(storage.hold("42"))
        with began(read_patiently, other):
            asked = [monitor.next("BLPOP") for _ in range(2)]
            holding.close()

    assert ["BLPOP {telesession:42}:calls 0.002"] * 2 == asked


def test_a_waiter_reads_what_the_holder_wrote(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """A session is read after its lock is held, not before."""
    with ExitStack() as holding:
        held = holding.enter_context(storage.hold("42"))
        with began(read_patiently, other) as waiter:
            wait_until(lambda: admin.info("clients")["blocked_clients"])
            held.set(b"payload")
            holding.close()

    assert b"payload" == waiter.result()


def test_processes_get_a_session_in_the_order_of_asking(
    server: Server, storage: RedisStorage, lasting_reservations: None
) -> None:
    """Who waits longest is next, and who asks when the holder has left does not overtake."""
    order: list[str] = []

    def take(name: str) -> None:
        with make_storage(server) as one_more:
            one_more.server.patience = PATIENCE
            with one_more.hold("42", PATIENCE):
                order.append(name)

    with ExitStack() as waiting:
        with storage.hold("42"), Monitor(server) as monitor:
            for name in "abcd":
                waiting.enter_context(began(take, name))
                monitor.next("BLPOP")
        with storage.hold("42", PATIENCE):
            order.append("holder, again")

    assert ["a", "b", "c", "d", "holder, again"] == order


def test_one_process_sends_one_waiter(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """However many threads want a session, one of each process waits for it at the server."""
    with ExitStack() as waiting:
        with storage.hold("42"):
            waiters = [waiting.enter_context(began(read_patiently, other)) for _ in range(8)]
            wait_until(lambda: len(other.process_state.locks.queues.get("42") or ()) == 7)
            wait_until(lambda: admin.info("clients")["blocked_clients"])
            assert (1, 1) == (
                admin.info("clients")["blocked_clients"],
                admin.zcard("{telesession:42}:queue"),
            )
            assert 0 < admin.ttl("{telesession:42}:queue") <= 60
        assert [None] * 8 == [waiter.result(PATIENCE) for waiter in waiters]


def test_nothing_is_left_of_waiting(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """After a hand-over, the lock of the one who waited is free, and nobody is in the queue."""
    with ExitStack() as holding:
        holding.enter_context(storage.hold("42"))
        with began(read_patiently, other):
            wait_until(lambda: admin.info("clients")["blocked_clients"])
            holding.close()

    assert [] == admin.keys()
    assert [0, 0] == [len(storage.process_state.locks), len(other.process_state.locks)]


@pytest.mark.parametrize(("lease", "expected"), [(30, 1000), (0.3, 300)])
def test_a_waiter_that_died_after_it_was_called_costs_little(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis, lease: float, expected: int
) -> None:
    """A lock is reserved for whoever was called for a second, or for a lease if that is less."""
    update(storage)
    admin.zadd("{telesession:42}:queue", {"token of the dead": in_a_day()})
    with storage.hold("42"):
        # Not from the start, so that the lock is not lost before it is reserved.
        storage.server.lease = milliseconds(lease)
        begun = milliseconds_now(admin)
    ended = milliseconds_now(admin)
    for part in ("calls", "lock"):
        assert is_left(admin, f"{{telesession:42}}:{part}", expected, begun, ended)
    admin.lpop("{telesession:42}:calls")
    assert 2 == update(other, lock_timeout=PATIENCE)


def test_a_call_that_nobody_hears_holds_up_nobody(
    storage: RedisStorage, admin: redis.Redis, lasting_reservations: None
) -> None:
    """If those in the queue are gone, whoever comes next need not even wait."""
    admin.zadd("{telesession:42}:queue", {"token of the dead": in_a_day()})

    assert [1, 2, 3] == [update(storage, lock_timeout=0) for _ in range(3)]
    assert [b"{telesession:42}:lock"] == locks(admin)
    assert "held" == try_hold(storage, "42")


def test_who_has_stopped_waiting_is_not_called(storage: RedisStorage, admin: redis.Redis) -> None:
    """The queue forgets those whose time to look again is over."""
    admin.zadd("{telesession:42}:queue", {"token of the dead": time.time() * 1000 - 1})
    update(storage)

    assert [] == locks(admin)


def in_a_day() -> float:
    """When somebody in a queue will have looked again, in milliseconds."""
    return (time.time() + DAY) * 1000


def test_many_threads_of_many_clients_lose_no_update(server: Server) -> None:
    """Every update counts, of whatever thread and client, of hot sessions and of cold ones."""

    def work(number: int) -> None:
        with make_storage(server) as storage:
            in_threads([lambda: [update(storage, key) for key in "ab" * 10]] * 3)

    in_threads([lambda: work(1)] * 3)

    with make_storage(server) as storage:
        assert [90, 90] == [count(storage, key) for key in "ab"]


class UnlockedRedisStorage(WithoutLocks, RedisStorage):
    """A storage on a server without locks."""


def read_before_either_writes(session: Any, both_have_read: threading.Barrier) -> None:
    read = session.n
    both_have_read.wait()
    session.n = read + 1


def test_without_the_lock_updates_are_lost(server: Server) -> None:
    """Two processes that read before either writes count one update, if nothing keeps them out."""
    both_have_read = threading.Barrier(2, timeout=PATIENCE)

    def work() -> None:
        with UnlockedRedisStorage(patient_url(server)) as storage:
            handle(storage, lambda session: read_before_either_writes(session, both_have_read))

    in_threads([work, work])

    with make_storage(server) as storage:
        assert 1 == count(storage)
