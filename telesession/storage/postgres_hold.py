"""Exclusive use of sessions on a PostgreSQL server: one round trip to begin, one to end."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Self, cast

import psycopg

from telesession.errors import LockLostError, StorageError
from telesession.locks import LongWait
from telesession.storage.postgres_errors import diagnosis
from telesession.storage.postgres_outcome import find_outcome
from telesession.storage.postgres_server import refused
from telesession.storage.postgres_statements import failure_in
from telesession.storage.postgres_transaction import Transaction
from telesession.storage.server_hold import ServerHold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telesession.storage.base import Change, Hold, Note, Storage
    from telesession.storage.postgres_outcome import Before, Outcome
    from telesession.storage.postgres_server import PostgresServer
    from telesession.storage.postgres_statements import Statement
    from telesession.storage.postgres_table import Row

# Seconds before its end in which a record that is renewed is written anew, in case it is removed.
_LATE = 60.0
# A division by zero, by which a change says that its record is not as expected.
_UNEXPECTED = "22012"


class PostgresHold(ServerHold):
    """
    Exclusive use of one session among all processes: an advisory lock of a transaction.

    The first hold of a unit begins the transaction, and the others join it. `Storage.commit`
    writes and ends it. The locks are free when it has ended or its connection is lost, so a
    process that dies keeps none.
    """

    __slots__ = ("row", "transaction")

    # The row as it was read.
    row: Row | None
    transaction: Transaction

    def __init__(
        self, storage: Storage, key: str, timeout: float | None, transaction: Transaction
    ) -> None:
        super().__init__(storage, key, timeout)
        self.transaction = transaction
        self.row = None

    def __enter__(self) -> Self:
        key, timeout = self.key, self._timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        # First the turn among the threads of this process: a thread that waits has no connection.
        super().__enter__()
        try:
            long_wait = LongWait(key)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                row, now = self.transaction.lock(key, left, timeout)
            finally:
                # The server says nothing while it waits.
                long_wait.go_on()
        except BaseException:
            super()._leave()
            raise
        self.row = row if row is not None and row.is_live else None
        if self.row is None:
            self._loaded(None, None, now)
        else:
            self._loaded(self.row.payload, self.row.left, now)
        return self

    def _leave(self) -> None:
        try:
            self.transaction.leave(self.key)
        finally:
            super()._leave()

    def flush(self) -> None:
        """
        See `Hold.flush`. It writes on a second connection, because a commit would free all locks.

        Raises:
            LockLostError: The connection with the lock is lost, or is another process's since a
                fork; nothing was written.
        """
        if self.note is None:
            return
        if self.is_inherited():
            raise LockLostError(self.key)
        self.transaction.check(self.key)
        before = self._payload, self._end
        token = new_token()
        server = cast("PostgresServer", self._process)
        try:
            statement = self.take_write(server, token)
            server.run("write", self.key, statement)
        except BaseException:
            # The hold shall not answer with a record that the write did not store.
            self._payload, self._end = before
            raise

    def take_write(self, server: PostgresServer, token: int) -> Statement:
        """The statement of the noted write, which is noted no more."""
        end, note = self._end, cast("Note", self.take_note())
        self._live_for(note.lifetime)
        if note.payload is None or (note.lifetime is not None and note.lifetime <= 0):
            return server.table.delete(self.key)
        if note.action == "touch" and time.monotonic() < end - _LATE:
            return server.table.touch(self.key, note.lifetime, token)
        return server.table.set(self.key, note.payload, note.lifetime, token)


def new_token() -> int:
    """A token for the rows of one commit."""
    return secrets.randbits(63)


def write_together(
    server: PostgresServer,
    holds: Sequence[Hold],
    also: Sequence[Change] = (),
    more: Sequence[Statement] = (),
) -> None:
    """
    Do the noted writes of holds, and changes of other keys, and commit: one round trip.

    Args:
        server: The server of all of them.
        holds: The holds. Their locks are free afterwards.
        also: Changes of keys that none of the holds has.
        more: Further statements.

    Raises:
        LockLostError: A record was not as a change expects it; nothing was written.
        StorageError: The server refused, or the connection was lost, and nothing was written; or
            the outcome is unknown.
    """
    own = cast("Sequence[PostgresHold]", holds)
    token = new_token()
    noted = [hold for hold in own if hold.note is not None]
    before: dict[str, Before] = {each.key: each.expected for each in also}
    before |= {hold.key: None if hold.row is None else hold.row.token for hold in noted}
    statements = [hold.take_write(server, token) for hold in noted]
    for key, expected, payload, lifetime, _ in also:
        statements.append(server.table.change(key, expected, payload, lifetime, token))
    statements += more
    if not statements:
        return
    # In the order of the statements.
    keys = [*(hold.key for hold in noted), *(change.key for change in also)]
    transaction = _transaction_of(server, own, keys)
    try:
        results = transaction.commit([*statements, *server.due()])
    except psycopg.Error as error:
        outcome = find_outcome(server, transaction.first_lock, token, before)
        if outcome == "written":
            return
        raise _lost(keys[0] if keys else None, error, outcome) from error
    failure = failure_in(results)
    if failure is None:
        server.note_purge(results[len(statements) :])
        return
    position = failure.position
    if failure.code == _UNEXPECTED and position < len(keys):
        raise LockLostError(keys[position])
    raise refused("write", keys[position] if position < len(keys) else None, failure)


def _transaction_of(
    server: PostgresServer, holds: Sequence[PostgresHold], keys: Sequence[str]
) -> Transaction:
    """The transaction for a commit: that of the first hold, or a new one without any."""
    if not holds:
        transaction = Transaction(server)
        # Its lock tells `find_outcome` when the transaction has ended. Holds do not have it.
        transaction.lock(f"@commit:{keys[0] if keys else ''}", None, None)
        return transaction
    transaction = holds[0].transaction
    checked = {transaction}
    for hold in holds:
        # Its lock is in another transaction if the two are not of one unit.
        if hold.transaction not in checked:
            hold.transaction.check(hold.key)
            checked.add(hold.transaction)
    return transaction


def _lost(key: str | None, error: psycopg.Error, outcome: Outcome) -> StorageError:
    """The error of a commit whose connection was lost."""
    reason, remedy = diagnosis(error)
    if outcome == "unknown":
        return StorageError("write", key, reason, "read the session to see", "unknown")
    return StorageError("write", key, f"{reason}, so the commit was not done", remedy)
