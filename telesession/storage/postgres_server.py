"""A PostgreSQL server as `PostgresStorage` and its holds use it: statements and the table."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg
from psycopg.errors import InsufficientPrivilege

from telesession.errors import StorageError
from telesession.storage.base import ProcessState
from telesession.storage.postgres_errors import diagnosis, error_of
from telesession.storage.postgres_link import ASK_PID
from telesession.storage.postgres_statements import (
    BIGINT,
    TEXT,
    Query,
    Statement,
    failure_in,
    number,
)
from telesession.storage.postgres_table import COLUMNS, CREATE, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.pq.abc import PGresult

    from telesession.storage.postgres_connections import Connections
    from telesession.storage.postgres_errors import Failure
    from telesession.storage.postgres_link import Link

BEGIN = Statement(Query.frequent("BEGIN ISOLATION LEVEL READ COMMITTED"))
COMMIT = Statement(Query.frequent("COMMIT"))
ROLLBACK = Statement(Query.frequent("ROLLBACK"))

SAVEPOINT = Statement(Query.frequent("SAVEPOINT hold"))
RELEASE = Statement(Query.frequent("RELEASE hold"))
UNDO = (Statement(Query.rare("ROLLBACK TO hold")), RELEASE)

# Without it, two processes that make the table at the same time get errors of the catalog.
_CREATION = Statement(
    Query.rare("SELECT pg_advisory_xact_lock($1)", BIGINT), (number(0x7465_6C65_7365_7373),)
)
_FIND = (
    "SELECT n.nspname::text, c.relname::text, current_setting('server_encoding'), "
    "array_to_string(ARRAY(SELECT attname FROM pg_attribute WHERE attrelid = c.oid AND "
    "attnum > 0 AND NOT attisdropped), ',') FROM pg_class c JOIN pg_namespace n "
    "ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)"
)
PING = Statement(Query.rare("SELECT 1"))
# Seconds between two looks for expired records, and how many of them one commit removes.
_PURGE_PAUSE, _FEW = 60.0, 100


class PostgresServer(ProcessState):
    """
    The server for one process, with the table of the storage.

    Keep one for as long as the storage, in one process. Any thread may use it.

    Args:
        connections: The connections.
        name: The name of the table, perhaps with its schema, quoted.
        index: The name of its index, quoted.
    """

    __slots__ = ("_index", "_name", "_purge_at", "_table", "connections")

    def __init__(self, connections: Connections, name: str, index: str) -> None:
        super().__init__()
        self.connections = connections
        self._name = name
        self._index = index
        self._table: Table | None = None
        # The monotonic time from which on a commit removes expired records.
        self._purge_at = time.monotonic() + _PURGE_PAUSE

    @property
    def table(self) -> Table:
        """
        The table; looked for, and perhaps made, with the first use in this process.

        Raises:
            StorageError: The table does not exist and cannot be made, or is another table.
        """
        if self._table is None:
            # Two threads may do this at the same time.
            self._table = self._find() or self._make()
        return self._table

    def run(self, action: str, key: str | None, *statements: Statement) -> list[PGresult]:
        """
        Execute statements in a transaction of their own, and give their results.

        If the connection was lost, they are sent again, so a repetition must change nothing.

        Raises:
            StorageError: The server refused, or cannot be reached.
        """
        link, results = self.send(action, key, [BEGIN, *statements, COMMIT])
        try:
            if (failure := failure_in(results)) is not None:
                with suppress(psycopg.Error):
                    link.exchange([ROLLBACK])
                raise refused(action, key, failure)
        finally:
            self.connections.give_back(link)
        return results[1:-1]

    def read(self, action: str, key: str | None, statement: Statement) -> PGresult:
        """
        Execute a read in the transaction of this thread, or in one of its own.

        So a handler needs no second connection to read further records.

        Raises:
            StorageError: The server refused, or cannot be reached.
        """
        link = self.connections.of_thread()
        if link is None:
            return self.run(action, key, statement)[0]
        try:
            results = link.exchange([SAVEPOINT, statement, RELEASE])
            failure = failure_in(results)
            if failure is None:
                return results[1]
            link.exchange(UNDO)
        except psycopg.Error as error:
            raise StorageError(action, key, *diagnosis(error)) from error
        if link.gives_up_preparing(failure.code):
            return self.read(action, key, statement)
        raise refused(action, key, failure)

    def send(
        self, action: str, key: str | None, statements: Sequence[Statement]
    ) -> tuple[Link, list[PGresult]]:
        """
        Send statements on a fresh connection, which the caller gives back.

        A pool does not notice that the server has ended connections while they were idle, as in
        a restart. So a lost connection is replaced by another one, as often as the pool is large.

        Raises:
            StorageError: The server cannot be reached.
        """
        lost: psycopg.Error = psycopg.OperationalError("the pool gave only lost connections")
        for _ in range(self.connections.most + 2):
            link = self.connections.take(key)
            try:
                results = link.exchange(statements)
                failure = failure_in(results)
                if failure is None or not link.gives_up_preparing(failure.code):
                    return link, results
                link.exchange([ROLLBACK])
            except psycopg.Error as error:
                lost = error
            except BaseException:
                self.connections.give_back(link)
                raise
            self.connections.give_back(link)
        raise StorageError(action, key, *diagnosis(lost)) from lost

    def due(self) -> list[Statement]:
        """The statement that removes a few expired records, if it is time for that."""
        if time.monotonic() < self._purge_at:
            return []
        self._purge_at = time.monotonic() + _PURGE_PAUSE
        return [self.table.purge(_FEW)]

    def note_purge(self, results: Sequence[PGresult]) -> None:
        """Let the next commit remove more, if there may be more expired records."""
        if len(results) > 1 and results[0].command_tuples == _FEW:
            self._purge_at = time.monotonic()

    def ask(self, action: str, sql: str, *values: str) -> list[tuple[str, ...]]:
        """
        Execute a rare query whose parameters and columns are of the type text.

        Returns:
            The rows; NULL is an empty text.

        Raises:
            StorageError: The server refused, or cannot be reached.
        """
        query = Query.rare(sql, *[TEXT] * len(values))
        statement = Statement(query, tuple(value.encode() for value in values))
        (result,) = self.run(action, None, statement)
        columns = range(result.nfields)
        return [
            tuple((result.get_value(row, column) or b"").decode() for column in columns)
            for row in range(result.ntuples)
        ]

    def has_table(self) -> bool:
        """
        Whether the table exists. It is not made.

        Raises:
            StorageError: The server cannot be reached, or it is another table.
        """
        self._table = self._table or self._find()
        return self._table is not None

    def is_direct(self) -> bool:
        """
        Whether connections lead to the server itself, and not to a pooler such as pgbouncer.

        Raises:
            StorageError: The server cannot be reached.
        """
        link, (result,) = self.send("check", None, [ASK_PID])
        is_direct = link.is_direct(result)
        self.connections.give_back(link)
        return is_direct

    def ping(self) -> None:
        """Return if the server answers."""
        self.run("reach the server", None, PING)

    def close(self) -> None:
        """Close the connections."""
        self.connections.close()

    def _find(self) -> Table | None:
        found = self.ask("find the table", _FIND, self._name)
        if not found:
            return None
        schema, name, encoding, columns = found[0]
        if encoding != "UTF8":
            raise StorageError(
                "use the database",
                None,
                f"its encoding is {encoding}, which has no place for every character",
                "create it anew with ENCODING 'UTF8'",
            )
        if missing := COLUMNS.difference(columns.split(",")):
            raise StorageError(
                "use the table",
                None,
                f"{self._name} has no column {', '.join(sorted(missing))}",
                "give the storage another table, or bring this one to the documented columns",
            )
        return Table(schema, name)

    def _make(self) -> Table:
        sql = CREATE.format(table=self._name, index=self._index)
        parts = [Statement(Query.rare(each)) for each in sql.split(";\n") if each.strip()]
        try:
            self.run("create the table", None, _CREATION, *parts)
        except StorageError as error:
            if isinstance(error.__cause__, InsufficientPrivilege):
                error.remedy = f"run the documented statement for {self._name} as its owner"
                error.args = (*error.args[:3], error.remedy, error.outcome)
            raise
        found = self._find()
        if found is None:
            raise StorageError(
                "create the table",
                None,
                f"{self._name} is not in the search_path",
                "name the schema: PostgresStorage(..., table='schema.table')",
            )
        return found


def refused(action: str, key: str | None, failure: Failure) -> StorageError:
    """The error for a statement that the server has refused, so that nothing was written."""
    cause = error_of(failure)
    error = StorageError(action, key, *diagnosis(cause))
    error.__cause__ = cause
    return error
