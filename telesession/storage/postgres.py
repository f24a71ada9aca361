"""Sessions in a PostgreSQL database, shared by the processes of many machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from telesession.codecs import Codec, JSONCodec
from telesession.storage.base import Change, Hold, Record, Storage
from telesession.storage.bitmaps import SIZE, by_page, key_of
from telesession.storage.rows import Row

_PACKAGES = ("psycopg", "psycopg_pool")

if TYPE_CHECKING or all(map(find_spec, _PACKAGES)):
    from psycopg_pool import ConnectionPool

    from telesession.storage.postgres_commit import write_together
    from telesession.storage.postgres_connections import Connections, copy_pool, make_pool
    from telesession.storage.postgres_hold import PostgresHold, new_token
    from telesession.storage.postgres_keys import key_of as key_in_column
    from telesession.storage.postgres_server import PostgresServer
    from telesession.storage.postgres_statements import Query, Statement, time_in
    from telesession.storage.postgres_table import quoted, records_in, row_in
    from telesession.storage.postgres_transaction import Transaction

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from telesession.forks import PerProcess

# How many keys, and how many records, are read at once.
_PAGE, _PAGE_OF_ROWS = 1000, 500
# How many expired records `purge` removes in one transaction.
_BATCH = 1000
# The longest identifier of PostgreSQL, in bytes.
_LONGEST_NAME = 63


class PostgresStorage(Storage):
    """
    Keeps records in a table of a PostgreSQL database (13 or later): for bots on many machines.

    The database's own transaction is the unit of work: a handler locks its sessions with advisory
    locks of a transaction, and the commit writes them and frees the locks. An update takes two
    round trips. The server gives a session to the waiters in the order in which they asked. A
    session is free as soon as its process or its connection has ended. Deadlines count on the
    server's clock.

    A handler has one connection while it runs, with which it also reads further records. It has
    one more for each block with `independent=True` inside, and one more for the moment of a `save`.
    So a pool needs as many connections as the bot has threads, and twice as many if its handlers
    use `independent=True` or `save`.

    Keep one instance for as long as the bot runs. Any thread may use it, and so may every process
    that is forked from the one that made it, with or without Python's fork hooks.

    Args:
        conninfo_or_pool: A URL such as `"postgresql://bot:password@localhost/bot"`, another
            conninfo, or a `psycopg_pool.ConnectionPool`. With a conninfo, the storage has up to 50
            connections, and a thread waits up to 5 seconds for one. Poolers such as pgbouncer may
            pool by transaction.
        codec: The codec that turns records into bytes; readable JSON by default.
        table: The table, perhaps with its schema. It is made if it does not exist. The manual has
            the statement that makes it.

    Attributes:
        table: The quoted name of the table, perhaps with its schema.

    Raises:
        ImportError: The packages psycopg and psycopg_pool are not installed.
        TypeError: An option is of the wrong type, or the pool of the wrong kind.
        ValueError: An option has a value that makes no sense.
    """

    holds_connections = True

    _states: PerProcess[PostgresServer]  # type: ignore[assignment]

    def __init__(
        self,
        conninfo_or_pool: str | ConnectionPool[Any],
        codec: Codec | None = None,
        *,
        table: str = "telesession_sessions",
    ) -> None:
        if not all(map(find_spec, _PACKAGES)):
            raise ImportError(
                "PostgresStorage needs the packages psycopg and psycopg_pool, which are not "
                "installed; pip install 'psycopg[binary,pool]>=3.2.1'"
            )
        self.codec = JSONCodec() if codec is None else codec
        self.table, self._index = _checked_table(table)
        self._is_mine = isinstance(conninfo_or_pool, str)
        self._pool = _checked_pool(conninfo_or_pool)
        self._pid = os.getpid()

    def get(self, key: str) -> bytes | None:
        """See `Storage.get`."""
        record = self._get("read", key)
        return None if record is None else record.payload

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """See `Storage.set`."""
        if lifetime is not None and lifetime <= 0:
            self.delete(key)
            return
        server = self.process_state
        server.run("write", key, server.table.set(key, payload, lifetime, new_token()))

    def delete(self, key: str) -> bool:
        """See `Storage.delete`."""
        server = self.process_state
        (result,) = server.run("delete", key, server.table.delete(key))
        return bool(result.ntuples) and result.get_value(0, 0) == b"\1"

    def touch(self, key: str, lifetime: float | None) -> bool:
        """See `Storage.touch`."""
        if lifetime is not None and lifetime <= 0:
            return self.delete(key)
        server = self.process_state
        (result,) = server.run("touch", key, server.table.touch(key, lifetime, new_token()))
        return bool(result.command_tuples)

    def has(self, key: str) -> bool:
        """See `Storage.has`."""
        return self._get("look up", key) is not None

    def get_record(self, key: str) -> Record | None:
        """See `Storage.get_record`."""
        return self._get("read", key)

    def ping(self) -> None:
        """See `Storage.ping`."""
        self.process_state.ping()

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `Storage.keys`. A page at a time, in the order of their characters."""
        after = None
        while page := self._page_of_keys(prefix, after, _PAGE):
            yield from page
            after = page[-1]

    def rows(self, prefix: str = "") -> Iterator[Row]:
        """
        Iterate over the live records whose keys start with `prefix`, in the order of their keys.

        A page at a time is in memory.

        Raises:
            StorageError: The server failed.
        """
        after = None
        while True:
            server = self.process_state
            result = server.read("read", None, server.table.rows(prefix, after, _PAGE_OF_ROWS))
            page = records_in(result)
            yield from map(Row._make, page)
            if len(page) < _PAGE_OF_ROWS:
                return
            after = page[-1][0]

    def purge(self) -> int:
        """
        Remove all records that have expired, and return how many there were.

        Reads do not see them before. Commits remove them, too, a few at a time.
        """
        removed, last = 0, _BATCH
        while last == _BATCH:
            server = self.process_state
            (result,) = server.run("purge", None, server.table.purge(_BATCH))
            last = result.command_tuples or 0
            removed += last
        return removed

    def hold(self, key: str, timeout: float | None = None) -> PostgresHold:
        """See `Storage.hold`; exclusive among all users of the table."""
        return PostgresHold(self, key, timeout, Transaction(self.process_state))

    def hold_beside(self, hold: Hold, key: str, timeout: float | None = None) -> PostgresHold:
        """See `Storage.hold_beside`. It is in the transaction of the other hold."""
        return PostgresHold(self, key, timeout, cast("PostgresHold", hold).transaction)

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """See `Storage.commit`. It is one transaction, which frees the locks."""
        write_together(self.process_state, holds, also)

    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        """See `Storage.listed`. It reads only the keys that it lists, and expired ones."""
        return self._page_of_keys(prefix, after, limit)

    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        """See `Storage.add_once`. It is one transaction, and one round trip."""
        if not payloads:
            return []
        server, token = self.process_state, new_token()
        # In one order for all processes, because the rows of the pages stay locked.
        numbers = sorted((page, one) for page, some in by_page(payloads).items() for one in some)
        statements = [
            server.table.add_once(
                key_of(prefix, one), payloads[one], (f"{pages}{page}", one % SIZE), memory, token
            )
            for page, one in numbers
        ]
        # The answer is the same if the statements were sent twice after a lost reply.
        written = server.table.written([key_of(prefix, one) for one in payloads], token)
        *_, result = server.run("write", None, *statements, written)
        added = set(_keys_in(result))
        return [one for one in payloads if key_of(prefix, one) in added]

    def now(self) -> float:
        """See `Storage.now`; on the clock of the server."""
        sql = Statement(Query.rare("SELECT clock_timestamp()"))
        result = self.process_state.read("ask for the time", None, sql)
        return time_in(result, 0)

    def close(self) -> None:
        """See `Storage.close`. A pool that was passed in stays open."""
        self.process_state.close()

    def __repr__(self) -> str:
        return f"<PostgresStorage {self.table}>"

    def _get(self, action: str, key: str) -> Record | None:
        server = self.process_state
        result = server.read(action, key, server.table.read(key))
        row = row_in(result)
        return Record(row.payload, row.left) if row is not None and row.is_live else None

    def _page_of_keys(self, prefix: str, after: str | None, limit: int) -> list[str]:
        server = self.process_state
        statement = server.table.keys(prefix, after, limit)
        result = server.read("list the keys", None, statement)
        return _keys_in(result)

    @property
    def process_state(self) -> PostgresServer:
        """See `Storage.process_state`."""
        return self._states.get(self._make_state)

    def _make_state(self) -> PostgresServer:
        pool = self._pool if os.getpid() == self._pid else copy_pool(self._pool)
        is_mine = self._is_mine or pool is not self._pool
        return PostgresServer(Connections(pool, is_mine=is_mine), self.table, self._index)


def _keys_in(result: PGresult) -> list[str]:
    """The keys in the first column of a result."""
    values = (result.get_value(position, 0) or b"" for position in range(result.ntuples))
    return [key_in_column(value) for value in values]


def _checked_table(table: object) -> tuple[str, str]:
    """The quoted name of a table, and that of its index."""
    if not isinstance(table, str):
        raise TypeError(f"PostgresStorage(table=...) must be a str, not {type(table).__name__}")
    schema, dot, name = table.rpartition(".")
    parts = (schema, name) if dot else (name,)
    index = f"{name}_expires"
    is_long = any(len(part.encode()) > _LONGEST_NAME for part in (*parts, index))
    if "." in schema or not all(parts) or "\0" in table or is_long:
        raise ValueError(
            f"PostgresStorage(table={table!r}) takes the name of a table, or a schema and a table "
            "such as 'bot.sessions', of at most 55 bytes"
        )
    return ".".join(map(quoted, parts)), quoted(index)


def _checked_pool(conninfo_or_pool: object) -> ConnectionPool[Any]:
    if isinstance(conninfo_or_pool, str):
        return make_pool(conninfo_or_pool)
    if isinstance(conninfo_or_pool, ConnectionPool):
        return conninfo_or_pool
    kind = f"{type(conninfo_or_pool).__module__}.{type(conninfo_or_pool).__qualname__}"
    hint = "; handlers block, so their pool has to, too" if "Async" in kind else ""
    raise TypeError(
        "PostgresStorage(conninfo_or_pool) takes a URL, a conninfo or a "
        f"psycopg_pool.ConnectionPool, not a {kind}{hint}"
    )
