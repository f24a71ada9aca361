"""Outages that end: the next update of a process gets its session at once, and no write is lost."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from redis.connection import Connection
from redis.crc import key_slot
from redis.sentinel import Sentinel

from support.clocks import DAY, PATIENCE
from support.counts import count, handle, update
from support.redis_storages import failure, hasty, make_storage
from support.servers import Cluster, RedisWire, Server, patient_url, wait_until
from support.threads import began
from telesession import Sessions
from telesession.storage.redis import RedisStorage
from telesession.storage.redis_scripts import ACQUIRE, COMMIT
from telesession.testing.storage_suite import try_hold
from telesession.testing.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis
    from freezegun.api import FrozenDateTimeFactory


# The leases of these storages last a day: an update that had to wait for one would fail.


def test_a_process_finds_its_own_lock_after_several_failures(
    wire: RedisWire, other: RedisStorage
) -> None:
    """However often the lock failed during an outage, the next update need not wait for a lease."""
    with hasty(make_storage(wire)) as wired:
        update(wired)
        for _ in range(3):
            wire.lose_replies(2)
            assert "lock" == failure(update, wired).action
        # The control: to any other process the session is locked.
        assert "busy" == try_hold(other, "42")
        assert 2 == update(wired, lock_timeout=0)

    assert "held" == try_hold(other, "42")


def tidy(storage: RedisStorage) -> RedisStorage:
    """A hasty storage that unlocks after an outage as often as it can."""
    hasty(storage).server.owner.leftovers._interval = 0.01
    return storage


def test_other_processes_need_not_wait_for_a_lease_either(
    wire: RedisWire, other: RedisStorage
) -> None:
    """A process unlocks in the background after a lock that failed, as soon as it can."""
    with tidy(make_storage(wire)) as wired:
        update(wired)
        wire.lose_replies(2)
        failure(update, wired)
        assert 2 == update(other, lock_timeout=PATIENCE)


@pytest.mark.parametrize("change", [0, 1], ids=["read", "write"])
def test_a_handler_that_could_not_end_locks_out_no_process(change: int) -> None:
    """When its server is back, the session of a failed handler is free for other processes too."""
    with ExitStack() as exits:
        server = exits.enter_context(Server(appendonly="yes", appendfsync="always"))
        storage = exits.enter_context(tidy(make_storage(server)))
        other = exits.enter_context(make_storage(server))
        update(storage)

        def work(session: Any) -> None:
            session.n += change
            server.stop()

        if change:
            failure(lambda storage: handle(storage, work), storage)
        else:
            handle(storage, work)
        server.start()
        assert 2 == update(other, lock_timeout=PATIENCE)


def test_a_leftover_is_given_up_after_its_lease(
    storage: RedisStorage, clock: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stays away is not asked for ever: the lease is over without it."""
    server, owner, asked = storage.server, storage.server.owner, []
    monkeypatch.setattr(owner, "leftovers", LeftoversOfATest())
    monkeypatch.setattr(server, "_evaluate", lambda *args: asked.append(args) or refuse())
    for key in "abc":
        owner.leave(server.names(key), b"token")
    for _ in range(3):
        server.unlock([*owner.leftovers])
        clock.tick(DAY / 2)

    # One question a round, because the server does not answer the others either.
    assert (2, 0) == (len(asked), len(owner.leftovers))


class LeftoversOfATest(set[Any]):
    """The leftovers of an owner, without the thread."""


def test_a_process_finds_its_lock_again_after_a_restart() -> None:
    """A server that comes back with its data has the lock of a failed update, and gives it up."""
    with ExitStack() as exits:
        server = exits.enter_context(Server(appendonly="yes", appendfsync="always"))
        storage, other = (exits.enter_context(hasty(make_storage(server))) for _ in range(2))
        update(storage)

        def work(session: Any) -> None:
            session.n += 1
            server.stop()

        for call in (lambda storage: handle(storage, work), update, update):
            failure(call, storage)
        server.start()
        assert "busy" == try_hold(other, "42")
        assert 2 == update(storage, lock_timeout=0)


def test_a_restart_while_a_handler_runs_is_no_error() -> None:
    """A commit asks again until the server is back, and then it is done."""
    with ExitStack() as exits:
        server = exits.enter_context(Server(appendonly="yes", appendfsync="always"))
        storage = exits.enter_context(make_storage(server))

        def work(session: Any) -> None:
            session.n += 1
            server.stop()
            exits.enter_context(began(server.start))

        handle(storage, work)
        assert [1, 2] == [count(storage), update(storage, lock_timeout=0)]


def test_an_old_lock_of_the_same_process_does_not_take_over_a_newer(
    storage: RedisStorage, other: RedisStorage
) -> None:
    """A question that was on its way for long finds the lock of a later hold, and waits."""
    server = storage.server
    names = server.names("42")
    late = server.owner.next_token()
    with storage.hold("42") as held:
        answer = server.run(ACQUIRE, "lock", "42", 4, *names[:4], late, b"", server.lease, 0)
        held.set(b"payload")

    assert [0, 0, held.token] == answer[:3]
    assert b"payload" == storage.get("42")


@pytest.mark.parametrize("lost", [1, 3, 8])
def test_an_executed_write_is_no_error(wire: RedisWire, storage: RedisStorage, lost: int) -> None:
    """Some lost replies do not matter: the commit is sent again and done once."""
    with make_storage(wire) as wired:
        wired.server.commit_pauses = (0.0,) * 8
        for _ in range(10):
            handle(wired, lambda session: count_and_lose(session, wire, lost))

    assert (10 * lost, 10) == (wire.lost, count(storage))


def count_and_lose(session: Any, wire: RedisWire, lost: int) -> None:
    session.n += 1
    wire.lose_replies(lost)


def test_the_patience_of_a_commit_is_ten_seconds(
    storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit asks again for about ten seconds, and other calls for less than one."""
    server, pauses = storage.server, []
    monkeypatch.setattr("telesession.storage.redis_server.time.sleep", pauses.append)
    update(storage)

    def work(session: Any) -> None:
        session.n += 1
        monkeypatch.setattr(server.owner, "connections", None)
        monkeypatch.setattr(server.client, "execute_command", refuse)

    failure(lambda storage: handle(storage, work), storage)
    waited = sum(pauses)
    failure(lambda storage: storage.get("42"), storage)

    assert 9 < waited < 11
    assert sum(pauses) - waited < 1


def refuse(*_args: object, **_options: object) -> Any:
    raise ConnectionRefusedError("Error 111 connecting to nowhere")


def test_killed_connections_are_no_error(storage: RedisStorage, admin: redis.Redis) -> None:
    """`CLIENT KILL` costs a new connection, before the lock and before the commit."""

    def kill() -> None:
        admin.client_kill_filter(_type="normal", skipme=True)

    def work(session: Any) -> None:
        session.n += 1
        kill()

    for _ in range(20):
        kill()
        handle(storage, work, lock_timeout=0)

    assert 20 == count(storage)


def test_sentinel_fails_over_while_handlers_run() -> None:
    """Eight handlers that ran when the primary died are saved on the new one, without an error."""
    with ExitStack() as exits:
        primary = exits.enter_context(Server(repl_diskless_sync_delay=0))
        address = f"127.0.0.1 {primary.port}"
        replica = exits.enter_context(Server(replicaof=address))
        settings = [
            f"monitor mine {address} 1",
            "down-after-milliseconds mine 100",
            "failover-timeout mine 1000",
        ]
        sentinel = exits.enter_context(Server("sentinel", sentinel=settings))
        successor, watcher = (exits.enter_context(each.client()) for each in (replica, sentinel))
        wait_until(lambda: successor.info("replication")["master_link_status"] == "up")
        wait_until(lambda: watcher.sentinel_slaves("mine"))
        watch = Sentinel([("127.0.0.1", sentinel.port)], socket_timeout=PATIENCE)
        client = exits.enter_context(watch.master_for("mine"))
        storage, other = (exits.enter_context(RedisStorage(client, lease=DAY)) for _ in range(2))
        keys = "abcdefgh"
        for key in keys:
            update(storage, key)
        locks = [f"{{telesession:{key}}}:lock" for key in keys]
        one_at_a_time = threading.Lock()

        def work(session: Any) -> None:
            session.n += 1
            wait_until(lambda: successor.exists(*locks) == len(locks))
            with one_at_a_time:
                primary.stop()

        in_threads([lambda key=key: handle(storage, work, key) for key in keys])
        assert [2] * 8 == [count(storage, key) for key in keys]
        assert "master" == successor.info("replication")["role"]
        assert [3] * 8 == [update(storage, key, lock_timeout=0) for key in keys]
        assert ["held"] * 8 == [try_hold(other, key) for key in keys]


@contextmanager
def moving(cluster: Cluster, slot: int) -> Iterator[Callable[..., None]]:
    """A slot of a cluster that moves from one node to the next, and is back in the end."""
    source = slot * 3 // 2**14
    with ExitStack() as exits:
        clients = [exits.enter_context(node.client()) for node in cluster.nodes]
        ids = [client.cluster("MYID").decode() for client in clients]

        def begin(old: int, new: int) -> None:
            clients[new].cluster("SETSLOT", slot, "IMPORTING", ids[old])
            clients[old].cluster("SETSLOT", slot, "MIGRATING", ids[new])

        def finish(old: int, new: int) -> None:
            names = clients[old].cluster("GETKEYSINSLOT", slot, 100)
            if names:
                port = cluster.nodes[new].port
                clients[old].migrate("127.0.0.1", port, names, 0, PATIENCE * 1000)
            for number in (new, old, 3 - new - old):
                clients[number].cluster("SETSLOT", slot, "NODE", ids[new])

        target = (source + 1) % 3
        steps = {"begin": begin, "finish": finish}
        try:
            yield lambda step: steps[step](source, target)
        finally:
            begin(target, source)
            finish(target, source)


@pytest.mark.parametrize("during", ["lock", "commit"])
def test_a_slot_that_moves_is_no_error(cluster: Cluster, during: str) -> None:
    """An update goes on when its slot has moved, also if it asked in the middle of the move."""
    with closing(cluster.client()) as client, ExitStack() as exits:
        storage = exits.enter_context(RedisStorage(client, prefix=f"{during}:", lease=DAY))
        storage.server.pauses = storage.server.commit_pauses
        update(storage)
        slot = key_slot(f"{during}:42".encode())
        move = exits.enter_context(moving(cluster, slot))
        admins = [exits.enter_context(node.client()) for node in cluster.nodes]
        for admin in admins:
            admin.config_resetstat()

        def move_slot() -> None:
            move("begin")
            exits.enter_context(began(finish_when_refused))

        def finish_when_refused() -> None:
            wait_until(
                lambda: any("errorstat_TRYAGAIN" in each.info("errorstats") for each in admins)
            )
            move("finish")

        def work(session: Any) -> None:
            session.n += 1
            if during == "commit":
                move_slot()

        if during == "lock":
            move_slot()
        handle(storage, work, lock_timeout=0)
        assert 2 == count(storage)
        assert 3 == update(storage, lock_timeout=0)


# The mark of an executed commit.


def test_the_marks_of_commits_are_few_and_short_lived(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """200 updates of ten sessions by two processes leave ten small keys for half a minute."""
    for number in range(100):
        for each in (storage, other):
            update(each, f"{number % 10}")
    marks = list(admin.scan_iter("*}:*"))

    assert {b"{telesession:%d}:done" % number for number in range(10)} == set(marks)
    assert [2] * 10 == [admin.hlen(mark) for mark in marks]
    assert all(0 < admin.pttl(mark) <= 30_000 for mark in marks)


def test_a_session_that_is_only_read_leaves_no_mark(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """A handler that changes nothing leaves nothing beside the record."""
    storage.set("42", b"payload")
    with storage.hold("42"):
        pass

    assert [b"telesession:42"] == admin.keys()


def test_the_mark_of_a_session_with_many_processes_stays_small(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """The mark forgets the oldest owner when it has more than a hundred."""
    mark = "{telesession:42}:done"
    admin.hset(mark, mapping={f"{number}": 1 for number in range(100)})
    update(storage)

    assert 100 == admin.hlen(mark)
    assert admin.hexists(mark, storage.server.owner.name)


def test_a_commit_is_recognised_by_its_own_number(storage: RedisStorage) -> None:
    """A commit that was done is not done again; the next one of the same process is."""
    server, names = storage.server, storage.server.names("42")

    def commit(number: int, payload: bytes) -> int:
        args = (server.owner.name, number, server.lease, "", "", 1, held.token, "set", "", payload)
        answer: int = server.run_commit(COMMIT, "write", "42", 5, *names, *args)
        return answer

    with storage.hold("42") as held:
        seen = [commit(*each) for each in ((100, b"first"), (100, b"again"), (101, b"second"))]
        payload = storage.get("42")

    assert ([0, 0, 0], b"second") == (seen, payload)


def test_an_interrupted_connection_gives_nobody_the_reply_of_another(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    One person's data never reaches another's handler, also after Ctrl-C while a client connects.

    redis-py 8.1.0 puts a connection that was interrupted before its reply back into its pool.
    """
    with RedisStorage(patient_url(server)) as storage:
        sessions = Sessions(storage=storage)
        for who in ("anna", "boris", "carla"):
            with sessions.open(who) as session:
                session.who = who
        storage.server.owner.connections.drop_idle()  # type: ignore[union-attr]
        read, interrupts = Connection.read_response, [KeyboardInterrupt]

        def interrupted(self: Any, *args: Any, **kwargs: Any) -> Any:
            if interrupts:
                raise interrupts.pop()
            return read(self, *args, **kwargs)

        monkeypatch.setattr(Connection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt), sessions.open("anna"):
            pass
        seen = []
        for who in ("boris", "carla", "boris", "carla"):
            with sessions.open(who) as session:
                seen.append(session.who)

    assert (["boris", "carla"] * 2, []) == (seen, interrupts)
