"""The backends of a PostgreSQL server: those that wait, and ends that come from outside."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support.polling import wait_until
from support.postgres import OWNER

if TYPE_CHECKING:
    from support.postgres import PostgresServer


def backends(server: PostgresServer, user: str = OWNER) -> dict[int, str]:
    """Return the states of the connections of a user, such as `"idle in transaction"`, by pid."""
    with server.connect() as connection:
        query = "SELECT pid, state FROM pg_stat_activity WHERE usename = %s ORDER BY backend_start"
        return dict(connection.execute(query, [user]).fetchall())


def waiting(server: PostgresServer) -> list[int]:
    """Return the pids of the backends that wait for a lock, in the order of their beginnings."""
    with server.connect() as connection:
        query = "SELECT pid FROM pg_locks WHERE NOT granted ORDER BY waitstart"
        return [pid for (pid,) in connection.execute(query)]


def wait_for_waiting(server: PostgresServer, count: int = 1) -> list[int]:
    """Wait until some number of backends wait for locks, and return their pids in order."""
    wait_until(lambda: len(waiting(server)) == count)
    return waiting(server)


def wait_for_state(server: PostgresServer, *states: str, user: str = OWNER) -> list[int]:
    """Wait until the connections of a user have these states, in any order; return their pids."""
    wait_until(lambda: sorted(states) == sorted(backends(server, user).values()))
    return list(backends(server, user))


def terminate(server: PostgresServer, pid: int) -> None:
    """End a connection, as an administrator or a time-out of the server does."""
    server.ask("SELECT pg_terminate_backend(%s, 30000)", pid)


def kill(server: PostgresServer, pid: int) -> None:
    """Kill a backend, after which the server ends all connections and recovers by itself."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    wait_until(lambda: server.ask("SELECT 1"))


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A backend does nothing as long as the block lasts."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _state(pid) == "T")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
