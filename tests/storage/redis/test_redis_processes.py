"""Processes that share sessions on a server, and are killed, stopped or forked."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from support.clocks import DAY, PATIENCE
from support.counts import count, update
from support.processes import WITHOUT_FORK_CHECK, Script
from support.redis_storages import read_patiently, wait_for_renewals
from support.servers import Monitor, Server, patient_url, wait_until
from support.threads import began
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    import redis

    from telesession.storage.redis import RedisStorage


PROCESS = """
import sys
from telesession import LockLostError, LockTimeoutError, Sessions
from telesession.storage.redis import RedisStorage

storage = RedisStorage(sys.argv[1], lease=float(sys.argv[2]))
counters = Sessions(initial=lambda: {"n": 0}, storage=storage)
print("ready", flush=True)
"""


class Process(Script):
    """Another Python with a storage, which runs some code of its own."""

    def __init__(self, server: Server, body: str, lease: float = DAY) -> None:
        super().__init__(PROCESS + body, patient_url(server), lease)


def test_a_hand_over_between_processes_is_prompt(server: Server, storage: RedisStorage) -> None:
    """Who waits has the session one question after its holder has left, and need not look."""
    body = """
storage.server.patience = 30
while sys.stdin.readline():
    with storage.hold("42"):
        pass
    print("left", flush=True)
"""
    seen = []
    with Process(server, body) as process:
        for _ in range(15):
            with Monitor(server) as monitor:
                with storage.hold("42"):
                    process.write()
                    monitor.next("BLPOP")
                assert "left" == process.read()
                seen.append(monitor.so_far())

    # The commit of the holder, and what locks and unlocks for who waited.
    assert [["EVALSHA"] * 3] * 15 == seen


HOLD = """
with counters.open("42") as session:
    session.n += 1
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_session_of_a_killed_holder_is_free_within_the_lease(
    server: Server, storage: RedisStorage, other: RedisStorage, admin: redis.Redis
) -> None:
    """Nobody unlocks after SIGKILL, so the lease does: not earlier, and hardly later."""
    update(storage)
    with Process(server, HOLD) as process:
        assert "held" == process.read()
        process.kill()
        assert "busy" == try_hold(storage, "42")
        assert 0 < admin.pttl("{telesession:42}:lock") <= DAY * 1000
        admin.pexpire("{telesession:42}:lock", 500)
        with began(lambda: update(other, lock_timeout=2 * PATIENCE)) as waiter:
            pass

    assert 2 == waiter.result()


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
        process.kill()
        wait_until(lambda: not waiters())
        with Monitor(server) as monitor:
            with began(read_patiently, other):
                wait_until(waiters)
                holding.close()
            seen = [name for name in monitor.so_far() if name != "INFO"]
    # Whoever is not called looks again by itself, which would be one more question.
    assert ["EVALSHA", "BLPOP", "EVALSHA", "EVALSHA", "EVALSHA"] == seen


def test_a_holder_that_slept_through_its_lease_writes_nothing(
    server: Server, storage: RedisStorage, admin: redis.Redis
) -> None:
    """A process that was stopped for too long finds its lock lost; what others wrote stays."""
    body = f"""
try:
    {HOLD.strip().replace(chr(10), chr(10) + "    ")}
except LockLostError as error:
    print(error.key)
"""
    with Process(server, body) as process:
        assert "held" == process.read()
        process.signal(signal.SIGSTOP)
        admin.pexpire("{telesession:42}:lock", 1)
        assert 1 == update(storage, lock_timeout=PATIENCE)
        payload = storage.get("42")
        process.signal(signal.SIGCONT)
        process.write()
        assert "42" == process.read()

    assert payload == storage.get("42")


# Later Pythons warn of forks where threads run; the tests are about the state after the fork.
FORK = """
import ctypes, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
"""
FORKS = {"with-hooks": "os.fork()", "in-C": "ctypes.PyDLL(None).fork()"}
ENDS = {"returns": "pass", "raises": "raise ValueError", "exits": "sys.exit()"}
with_each_fork = pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)


@with_each_fork
def test_a_forked_process_starts_with_nothing_held(
    server: Server, storage: RedisStorage, admin: redis.Redis, fork: str
) -> None:
    """A storage made before a fork works after it: its locks are free, its thread runs anew."""
    body = f"""{FORK}
held = storage.hold("42")
held.__enter__()
child = {fork}
if child:
    held.__exit__(None, None, None)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
storage.server.owner.renewal._interval = 0.01
with storage.hold("42", 30), counters.open("43") as session:
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


LEAVING = """
child = 0
try:
    with counters.open("42") as session:
        session.n += 1
        child = {fork}
        if child:
            os.waitpid(child, 0)
            print(session_is_locked(), flush=True)
            session.n += 10
        else:
            session.n += 100
            {end}
except (ValueError, SystemExit):
    pass
if child:
    print(counters.peek("42")["n"], flush=True)
    sys.stdin.readline()
os._exit(0)
"""
PEEK = """
another = RedisStorage(sys.argv[1])

def session_is_locked():
    try:
        with another.hold("42", 0):
            return False
    except LockTimeoutError:
        return True
"""


@pytest.mark.parametrize(
    ("fork", "end"),
    [*(("os.fork()", end) for end in ENDS.values()), (FORKS["in-C"], "pass")],
    ids=[*ENDS, "returns-in-C"],
)
def test_a_child_that_leaves_the_block_of_its_parent_changes_nothing(
    server: Server, fork: str, end: str
) -> None:
    """A child neither writes nor unlocks, however it leaves; the parent's write is kept."""
    body = FORK + PEEK + LEAVING.format(fork=fork, end=end)
    with Process(server, body) as process:
        assert ["True", "11"] == [process.read(), process.read()]
        process.write()


def test_without_the_check_a_child_unlocks_its_parent(server: Server) -> None:
    """The control: the child's commit frees the session that its parent still has."""
    body = FORK + PEEK + WITHOUT_FORK_CHECK + LEAVING.format(fork="os.fork()", end="pass")
    with Process(server, body) as process:
        assert "False" == process.read()


def test_a_child_cannot_flush_the_hold_of_its_parent(server: Server, storage: RedisStorage) -> None:
    """A write in the middle of a handler is refused in a child, and not lost in silence."""
    body = f"""{FORK}
with storage.hold("42") as held:
    held.set(b"parent")
    child = {FORKS["in-C"]}
    if child:
        os.waitpid(child, 0)
    else:
        held.set(b"child")
        try:
            held.flush()
        except LockLostError as error:
            print("lost", error.key, flush=True)
        os._exit(0)
print("left", flush=True)
sys.stdin.readline()
"""
    with Process(server, body) as process:
        assert ["lost 42", "left"] == [process.read(), process.read()]
        assert b"parent" == storage.get("42")
        process.write()


def test_processes_that_were_forked_share_no_connection(
    server: Server, storage: RedisStorage
) -> None:
    """A parent and its children that use a session at the same time lose no update."""
    body = f"""{FORK}
with counters.open("42") as session:
    session.n = 0
children = []
for _ in range(3):
    child = {FORKS["in-C"]}
    if not child:
        break
    children.append(child)
for _ in range(50):
    with counters.open("42") as session:
        session.n += 1
for child in children:
    os.waitpid(child, 0)
if children:
    print(counters.peek("42")["n"], flush=True)
    sys.stdin.readline()
os._exit(0)
"""
    with Process(server, body) as process:
        assert "200" == process.read()
        process.write()
