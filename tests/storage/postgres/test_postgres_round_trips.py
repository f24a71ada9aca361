"""The round trips of `PostgresStorage`, its prepared statements, and the WAL."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from support.counts import change, change_a_field_with_a_lifetime, count, handle, save_twice, update
from support.postgres_backends import wait_for_waiting
from support.postgres_storages import TABLE, make_pool, make_storage, storage_by
from support.threads import began, in_threads
from telesession import PostgresStorage, Sessions, StorageError, forget
from telesession.storage import postgres_transaction
from telesession.storage.postgres_keys import spelled
from telesession.storage.postgres_statements import TEXT, Query, Statement
from telesession.storage.postgres_table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection
    from psycopg_pool import ConnectionPool

    from support.bouncers import Bouncer
    from support.postgres import PostgresServer
    from support.wires import Wire


@pytest.mark.parametrize(
    ("work", "options"),
    [
        pytest.param(change, {}, id="write"),
        pytest.param(change, {"lifetime": 60}, id="write-with-lifetime"),
        pytest.param(change_a_field_with_a_lifetime, {}, id="write-field-with-lifetime"),
        pytest.param(len, {}, id="read"),
        pytest.param(len, {"lifetime": 60}, id="touch"),
        pytest.param(forget, {}, id="delete"),
    ],
)
@pytest.mark.parametrize("stored", [False, True], ids=["new", "stored"])
def test_an_update_takes_two_round_trips(
    postgres: PostgresServer,
    wire: Wire,
    work: Callable[[Any], object],
    options: dict[str, Any],
    stored: bool,
) -> None:
    """One round trip locks and reads, and one writes, commits and unlocks."""
    with storage_by(wire, postgres) as storage:
        if stored:
            update(storage, **options)
        before = wire.round_trips
        handle(storage, work, **options)

        assert 2 == wire.round_trips - before


def test_each_further_session_takes_one_round_trip(postgres: PostgresServer, wire: Wire) -> None:
    """A unit of five sessions, some of them only read, takes six, and one more for each `peek`."""
    with storage_by(wire, postgres) as storage:
        update(storage)
        sessions = Sessions(initial=lambda: {"n": 0}, storage=storage)
        before = wire.round_trips
        with sessions.open_all("abcde") as opened:
            for session in opened[:2]:
                session.n += 1
        after = wire.round_trips
        sessions.peek("a")

        assert [6, 1] == [after - before, wire.round_trips - after]


def test_a_save_takes_a_check_and_a_write(postgres: PostgresServer, wire: Wire) -> None:
    """Each `save` makes sure that the lock is there, and writes on another connection."""
    with storage_by(wire, postgres) as storage:
        handle(storage, save_twice)
        before = wire.round_trips
        handle(storage, save_twice)

        assert 2 + 2 * 2 == wire.round_trips - before


def test_a_handler_that_raises_takes_two_round_trips(postgres: PostgresServer, wire: Wire) -> None:
    """Its changes are not sent, and a rollback frees the lock."""

    def work(session: Any) -> None:
        session.n += 1
        raise ZeroDivisionError

    with storage_by(wire, postgres) as storage:
        before = wire.round_trips
        with pytest.raises(ZeroDivisionError):
            handle(storage, work)

        assert (2, None) == (wire.round_trips - before, count(storage))


def test_only_a_handler_that_writes_lengthens_the_wal(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """A handler that only reads leaves the WAL as long as it was; the control lengthens it."""
    update(storage)
    sessions: Sessions[Any] = Sessions(storage=storage)
    lengths = []
    # The first read after a write may tidy the page.
    for is_written in (False, False, False, True):
        with sessions.open("42") as session, sessions.open("43"):
            session.n += is_written
        lengths.append(postgres.wal_position())

    assert lengths[0] == lengths[1] == lengths[2] < lengths[3]


def count_in_turns(
    postgres: PostgresServer, storage: PostgresStorage, other: PostgresStorage
) -> int | None:
    """Count in a handler, and in one of another process that waits for the session meanwhile."""
    sessions: Sessions[Any] = Sessions(initial=lambda: {"n": 0}, storage=storage)
    with ExitStack() as holding:
        session = holding.enter_context(sessions.open("42"))
        session.n += 1
        with began(update, other):
            wait_for_waiting(postgres)
            holding.close()
    return count(storage)


LEVELS = ["read committed", "repeatable read", "serializable"]


@pytest.fixture(params=LEVELS)
def isolated(
    request: pytest.FixtureRequest, postgres: PostgresServer, storage: PostgresStorage
) -> Iterator[str]:
    """A default isolation level of the database."""
    update(storage)
    with postgres.configured(default_transaction_isolation=request.param):
        yield request.param


def test_no_default_isolation_loses_an_update(isolated: str, postgres: PostgresServer) -> None:
    """A handler that has waited for a session sees the commit for which it has waited."""
    with make_storage(postgres) as one, make_storage(postgres) as other:
        assert 3 == count_in_turns(postgres, one, other)
        with make_pool(postgres) as pool, pool.connection() as connection:
            assert (isolated,) == connection.execute("SHOW transaction_isolation").fetchone()


def test_control_a_read_in_the_statement_of_the_lock_loses_an_update(
    postgres: PostgresServer, storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement sees the state from before its wait, and a session counts one too few."""

    def lock_and_read(table: Table, key: str) -> Statement:
        sql = (
            f"WITH lock AS MATERIALIZED (SELECT pg_advisory_xact_lock({table.lock_id(key)})) "
            f"SELECT convert_to(payload::text, 'UTF8'), NULL::interval, commit_token "
            f"FROM lock, {table.name} WHERE key = $1"
        )
        return Statement(Query.rare(sql, TEXT), (spelled(key).encode(),))

    unlocked = Statement(Query.rare("SELECT NULL, true, clock_timestamp()"))
    update(storage)
    monkeypatch.setattr(postgres_transaction, "take_lock", lambda number, timeout: unlocked)
    monkeypatch.setattr(Table, "read", lock_and_read)
    with make_storage(postgres) as other:
        assert 2 == count_in_turns(postgres, storage, other)


@pytest.mark.parametrize("level", LEVELS[1:])
def test_control_with_the_default_isolation_an_update_fails(
    postgres: PostgresServer, storage: PostgresStorage, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that takes the level of the database cannot write what it has waited for."""
    update(storage)
    monkeypatch.setattr(postgres_transaction, "BEGIN", Statement(Query.rare("BEGIN")))
    with (
        postgres.configured(default_transaction_isolation=level),
        make_storage(postgres) as one,
        make_storage(postgres) as other,
        pytest.raises(StorageError, match="SerializationFailure"),
    ):
        count_in_turns(postgres, one, other)


def prepared(pool: ConnectionPool[Any]) -> int:
    """The number of statements that the only connection of a pool has prepared."""
    with pool.connection() as connection:
        query = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'telesession%'"
        return connection.execute(query, prepare=False).fetchone()[0]


def test_statements_are_prepared(postgres: PostgresServer) -> None:
    """On a connection to the server, the statements of an update are prepared once each."""
    with make_pool(postgres, max_size=1) as pool, PostgresStorage(pool) as storage:
        seen = []
        for _ in range(3):
            update(storage)
            seen.append(prepared(pool))

        # BEGIN, the lock, the read, the write and COMMIT.
        assert [5, 5, 5] == seen


def test_a_bot_can_forbid_to_prepare(postgres: PostgresServer) -> None:
    """With the `prepare_threshold` `None` nothing is prepared, by the setting of psycopg."""
    options = {"kwargs": {"prepare_threshold": None}}
    with make_pool(postgres, max_size=1, **options) as pool, PostgresStorage(pool) as storage:
        counted = [update(storage) for _ in range(3)]

        assert ([1, 2, 3], 0) == (counted, prepared(pool))


def test_storages_may_share_a_pool(postgres: PostgresServer) -> None:
    """Storages of two tables share a pool, and each prepares statements of its own."""
    with (
        make_pool(postgres, max_size=1) as pool,
        PostgresStorage(pool) as one,
        PostgresStorage(pool, table="others") as other,
    ):
        counted = [update(storage) for _ in range(3) for storage in (one, other)]

        assert ([1, 1, 2, 2, 3, 3], 10) == (counted, prepared(pool))


def discard(connection: Connection[Any]) -> None:
    """Discard the prepared statements of a connection."""
    connection.autocommit = True
    connection.execute("DISCARD ALL")
    connection.autocommit = False


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "old"])
def test_a_pool_may_discard_prepared_statements(
    is_new: bool, postgres: PostgresServer, other: PostgresStorage
) -> None:
    """Updates go on, without prepared statements, if each return to the pool discards them."""
    with (
        make_pool(postgres, max_size=1, reset=discard) as pool,
        PostgresStorage(pool) as storage,
    ):
        if is_new:
            # So the first statement on the connection is that of an update.
            storage.process_state._table = other.process_state.table
        counted = [update(storage) for _ in range(3)]
        counted += [count(storage)]

        assert ([1, 2, 3, 3], 0) == (counted, prepared(pool))


def test_a_table_may_get_another_column(
    postgres: PostgresServer, storage: PostgresStorage, other: PostgresStorage
) -> None:
    """A prepared statement whose table has changed is no error."""
    counted = [update(storage), update(other)]
    postgres.ask(f"ALTER TABLE {TABLE} ADD COLUMN note text")
    postgres.ask(f"ALTER TABLE {TABLE} ALTER COLUMN commit_token TYPE numeric(19)")
    postgres.ask(f"ALTER TABLE {TABLE} ALTER COLUMN commit_token TYPE bigint")
    counted += [update(storage), update(other)]

    assert [1, 2, 3, 4] == counted


@pytest.mark.pgbouncer
def test_nothing_is_prepared_behind_a_pooler(postgres: PostgresServer, bouncer: Bouncer) -> None:
    """Threads that share the connections of pgbouncer lose no update, and prepare nothing."""
    with PostgresStorage(bouncer.conninfo()) as storage:

        def work() -> None:
            for number in range(20):
                update(storage, str(number % 3))

        in_threads([work] * 4)
        links = storage.process_state.connections._prepared.values()

        assert 80 == sum(count(storage, key) or 0 for key in "012")
        assert {(False, 0)} == {(link.is_allowed, len(link.names)) for link in links}
