"""The outcome of a commit whose reply was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from telesession.errors import StorageError
from telesession.storage.postgres_table import rows_in
from telesession.storage.postgres_transaction import take_lock
from telesession.storage.waits import Wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telesession.storage.postgres_server import PostgresServer
    from telesession.storage.postgres_table import Row

# Seconds to wait for a server that restarts, and longest pause between two questions.
_PATIENCE, _PAUSE = 10.0, 0.2

Outcome = Literal["written", "unwritten", "unknown"]
#: The row of a key before a commit: its token; the payload if the token is unknown; or `None` if
#: there was no live record.
Before = int | bytes | None


def find_outcome(
    server: PostgresServer, lock_id: int, token: int, before: Mapping[str, Before]
) -> Outcome:
    """
    Find out whether a commit was done, by the token that it writes into its rows.

    The outcome is unknown if the server cannot be reached, if all rows were written again since, or
    if the commit only deletes rows, and they are gone.

    Args:
        server: The server.
        lock_id: The number of an advisory lock of the transaction. It is taken first, because the
            server may not have noticed yet that the connection is lost.
        token: The token of the commit.
        before: The rows that it writes, as they were before.
    """
    wait = Wait(_PATIENCE)
    statements = take_lock(lock_id, _PATIENCE), server.table.read_all(before)
    while True:
        try:
            _, read = server.run("read", None, *statements)
        except StorageError:
            if not wait.pause(_PAUSE):
                return "unknown"
        else:
            return _judge(rows_in(read), token, before)


def _judge(rows: Mapping[str, Row], token: int, before: Mapping[str, Before]) -> Outcome:
    if any(row.token == token for row in rows.values()):
        return "written"
    if any(_is_untouched(rows.get(key), state) for key, state in before.items()):
        return "unwritten"
    return "unknown"


def _is_untouched(row: Row | None, before: Before) -> bool:
    if row is None or not row.is_live:
        return before is None
    return before == (row.payload if isinstance(before, bytes) else row.token)
