"""Transactions of a PostgreSQL server: one for all sessions of a unit of work."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from telesession.errors import DeadlockError, LockLostError, LockTimeoutError, StorageError
from telesession.locks import OTHER_PROCESS
from telesession.storage.postgres_errors import diagnosis
from telesession.storage.postgres_link import ASK_PID
from telesession.storage.postgres_server import (
    BEGIN,
    COMMIT,
    RELEASE,
    ROLLBACK,
    SAVEPOINT,
    UNDO,
    refused,
)
from telesession.storage.postgres_statements import (
    BIGINT,
    TEXT,
    Query,
    Statement,
    failure_in,
    number,
    number_in,
    time_in,
)
from telesession.storage.postgres_table import Row, row_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.pq.abc import PGresult

    from telesession.storage.postgres_errors import Failure
    from telesession.storage.postgres_link import Link
    from telesession.storage.postgres_server import PostgresServer

# The time-out counts for the lock that the same statement asks for.
_LOCK = Query.frequent(
    "SELECT set_config('lock_timeout', $1, true), pg_advisory_xact_lock($2), clock_timestamp()",
    TEXT,
    BIGINT,
)
_TRY_LOCK = Query.frequent("SELECT NULL, pg_try_advisory_xact_lock($1), clock_timestamp()", BIGINT)
# Fails by a division by zero if a process of the server does not have a lock.
_EXPECT_LOCK = Query.rare(
    "SELECT 1 / count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = $2 AND "
    "objsubid = 1 AND (classid::int8 << 32) | objid::int8 = $1 AND "
    "database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    BIGINT,
    BIGINT,
)
# The longest time-out that PostgreSQL takes, in milliseconds.
_LONGEST = 2**31 - 1
_TIMED_OUT, _CIRCLE = "55P03", "40P01"


def take_lock(lock_id: int, timeout: float | None) -> Statement:
    """
    Take the advisory lock of a number until the end of the transaction.

    The second column of the result is false if the time-out is 0 and the lock is not free. The
    third is the time of the server.

    Args:
        lock_id: The number.
        timeout: Seconds to wait; `None` is for ever.
    """
    if timeout is not None and timeout <= 0:
        return Statement(_TRY_LOCK, (number(lock_id),))
    # For the server, 0 is for ever.
    milliseconds = 0 if timeout is None else min(max(round(timeout * 1000), 1), _LONGEST)
    return Statement(_LOCK, (number(milliseconds), number(lock_id)))


class Locked(NamedTuple):
    """
    A key that was locked and read.

    Attributes:
        row: Its row; `None` if there is none.
        now: Seconds since the epoch, on the clock of the server.
    """

    row: Row | None
    now: float


class Transaction:
    """
    A transaction with the locks of the sessions of one unit.

    It begins with its first hold, and has one connection until it is committed or the last hold
    is left. One thread uses it.

    Args:
        server: The server.
    """

    __slots__ = ("_keys", "_link", "_server")

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._link: Link | None = None
        # The locked keys, in the order of their locks.
        self._keys: list[str] = []

    @property
    def first_lock(self) -> int:
        """The number of the first lock."""
        return self._server.table.lock_id(self._keys[0])

    def lock(self, key: str, left: float | None, timeout: float | None) -> Locked:
        """
        Lock a key and read its row: one round trip.

        The server answers the read when it has the lock. It reads in a statement of its own, which
        sees the commit of the former holder.

        Args:
            key: The key.
            left: Seconds to wait for the lock; `None` is for ever.
            timeout: Seconds of the whole wait, as the error names them.

        Raises:
            DeadlockError: The wait would close a circle of waits.
            LockTimeoutError: Another process had the key for too long.
            StorageError: The server failed.
        """
        table = self._server.table
        statements = [take_lock(table.lock_id(key), left), table.read(key)]
        if self._keys:
            results = self._send("lock", key, [SAVEPOINT, *statements, RELEASE])
        else:
            self._link, results = self._server.send("lock", key, [BEGIN, *statements])
        failure, (_, locked, read, *_) = failure_in(results), results
        if failure is not None or locked.get_value(0, 1) == b"\0":
            error = self._refusal(key, timeout, failure)
            self._undo()
            raise error
        self._keys.append(key)
        return Locked(row_in(read), time_in(locked, 2))

    def check(self, key: str) -> Statement:
        """
        Return if the transaction still has its locks.

        Returns:
            A statement for another transaction, which fails with the code `UNEXPECTED` if this one
            has lost the lock of the key since.

        Raises:
            LockLostError: Its connection is lost.
        """
        try:
            (pid,) = self._send("lock", key, [ASK_PID])
        except StorageError as error:
            raise LockLostError(key) from error.__cause__
        lock_id = self._server.table.lock_id(key)
        return Statement(_EXPECT_LOCK, (number(lock_id), number(number_in(pid, 0))))

    def commit(self, statements: Sequence[Statement]) -> list[PGresult]:
        """
        Execute statements and commit: one round trip. The locks are free then.

        Returns:
            The results. If `failure_in` finds one, nothing was written.

        Raises:
            LockLostError: The connection was lost before.
            psycopg.Error: The connection was lost, perhaps after the commit.
        """
        link = self._link
        if link is None:
            raise LockLostError(self._keys[0])
        try:
            results = link.exchange([*statements, COMMIT])
            if failure_in(results) is not None:
                with suppress(psycopg.Error):
                    link.exchange([ROLLBACK])
        finally:
            self._give_back(link)
        return results

    def commit_alone(self, key: str, statements: Sequence[Statement]) -> list[PGresult]:
        """
        Begin, lock a key, execute statements and commit: one round trip.

        Returns:
            The results. If `failure_in` finds one, nothing was written.

        Raises:
            psycopg.Error: The connection was lost, perhaps after the commit.
            StorageError: The server cannot be reached, or has refused the lock.
        """
        self._keys.append(key)
        begin = [BEGIN, take_lock(self._server.table.lock_id(key), None)]
        link = self._server.connections.take(key)
        try:
            results = _exchange_alone(link, [*begin, *statements, COMMIT])
        finally:
            self._server.connections.give_back(link)
        failure = failure_in(results)
        if failure is not None and failure.position < len(begin):
            raise refused("lock", key, failure)
        return results[len(begin) :]

    def leave(self, key: str) -> None:
        """
        Note that a hold was left. The last one ends the transaction, and its locks are free.

        The hold may have been interrupted before it had the lock.
        """
        with suppress(ValueError):
            self._keys.remove(key)
        if not self._keys:
            self._end()

    def _send(self, action: str, key: str, statements: Sequence[Statement]) -> list[PGresult]:
        link = self._link
        if link is None or link.closed:
            raise LockLostError(key)
        try:
            return link.exchange(statements)
        except psycopg.Error as error:
            raise StorageError(action, key, *diagnosis(error)) from error

    def _refusal(
        self, key: str, timeout: float | None, failure: Failure | None
    ) -> LockTimeoutError | StorageError:
        """The error for a key that was not locked, or not read."""
        # The lock is the second statement.
        if failure is None or (failure.position, failure.code) == (1, _TIMED_OUT):
            return LockTimeoutError(key, timeout or 0.0, OTHER_PROCESS)
        if (failure.position, failure.code) == (1, _CIRCLE):
            return DeadlockError(key, (key, *self._keys))
        return refused("lock", key, failure)

    def _undo(self) -> None:
        """Roll back to the locks before the last one."""
        if not self._keys:
            self._end()
        elif self._link is not None:
            # If the connection is lost, its next use raises.
            with suppress(psycopg.Error):
                self._link.exchange(UNDO)

    def _end(self) -> None:
        link = self._link
        if link is None:
            return
        try:
            # Without its connection the transaction has ended.
            with suppress(psycopg.Error):
                link.exchange([ROLLBACK])
        finally:
            self._give_back(link)

    def _give_back(self, link: Link) -> None:
        # Not before, because after an interruption `leave` ends the transaction.
        self._link = None
        self._server.connections.give_back(link)


def _exchange_alone(link: Link, statements: Sequence[Statement]) -> list[PGresult]:
    """The results of the statements of a whole transaction, which leaves no other one behind."""
    results = link.exchange(statements)
    failure = failure_in(results)
    if failure is None:
        return results
    link.exchange([ROLLBACK])
    return _exchange_alone(link, statements) if link.gives_up_preparing(failure.code) else results
