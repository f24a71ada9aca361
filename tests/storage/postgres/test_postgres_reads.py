"""Reads of a handler on PostgreSQL: they use the connection that the handler has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.counts import count, update
from support.postgres_backends import backends, terminate
from support.postgres_storages import make_pool
from support.threads import in_thread
from telesession import PostgresStorage, Sessions, StorageError
from telesession.testing.storage_suite import try_hold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.postgres import PostgresServer
    from telesession import Session, Storage


@pytest.fixture
def storage(postgres: PostgresServer) -> Iterator[PostgresStorage]:
    """A storage with a single connection, and with a record."""
    with make_pool(postgres, max_size=1) as pool, PostgresStorage(pool) as storage:
        update(storage, "1")
        yield storage


@pytest.fixture
def sessions(storage: PostgresStorage) -> Sessions[Session]:
    """Sessions that count."""
    return Sessions(initial=lambda: {"n": 0}, storage=storage)


READS: dict[str, tuple[Callable[[Storage], Any], Any]] = {
    "has": (lambda storage: storage.has("1"), True),
    "get_record": (lambda storage: storage.get_record("1") is not None, True),
    "keys": (lambda storage: list(storage.keys()), ["1"]),
    "listed": (lambda storage: storage.listed(""), ["1"]),
    "now": (lambda storage: storage.now() > 0, True),
    "rows": (lambda storage: [row.key for row in storage.rows()], ["1"]),
    "peek": (lambda storage: count(storage, "1"), 1),
}


@pytest.mark.parametrize("read", READS)
def test_a_handler_reads_with_its_own_connection(
    read: str, storage: PostgresStorage, sessions: Sessions[Session]
) -> None:
    """With one connection in the pool, a handler reads other records, and its changes are saved."""
    ask, expected = READS[read]
    with sessions.open("2") as session:
        found = ask(storage)
        session.n += 1

    assert (expected, 1) == (found, count(storage, "2"))


def test_a_handler_reads_what_others_have_saved_since(
    sessions: Sessions[Session], other: PostgresStorage
) -> None:
    """A read shows the commits of other processes that came after the beginning of the handler."""
    with sessions.open("2"):
        before = sessions.peek("1")
        in_thread(partial(update, other, "1"))
        after = sessions.peek("1")

    assert ({"n": 1}, {"n": 2}) == (before, after)


def test_a_read_that_fails_keeps_the_locks(
    storage: PostgresStorage, sessions: Sessions[Session], other: PostgresStorage
) -> None:
    """A handler that catches the error of a read still has its session, and saves it."""
    storage.has("1")
    table: Any = storage.process_state.table
    kept = table._read_query
    with sessions.open("2") as session:
        table._read_query = kept._replace(sql=b"SELECT 1 / 0, $1::text", name=b"")
        with pytest.raises(StorageError, match="could not read"):
            sessions.peek("1")
        table._read_query = kept
        session.n += 1
        was_held = in_thread(lambda: try_hold(other, "2"))

    assert ("busy", 1) == (was_held, count(storage, "2"))


def test_a_read_tells_why_the_connection_of_the_handler_is_lost(
    storage: PostgresStorage, sessions: Sessions[Session], postgres: PostgresServer
) -> None:
    """The error of the read has the reason of the server, and nothing of the handler is saved."""

    def lose_and_read() -> None:
        with sessions.open("2"):
            (pid,) = backends(postgres)
            terminate(postgres, pid)
            sessions.peek("1")

    with pytest.raises(StorageError, match="the server has ended the connection"):
        lose_and_read()

    assert None is count(storage, "2")
