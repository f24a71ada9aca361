"""Exclusive use of sessions on a PostgreSQL server: one round trip to begin, one to end."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Self, cast

import psycopg

from telesession.errors import LockLostError, StorageError
from telesession.locks import LongWait
from telesession.storage.postgres_statements import UNEXPECTED
from telesession.storage.server_hold import ServerHold

if TYPE_CHECKING:
    from telesession.storage.base import Note, Storage
    from telesession.storage.postgres_server import PostgresServer
    from telesession.storage.postgres_statements import Statement
    from telesession.storage.postgres_transaction import Transaction


class PostgresHold(ServerHold):
    """
    Exclusive use of one session among all processes: an advisory lock of a transaction.

    The first hold of a unit begins the transaction, and the others join it. `Storage.commit`
    writes and ends it. The locks are free when it has ended or its connection is lost, so a
    process that dies keeps none.
    """

    __slots__ = ("token", "transaction")

    # The token of the row as it was read or last written; `None` without a live record.
    token: int | None
    transaction: Transaction

    def __init__(
        self, storage: Storage, key: str, timeout: float | None, transaction: Transaction
    ) -> None:
        super().__init__(storage, key, timeout)
        self.transaction = transaction
        self.token = None

    def __enter__(self) -> Self:
        key, timeout = self.key, self._timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        # First the turn among the threads of this process, because a waiting thread must not keep a
        # connection.
        super().__enter__()
        try:
            long_wait = LongWait(key)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                row, now = self.transaction.lock(key, left, timeout)
            finally:
                # The server says nothing while it waits.
                long_wait.go_on()
            if row is None or not row.is_live:
                self._loaded(None, None, now)
            else:
                self._loaded(row.payload, row.left, now)
                self.token = row.token
        except BaseException:
            # An interruption may have come when the lock was taken.
            self._leave()
            raise
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
            LockLostError: The connection with the lock is lost, or belongs to the parent of this
                process; nothing was written.
        """
        if self.note is None:
            return
        if self.is_inherited():
            raise LockLostError(self.key)
        # This process may be stopped, and lose the lock, until it sends the write.
        expect_lock = self.transaction.check(self.key)
        token = new_token()
        server = cast("PostgresServer", self.process_state)
        with self._restored_on_failure():
            statement = self.take_write(server, token)
            try:
                server.run("write", self.key, expect_lock, statement)
            except StorageError as error:
                cause = error.__cause__
                if isinstance(cause, psycopg.Error) and cause.sqlstate == UNEXPECTED:
                    raise LockLostError(self.key) from cause
                raise
        self.token = None if self.payload is None else token

    def take_write(self, server: PostgresServer, token: int) -> Statement:
        """The statement of the noted write, whose note is removed."""
        is_late, note = self._is_late, cast("Note", self.take_note())
        self._live_for(note.lifetime)
        if note.payload is None or (note.lifetime is not None and note.lifetime <= 0):
            return server.table.delete(self.key)
        if note.action == "touch" and not is_late:
            return server.table.touch(self.key, note.lifetime, token)
        return server.table.set(self.key, note.payload, note.lifetime, token)


def new_token() -> int:
    """A token for the rows of one commit."""
    return secrets.randbits(63)
