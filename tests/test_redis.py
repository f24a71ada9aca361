"""`RedisStorage` on real servers: what it costs, whom it lets in, and what cannot break it."""

from __future__ import annotations

import importlib.util
import itertools
import math
import pickle
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import clocks
import pytest
import redis
import redis.asyncio
from clocks import PATIENCE
from hypothesis import given, settings, strategies as st
from redis.backoff import NoBackoff
from redis.cache import CacheConfig
from redis.crc import key_slot
from redis.retry import Retry
from redis.sentinel import Sentinel
from redis_server import (
    Cluster,
    FrozenRedisStorage,
    Monitor,
    Server,
    ServerClock,
    Wire,
    wait_until,
)
from test_storage import FrozenClockSuite

from telesession import (
    LockLostError,
    LockTimeoutError,
    Sessions,
    Storage,
    StorageError,
    forget,
    save,
    ttl,
    ttl_left,
)
from telesession.storage.base import Hold
from telesession.storage.redis import RedisStorage
from telesession.testing.storage_suite import FOR_AGES, StorageSuite, in_threads, try_hold

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

clock = clocks.clock

SECRET = "hunter2"
UPDATE = ["EVALSHA", "EVALSHA"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def server(server: Server) -> Server:
    """A server that has nothing stored, but knows the scripts."""
    with RedisStorage(server.url) as storage, server.client() as client:
        update(storage)
        client.flushall()
    return server


@pytest.fixture
def storage(server: Server) -> Iterator[RedisStorage]:
    with RedisStorage(server.url) as storage:
        storage.now()
        yield storage


@pytest.fixture
def other(server: Server) -> Iterator[RedisStorage]:
    """What another process has: a storage with a client and a lock table of its own."""
    with RedisStorage(server.url) as storage:
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
def wire(server: Server) -> Iterator[Wire]:
    with closing(Wire(server)) as wire:
        yield wire


def handle(storage: Storage, work: Callable[[Any], Any], key: str = "42", **options: Any) -> Any:
    """Let a handler work with a session that begins with a counter."""
    with Sessions(initial=lambda: {"n": 0}, storage=storage, **options).open(key) as session:
        return work(session)


def update(storage: Storage, key: str = "42", **options: Any) -> int:
    """Let a handler count."""

    def work(session: Any) -> int:
        session.n += 1
        return session.n

    return handle(storage, work, key, **options)


def count(storage: Storage, key: str = "42") -> int | None:
    """What an update has counted up to, as it is stored."""
    fields = Sessions(storage=storage).peek(key)
    return None if fields is None else fields["n"]


def locks(client: Any) -> list[bytes]:
    return list(client.scan_iter("*:lock"))


@contextmanager
def began(target: Callable[..., Any], *args: Any) -> Iterator[Any]:
    """A call that goes on in a thread while the block runs, and must return in the end."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(target, *args)
        yield future
        future.result(PATIENCE)


def use(storage: Storage, work: Callable[[Any], Any], key: str = "42") -> Any:
    """Let somebody work with a key that is held."""
    with storage.hold(key, PATIENCE) as held:
        return work(held)


def read_patiently(storage: Storage) -> bytes | None:
    return use(storage, lambda held: held.get())


def brisk(storage: RedisStorage) -> RedisStorage:
    """A storage that renews leases as often as it can."""
    storage._renewal._interval = 0.01
    return storage


def wait_for_renewals(client: Any, names: list[str]) -> None:
    """Bring leases close to their ends, again and again, and wait until all are renewed."""
    for _ in range(3):
        for name in names:
            client.pexpire(f"{{{name}}}:lock", 5000)
        wait_until(lambda: all(client.pttl(f"{{{name}}}:lock") > 5000 for name in names))


# The contract of every storage.


@pytest.fixture(scope="module", params=["url", "decode_responses", "resp2", "cluster"])
def clients(request: pytest.FixtureRequest) -> Iterator[tuple[Any, list[redis.Redis]]]:
    """What leads to a server, and a client of each of its nodes."""
    kind = "cluster" if request.param == "cluster" else "running_server"
    target: Any = request.getfixturevalue(kind)
    options = {"decode_responses": request.param != "url", "protocol": 3}
    if request.param == "resp2":
        options["protocol"] = 2
    with ExitStack() as closing:
        servers = target.nodes if request.param == "cluster" else [target]
        nodes = [closing.enter_context(server.client()) for server in servers]
        way = target.url if request.param == "url" else target.client(**options)
        if request.param != "url":
            closing.callback(way.close)
        yield way, nodes


class TestServersAndClusters(StorageSuite):
    """Every promise of a storage holds on a server, whatever client leads to it."""

    second = 1.0
    margin = 1e-6
    ages = FOR_AGES / 2

    @pytest.fixture
    def storage(self, clients: tuple[Any, list[redis.Redis]]) -> Iterator[Storage]:
        way, nodes = clients
        for node in nodes:
            node.flushall()
        self.clock = ServerClock(*nodes)
        with RedisStorage(way) as storage:
            yield storage

    def tick(self, seconds: float) -> None:
        self.clock.tick(seconds)


class TestAServerWhoseTimeStandsStill(FrozenClockSuite):
    """Tests that stop the time of a server do so without breaking a promise."""

    @pytest.fixture
    def storage(self, frozen_storage: FrozenRedisStorage) -> Storage:
        return frozen_storage


@pytest.mark.parametrize("call", ["set", "touch"])
def test_a_lifetime_of_nothing_deletes_in_a_hold(storage: RedisStorage, call: str) -> None:
    """In a hold too, a record with a lifetime of 0 s is not there."""
    storage.set("42", b"old")
    with storage.hold("42") as held:
        getattr(held, call)(*[b"new"] * (call == "set"), 0)
        assert held.get() is None

    assert storage.get("42") is None


def test_a_lifetime_may_be_as_long_as_a_float(storage: RedisStorage, admin: redis.Redis) -> None:
    """A lifetime that a server could not count is as long as it can."""
    storage.set("42", b"payload", 1e300)
    with storage.hold("43") as held:
        held.set(b"payload", 1e300)

    assert [True, True] == [admin.pttl(f"telesession:{key}") > 1e15 for key in (42, 43)]


# What it costs.


def change(session: Any) -> None:
    session.n += 1


def change_a_field_with_a_lifetime(session: Any) -> None:
    session.code = ttl("1234", 300)


def save_twice(session: Any) -> None:
    for _ in range(2):
        session.n += 1
        save(session)


@pytest.mark.parametrize(
    ("work", "options", "expected"),
    [
        pytest.param(change, {}, UPDATE, id="write"),
        pytest.param(change, {"lifetime": 60}, UPDATE, id="write-with-lifetime"),
        pytest.param(change_a_field_with_a_lifetime, {}, UPDATE, id="write-field-with-lifetime"),
        pytest.param(len, {}, UPDATE, id="read"),
        pytest.param(len, {"lifetime": 60}, UPDATE, id="touch"),
        pytest.param(forget, {}, UPDATE, id="delete"),
        pytest.param(save_twice, {}, [*UPDATE, *UPDATE], id="save-twice"),
    ],
)
@pytest.mark.parametrize("stored", [False, True], ids=["new", "stored"])
def test_an_update_takes_two_round_trips(
    server: Server,
    work: Callable[[Any], object],
    options: dict[str, Any],
    expected: list[str],
    stored: bool,
) -> None:
    """One script locks and reads, one writes and unlocks; each `save` adds one."""
    with RedisStorage(server.url) as storage:
        update(storage, "another", **options)
        if stored:
            update(storage, **options)
        with Monitor(server) as monitor:
            handle(storage, work, **options)
            assert expected == monitor.so_far()


def test_a_hold_that_writes_nothing_unlocks_all_the_same(
    storage: RedisStorage, server: Server, admin: redis.Redis
) -> None:
    """The second round trip is there without a write, too; nothing stays on the server."""
    with Monitor(server) as monitor:
        with storage.hold("42"):
            assert [b"{telesession:42}:lock"] == admin.keys()
        assert ["EVALSHA", "KEYS", "EVALSHA"] == monitor.so_far()

    assert [] == admin.keys()


def test_a_handler_that_raises_takes_two_round_trips(storage: RedisStorage, server: Server) -> None:
    """Changes that are not to be saved are not sent, either."""

    def work(session: Any) -> None:
        session.n += 1
        raise ZeroDivisionError

    with Monitor(server) as monitor:
        with pytest.raises(ZeroDivisionError):
            handle(storage, work)
        assert UPDATE == monitor.so_far()

    assert storage.get("42") is None


def test_a_cluster_takes_two_round_trips_as_well(cluster: Cluster) -> None:
    """Lock and record are at the same node, so that one script reaches both."""
    with closing(cluster.client()) as client:
        storage = RedisStorage(client)
        for number in range(30):
            update(storage, f"{number}")
        with ExitStack() as watching:
            monitors = [watching.enter_context(Monitor(node)) for node in cluster.nodes]
            update(storage)
            seen = [monitor.so_far() for monitor in monitors]

    assert [[], [], UPDATE] == sorted(seen)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda storage: storage.get("42"), ["GET"]),
        (lambda storage: storage.set("42", b"payload"), ["SET"]),
        (lambda storage: storage.set("42", b"payload", 10), ["SET"]),
        (lambda storage: storage.set("42", b"payload", 0), ["GETDEL"]),
        (lambda storage: storage.delete("42"), ["GETDEL"]),
        (lambda storage: storage.touch("42", 10), ["GETEX"]),
        (lambda storage: storage.touch("42", None), ["GETEX"]),
        (lambda storage: storage.touch("42", 0), ["GETDEL"]),
        (lambda storage: storage.has("42"), ["GET"]),
        (lambda storage: storage.now(), ["TIME"]),
    ],
)
def test_what_is_asked_without_a_lock_is_one_command(
    storage: RedisStorage, server: Server, call: Callable[[Storage], object], expected: list[str]
) -> None:
    """Every method but `hold` and `keys` sends one command."""
    storage.get("warm-up")
    with Monitor(server) as monitor:
        call(storage)
        assert expected == monitor.so_far()


def test_every_command_is_known_to_redis_6_2(
    storage: RedisStorage, server: Server, admin: redis.Redis
) -> None:
    """Neither methods nor scripts need a command that is younger than Redis 6.2."""
    admin.config_resetstat()
    for call in CALLS.values():
        call(storage)
    with storage.hold("42") as held:
        held.set(b"payload", 60)
        held.flush()
        held.touch(None)
        admin.zadd("{telesession:42}:queue", {"token": time.time() * 1000 + 60_000})
    with storage.hold("42", PATIENCE), brisk(RedisStorage(admin)).hold("43"):
        wait_for_renewals(admin, ["telesession:43"])
        with pytest.raises(LockTimeoutError), RedisStorage(admin).hold("42", 0.01):
            pass
    names = [name.removeprefix("cmdstat_") for name in admin.info("commandstats")]
    used = {name for name in names if "|" not in name}
    with server.client(protocol=3, decode_responses=True) as client:
        # Before 7.0 a server could not tell how old its commands are; it has just known them all.
        can_tell = client.info("server")["redis_version"] >= "7"
        docs = client.execute_command("COMMAND DOCS", *used) if can_tell else {}
    ages = {name: [*map(int, doc["since"].split("."))] for name, doc in docs.items()}
    young = {name for name, since in ages.items() if since > [6, 2, 0]}

    assert {"evalsha", "blpop", "getex", "getdel", "rpush", "zcount", "pttl", "persist"} <= used
    assert set() == young


def test_keys_asks_step_by_step(storage: RedisStorage, server: Server, admin: redis.Redis) -> None:
    """`keys` lets the server look at some of its keys, and at more when those are used up."""
    names = {f"telesession:{number}": b"" for number in range(3000)}
    admin.mset({**names, "elsewhere": b"", "{telesession:42}:lock": b"token"})
    with Monitor(server) as monitor:
        keys = storage.keys()
        assert [] == monitor.so_far()
        first = next(keys)
        assert ["SCAN"] == monitor.so_far()
        rest = list(keys)
        assert set(monitor.so_far()) == {"SCAN"}

    assert sorted(map(str, range(3000))) == sorted([first, *rest])


def test_keys_gives_each_key_once(storage: RedisStorage, admin: redis.Redis) -> None:
    """A server that rearranges its table while it is asked repeats itself; `keys` does not."""
    stored = {f"{number}" for number in range(30_000)}
    admin.mset({f"telesession:{key}": b"" for key in stored})
    keys = storage.keys()
    seen = list(itertools.islice(keys, 400))
    admin.delete(*(f"telesession:{key}" for key in stored - set(seen)))
    seen.extend(keys)

    assert len(seen) == len(set(seen))


# Who may use a session when.


def test_a_held_session_is_busy_for_other_processes(
    storage: RedisStorage, other: RedisStorage
) -> None:
    """What one process holds, no thread of another gets; other sessions are free."""
    with storage.hold("42"):
        assert ["busy", "held"] == [try_hold(other, "42"), try_hold(other, "43")]
    assert "held" == try_hold(other, "42")


def test_a_wait_for_another_process_ends_with_its_timeout(
    storage: RedisStorage, other: RedisStorage
) -> None:
    """The time in the queue of the process counts, and the error has the whole of it."""

    def wait(seconds: float) -> tuple[str, float, bool]:
        wait_until(lambda: seconds < 1 or len(other._locks))
        begun = time.monotonic()
        with pytest.raises(LockTimeoutError) as caught, other.hold("42", seconds):
            pass
        took = time.monotonic() - begun
        return caught.value.key, caught.value.seconds, seconds <= took < seconds + 0.5

    with storage.hold("42"):
        seen = in_threads([lambda seconds=seconds: wait(seconds) for seconds in (0.6, 0.6, 1)])

    assert [("42", 0.6, True), ("42", 0.6, True), ("42", 1, True)] == seen
    assert "held" == try_hold(other, "42")


@pytest.mark.parametrize(("options", "longest"), [({}, "2.0"), ({"socket_timeout": 3}, "1.5")])
def test_a_waiter_is_called_and_does_not_poll(
    storage: RedisStorage, server: Server, options: dict[str, Any], longest: str
) -> None:
    """
    A wait is a question, a silence at the server, and a question when it is called.

    The silence is shorter than the client's time-out, so that it does not take it for a failure.
    """
    with (
        server.client(**{"socket_timeout": None, **options}) as client,
        Monitor(server) as monitor,
        ExitStack() as holding,
    ):
        holding.enter_context(storage.hold("42"))
        with began(read_patiently, RedisStorage(client)) as waiter:
            asked = monitor.next("BLPOP")
            during = [monitor.so_far(), waiter.done()]
            holding.close()
        then = monitor.so_far()

    assert f"BLPOP {{telesession:42}}:calls {longest}" == asked
    assert ([[], False], ["EVALSHA"] * 3) == (during, then)


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
    server: Server, storage: RedisStorage
) -> None:
    """Who waits longest is next, and who asks when the holder has left does not overtake."""
    order: list[str] = []

    def take(name: str) -> None:
        with RedisStorage(server.url) as one_more, one_more.hold("42", PATIENCE):
            order.append(name)

    with ThreadPoolExecutor(4) as pool, Monitor(server) as monitor:
        with storage.hold("42"):
            for name in "abcd":
                pool.submit(take, name)
                monitor.next("BLPOP")
        with storage.hold("42", PATIENCE):
            order.append("holder, again")

    assert ["a", "b", "c", "d", "holder, again"] == order


def test_one_process_sends_one_waiter(
    storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """However many threads want a session, one of each process waits for it at the server."""
    with ThreadPoolExecutor(8) as pool:
        with storage.hold("42"):
            waiters = [pool.submit(read_patiently, other) for _ in range(8)]
            wait_until(lambda: len(other._locks._waiters["42"] or ()) == 7)
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
    assert [0, 0] == [len(storage._locks), len(other._locks)]


def milliseconds_now(admin: redis.Redis) -> float:
    seconds, microseconds = admin.time()
    return seconds * 1000 + microseconds / 1000


@pytest.mark.parametrize(("lease", "expected"), [(30, 1000), (0.3, 300)])
def test_a_waiter_that_died_after_it_was_called_costs_little(
    server: Server, admin: redis.Redis, lease: float, expected: int
) -> None:
    """A lock is reserved for whoever was called for a second, or for a lease if that is less."""
    with RedisStorage(server.url, lease=lease) as storage:
        update(storage)
        admin.zadd("{telesession:42}:queue", {"token of the dead": time.time() * 1000 + 60_000})
        with storage.hold("42"):
            begun = milliseconds_now(admin)
        ended = milliseconds_now(admin)
        for part in ("calls", "lock"):
            earliest = milliseconds_now(admin)
            left = admin.pttl(f"{{telesession:42}}:{part}")
            latest = milliseconds_now(admin)
            assert earliest + left <= ended + expected + 1
            assert begun + expected <= latest + left + 1
        admin.lpop("{telesession:42}:calls")
        assert 2 == update(storage, lock_timeout=10)


def test_a_call_that_nobody_hears_holds_up_nobody(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """If those in the queue are gone, whoever comes next need not even wait."""
    admin.zadd("{telesession:42}:queue", {"token of the dead": time.time() * 1000 + 60_000})

    assert [1, 2, 3] == [update(storage, lock_timeout=0) for _ in range(3)]
    assert [b"{telesession:42}:lock"] == locks(admin)
    assert "held" == try_hold(storage, "42")


def test_who_has_stopped_waiting_is_not_called(storage: RedisStorage, admin: redis.Redis) -> None:
    """The queue forgets those whose time to look again is over."""
    admin.zadd("{telesession:42}:queue", {"token of the dead": time.time() * 1000 - 1})
    update(storage)

    assert [] == locks(admin)


def test_many_threads_of_many_clients_lose_no_update(server: Server) -> None:
    """Every update counts, of whatever thread and client, of hot sessions and of cold ones."""

    def work(number: int) -> None:
        with RedisStorage(server.url) as storage:
            in_threads([lambda: [update(storage, key) for key in "ab" * 10]] * 3)

    in_threads([lambda: work(1)] * 3)

    with RedisStorage(server.url) as storage:
        assert [90, 90] == [count(storage, key) for key in "ab"]


class LocksNothing(RedisStorage):
    """The control: a storage that reads and writes like the other, but keeps nobody out."""

    def hold(self, key: str, timeout: float | None = None) -> Any:
        return Hold(self, key, timeout)


def read_before_either_writes(session: Any, both_have_read: threading.Barrier) -> None:
    read = session.n
    both_have_read.wait()
    session.n = read + 1


def test_without_the_lock_updates_are_lost(server: Server) -> None:
    """Two processes that read before either writes count one update, if nothing keeps them out."""
    both_have_read = threading.Barrier(2, timeout=PATIENCE)

    def work() -> None:
        with LocksNothing(server.url) as storage:
            handle(storage, lambda session: read_before_either_writes(session, both_have_read))

    in_threads([work, work])

    with RedisStorage(server.url) as storage:
        assert 1 == count(storage)


# Processes.


PROCESS = """
import sys, time
from telesession import LockLostError, Sessions
from telesession.storage.redis import RedisStorage

storage = RedisStorage(sys.argv[1], lease=float(sys.argv[2]))
counters = Sessions(initial=lambda: {"n": 0}, storage=storage)
print("ready", flush=True)
"""


class Process:
    """Another Python with a storage, which runs some code of its own."""

    def __init__(self, server: Server, body: str, lease: float = 30) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROCESS + body, server.url, str(lease)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self) -> str:
        return self._process.stdout.readline().strip()

    def write(self, line: str = "go") -> None:
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        assert "ready" == self.read()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def test_a_hand_over_between_processes_is_prompt(
    server: Server, storage: RedisStorage, admin: redis.Redis
) -> None:
    """Half of the waiters have the session less than 20 ms after its holder has left."""
    body = """
while sys.stdin.readline():
    with storage.hold("42"):
        print(time.monotonic(), flush=True)
"""
    delays = []
    with Process(server, body) as process:
        for _ in range(15):
            with storage.hold("42"):
                process.write()
                wait_until(lambda: admin.info("clients")["blocked_clients"])
                left = time.monotonic()
            delays.append(float(process.read()) - left)

    assert statistics.median(delays) < 0.02


HOLD = """
with counters.open("42") as session:
    session.n += 1
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_session_of_a_killed_holder_is_free_within_the_lease(
    server: Server, storage: RedisStorage, admin: redis.Redis
) -> None:
    """Nobody unlocks after SIGKILL, so the lease does: not earlier, and hardly later."""
    update(storage)
    with Process(server, HOLD, lease=1) as process:
        assert "held" == process.read()
        process.signal(signal.SIGKILL)
        assert "busy" == try_hold(storage, "42")
        assert 0 < admin.pttl("{telesession:42}:lock") <= 1000
        assert 2 == update(storage, lock_timeout=2)


def test_a_killed_waiter_holds_up_nobody(
    server: Server, storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """A server knows who has gone: the next in the queue is called."""

    def waiters() -> int:
        return admin.info("clients")["blocked_clients"]

    with ExitStack() as holding:
        # Held before the process starts, which would else be the holder now and then.
        holding.enter_context(storage.hold("42"))
        other.now()
        process = holding.enter_context(Process(server, HOLD))
        wait_until(waiters)
        process.signal(signal.SIGKILL)
        wait_until(lambda: not waiters())
        with Monitor(server) as monitor:
            with began(read_patiently, other):
                wait_until(waiters)
                holding.close()
            seen = [name for name in monitor.so_far() if name != "INFO"]
    # Whoever is not called looks again by itself, which would be one more question.
    assert ["EVALSHA", "BLPOP", "EVALSHA", "EVALSHA", "EVALSHA"] == seen


def test_a_holder_that_slept_through_its_lease_writes_nothing(
    server: Server, storage: RedisStorage
) -> None:
    """A process that was stopped for too long finds its lock lost; what others wrote stays."""
    body = f"""
try:
    {HOLD.strip().replace(chr(10), chr(10) + "    ")}
except LockLostError as error:
    print(error.key)
"""
    with Process(server, body, lease=0.3) as process:
        assert "held" == process.read()
        process.signal(signal.SIGSTOP)
        assert 1 == update(storage)
        payload = storage.get("42")
        process.signal(signal.SIGCONT)
        process.write()
        assert "42" == process.read()

    assert payload == storage.get("42")


def test_a_forked_process_starts_with_nothing_held(
    server: Server, storage: RedisStorage, admin: redis.Redis
) -> None:
    """A storage made before a fork works after it: its locks are free, its thread runs anew."""
    body = """
import os, warnings

# Later Pythons warn of forks where threads run; this is about what happens then.
warnings.simplefilter("ignore", DeprecationWarning)
held = storage.hold("42")
held.__enter__()
child = os.fork()
if child:
    held.__exit__(None, None, None)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
storage._renewal._interval = 0.01
with storage.hold("42", 20), counters.open("43") as session:
    session.n += 1
    print("held", flush=True)
    sys.stdin.readline()
print("left", flush=True)
os._exit(0)
"""
    with Process(server, body) as process:
        assert "held" == process.read()
        wait_for_renewals(admin, ["telesession:42", "telesession:43"])
        process.write()
        assert "left" == process.read()
    assert 1 == count(storage, "43")


# Leases.


def renewals() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "telesession-renewal"}


@pytest.mark.parametrize("kind", ["server", "cluster"])
def test_a_lease_is_renewed_while_the_handler_runs(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """A handler may take longer than its lease, and nobody else gets in meanwhile."""
    with closing(request.getfixturevalue(kind).client()) as client:
        storage, other = (brisk(RedisStorage(client, prefix=f"{kind}:")) for _ in range(2))
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
    with brisk(RedisStorage(server.url)) as storage, ExitStack() as holding:
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
    with RedisStorage(server.url) as storage:
        for _ in range(20):
            update(storage)
        assert 1 == len(renewals() - before)
        assert 10 == storage._renewal._interval


def test_the_thread_ends_when_nothing_is_held(server: Server) -> None:
    """When the thread comes round and nothing is held it ends, and the next session has another."""
    before = renewals()
    with brisk(RedisStorage(server.url)) as storage:
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
    storage = RedisStorage(server.url)
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
    with brisk(RedisStorage(server.url)) as renewing, renewing.hold("42") as held:
        held.set(b"payload")
        token = admin.getset("{telesession:42}:lock", "another token")
        admin.delete("{telesession:42}:lock")
        admin.rpush("{telesession:42}:lock", "something else")
        with Monitor(server) as monitor:
            admin.script_flush()
            monitor.next("EVAL")
            admin.delete("{telesession:42}:lock")
            admin.set("{telesession:42}:lock", token, px=5000)
            wait_for_renewals(admin, ["telesession:42"])
        assert "busy" == try_hold(storage, "42")

    assert b"payload" == storage.get("42")


def test_an_update_needs_no_thread(storage: RedisStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the interpreter ends no thread can start; handlers that are quick still work."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert [1, 2] == [update(storage) for _ in range(2)]


WRITES: dict[str, Callable[[Any], object]] = {
    "set": lambda held: held.set(b"mine"),
    "touch": lambda held: held.touch(60),
    "delete": lambda held: held.delete(),
}


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
            admin.pexpire("{telesession:42}:lock", 5000)
            storage._renew([(held._token, b"{telesession:42}:lock")])
            held.set(b"late")
            if flush:
                held.flush()

        with pytest.raises(LockLostError):
            use(storage, work)
        assert 4000 < admin.pttl("{telesession:42}:lock") <= 5000

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


def test_a_record_may_expire_while_it_is_held(
    frozen_storage: FrozenRedisStorage, clock: FrozenDateTimeFactory
) -> None:
    """A holder notices, without asking, that the record which it has read is no more."""
    frozen_storage.set("42", b"payload", 10)
    with frozen_storage.hold("42") as held:
        assert b"payload" == held.get()
        clock.tick(10)
        assert [None, False, False] == [held.get(), held.touch(60), held.delete()]


def test_a_handler_may_take_longer_than_its_session_lives(
    frozen_storage: FrozenRedisStorage, clock: FrozenDateTimeFactory
) -> None:
    """A session lives from its last use, and that is when the handler returns."""
    assert 1 == update(frozen_storage, lifetime=10)
    handle(frozen_storage, lambda session: clock.tick(10), lifetime=60)
    seen = []
    for seconds in (59, 1):
        clock.tick(seconds)
        seen.append(count(frozen_storage))

    assert [1, None] == seen


def test_a_server_ends_a_lifetime_by_itself(storage: RedisStorage) -> None:
    """What has a lifetime is gone when the server's own time has come, however it got it."""
    storage.set("set", b"payload", 0.01)
    storage.set("touched", b"payload", 60)
    storage.touch("touched", 0.01)
    for key in ("set in a hold", "touched in a hold"):
        with storage.hold(key) as held:
            held.set(b"payload", 0.01 if key.startswith("set") else 60)
            if key.startswith("touched"):
                held.flush()
                held.touch(0.01)
    wait_until(lambda: [] == list(storage.keys()))

    keys = ("set", "touched", "set in a hold", "touched in a hold")
    assert [None] * 4 == [storage.get(key) for key in keys]


# Replies that are lost, and servers that refuse, hang, restart, or are full.


@pytest.mark.parametrize("lost", ["lock", "commit"])
@pytest.mark.parametrize("options", [{}, {"lifetime": 60}], ids=["for-ever", "with-lifetime"])
def test_a_lost_reply_does_not_count_twice(
    wire: Wire, storage: RedisStorage, lost: str, options: dict[str, Any]
) -> None:
    """What redis-py sends again after a lost reply is done once, and nothing looks lost."""

    def work(session: Any) -> None:
        session.n += 1
        if lost == "commit":
            wire.lose_replies()

    with RedisStorage(wire.url) as wired:
        update(wired, **options)
        if lost == "lock":
            wire.lose_replies()
        handle(wired, work, lock_timeout=0, **options)

    assert (1, 2) == (wire.lost, count(storage))
    assert "held" == try_hold(storage, "42")


def test_a_lost_reply_is_not_a_lost_lock(
    wire: Wire, storage: RedisStorage, admin: redis.Redis
) -> None:
    """Even if the next holder has come and gone before the commit is sent again, both count."""

    def work(session: Any) -> None:
        session.n += 1
        wire.lose_replies(then=lambda: update(storage))

    with RedisStorage(wire.url) as wired:
        update(wired)
        handle(wired, work)

    assert (1, 3) == (wire.lost, count(storage))
    assert [] == locks(admin)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("flush", [False, True], ids=["commit", "flush"])
def test_whatever_is_written_is_written_once(
    wire: Wire, storage: RedisStorage, write: Callable[[Any], object], flush: bool
) -> None:
    """A reply may be lost to any commit; what the next holder did is not undone."""
    storage.set("42", b"old")
    with RedisStorage(wire.url) as wired, wired.hold("42") as held:
        write(held)
        if flush:
            wire.lose_replies()
            held.flush()
            assert 1 == wire.lost
            held.set(b"mine again")
        wire.lose_replies(then=lambda: storage.set("42", b"next"))

    assert b"next" == storage.get("42")


def test_an_old_commit_that_arrives_late_is_not_done(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """A commit that was on its way for long does not undo a later one of the same holder."""
    with storage.hold("42") as held:
        held.set(b"first")
        held.flush()
        held.set(b"second")
        held.flush()
        held._number = 0
        held.set(b"first")
        held.flush()

    assert b"second" == storage.get("42")


def test_a_lost_reply_to_an_unlock_does_not_matter(wire: Wire, storage: RedisStorage) -> None:
    """A session that was only read is free, too."""
    with RedisStorage(wire.url) as wired, wired.hold("42"):
        wire.lose_replies()

    assert (1, "held") == (wire.lost, try_hold(storage, "42"))


@pytest.mark.parametrize("lost", ["lock", "commit"])
def test_a_process_need_not_wait_for_its_own_lost_lock(
    wire: Wire, storage: RedisStorage, lost: str
) -> None:
    """After all replies were lost nobody knows who has the lock; the next update finds out."""

    def work(session: Any) -> None:
        session.n += 1
        wire.lose_replies(2)

    with RedisStorage(wire.url) as wired:
        update(wired)
        if lost == "lock":
            wire.lose_replies(2)
        with pytest.raises(StorageError) as caught:
            handle(wired, work)
        assert ("lock" if lost == "lock" else "write") == caught.value.action
        expected = count(storage) + 1
        assert expected == update(wired, lock_timeout=0)
    assert "held" == try_hold(storage, "42")


CALLS: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("42"),
    "set": lambda storage: storage.set("42", b"payload"),
    "has": lambda storage: storage.has("42"),
    "delete": lambda storage: storage.delete("42"),
    "touch": lambda storage: storage.touch("42", 10),
    "keys": lambda storage: list(storage.keys()),
    "now": lambda storage: storage.now(),
    "hold": lambda storage: try_hold(storage, "42"),
    "update": update,
}


def failure(call: Callable[[Storage], object], storage: Storage) -> tuple[StorageError, float]:
    """The error of a call, and how long it took."""
    begun = time.monotonic()
    with pytest.raises(StorageError) as caught:
        call(storage)
    return caught.value, time.monotonic() - begun


def failures(url: str) -> list[tuple[StorageError, float]]:
    """What every call comes to at a server, all at the same time, each with its own storage."""
    calls = [lambda call=call: failure(call, RedisStorage(url)) for call in CALLS.values()]
    return in_threads(calls)


def test_a_server_that_refuses_is_an_error_soon() -> None:
    """A client made from a URL gives up within two seconds where nobody listens."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        seen = failures(f"redis://127.0.0.1:{nobody.getsockname()[1]}")

    assert {redis.ConnectionError} == {type(error.__cause__) for error, _ in seen}
    assert max(seconds for _, seconds in seen) < 2


def test_a_server_that_hangs_is_an_error_in_time() -> None:
    """A client made from a URL gives up within ten seconds where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seen = failures(f"redis://127.0.0.1:{silent.getsockname()[1]}")

    assert {redis.TimeoutError} == {type(error.__cause__) for error, _ in seen}
    assert max(seconds for _, seconds in seen) < 10


def test_a_server_that_hangs_in_the_middle_does_not_break_a_record(
    server: Server, storage: RedisStorage
) -> None:
    """An update whose commit got no answer has happened or not; the next one goes on from there."""
    with RedisStorage(f"{server.url}?socket_timeout=0.3") as brief:
        update(brief)
        with ExitStack() as freezing:

            def work(session: Any) -> None:
                session.n += 1
                freezing.enter_context(server.frozen())

            with pytest.raises(StorageError):
                handle(brief, work)
            with pytest.raises(StorageError):
                brief.get("42")
        expected = count(storage) + 1
        assert expected == update(brief, lock_timeout=0)
        assert expected in (2, 3)


def test_a_waiter_whose_server_dies_gets_an_error() -> None:
    """Neither waiting nor holding outlives the server; the next update works with its successor."""
    with ExitStack() as exits:
        server = exits.enter_context(Server())
        storage, other = (exits.enter_context(RedisStorage(server.url)) for _ in range(2))
        pool = exits.enter_context(ThreadPoolExecutor(1))

        def work(held: Any) -> Any:
            with Monitor(server) as monitor:
                waiter = pool.submit(failure, read_patiently, other)
                monitor.next("BLPOP")
            held.set(b"payload")
            server.stop()
            waiters.append(waiter)

        waiters: list[Any] = []
        with pytest.raises(StorageError):
            use(storage, work)
        error, _ = waiters[0].result(PATIENCE)
        assert ("lock", "42") == (error.action, error.key)
        server.start()
        assert [1, 2] == [update(other), update(storage)]


def test_a_restart_between_load_and_commit_is_a_lost_lock() -> None:
    """A server that came back without the lock gets nothing of what was read before."""
    with Server() as server, RedisStorage(server.url) as storage:

        def work(session: Any) -> None:
            session.n += 1
            server.restart()

        update(storage)
        with pytest.raises(LockLostError):
            handle(storage, work)
        assert [] == list(storage.keys())
        assert 1 == update(storage)
        server.restart()
        assert 1 == update(storage)


def test_a_server_that_forgets_its_scripts_is_told_again(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """`NOSCRIPT` costs a round trip and nothing else, at the lock and at the commit."""

    def work(session: Any) -> None:
        session.n += 1
        admin.script_flush()

    for _ in range(3):
        admin.script_flush()
        handle(storage, work)

    assert 3 == count(storage)


@contextmanager
def out_of_memory(server: Server) -> Iterator[str]:
    with server.configured(maxmemory_policy="noeviction", maxmemory=1):
        yield "maxmemory"


@contextmanager
def read_only(server: Server) -> Iterator[str]:
    with server.client() as admin:
        admin.replicaof("127.0.0.1", "1")
        try:
            yield "replica"
        finally:
            admin.replicaof("NO", "ONE")


@contextmanager
def without_permission(server: Server) -> Iterator[str]:
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-set")
        try:
            yield "forbids|ResponseError"
        finally:
            admin.execute_command("ACL", "SETUSER", "default", "+set")


@contextmanager
def too_few_replicas(server: Server) -> Iterator[str]:
    with server.configured(min_replicas_to_write=1):
        yield "ResponseError"


OBSTACLES = [out_of_memory, read_only, without_permission, too_few_replicas]


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_refused_update_changes_nothing(
    server: Server,
    storage: RedisStorage,
    admin: redis.Redis,
    obstacle: Callable[[Server], Any],
) -> None:
    """A server that takes no writes is a `StorageError` with the reason, at the lock already."""
    update(storage)
    payload = storage.get("42")
    with obstacle(server) as reason:
        with pytest.raises(StorageError, match=f"could not lock .*'42'.*{reason}") as caught:
            update(storage)
        with pytest.raises(StorageError, match=f"could not write .*'42'.*{reason}"):
            storage.set("42", SECRET.encode())
        assert payload == storage.get("42")

    assert isinstance(caught.value.__cause__, redis.RedisError)
    assert 2 == update(storage, lock_timeout=0)


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_refused_commit_changes_nothing(
    server: Server, storage: RedisStorage, obstacle: Callable[[Server], Any]
) -> None:
    """A server that takes no more writes when the handler returns keeps the record as it was."""
    update(storage)
    payload = storage.get("42")
    with ExitStack() as obstacles:

        def work(session: Any) -> None:
            session.text = SECRET
            obstacles.enter_context(obstacle(server))

        with pytest.raises(StorageError, match=r"could not write .*'42'") as caught:
            handle(storage, work)
        assert payload == storage.get("42")

    assert SECRET not in f"{caught.value}{caught.value.__cause__}"
    assert 2 == update(storage, lock_timeout=0)


def test_a_commit_for_which_there_is_no_memory_unlocks(
    server: Server, storage: RedisStorage, other: RedisStorage
) -> None:
    """A server that is full can still unlock: other processes need not wait for the lease."""
    with ExitStack() as obstacles:

        def work(held: Any) -> None:
            held.set(b"payload")
            obstacles.enter_context(out_of_memory(server))

        with pytest.raises(StorageError):
            use(storage, work)

    assert "held" == try_hold(other, "42")


def test_a_touch_needs_no_memory(
    server: Server, storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """A server that is full still renews the lifetime of what was only read, or takes it away."""
    for key in "abc":
        storage.set(key, b"payload", 10 if key == "a" else None)
    for key, lifetime in {"a": 100, "b": 100, "c": None}.items():
        with ExitStack() as obstacles, storage.hold(key) as held:
            held.touch(lifetime)
            obstacles.enter_context(out_of_memory(server))

    assert [100, 100, -1] == [admin.ttl(f"telesession:{key}") for key in "abc"]
    assert ["held"] * 3 == [try_hold(other, key) for key in "abc"]


def test_a_touch_may_take_the_lifetime_away(storage: RedisStorage, admin: redis.Redis) -> None:
    """What is touched with no lifetime is kept for ever."""
    storage.set("42", b"payload", 10)
    use(storage, lambda held: held.touch(None))

    assert (b"payload", -1) == (storage.get("42"), admin.ttl("telesession:42"))


def test_a_client_that_caches_is_told_of_changes(
    server: Server, storage: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client with a cache of its own reads what others have written since."""
    # redis-py has a cache for nothing but Redis 7.4 and later; what it does is the same.
    proxy = redis.connection.CacheProxyConnection
    monkeypatch.setattr(proxy, "connect", lambda self: self._conn.connect())
    with server.client(protocol=3, cache_config=CacheConfig()) as client:
        caching, seen = RedisStorage(client), []
        for payload in (b"1", b"2"):
            storage.set("42", payload)
            seen.extend(caching.get("42") for _ in range(2))

    assert [b"1", b"1", b"2", b"2"] == seen


@pytest.mark.parametrize("call", [*CALLS.values()][:5] + [*CALLS.values()][-2:])
def test_what_is_no_record_is_left_alone(
    storage: RedisStorage, admin: redis.Redis, call: Callable[[Storage], object]
) -> None:
    """A key that has a list in it is neither a new session nor overwritten nor locked."""
    admin.rpush("telesession:42", SECRET)
    error, _ = failure(call, storage)

    assert "telesession" not in str(error)
    assert "something else by this name" in str(error)
    assert [b"telesession:42"] == admin.keys()
    assert [SECRET.encode()] == admin.lrange("telesession:42", 0, -1)


def test_a_failed_update_does_not_disturb_others(storage: RedisStorage, admin: redis.Redis) -> None:
    """An update that the storage failed leaves no lock behind, here or on the server."""
    admin.rpush("telesession:42", "something else")
    for _ in range(3):
        failure(update, storage)
    admin.delete("telesession:42")

    assert [0, []] == [len(storage._locks), locks(admin)]
    assert 1 == update(storage, lock_timeout=0)


def test_abandoned_locks_are_not_remembered_for_ever(
    storage: RedisStorage, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that fails for long does not fill the memory of the bot."""
    monkeypatch.setattr("telesession.storage.redis._MANY", 3)
    with read_only(server):
        for number in range(5):
            failure(lambda storage, number=number: update(storage, f"{number}"), storage)

    assert len(storage._orphans) <= 3


def test_a_save_that_failed_is_not_written_later(storage: RedisStorage, server: Server) -> None:
    """A `flush` that the server refused is forgotten: only what is noted after it counts."""
    storage.set("42", b"old")
    with storage.hold("42") as held:
        held.set(b"refused")
        with out_of_memory(server), pytest.raises(StorageError):
            held.flush()

    assert b"old" == storage.get("42")


def test_errors_survive_pickling(storage: RedisStorage, admin: redis.Redis) -> None:
    """A `StorageError` of a server carries its data as attributes, in another process too."""
    admin.rpush("telesession:42", "something else")
    error, _ = failure(CALLS["get"], storage)
    copy = pickle.loads(pickle.dumps(error))

    assert ("read", "42", str(error)) == (copy.action, copy.key, str(copy))


def test_a_client_without_a_free_connection_is_an_error(server: Server) -> None:
    """Each waiting thread has a connection; a pool that is too small says so."""
    with server.client(max_connections=1) as client:
        storage = RedisStorage(client)
        with client.monitor(), pytest.raises(StorageError, match="max_connections"):
            storage.get("42")
        assert storage.get("42") is None


# Sentinel and cluster.


def test_an_update_survives_a_failover() -> None:
    """With a client of Sentinel, a session that was held goes on at the new primary."""
    with ExitStack() as exits:
        primary = exits.enter_context(Server(repl_diskless_sync_delay=0))
        address = f"127.0.0.1 {primary.port}"
        replica = exits.enter_context(Server(replicaof=address))
        sentinel = exits.enter_context(Server("sentinel", sentinel=f"monitor mine {address} 1"))
        successor, admin = (exits.enter_context(each.client()) for each in (replica, sentinel))
        wait_until(lambda: successor.info("replication")["master_link_status"] == "up")

        def work(session: Any) -> None:
            session.n += 1
            wait_until(lambda: successor.exists("{telesession:42}:lock"))
            primary.stop()
            successor.replicaof("NO", "ONE")
            admin.sentinel_remove("mine")
            admin.sentinel_monitor("mine", "127.0.0.1", replica.port, 1)

        watch = Sentinel([("127.0.0.1", sentinel.port)], socket_timeout=2)
        client = exits.enter_context(watch.master_for("mine"))
        storage = exits.enter_context(RedisStorage(client))
        update(storage)
        handle(storage, work)
        assert 3 == update(storage)


def test_a_node_of_a_cluster_that_is_down_is_an_error(cluster: Cluster) -> None:
    """Sessions of other nodes work on; those of this one are back when it is."""
    retry = Retry(NoBackoff(), 1)
    with closing(cluster.client(socket_timeout=0.3, retry=retry)) as client:
        storage = RedisStorage(client, prefix="down:")
        keys = {key_slot(f"down:{key}".encode()) * 3 // 2**14: f"{key}" for key in range(50)}
        for key in keys.values():
            update(storage, key)
        with cluster.nodes[1].frozen():
            failure(lambda storage: update(storage, keys[1]), storage)
            assert [2, 2] == [update(storage, keys[0]), update(storage, keys[2])]
        wait_until(lambda: not failed(lambda: update(storage, keys[1], lock_timeout=0)))
        assert count(storage, keys[1]) in (2, 3)
        assert sorted(keys.values()) == sorted(storage.keys())


def failed(call: Callable[[], object]) -> bool:
    try:
        call()
    except (StorageError, LockTimeoutError):
        return True
    return False


# Keys and clocks.


ANY_TEXT = st.text(st.characters(codec=None), max_size=20) | st.text("{}%7BD25*?[]\\-^", max_size=8)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(keys=st.lists(ANY_TEXT, min_size=1, max_size=5, unique=True), prefix=ANY_TEXT)
def test_any_text_is_a_key_of_a_cluster(cluster: Cluster, keys: list[str], prefix: str) -> None:
    """Lock and record of any key are in one slot, and a key comes back as it went in."""
    with closing(cluster.client(decode_responses=True)) as client:
        storage = RedisStorage(client, prefix=f"any {prefix}")
        for number, key in enumerate(keys):
            with storage.hold(key) as held:
                held.set(b"%d\xff" % number)
        assert [b"%d\xff" % number for number in range(len(keys))] == [*map(storage.get, keys)]
        assert sorted(keys) == sorted(storage.keys())
        for key in keys:
            start = key[: len(key) // 2]
            expected = sorted(other for other in keys if other.startswith(start))
            assert expected == sorted(storage.keys(start))
        assert [True] * len(keys) == [*map(storage.delete, keys)]


@given(key=ANY_TEXT, prefix=ANY_TEXT)
def test_all_keys_of_a_session_are_in_one_slot(key: str, prefix: str) -> None:
    """Whatever braces a key has, the slot of its lock is that of its record."""
    with RedisStorage("redis://nowhere", prefix=f"{prefix}:") as storage:
        hold = storage.hold(key)

    assert 1 == len({key_slot(name) for name in (*hold._names, hold._done)})


def test_an_ordinary_key_is_easy_to_find(storage: RedisStorage, admin: redis.Redis) -> None:
    """The record of key 42 is `telesession:42`, for whoever looks with another program."""
    storage.set("42", b"payload")
    with RedisStorage(admin, prefix="bot 2:") as second:
        second.set("42", b"another")

    assert [b"bot 2:42", b"telesession:42"] == sorted(admin.keys())
    assert (["42"], ["42"]) == (list(storage.keys()), list(second.keys()))


def test_hosts_whose_clocks_differ_agree_on_a_field(
    storage: RedisStorage, other: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lifetime of a field counts on the server's clock, wherever it is set and read."""
    wall_clock = time.time
    left = []
    monkeypatch.setattr(time, "time", lambda: wall_clock() - 600)
    with Sessions(storage=storage).open("42") as session:
        session.code = ttl("1234", 300)
    for offset in (600, 0, -600):
        monkeypatch.setattr(time, "time", lambda offset=offset: wall_clock() + offset)
        with Sessions(storage=other).open("42") as session:
            session.seen = offset
            left.append(ttl_left(session, "code"))
        assert {"code": "1234", "seen": offset} == Sessions(storage=storage).peek("42")

    assert [True] * 3 == [290 < seconds <= 300 for seconds in left]


def test_a_hold_asks_for_the_time_once(storage: RedisStorage, server: Server) -> None:
    """The clock of a hold is the server's at the lock, and goes on from there."""
    before = storage.now()
    with Monitor(server) as monitor, storage.hold("42") as held:
        times = [held.now() for _ in range(3)]
        assert ["EVALSHA"] == monitor.so_far()

    seen = [before, *times, storage.now()]
    assert sorted(seen) == seen


def test_a_lifetime_is_the_expiry_of_the_key(storage: RedisStorage, admin: redis.Redis) -> None:
    """A session's lifetime is the server's to end, counted anew by every handler."""
    seen = []
    for lifetime in (60, 600, None):
        update(storage, lifetime=lifetime)
        seen.append(admin.ttl("telesession:42"))
    with Sessions(storage=storage, lifetime=6000).open("42") as session:
        assert 3 == session.n
    seen.append(admin.ttl("telesession:42"))

    assert [60, 600, -1, 6000] == seen


# Settings.


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("localhost:6379", "scheme"),
        ("http://localhost", "scheme"),
        ("redis:/localhost", "scheme"),
        ("", "scheme"),
        (f"redis://:{SECRET}@localhost:port", "port"),
        (f"redis://:{SECRET}/x@localhost", "port"),
        (f"redis://:{SECRET}@localhost/sessions", "number of a database"),
        (f"redis://:{SECRET}@localhost/0?socket_timout=1", "socket_timout"),
        (f"redis://:{SECRET}@localhost/0?socket_timeout=soon", "socket_timeout"),
        (f"redis://:{SECRET}@localhost?protocol=4", "protocol"),
    ],
)
def test_a_url_with_a_mistake_is_refused_at_once(url: str, fault: str) -> None:
    """A mistake in a URL is a `ValueError` that says which, without showing the password."""
    with pytest.raises(ValueError, match=fault) as caught:
        RedisStorage(url)

    assert SECRET not in str(caught.value)
    assert "redis://" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: None, "NoneType"),
        (lambda: b"redis://localhost", "bytes"),
        (redis.ConnectionPool, "ConnectionPool"),
        (lambda: Sentinel([]), "master_for"),
        (lambda: redis.Redis().pipeline(), "Pipeline"),
        (redis.asyncio.Redis, "handlers block"),
    ],
)
def test_what_is_no_blocking_client_is_refused_at_once(make: Callable[[], Any], hint: str) -> None:
    """Anything but a URL or a blocking client is a `TypeError` that says what to pass."""
    with pytest.raises(TypeError, match=hint):
        RedisStorage(make())


def test_a_client_for_one_thread_is_refused(server: Server) -> None:
    """A client with a single connection would let everybody wait for each other."""
    with (
        server.client(single_connection_client=True) as client,
        pytest.raises(ValueError, match="single_connection_client"),
    ):
        RedisStorage(client)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"lease": 0}, ValueError),
        ({"lease": -1}, ValueError),
        ({"lease": math.nan}, ValueError),
        ({"lease": math.inf}, ValueError),
        ({"lease": timedelta(0)}, ValueError),
        ({"lease": "30"}, TypeError),
        ({"lease": None}, TypeError),
        ({"lease": True}, TypeError),
        ({"prefix": ""}, ValueError),
        ({"prefix": b"telesession:"}, TypeError),
        ({"prefix": None}, TypeError),
    ],
)
def test_bad_settings_are_refused_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    """A lease that is no time, or a prefix that is no text, is refused by the constructor."""
    with pytest.raises(error, match=next(iter(options))):
        RedisStorage("redis://localhost", **options)


def test_a_lock_is_a_random_token_with_a_lease_of_30_seconds(
    storage: RedisStorage, admin: redis.Redis
) -> None:
    """Nobody else has the token of a lock, and it ends by itself after half a minute."""
    tokens = set()
    for key in "ab" * 2:
        with storage.hold(key):
            tokens.add(admin.get(f"{{telesession:{key}}}:lock"))
            left = admin.pttl(f"{{telesession:{key}}}:lock")
            assert 20_000 < left <= 30_000

    assert [24] * 4 == [len(token) for token in tokens]


def test_a_lease_may_be_a_timedelta(server: Server, admin: redis.Redis) -> None:
    """The lease is what the lock has left when it was just taken."""
    with RedisStorage(server.url, lease=timedelta(minutes=5)) as storage, storage.hold("42"):
        assert 299_000 < admin.pttl("{telesession:42}:lock") <= 300_000


def test_close_closes_a_client_that_was_made_here(server: Server) -> None:
    """A client made from a URL is closed, any number of times; one that was passed stays open."""
    with server.client() as client:
        theirs, ours = RedisStorage(client), RedisStorage(server.url)
        for storage in (theirs, ours):
            update(storage)
            storage.close()
            storage.close()
        assert client.connection_pool._available_connections[0]._sock is not None
        assert ours._client.connection_pool._available_connections[0]._sock is None
        assert 3 == update(theirs)


def test_a_repr_shows_no_password(server: Server) -> None:
    """What is printed is where the keys are, not how to get there."""
    with RedisStorage(f"redis://:{SECRET}@localhost") as storage:
        assert "<RedisStorage 'telesession:' on a Redis>" == repr(storage)


def test_without_redis_whoever_wants_a_storage_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`redis` is an extra: without it the class can be imported, and says how to get it."""
    spec = importlib.util.find_spec("telesession.storage.redis")
    monkeypatch.setitem(sys.modules, "redis", None)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    with pytest.raises(
        ImportError, match=r"RedisStorage needs .*pip install 'telesession\[redis\]'"
    ):
        module.RedisStorage("redis://localhost")


def test_nothing_else_imports_redis() -> None:
    """The package works without its extra."""
    code = "import sys, telesession; print('redis' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False" == run.stdout.strip()
