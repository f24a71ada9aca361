"""Links: connections to a PostgreSQL server, and the statements that they have prepared."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import generators, waiting
from psycopg.pq import ExecStatus, Format, TransactionStatus
from psycopg.waiting import Wait

from telesession.storage.postgres_errors import error_of
from telesession.storage.postgres_statements import Query, Statement, failure_in, number_in

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.abc import PQGen
    from psycopg.pq.abc import PGconn, PGresult

#: Asks for the number of the process of the server.
ASK_PID = Statement(Query.rare("SELECT pg_backend_pid()::int8"))
# A prepared statement is gone, as after DISCARD ALL, or its table has changed.
_UNPREPARED = frozenset(("26000", "0A000"))
# Seconds of one wait of a greenlet; then the next wait begins.
_INTERVAL = 1.0


class Prepared:
    """
    The statements that a connection has prepared on the server.

    A prepared statement takes the server a third of the time. It belongs to one process of the
    server, and behind a pooler such as pgbouncer each transaction may have another one. Behind a
    pooler the number of the process is not that of the connection, so nothing is prepared. Nothing
    is prepared either if the `prepare_threshold` of the connection is `None`.

    It lives as long as the connection.

    Attributes:
        is_allowed: Whether statements may be prepared; `None` until the server was asked.
        names: The names of the statements.
        prefix: Begins each name. It is random, because several storages may share a pool, and none
            knows the statements of another one.
    """

    __slots__ = ("is_allowed", "names", "prefix")

    def __init__(self, connection: Connection[Any]) -> None:
        self.is_allowed = None if connection.prepare_threshold is not None else False
        self.names: set[bytes] = set()
        self.prefix = f"telesession_{secrets.token_hex(4)}_".encode()


class Link:
    """
    A connection while one thread has it.

    Attributes:
        connection: The connection.
        prepared: Its prepared statements.
    """

    __slots__ = ("connection", "prepared")

    def __init__(self, connection: Connection[Any], prepared: Prepared) -> None:
        self.connection = connection
        self.prepared = prepared

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
        pgconn, prepared = self.connection.pgconn, self.prepared
        is_asked = prepared.is_allowed is None
        # The BEGIN of a transaction is prepared first. So if the connection has lost its
        # statements, as by DISCARD ALL, a BEGIN is refused, and never a commit.
        is_first = pgconn.transaction_status == TransactionStatus.IDLE
        # position among the results -> the statement that is prepared there. `None` while nothing
        # may be prepared.
        new: dict[int, bytes] | None = None
        if prepared.is_allowed and (prepared.names or is_first):
            new = {}
        results: list[PGresult] = []
        try:
            pgconn.enter_pipeline_mode()
            position = 0
            # Last, because no query may be before the BEGIN that sets an isolation level.
            for statement in (*statements, ASK_PID) if is_asked else statements:
                position += self._send(statement, position, new)
            pgconn.pipeline_sync()
            self._wait(self._read(results))
            pgconn.exit_pipeline_mode()
        except psycopg.OperationalError as error:
            raise _farewell(pgconn, results) or error from None
        finally:
            if pgconn.pipeline_status:
                # No thread waits for the rest of the answer.
                self.connection.close()
        if is_asked and (pid := results.pop()).status == ExecStatus.TUPLES_OK:
            prepared.is_allowed = self.is_direct(pid)
        return self._without(new, results) if new else results

    def is_direct(self, pid: PGresult) -> bool:
        """Whether the answer to `ASK_PID` shows that there is no pooler before the server."""
        return number_in(pid, 0) == self.connection.pgconn.backend_pid

    def gives_up_preparing(self, code: str) -> bool:
        """Whether a failure came from a prepared statement; from then on none is prepared."""
        is_meant = bool(self.prepared.is_allowed) and code in _UNPREPARED
        if is_meant:
            self.prepared.is_allowed = False
        return is_meant

    def _send(self, statement: Statement, position: int, new: dict[int, bytes] | None) -> int:
        """Send a statement, prepared if it may be, and return the number of its results."""
        (sql, name, oids, formats), values = statement
        pgconn, prepared = self.connection.pgconn, self.prepared
        if not name or new is None:
            pgconn.send_query_params(sql, values, oids, formats, Format.BINARY)
            return 1
        name = prepared.prefix + name
        is_new = name not in prepared.names and name not in new.values()
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
                self.prepared.names.add(name)
            dropped.add(position if is_prepared else position + 1)
        return [result for position, result in enumerate(results) if position not in dropped]

    def _read(self, results: list[PGresult]) -> PQGen[None]:
        """Send the rest of the data, and read the results up to the end of the pipeline."""
        pgconn = self.connection.pgconn
        if pgconn.flush():
            yield from generators.send(pgconn)
        while True:
            is_between = False
            # Without this check, `get_result` waits, and blocks the other threads.
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is not None:
                    if result.status == ExecStatus.PIPELINE_SYNC:
                        return
                    results.append(result)
                elif is_between:
                    # There is one `None` behind each result, and any number on a lost connection.
                    break
                is_between = result is None
            yield Wait.R
            pgconn.consume_input()

    def _wait(self, steps: PQGen[None]) -> None:
        monkey = sys.modules.get("gevent.monkey")
        if monkey is not None and monkey.is_module_patched("select"):
            # gevent may have patched after the import of psycopg. Then all other waits of psycopg
            # block all greenlets.
            waiting.wait_poll(steps, self.connection.pgconn.socket, _INTERVAL)
        else:
            self.connection.wait(steps)


def _farewell(pgconn: PGconn, results: list[PGresult]) -> psycopg.Error | None:
    """The error with which the server has ended a connection; `None` without one."""
    while (result := pgconn.get_result()) is not None:
        results.append(result)
    failures = (failure_in([result]) for result in results)
    return next((error_of(failure) for failure in failures if failure and failure.code), None)
