"""Processes that share sessions on a PostgreSQL server, and are killed, stopped or forked."""

from __future__ import annotations

import random
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.clocks import PATIENCE
from support.counts import count, update
from support.polling import wait_until
from support.postgres_backends import backends, terminate, wait_for_waiting
from support.processes import (
    COINS,
    TESTS,
    USERS,
    WITHOUT_FORK_CHECK,
    Script,
    make_purses,
)
from support.threads import began
from telesession import StorageError
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from support.postgres import PostgresServer
    from telesession import PostgresStorage


PROCESS = """
import sys
from telesession import PostgresStorage, SessionError, Sessions, save

storage = PostgresStorage(sys.argv[1])
counters = Sessions(initial=lambda: {"n": 0}, storage=storage)
print("ready", flush=True)
"""


class Process(Script):
    """Another Python with a storage, which runs some code of its own."""

    def __init__(self, server: PostgresServer, body: str) -> None:
        super().__init__(PROCESS + body, server.socket_conninfo(), TESTS)


HOLD = """
with counters.open("42") as session:
    session.n += 1
    print("held", flush=True)
    sys.stdin.readline()
storage.close()
print("left", flush=True)
"""


def test_the_session_of_a_killed_holder_is_free_at_once(
    postgres: PostgresServer, storage: PostgresStorage, other: PostgresStorage
) -> None:
    """The server frees the locks of a connection that has ended; the waiter goes on."""
    update(storage)
    with Process(postgres, HOLD) as process:
        assert "held" == process.read()
        seen = try_hold(other, "42")
        with began(update, storage) as waiter:
            wait_for_waiting(postgres)
            process.kill()

    assert ("busy", 2) == (seen, waiter.result())


def test_a_killed_waiter_holds_up_no_other(
    postgres: PostgresServer, storage: PostgresStorage, other: PostgresStorage
) -> None:
    """The next in the queue of the server gets the session."""
    with ExitStack() as holding:
        holding.enter_context(storage.hold("42"))
        process = holding.enter_context(Process(postgres, HOLD))
        wait_for_waiting(postgres)
        with began(update, other) as waiter:
            wait_for_waiting(postgres, 2)
            process.kill()
            holding.close()

    assert 1 == waiter.result()


def test_a_stopped_holder_keeps_its_session(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """There is no lease: however long a process is stopped, its update is not lost."""
    with Process(postgres, HOLD) as process:
        assert "held" == process.read()
        process.signal(signal.SIGSTOP)
        process.write()
        with began(update, storage) as waiter:
            wait_for_waiting(postgres)
            seen = try_hold(storage, "43"), count(storage), waiter.done()
            process.signal(signal.SIGCONT)
        assert "left" == process.read()

    assert (("held", None, False), 2) == (seen, waiter.result())


def hold_patiently(storage: PostgresStorage) -> bytes | None:
    with storage.hold("42", PATIENCE) as held:
        return held.get()


def test_a_stopped_holder_may_be_ended_by_an_administrator(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """A waiting process goes on, and the first one finds that its commit was not done."""
    body = f"""
try:
    {HOLD.strip().replace(chr(10), chr(10) + "    ")}
except Exception as error:
    print(type(error).__name__, "the commit was not done" in str(error), flush=True)
storage.close()
"""
    with Process(postgres, body) as process:
        assert "held" == process.read()
        process.signal(signal.SIGSTOP)
        with began(hold_patiently, storage) as waiter:
            (waiting,) = wait_for_waiting(postgres)
            for pid in backends(postgres):
                if pid != waiting:
                    terminate(postgres, pid)
        process.signal(signal.SIGCONT)
        process.write()
        said = process.read()

    assert ("StorageError True", None, 1) == (said, waiter.result(), update(storage))


TRANSFERS = """
import random, threading
from contextlib import suppress
sys.path.insert(0, sys.argv[2])
from support.processes import SessionError, make_purses, transfer

patient, hasty = make_purses(storage), make_purses(storage, lock_timeout=0.5)

def work(number):
    rng = random.Random(number)
    while True:
        with suppress(SessionError):
            transfer(patient, hasty, rng)
            # In one piece, because other threads write, too.
            sys.stdout.write(".\\n")
            sys.stdout.flush()

for number in range(4):
    threading.Thread(target=work, args=[number], daemon=True).start()
sys.stdin.readline()
"""


@pytest.mark.parametrize("kills", [15, pytest.param(80, marks=pytest.mark.long)])
def test_ended_connections_lose_no_coin(
    postgres: PostgresServer, storage: PostgresStorage, kills: int
) -> None:
    """While connections of 4 processes x 4 threads are ended at any moment, the sum stays."""
    rng = random.Random(1)
    with make_purses(storage).open_all(range(USERS)):
        pass
    said: set[str] = set()
    with ExitStack() as exits:
        processes = [exits.enter_context(Process(postgres, TRANSFERS)) for _ in range(4)]
        for number in range(kills):
            process = processes[number % 4]
            said |= {process.read() for _ in range(rng.randrange(1, 20))}
            if pids := list(backends(postgres)):
                terminate(postgres, rng.choice(pids))
        for process in processes:
            process.kill()
    # A commit of a killed process may still go on, with its locks.
    with make_purses(storage).open_all(range(USERS)) as purses:
        coins = [purse.coins for purse in purses]

    assert ({"."}, USERS * COINS) == (said, sum(coins))


# Later Pythons warn of forks where threads run; the tests are about the state after the fork.
FORK = f"""
import ctypes, multiprocessing, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", ResourceWarning)
sys.path.insert(0, {str(TESTS)!r})
from support.settling import settle
"""
POOL = """
from psycopg_pool import ConnectionPool
storage = PostgresStorage(ConnectionPool(sys.argv[1], open=True, min_size=1, max_size=4))
counters = Sessions(initial=lambda: {"n": 0}, storage=storage)
"""
FORKS = {"with-hooks": "os.fork()", "in-C": "ctypes.PyDLL(None).fork()"}
with_each_fork = pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
with_each_pool = pytest.mark.parametrize("pool", ["", POOL], ids=["conninfo", "pool"])


@with_each_fork
@with_each_pool
def test_processes_that_were_forked_share_no_connection(
    postgres: PostgresServer, storage: PostgresStorage, fork: str, pool: str
) -> None:
    """A parent and its children that use a session at the same time lose no update."""
    body = f"""{FORK}{pool}
with counters.open("42") as session:
    session.n = 0
settle(storage)
children = []
for _ in range(3):
    child = {fork}
    if not child:
        children = []
        break
    children.append(child)
for _ in range(30):
    with counters.open("42") as session:
        session.n += 1
codes = [os.waitpid(child, 0)[1] for child in children]
if children:
    print(counters.peek("42")["n"], codes, flush=True)
    sys.stdin.readline()
os._exit(0)
"""
    with Process(postgres, body) as process:
        assert "120 [0, 0, 0]" == process.read()
        process.write()


@with_each_pool
def test_a_storage_works_in_multiprocessing(postgres: PostgresServer, pool: str) -> None:
    """Processes that multiprocessing forks use the storage of their parent, and end."""
    body = f"""{FORK}{pool}
def work():
    for _ in range(10):
        with counters.open("42") as session:
            session.n += 1

work()
context = multiprocessing.get_context("fork")
processes = [context.Process(target=work) for _ in range(2)]
for process in processes:
    process.start()
for process in processes:
    process.join()
work()
print(counters.peek("42")["n"], [process.exitcode for process in processes], flush=True)
sys.stdin.readline()
os._exit(0)
"""
    with Process(postgres, body) as process:
        assert "40 [0, 0]" == process.read()
        process.write()


LEAVING = """
child = 0
with counters.open("another"):
    pass
settle(storage)
try:
    with counters.open("42") as session:
        session.n += 1
        child = {fork}
        if child:
            print(os.waitpid(child, 0)[1], flush=True)
            sys.stdin.readline()
            session.n += 10
        else:
            session.n += 100
            {end}
except (ValueError, SystemExit, SessionError):
    pass
if child:
    print(counters.peek("42")["n"], flush=True)
    sys.stdin.readline()
os._exit(0)
"""
ENDS = {
    "returns": "pass",
    "raises": "raise ValueError",
    "exits": "sys.exit()",
    "saves": "save(session)",
}


@pytest.mark.parametrize(
    ("fork", "end"),
    [*(("os.fork()", end) for end in ENDS.values()), (FORKS["in-C"], "pass")],
    ids=[*ENDS, "returns-in-C"],
)
@with_each_pool
def test_a_child_that_leaves_the_block_of_its_parent_changes_nothing(
    postgres: PostgresServer, other: PostgresStorage, fork: str, end: str, pool: str
) -> None:
    """A child neither writes nor unlocks, however it leaves; the parent's write is kept."""
    with Process(postgres, FORK + pool + LEAVING.format(fork=fork, end=end)) as process:
        assert "0" == process.read()
        assert ("busy", None) == (try_hold(other, "42"), count(other))
        process.write()
        assert "11" == process.read()
        process.write()


def test_control_without_the_check_a_child_writes(
    postgres: PostgresServer, other: PostgresStorage
) -> None:
    """The child's commit goes to the connection of its parent, and frees the session."""
    body = FORK + WITHOUT_FORK_CHECK + LEAVING.format(fork="os.fork()", end="pass")
    with Process(postgres, body) as process:
        process.read()

        assert ("held", 101) == (try_hold(other, "42"), count(other))


def test_a_child_does_not_end_the_connections_of_its_parent(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """A child that closes the storage, and ends as any Python does, leaves them alone."""
    body = f"""{FORK}
with counters.open("42") as session:
    session.n += 1
    child = os.fork()
    if not child:
        storage.close()
        sys.exit()
    os.waitpid(child, 0)
with counters.open("42") as session:
    session.n += 1
print("counted", flush=True)
storage.close()
"""
    with Process(postgres, body) as process:
        assert ("counted", 2) == (process.read(), count(storage))


GEVENT = """
import gevent
def work(number):
    with counters.open("42") as session:
        session.n += 1
        gevent.sleep(0)
        order.append(number)

order = []
with counters.open("first"):
    pass
jobs = [gevent.spawn(work, number) for number in range(20)]
with counters.open("other") as session:
    gevent.sleep(0)
gevent.joinall(jobs)
print(counters.peek("42")["n"], order == list(range(20)), flush=True)
# A greenlet that waits on the server lets the others run.
gevent.spawn(lambda: (gevent.sleep(0), sys.stdin.readline(), print("ran", flush=True)))
with counters.open("held"):
    pass
print("got", flush=True)
storage.close()
"""
PATCH = "from gevent import monkey; monkey.patch_all()\n"


@pytest.mark.parametrize("is_before", [True, False], ids=["before-import", "after-import"])
def test_greenlets_share_sessions(
    postgres: PostgresServer, storage: PostgresStorage, is_before: bool
) -> None:
    """Greenlets take turns, and one that waits for another process lets the others run."""
    code = PATCH + PROCESS + GEVENT if is_before else PROCESS + PATCH + GEVENT
    with ExitStack() as holding, Script(code, postgres.socket_conninfo()) as process:
        holding.enter_context(storage.hold("held"))
        assert "20 True" == process.read()
        wait_for_waiting(postgres)
        process.write()
        ran = process.read()
        holding.close()

        assert ("ran", "got") == (ran, process.read())


def test_a_closed_storage_has_no_connection(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """`close` ends the connections of the storage, and a later use is an error."""
    update(storage)
    storage.close()
    wait_until(lambda: not backends(postgres))

    with pytest.raises(StorageError, match="the storage is closed"):
        update(storage)
