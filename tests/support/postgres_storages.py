"""Storages on a PostgreSQL server, as several processes have them."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC
from typing import TYPE_CHECKING, Any

import pytest
from psycopg_pool import ConnectionPool

from support.clocks import PATIENCE
from support.polling import wait_until
from support.settling import is_at_rest
from support.wires import Wire
from telesession import PostgresStorage, Storage, StorageError
from telesession.storage.postgres_connections import Connections
from telesession.storage.postgres_link import Link
from telesession.storage.postgres_statements import TEXT, Query, Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from freezegun.api import FrozenDateTimeFactory
    from psycopg import Connection
    from psycopg.pq.abc import PGresult

    from support.postgres import PostgresServer
    from telesession.storage.postgres_server import PostgresServer as Server

SECRET = "hunter2"
TABLE = "telesession_sessions"

# Found before the functions of PostgreSQL with these names.
_FUNCTIONS = """
CREATE OR REPLACE FUNCTION public.{name}() RETURNS timestamptz STABLE LANGUAGE sql
AS $$ SELECT current_setting('frozen.now')::timestamptz $$
"""
_TELL = Query.rare("SELECT set_config('frozen.now', $1, false)", TEXT)


@pytest.fixture
def storage(postgres: PostgresServer) -> Iterator[PostgresStorage]:
    """An empty storage, whose table exists."""
    with make_storage(postgres) as storage:
        storage.get("42")
        yield storage


@pytest.fixture
def other(postgres: PostgresServer, storage: PostgresStorage) -> Iterator[PostgresStorage]:
    """The storage of another process, with connections and a lock table of its own."""
    with make_storage(postgres) as other:
        other.get("42")
        yield other


@pytest.fixture
def admin(postgres: PostgresServer) -> Iterator[Connection[Any]]:
    """A connection of a superuser, with autocommit."""
    with closing(postgres.connect()) as admin:
        yield admin


@pytest.fixture
def wire(postgres: PostgresServer) -> Iterator[Wire]:
    """A way to the server that counts turns, and loses messages."""
    with Wire(postgres) as wire:
        yield wire


@pytest.fixture
def frozen_storage(
    postgres: PostgresServer, clock: FrozenDateTimeFactory
) -> Iterator[FrozenPostgresStorage]:
    """A storage whose time, and that of its server, passes when it ticks."""
    with FrozenPostgresStorage(postgres, clock) as storage:
        yield storage


def make_storage(server: PostgresServer, **options: Any) -> PostgresStorage:
    """A storage on a server, by its Unix socket."""
    return PostgresStorage(server.socket_conninfo(), **options)


def storage_by(wire: Wire, server: PostgresServer) -> PostgresStorage:
    """A storage on a server, through a wire. Its table exists."""
    storage = PostgresStorage(server.conninfo(port=wire.port))
    # A thread that asks before the pool has a connection lets it make a second one, at some time.
    storage._pool.open(wait=True, timeout=PATIENCE)
    storage.get("42")
    # A connection that the pool makes beside would be counted, or lose its message.
    wait_until(lambda: is_at_rest(storage._pool))
    return storage


def make_pool(server: PostgresServer, **options: Any) -> ConnectionPool[Any]:
    """A pool as a bot has it, which is open."""
    options = {"min_size": 1, "max_size": 4, "timeout": PATIENCE, "open": True, **options}
    conninfo = options.pop("conninfo", server.socket_conninfo())
    return ConnectionPool(conninfo, **options)


def failure(call: Callable[[Storage], object], storage: Storage) -> StorageError:
    """The error of a call."""
    with pytest.raises(StorageError) as caught:
        call(storage)
    return caught.value


class _FrozenLink(Link):
    """A link that tells the server the time of the test before each exchange."""

    __slots__ = ("_clock",)

    def __init__(self, link: Link, clock: FrozenDateTimeFactory) -> None:
        super().__init__(link.connection, link.prepared)
        self._clock = clock

    def exchange(self, statements: Sequence[Statement]) -> list[PGresult]:
        now = self._clock().replace(tzinfo=UTC).isoformat().encode()
        super().exchange([Statement(_TELL, (now,))])
        return super().exchange(statements)


class _FrozenConnections(Connections):
    """Connections whose links tell the time of the test."""

    clock: FrozenDateTimeFactory

    def _link(self, connection: Connection[Any], key: str | None) -> Link:
        return _FrozenLink(super()._link(connection, key), self.clock)


class FrozenPostgresStorage(PostgresStorage):
    """
    A storage on a real server, whose time is that of a test.

    Args:
        server: The server, whose functions of the time are replaced.
        clock: The clock, which stands still until it ticks.
        options: Of the storage.
    """

    def __init__(
        self, server: PostgresServer, clock: FrozenDateTimeFactory, **options: Any
    ) -> None:
        self._clock = clock
        for name in ("clock_timestamp", "now"):
            server.ask(_FUNCTIONS.format(name=name))
        path = "-c search_path=public,pg_catalog"
        super().__init__(server.socket_conninfo(options=path), **options)

    def _make_state(self) -> Server:
        server = super()._make_state()
        _FrozenConnections.clock = self._clock
        server.connections.__class__ = _FrozenConnections
        return server
