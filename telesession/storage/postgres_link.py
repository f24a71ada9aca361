"""Links: connections to a PostgreSQL server, and the statements that they have prepared."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import generators, waiting
from psycopg.pq import ExecStatus, Format

from telesession.storage.postgres_errors import error_of
from telesession.storage.postgres_statements import Query, Statement, failure_in, number_in

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGresult

_ASK_PID = Statement(Query.rare("SELECT pg_backend_pid()::int8"))
# A prepared statement is gone, as after DISCARD ALL, or its table has changed.
_UNPREPARED = frozenset(("26000", "0A000"))
# Seconds of one wait of a greenlet; then it waits on.
_INTERVAL = 1.0


class Prepared:
    """
    The statements that a connection has prepared on the server.

    A prepared statement takes the server a third of the time. It belongs to one process of the
    server, and behind a pooler such as pgbouncer each transaction may have another one. There the
    number of the process is not that of the connection, so nothing is prepared. Nor is it if the
    `prepare_threshold` of the connection is `None`.

    It lives as long as the connection.

    Attributes:
        is_allowed: Whether statements may be prepared; `None` until the server was asked.
        names: The names of the statements.
    """

    __slots__ = ("is_allowed", "names")

    def __init__(self, connection: Connection[Any]) -> None:
        self.is_allowed = None if connection.prepare_threshold is not None else False
        self.names: set[bytes] = set()


class Link:
    """
    A connection while one thread has it.

    Args:
        connection: The connection.
        prepared: Its prepared statements.
    """

    __slots__ = ("_prepared", "connection")

    def __init__(self, connection: Connection[Any], prepared: Prepared) -> None:
        self.connection = connection
        self._prepared = prepared

    @property
    def closed(self) -> bool:
        """Whether the connection is closed or lost."""
        return self.connection.closed

    def exchange(self, statements: Sequence[Statement]) -> list[PGresult]:
        """
        Send statements, and give their results: one round trip.

        The results after a refused statement say that those were not executed; see `failure_in`.
        If this raises, the connection is closed.

        Raises:
            psycopg.Error: The connection was lost.
        """
        pgconn, is_asked = self.connection.pgconn, self._prepared.is_allowed is None
        # The statements that are prepared on the way, by position among the results.
        new: dict[int, bytes] = {}
        try:
            pgconn.enter_pipeline_mode()
            number = 0
            # Last, because no query may be before the BEGIN that sets an isolation level.
            for statement in (*statements, _ASK_PID) if is_asked else statements:
                number += self._send(statement, number, new)
            pgconn.pipeline_sync()
            results = self._wait(self._results(number))
            pgconn.exit_pipeline_mode()
        finally:
            if pgconn.pipeline_status:
                # Nobody waits for the rest of the answer.
                self.connection.close()
        if is_asked and (pid := results.pop()).status == ExecStatus.TUPLES_OK:
            self._prepared.is_allowed = number_in(pid, 0) == pgconn.backend_pid
        return self._without(new, results) if new else results

    def gives_up_preparing(self, code: str) -> bool:
        """Whether a failure came from a prepared statement; from then on none is prepared."""
        is_meant = bool(self._prepared.is_allowed) and code in _UNPREPARED
        if is_meant:
            self._prepared.is_allowed = False
        return is_meant

    def _send(self, statement: Statement, position: int, new: dict[int, bytes]) -> int:
        """Send a statement, prepared if it may be, and return the number of its results."""
        pgconn, (sql, name) = self.connection.pgconn, statement.query
        parameters = statement.parameters
        values, oids, formats = zip(*parameters, strict=True) if parameters else ((), (), ())
        if not name or not self._prepared.is_allowed:
            pgconn.send_query_params(sql, values, oids, formats, Format.BINARY)
            return 1
        is_new = name not in self._prepared.names and name not in new.values()
        if is_new:
            pgconn.send_prepare(name, sql, oids)
            new[position] = name
        pgconn.send_query_prepared(name, values, formats, Format.BINARY)
        return 1 + is_new

    def _without(self, new: dict[int, bytes], results: list[PGresult]) -> list[PGresult]:
        """The results without those of preparations. A refused one stands for its statement."""
        dropped: set[int] = set()
        for position, name in new.items():
            is_prepared = results[position].status == ExecStatus.COMMAND_OK
            if is_prepared:
                self._prepared.names.add(name)
            dropped.add(position if is_prepared else position + 1)
        return [result for position, result in enumerate(results) if position not in dropped]

    def _results(self, number: int) -> PQGen[list[PGresult]]:
        pgconn = self.connection.pgconn
        yield from generators.send(pgconn)
        results: list[PGresult] = []
        try:
            # The last one answers the end of the pipeline.
            for _ in range(number + 1):
                results += yield from generators.fetch_many(pgconn)
        except psycopg.OperationalError:
            failure = failure_in(results)
            if failure is None:
                raise
            # The server has said why it ends the connection, such as a time-out.
            raise error_of(failure) from None
        return results[:number]

    def _wait(self, steps: PQGen[list[PGresult]]) -> list[PGresult]:
        monkey = sys.modules.get("gevent.monkey")
        if monkey is not None and monkey.is_module_patched("select"):
            # It may have patched after the import of psycopg. Then all its other ways to wait block
            # all greenlets.
            return waiting.wait_poll(steps, self.connection.pgconn.socket, _INTERVAL)
        return self.connection.wait(steps)
