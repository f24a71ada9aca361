"""The PostgreSQL servers of the tests: their roles, their ends, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.generators import execute

from support.polling import wait_until
from support.postgres import ADMIN, GUEST, PRIMARY, PostgresServer, Standby
from support.postgres_backends import (
    backends,
    frozen,
    kill,
    terminate,
    wait_for_state,
    wait_for_waiting,
    waiting,
)
from support.threads import start

TESTS = Path(__file__).parents[2]
LOCK = "SELECT pg_advisory_xact_lock(1)"


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server of the test, which may stop it."""
    with PostgresServer() as server:
        yield server


@pytest.mark.parametrize("place", ["conninfo", "socket_conninfo", "url"])
def test_a_bot_can_make_its_table(postgres: PostgresServer, place: str) -> None:
    """By the port, the Unix socket and the URL, the owner of the database makes and fills one."""
    with psycopg.connect(getattr(postgres, place)()) as connection:
        connection.execute("CREATE TABLE sessions AS SELECT 42 AS key")

    assert 42 == postgres.ask("SELECT key FROM sessions")


def test_the_port_needs_the_password(postgres: PostgresServer) -> None:
    """A wrong password is refused."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.conninfo(password="wrong"))


@pytest.mark.parametrize("query", ["CREATE TABLE mine (key text)", "SELECT * FROM sessions"])
def test_a_guest_has_no_rights(postgres: PostgresServer, query: str) -> None:
    """A role without rights can connect, and neither make a table nor read that of a bot."""
    with postgres.connect("bot") as connection:
        connection.execute("CREATE TABLE sessions (key text)")

    with (
        postgres.connect(GUEST) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(query)


def test_every_test_gets_an_empty_database(postgres: PostgresServer) -> None:
    """Tables and clients of an earlier test are gone, even one that holds a lock."""
    with postgres.connect("bot") as connection:
        connection.execute("CREATE TABLE sessions (key text)")
        connection.execute("BEGIN")
        connection.execute("LOCK TABLE sessions")
        postgres.empty()

        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    assert (None, {}) == (postgres.ask("SELECT to_regclass('sessions')"), backends(postgres))


def test_settings_are_those_of_the_block(postgres: PostgresServer) -> None:
    """A connection made within the block has them, and a later one does not."""

    def level() -> str:
        with postgres.connect("bot") as connection:
            return connection.execute("SHOW default_transaction_isolation").fetchone()[0]

    with postgres.configured(default_transaction_isolation="repeatable read"):
        within = level()

    assert ("repeatable read", "read committed") == (within, level())


def test_a_server_takes_settings(tmp_path: Path) -> None:
    """Few connections are possible on a server that was asked for few."""
    with PostgresServer(max_connections=4, superuser_reserved_connections=2) as server:
        connections = [server.connect("bot") for _ in range(2)]
        with pytest.raises(psycopg.OperationalError, match="reserved"):
            server.connect("bot")
        for connection in connections:
            connection.close()


def test_only_writes_lengthen_the_wal(postgres: PostgresServer) -> None:
    """A transaction that reads leaves the WAL as long as it was, and one that writes does not."""
    with postgres.connect("bot") as connection:
        connection.execute("CREATE TABLE sessions AS SELECT 42 AS key")
        connection.execute("SELECT key FROM sessions")
        lengths = [postgres.wal_position()]
        connection.execute("SELECT key FROM sessions")
        lengths.append(postgres.wal_position())
        connection.execute("UPDATE sessions SET key = 43")
        lengths.append(postgres.wal_position())

    assert lengths[0] == lengths[1] < lengths[2]


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_commits(own: PostgresServer, mode: str) -> None:
    """After it a commit is there and an open transaction is not, at the same port."""
    port = own.port
    with own.connect() as connection:
        connection.execute("CREATE TABLE sessions AS SELECT 42 AS key")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO sessions VALUES (43)")
        own.restart(mode)

        with pytest.raises(psycopg.OperationalError):
            connection.execute("COMMIT")

    assert (port, 42) == (own.port, own.ask("SELECT sum(key) FROM sessions"))


def test_a_stopped_server_refuses_clients(own: PostgresServer) -> None:
    """Between `stop` and `start` there is no server at its port."""
    own.stop()

    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        psycopg.connect(own.conninfo())

    own.start()
    assert 1 == own.ask("SELECT 1")


def test_waiters_are_seen_in_order(postgres: PostgresServer) -> None:
    """Backends that wait for an advisory lock are told in the order in which they began."""
    with (
        postgres.connect("bot") as holder,
        postgres.connect("bot") as first,
        postgres.connect("bot") as second,
    ):
        holder.execute("BEGIN")
        holder.execute(LOCK)
        none = waiting(postgres)
        threads = []
        for number, connection in enumerate((first, second), 1):
            threads.append(start(connection.execute, LOCK))
            pids = wait_for_waiting(postgres, number)
        holder.execute("ROLLBACK")
        for thread in threads:
            thread.join()

        assert ([], [first.info.backend_pid, second.info.backend_pid]) == (none, pids)


def test_states_of_connections_are_seen(postgres: PostgresServer) -> None:
    """A connection within a transaction is idle in it, and another is not."""
    with postgres.connect("bot") as one, postgres.connect("bot") as other:
        one.execute("BEGIN")
        one.execute("SELECT 1")
        other.execute("SELECT 1")
        pids = wait_for_state(postgres, "idle", "idle in transaction")

        assert [one.info.backend_pid, other.info.backend_pid] == pids


def test_a_terminated_backend_is_gone(postgres: PostgresServer) -> None:
    """Its client gets an error, and that of another backend does not."""
    with postgres.connect("bot") as one, postgres.connect("bot") as other:
        terminate(postgres, one.info.backend_pid)

        with pytest.raises(psycopg.OperationalError):
            one.execute("SELECT 1")
        assert (1,) == other.execute("SELECT 1").fetchone()


def test_a_killed_backend_takes_the_others_with_it(own: PostgresServer) -> None:
    """The server recovers by itself; all its clients have lost their connections."""
    with own.connect("bot") as one, own.connect("bot") as other:
        kill(own, one.info.backend_pid)

        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 1")
    assert 1 == own.ask("SELECT 1")


def test_a_backend_meets_the_end_of_the_disk(postgres: PostgresServer) -> None:
    """It cannot make a table larger, and goes on to work."""
    with postgres.connect("bot") as connection:
        connection.execute("CREATE TABLE sessions AS SELECT 42 AS key")
        postgres.limit_files(connection.info.backend_pid, 2**20)
        with pytest.raises(psycopg.InternalError, match="could not extend file"):
            connection.execute("INSERT INTO sessions SELECT generate_series(1, 100000)")

        assert [(42,)] == connection.execute("SELECT key FROM sessions").fetchall()


def test_a_frozen_backend_does_nothing(postgres: PostgresServer) -> None:
    """A query that it gets has an answer after the block only."""
    with postgres.connect("bot") as connection:
        with frozen(connection.info.backend_pid):
            connection.pgconn.send_query(b"SELECT 1")
            state = backends(postgres)
        (answer,) = connection.wait(execute(connection.pgconn))

        assert {connection.info.backend_pid: "idle"} == state
        assert b"1" == answer.get_value(0, 0)


def test_a_standby_is_read_only_until_it_is_promoted() -> None:
    """It has the commits of its primary, refuses writes, and takes them after its promotion."""
    with PostgresServer(**PRIMARY) as primary:
        primary.ask("CREATE TABLE sessions AS SELECT 42 AS key")
        with Standby(primary) as standby:
            primary.ask("INSERT INTO sessions VALUES (43)")
            standby.catch_up()
            total = standby.ask("SELECT sum(key) FROM sessions")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                standby.ask("INSERT INTO sessions VALUES (44)")
            standby.promote()
            standby.ask("INSERT INTO sessions VALUES (44)")

            assert (85, 129) == (total, standby.ask("SELECT sum(key) FROM sessions"))


# Starts a server, says where it is, and never ends by itself.
_STARTER = """
from support.postgres import PostgresServer
server = PostgresServer()
server.start()
query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
print(server.folder, server.ask(query), flush=True)
input()
"""


def test_nothing_is_left_of_a_killed_session() -> None:
    """After SIGKILL of the process that has started a server, its folder and processes are gone."""
    command = [sys.executable, "-c", _STARTER]
    with subprocess.Popen(
        command, cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        folder, pid = process.stdout.readline().split()
        before = Path(folder).exists(), Path("/proc", pid).exists()
        os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not Path(folder).exists())

    assert ((True, True), False) == (before, Path("/proc", pid).exists())


def test_nothing_is_left_of_a_server() -> None:
    """After the block its folder and its shared memory are gone."""
    segments = Path("/proc/sysvipc/shm")
    with PostgresServer() as server:
        key = server.ask("SELECT pg_backend_pid()")
        state = (server.folder / "data" / "postmaster.pid").read_text().splitlines()
        segment = state[6].split()[1]
        within = segment in segments.read_text().split()

    assert (True, False) == (within, segment in segments.read_text().split())
    assert not server.folder.exists()
    assert not Path("/proc", str(key)).exists()


def test_an_administrator_is_a_superuser(postgres: PostgresServer) -> None:
    """The role of the helpers may do everything, and that of a bot may not."""
    query = "SELECT rolname::text FROM pg_roles WHERE rolsuper"
    assert ADMIN == postgres.ask(query)
