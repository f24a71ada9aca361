"""Failures of a PostgreSQL server: the reason and the remedy of each, and no stored value."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import AsyncConnectionPool

from support.clocks import PATIENCE
from support.counts import count, handle, update
from support.polling import wait_until
from support.postgres import GUEST, PRIMARY, PostgresServer, Standby
from support.postgres_backends import backends, terminate, wait_for_waiting
from support.postgres_storages import SECRET, TABLE, failure, make_pool, make_storage
from support.threads import began, in_threads
from telesession import PostgresStorage, StorageError
from telesession.storage.postgres_errors import Failure, diagnosis, error_of
from telesession.storage.postgres_table import CREATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


KEY = "42"


class Case(NamedTuple):
    """
    A failure.

    Attributes:
        broken: Gives a storage that fails in the block.
        reason: A part of the message.
        remedy: Another part.
        cause: The class of the exception behind it.
    """

    broken: Callable[[PostgresServer], AbstractContextManager[PostgresStorage]]
    reason: str
    remedy: str
    cause: type[BaseException] | None


def with_settings(**settings: object) -> Any:
    """Settings of the database."""

    @contextmanager
    def broken(server: PostgresServer) -> Iterator[PostgresStorage]:
        with server.configured(**settings), make_storage(server) as storage:
            yield storage

    return broken


def with_conninfo(**options: Any) -> Any:
    """A conninfo that leads nowhere."""

    @contextmanager
    def broken(server: PostgresServer) -> Iterator[PostgresStorage]:
        with PostgresStorage(server.conninfo(**options)) as storage:
            yield storage

    return broken


def with_pool(**options: Any) -> Any:
    """A pool of the bot."""

    @contextmanager
    def broken(server: PostgresServer) -> Iterator[PostgresStorage]:
        given = {**options}
        if "port" in given:
            given["conninfo"] = server.conninfo(port=given.pop("port"))
        with make_pool(server, timeout=0.05, **given) as pool, PostgresStorage(pool) as storage:
            yield storage

    return broken


@contextmanager
def with_a_closed_pool(server: PostgresServer) -> Iterator[PostgresStorage]:
    """A pool that the bot has closed."""
    with make_pool(server) as pool, PostgresStorage(pool) as storage:
        pool.close()
        yield storage


def after(*queries: str, role: str = "bot", table: str = TABLE) -> Any:
    """Queries of an administrator, before a role uses a table."""

    @contextmanager
    def broken(server: PostgresServer) -> Iterator[PostgresStorage]:
        for query in queries:
            server.ask(query)
        conninfo = server.socket_conninfo(role)
        with PostgresStorage(conninfo, table=table) as storage:
            yield storage

    return broken


@contextmanager
def after_a_drop(server: PostgresServer) -> Iterator[PostgresStorage]:
    """A table that is dropped while the bot runs."""
    with make_storage(server) as storage:
        update(storage)
        server.ask(f"DROP TABLE {TABLE}")
        yield storage


@contextmanager
def in_latin_1(server: PostgresServer) -> Iterator[PostgresStorage]:
    """A database with another encoding."""
    server.ask("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 OWNER bot")
    try:
        with PostgresStorage(server.socket_conninfo(dbname="latin")) as storage:
            yield storage
    finally:
        server.ask("DROP DATABASE latin WITH (FORCE)")


@contextmanager
def without_connections(server: PostgresServer) -> Iterator[PostgresStorage]:
    """A server whose connections are all in use."""
    with PostgresServer(max_connections=4, superuser_reserved_connections=2) as small:
        connections = [small.connect("bot") for _ in range(2)]
        try:
            with make_storage(small) as storage:
                yield storage
        finally:
            for connection in connections:
                connection.close()


@contextmanager
def without_connections_of_the_role(server: PostgresServer) -> Iterator[PostgresStorage]:
    """A role that may have no connection."""
    server.ask("ALTER ROLE guest CONNECTION LIMIT 0")
    try:
        with PostgresStorage(server.socket_conninfo(GUEST)) as storage:
            yield storage
    finally:
        server.ask("ALTER ROLE guest CONNECTION LIMIT -1")


@contextmanager
def with_an_exhausted_pool(server: PostgresServer) -> Iterator[PostgresStorage]:
    """A pool whose connections belong to other threads."""
    with (
        make_pool(server, max_size=1, timeout=0.05) as pool,
        PostgresStorage(pool) as storage,
        ExitStack() as exits,
    ):
        storage.get(KEY)
        ends = threading.Event()
        exits.enter_context(began(_hold, storage, ends))
        exits.callback(ends.set)
        wait_until(lambda: storage.process_state.connections._takers)
        yield storage


@contextmanager
def with_a_full_queue(server: PostgresServer) -> Iterator[PostgresStorage]:
    """A pool for which as many threads wait as it lets wait."""
    with (
        make_pool(server, max_size=1, max_waiting=1) as pool,
        PostgresStorage(pool) as storage,
        ExitStack() as exits,
    ):
        storage.get(KEY)
        connection = pool.getconn()
        exits.enter_context(began(storage.get, KEY))
        exits.callback(pool.putconn, connection)
        wait_until(lambda: pool.get_stats().get("requests_waiting"))
        yield storage


@contextmanager
def with_another_encoding(server: PostgresServer) -> Iterator[PostgresStorage]:
    """A pool in whose only connection the bot has set another encoding."""
    with make_pool(server, max_size=1) as pool, PostgresStorage(pool) as storage:
        storage.get(KEY)
        with pool.connection() as connection:
            connection.execute("SET client_encoding TO latin1")
        yield storage


def _hold(storage: PostgresStorage, ends: threading.Event) -> None:
    with storage.hold("another"):
        ends.wait(PATIENCE)


OPERATIONAL = psycopg.OperationalError
TOO_MANY = "the server has as many connections as it takes"
CASES = {
    "password": Case(
        with_conninfo(password="wrong"),
        "does not accept the user or the password",
        "correct them",
        OPERATIONAL,
    ),
    "no-password": Case(
        with_conninfo(password=None), "asks for a password", "PGPASSWORD", OPERATIONAL
    ),
    "role": Case(
        with_conninfo(user="eve"), "does not accept the user", "correct them", OPERATIONAL
    ),
    "database": Case(
        with_conninfo(dbname="elsewhere"), "no such database or role", "create it", OPERATIONAL
    ),
    "port": Case(with_conninfo(port=1), "cannot be reached", "the address is right", OPERATIONAL),
    "port-of-a-pool": Case(
        with_pool(port=1), "cannot be reached", "the address is right", psycopg.Error
    ),
    "closed-pool": Case(with_a_closed_pool, "the pool is closed", "open the pool", OPERATIONAL),
    "exhausted-pool": Case(
        with_an_exhausted_pool,
        "no connection of the pool became free within 0.05 s; handlers have 1 of 1",
        "give the pool more connections",
        OPERATIONAL,
    ),
    "full-queue": Case(
        with_a_full_queue,
        "could not read the record of session '42': 1 or more threads wait for the pool",
        "raise its max_waiting",
        OPERATIONAL,
    ),
    "encoding-of-a-connection": Case(
        with_another_encoding,
        "has the client_encoding LATIN1",
        "kwargs={'client_encoding': 'utf8'}",
        None,
    ),
    "encoding-of-a-pool": Case(
        with_pool(kwargs={"client_encoding": "latin1"}),
        "has the client_encoding LATIN1",
        "kwargs={'client_encoding': 'utf8'}",
        None,
    ),
    "encoding": Case(in_latin_1, "its encoding is LATIN1", "ENCODING 'UTF8'", None),
    "connections": Case(without_connections, TOO_MANY, "max_connections", OPERATIONAL),
    "connections-of-the-role": Case(
        without_connections_of_the_role, TOO_MANY, "max_connections", OPERATIONAL
    ),
    "read-only": Case(
        with_settings(default_transaction_read_only="on"),
        "a standby or read-only (ReadOnlySqlTransaction)",
        "connect to the primary",
        errors.ReadOnlySqlTransaction,
    ),
    "no-table": Case(
        after(role=GUEST),
        "the role may not do this (InsufficientPrivilege)",
        f'run the documented statement for "{TABLE}" as its owner',
        errors.InsufficientPrivilege,
    ),
    "no-schema": Case(
        after(table="nowhere.sessions"),
        "there is no such schema (InvalidSchemaName)",
        "create it",
        errors.InvalidSchemaName,
    ),
    "no-rights": Case(
        after(*CREATE.format(table=TABLE, index="i").split(";\n")[:2], role=GUEST),
        "the role may not do this (InsufficientPrivilege)",
        "grant it SELECT, INSERT, UPDATE and DELETE",
        errors.InsufficientPrivilege,
    ),
    "other-columns": Case(
        after("CREATE TABLE other (key text, value text)", table="other"),
        '"other" has no column commit_token, expires, payload, payload_bytes',
        "give the storage another table",
        None,
    ),
    "dropped-table": Case(
        after_a_drop, "the table is gone (UndefinedTable)", "create it anew", errors.UndefinedTable
    ),
}


def texts_of(error: BaseException | None) -> str:
    """All that an exception, and those behind it, show."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.mark.parametrize("name", CASES)
def test_a_failure_has_a_reason_and_a_remedy(postgres: PostgresServer, name: str) -> None:
    """An update that fails raises a `StorageError` that says why, and what to do."""
    case = CASES[name]
    with case.broken(postgres) as storage:
        error = failure(lambda storage: handle(storage, write_a_secret), storage)

    assert case.reason in str(error)
    assert case.remedy in error.remedy
    assert None is error.outcome
    assert isinstance(error.__cause__, case.cause or type(None))
    assert SECRET not in texts_of(error)


def write_a_secret(session: Any) -> None:
    session.text = SECRET


def ended_in_a_handler(
    server: PostgresServer, storage: PostgresStorage, then: Callable[[], object] = bool
) -> StorageError:
    """The error of a handler whose connection the server ends before the commit."""

    def work(session: Any) -> None:
        session.n += 1
        session.text = SECRET
        wait_until(lambda: "idle in transaction" not in backends(server).values())
        then()

    return failure(lambda storage: handle(storage, work), storage)


@pytest.mark.parametrize("limit", ["idle_in_transaction_session_timeout", "transaction_timeout"])
def test_a_handler_may_be_too_slow(postgres: PostgresServer, limit: str) -> None:
    """If the server ends its transaction, nothing is written, and the error names the setting."""
    with postgres.configured(**{limit: "50ms"}), make_storage(postgres) as storage:
        storage.set(KEY, b'{"fields":{"n":1}}')
        error = ended_in_a_handler(postgres, storage)

        assert f"the handler took longer than the {limit} of the server" in str(error)
        assert "the commit was not done" in str(error)
        assert "open the session only for a moment" in error.remedy
        assert (None, 1) == (error.outcome, count(storage))
        assert SECRET not in texts_of(error)
    with make_storage(postgres) as storage:
        assert 2 == update(storage)


def test_a_handler_that_is_too_slow_knows_that_it_wrote_nothing(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """If another process has the session next, the outcome is known all the same."""
    limit = {"idle_in_transaction_session_timeout": "50ms"}
    with postgres.configured(**limit), make_storage(postgres) as slow:
        error = ended_in_a_handler(postgres, slow, lambda: in_threads([lambda: update(storage)]))

    assert "the commit was not done" in str(error)
    assert "open the session only for a moment" in error.remedy
    assert (None, 1) == (error.outcome, count(storage))


def test_a_statement_may_be_cancelled(postgres: PostgresServer, storage: PostgresStorage) -> None:
    """A `statement_timeout` that is shorter than the wait for a session is told as such."""
    with (
        postgres.configured(statement_timeout="20ms"),
        make_storage(postgres) as limited,
        storage.hold(KEY),
    ):
        error = failure(update, limited)

    assert "the server has cancelled the statement (QueryCanceled)" in str(error)
    assert "statement_timeout is shorter than lock_timeout" in error.remedy


def test_a_reader_without_rights_to_write_gets_an_error(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """A role that may only read can read; the commit is refused, and the record stays."""
    update(storage)
    postgres.ask(f"GRANT SELECT ON {TABLE} TO {GUEST}")
    with PostgresStorage(postgres.socket_conninfo(GUEST)) as reader:
        seen = handle(reader, lambda session: session.n)
        error = failure(update, reader)

    assert (1, "write", 1) == (seen, error.action, count(storage))
    assert "the role may not do this (InsufficientPrivilege)" in str(error)


def test_a_standby_is_read_only_until_it_is_promoted() -> None:
    """A bot that was led to a standby reads, and writes nothing; after a failover it goes on."""
    with PostgresServer(**PRIMARY) as primary:
        with make_storage(primary) as storage:
            update(storage)
        with Standby(primary) as standby, make_storage(standby) as storage:
            standby.catch_up()
            seen = handle(storage, lambda session: session.n)
            error = failure(update, storage)
            standby.promote()
            wait_until(lambda: not standby.ask("SELECT pg_is_in_recovery()"))

            assert "the server is a standby or read-only" in str(error)
            assert (1, 2) == (seen, update(storage))


def test_a_full_disk_leaves_the_old_record(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """A record that is too large for the disk is an error; a smaller one is stored again."""
    update(storage)
    text = SECRET + Random(1).randbytes(2**22).hex()

    def work(session: Any) -> None:
        session.text = text
        for pid in backends(postgres):
            postgres.limit_files(pid, 2**20)

    error = failure(lambda storage: handle(storage, work), storage)

    assert SECRET not in texts_of(error)
    assert (None, 1, 2) == (error.outcome, count(storage), update(storage))


def test_a_full_disk_is_called_so() -> None:
    """The error of a disk without space says to free some."""
    assert ("the disk of the server is full (DiskFull)", "free its disk") == diagnosis(
        error_of(Failure(0, "53100", "could not extend file"))
    )


def test_a_key_may_be_too_long(storage: PostgresStorage) -> None:
    """The server keeps keys in an index, which takes 2,704 bytes; the message shows the limit."""
    key = Random(1).randbytes(5000).hex()
    error = failure(lambda storage: storage.set(key, SECRET.encode()), storage)

    assert "the key or the record is too large (ProgramLimitExceeded)" in str(error)
    assert "use shorter keys" == error.remedy
    assert SECRET not in texts_of(error)


# Ends of connections, at each moment.


def test_connections_may_end_while_they_are_idle(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """The next update takes another connection, and its user notices nothing."""
    counted = []
    for _ in range(3):
        counted.append(update(storage))
        for pid in backends(postgres):
            terminate(postgres, pid)

    assert [1, 2, 3] == counted


def test_a_connection_may_end_while_it_waits(
    postgres: PostgresServer, storage: PostgresStorage, other: PostgresStorage
) -> None:
    """The handler waits anew on another connection."""
    with ExitStack() as holding:
        holding.enter_context(storage.hold(KEY))
        with began(update, other):
            (pid,) = wait_for_waiting(postgres)
            terminate(postgres, pid)
            wait_until(lambda: wait_for_waiting(postgres) != [pid])
            holding.close()

    assert 1 == count(storage)


def ended_in_a_wait(server: PostgresServer, call: Callable[[], object]) -> StorageError:
    """The error of a call whose connection is ended while it waits for a lock on the server."""

    def end() -> None:
        with began(call):
            (pid,) = wait_for_waiting(server)
            terminate(server, pid)

    with pytest.raises(StorageError) as caught:
        end()
    return caught.value


def test_a_connection_may_end_while_its_unit_waits(
    postgres: PostgresServer, storage: PostgresStorage, other: PostgresStorage
) -> None:
    """A unit that waits for a further session has lost its first one, so it ends with an error."""

    def work(session: Any) -> None:
        session.n += 1
        update(other, "second")

    with ExitStack() as holding:
        holding.enter_context(storage.hold("second"))
        error = ended_in_a_wait(postgres, partial(handle, other, work))

    assert "the server has ended the connection (AdminShutdown)" in str(error)
    assert [None, None] == [count(storage), count(storage, "second")]
    assert [1, 1] == [update(other), update(other, "second")]


def end_by_an_administrator(server: PostgresServer) -> None:
    for pid in backends(server):
        terminate(server, pid)


ENDS: dict[str, Callable[[PostgresServer], object]] = {
    "terminated": end_by_an_administrator,
    "fast": lambda server: server.restart("fast"),
    "immediate": lambda server: server.restart("immediate"),
}


@pytest.fixture(scope="module")
def restarted() -> Iterator[PostgresServer]:
    """A server that tests may restart."""
    with PostgresServer() as server:
        yield server


@pytest.mark.parametrize("end", ENDS)
def test_a_connection_may_end_between_read_and_commit(restarted: PostgresServer, end: str) -> None:
    """Nothing is written, the error says so, and no user is new."""

    def work(session: Any) -> None:
        session.n += 1
        ENDS[end](restarted)

    restarted.empty()
    with make_storage(restarted) as storage:
        update(storage)
        error = failure(lambda storage: handle(storage, work), storage)

        assert "the commit was not done" in str(error)
        assert (None, 1, 2) == (error.outcome, count(storage), update(storage))


@pytest.mark.parametrize("end", ENDS)
def test_a_handler_that_only_reads_needs_no_commit(restarted: PostgresServer, end: str) -> None:
    """It has nothing to lose with the connection."""
    restarted.empty()
    with make_storage(restarted) as storage:
        update(storage)
        handle(storage, lambda session: ENDS[end](restarted))

        assert 2 == update(storage)


def test_a_connection_may_end_within_the_commit(
    postgres: PostgresServer, storage: PostgresStorage
) -> None:
    """A commit that waits for a row of another program is ended; nothing is written."""
    update(storage)
    with postgres.connect() as admin, admin.transaction():
        admin.execute(f"SELECT FROM {TABLE} FOR UPDATE")
        error = ended_in_a_wait(postgres, partial(update, storage))

    assert "the server has ended the connection (AdminShutdown)" in str(error)
    assert "the commit was not done" in str(error)
    assert (None, 1, 2) == (error.outcome, count(storage), update(storage))


# The log of the server.


@pytest.mark.parametrize(
    ("settings", "is_shown"),
    [
        ({}, False),
        ({"log_statement": "all", "log_parameter_max_length": 0}, False),
        ({"log_statement": "all"}, True),
    ],
    ids=["default", "without-parameters", "control"],
)
def test_the_log_of_the_server_has_no_value(settings: dict[str, Any], is_shown: bool) -> None:
    """It shows statements that fail, or all of them; values only if all parameters are logged."""
    with PostgresServer(**settings) as server, make_storage(server) as storage:
        handle(storage, write_a_secret)
        key = SECRET + Random(1).randbytes(5000).hex()
        failure(lambda storage: storage.set(key, b"{}"), storage)
        with server.connect() as admin, admin.transaction():
            admin.execute(f"LOCK TABLE {TABLE}")
            failure(lambda storage: handle(storage, write_a_secret, lock_timeout=0.02), storage)
        log = server.log

    assert ("INSERT INTO" in log, is_shown) == (True, SECRET in log)


# Mistakes of construction.


@pytest.mark.parametrize(
    ("target", "options", "error", "text"),
    [
        (f"postgresql://bot:{SECRET}@[::1/bot", {}, ValueError, "percent-encoded"),
        (f"password={SECRET} nonsense", {}, ValueError, "percent-encoded"),
        (AsyncConnectionPool("", open=False), {}, TypeError, "so their pool has to, too"),
        (5432, {}, TypeError, "not a builtins.int"),
        ("", {"table": 42}, TypeError, "must be a str, not int"),
    ],
    ids=["url", "conninfo", "asynchronous", "number", "table"],
)
def test_a_mistake_is_refused_at_once(
    target: Any, options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The constructor says what it takes, and shows no password."""
    with pytest.raises(error, match=text) as caught:
        PostgresStorage(target, **options)

    assert SECRET not in texts_of(caught.value)
