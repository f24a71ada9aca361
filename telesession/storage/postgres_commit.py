"""Commits of the writes of several holds, and of changes of other keys: one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import psycopg
from psycopg.errors import IdleInTransactionSessionTimeout

from telesession.errors import LockLostError, StorageError
from telesession.storage.postgres_errors import diagnosis
from telesession.storage.postgres_hold import new_token
from telesession.storage.postgres_outcome import find_outcome
from telesession.storage.postgres_server import refused
from telesession.storage.postgres_statements import UNEXPECTED, failure_in
from telesession.storage.postgres_transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg.pq.abc import PGresult

    from telesession.storage.base import Change, Hold
    from telesession.storage.postgres_hold import PostgresHold
    from telesession.storage.postgres_outcome import Before, Outcome
    from telesession.storage.postgres_server import PostgresServer
    from telesession.storage.postgres_statements import Statement


def write_together(
    server: PostgresServer, holds: Sequence[Hold], also: Sequence[Change] = ()
) -> None:
    """
    Do the noted writes of holds, and changes of other keys, and commit: one round trip.

    Args:
        server: The server of all of them.
        holds: The holds. Their locks are free afterwards.
        also: Changes of keys without a hold among these.

    Raises:
        LockLostError: A record was not as a change expects it; nothing was written.
        StorageError: The server refused, or the connection was lost, and nothing was written; or
            the outcome is unknown.
    """
    own = cast("Sequence[PostgresHold]", holds)
    token = new_token()
    noted = [hold for hold in own if hold.note is not None]
    statements = [hold.take_write(server, token) for hold in noted]
    for key, expected, payload, lifetime, _ in also:
        statements.append(server.table.change(key, expected, payload, lifetime, token))
    if not statements:
        return
    commit = _Commit(server, noted, also, token, [*statements, *server.due()])
    results = commit.of(_transaction_of(own)) if own else commit.alone()
    if results is None:
        return
    failure = failure_in(results)
    if failure is None:
        server.note_purge(results[len(statements) :])
        return
    position, keys = failure.position, commit.keys
    if failure.code == UNEXPECTED and position < len(keys):
        raise LockLostError(keys[position])
    raise refused("write", keys[position] if position < len(keys) else None, failure)


class _Commit(NamedTuple):
    """
    The statements of one commit.

    Attributes:
        server: The server.
        noted: The holds whose notes it writes.
        also: The changes of other keys.
        token: The token that it writes into the rows.
        statements: The statements: those of the holds, those of the changes, and others.
    """

    server: PostgresServer
    noted: Sequence[PostgresHold]
    also: Sequence[Change]
    token: int
    statements: list[Statement]

    @property
    def keys(self) -> list[str]:
        """The keys of the rows that it writes, in the order of the statements."""
        return [*(hold.key for hold in self.noted), *(change.key for change in self.also)]

    def of(self, transaction: Transaction) -> list[PGresult] | None:
        """
        Commit a transaction.

        Returns:
            The results; `None` if the commit was done and its reply was lost.

        Raises:
            StorageError: The connection was lost, and nothing was written, or the outcome is
                unknown.
        """
        try:
            return transaction.commit(self.statements)
        except IdleInTransactionSessionTimeout as error:
            # The server ended the transaction before it got the commit.
            raise _lost(self.keys[0], error, "unwritten") from error
        except psycopg.Error as error:
            outcome = self._outcome(transaction)
            if outcome == "written":
                return None
            raise _lost(self.keys[0], error, outcome) from error

    def alone(self) -> list[PGresult] | None:
        """
        Commit changes of keys that no hold has, in a transaction of their own: one round trip.

        If the connection was lost and nothing was written, as after a restart of the server, a
        second transaction does the changes. They expect the former rows. So if the server executes
        the first transaction late, one of the two changes nothing.
        """
        # `find_outcome` takes its lock, to learn when the transaction has ended.
        key = f"@commit:{self.keys[0]}"
        transaction = Transaction(self.server)
        try:
            return transaction.commit_alone(key, self.statements)
        except psycopg.Error as error:
            outcome = self._outcome(transaction)
            if outcome == "unknown":
                raise _lost(self.keys[0], error, outcome) from error
        if outcome == "written":
            return None
        transaction = Transaction(self.server)
        transaction.lock(key, None, None)
        return self.of(transaction)

    def _outcome(self, transaction: Transaction) -> Outcome:
        """Find out whether a commit was done whose connection was lost."""
        before: dict[str, Before] = {each.key: each.expected for each in self.also}
        before |= {hold.key: hold.token for hold in self.noted}
        return find_outcome(self.server, transaction.first_lock, self.token, before)


def _transaction_of(holds: Sequence[PostgresHold]) -> Transaction:
    """The transaction of the first hold. The transactions of the others must not be lost."""
    transaction = holds[0].transaction
    for hold in holds:
        if hold.transaction is not transaction:
            # Holds that are not of one unit have their locks in several transactions.
            hold.transaction.check(hold.key)
    return transaction


def _lost(key: str, error: psycopg.Error, outcome: Outcome) -> StorageError:
    """The error of a commit whose connection was lost."""
    reason, remedy = diagnosis(error)
    if outcome == "unknown":
        return StorageError("write", key, reason, "read the session to see", "unknown")
    return StorageError("write", key, f"{reason}, so the commit was not done", remedy)
