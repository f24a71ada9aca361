"""The wires of the tests: turns that they count, and messages that they lose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.polling import wait_until
from support.postgres_backends import backends
from support.wires import Wire

if TYPE_CHECKING:
    from support.postgres import PostgresServer


@pytest.fixture
def wire(postgres: PostgresServer) -> Iterator[Wire]:
    """A way to the PostgreSQL server."""
    with Wire(postgres) as wire:
        yield wire


@pytest.fixture
def connection(postgres: PostgresServer, wire: Wire) -> Iterator[psycopg.Connection[Any]]:
    """A connection through the wire, to a database with a counter at 1."""
    postgres.ask("CREATE TABLE counter AS SELECT 1 AS n")
    postgres.ask("ALTER TABLE counter OWNER TO bot")
    with psycopg.connect(postgres.conninfo(port=wire.port), autocommit=True) as connection:
        yield connection


def test_each_answer_that_a_client_waits_for_is_a_round_trip(
    connection: psycopg.Connection[Any], wire: Wire
) -> None:
    """Three statements that are sent one by one are three."""
    before = wire.round_trips
    for _ in range(3):
        connection.execute("SELECT 1")

    assert 3 == wire.round_trips - before


def test_the_end_of_a_connection_is_none(
    connection: psycopg.Connection[Any], wire: Wire, postgres: PostgresServer
) -> None:
    """The last message of a client has no reply, and may reach the server at any time."""
    before = wire.round_trips
    connection.close()
    wait_until(lambda: not backends(postgres))

    assert 0 == wire.round_trips - before


def test_a_pipeline_is_one_round_trip(connection: psycopg.Connection[Any], wire: Wire) -> None:
    """Three statements whose answers are read after the last was sent are one."""
    before = wire.round_trips
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", [n]) for n in range(3)]

    assert (1, [(0,), (1,), (2,)]) == (
        wire.round_trips - before,
        [cursor.fetchone() for cursor in cursors],
    )


def test_after_a_lost_reply_the_server_has_done_it(
    connection: psycopg.Connection[Any], wire: Wire, postgres: PostgresServer
) -> None:
    """The client has no connection any more, and the commit is there."""
    wire.lose_replies()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("UPDATE counter SET n = n + 1")

    assert (1, 2) == (wire.lost, postgres.ask("SELECT n FROM counter"))


def test_after_a_lost_request_the_server_has_not_done_it(
    connection: psycopg.Connection[Any], wire: Wire, postgres: PostgresServer
) -> None:
    """The client has no connection any more, and there is no commit."""
    wire.lose_requests()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("UPDATE counter SET n = n + 1")

    assert (1, 1) == (wire.lost, postgres.ask("SELECT n FROM counter"))


@pytest.mark.parametrize(("lose", "n"), [("lose_replies", 2), ("lose_requests", 1)])
def test_a_wire_is_cut_at_a_statement(
    connection: psycopg.Connection[Any], wire: Wire, postgres: PostgresServer, lose: str, n: int
) -> None:
    """Statements before the chosen one pass, and that one or its reply does not."""
    getattr(wire, lose)(about=b"COMMIT")
    connection.execute("BEGIN")
    connection.execute("UPDATE counter SET n = n + 1")
    with pytest.raises(psycopg.OperationalError):
        connection.execute("COMMIT")

    assert (1, n) == (wire.lost, postgres.ask("SELECT n FROM counter"))


def test_something_happens_before_the_client_notices(
    connection: psycopg.Connection[Any], wire: Wire, postgres: PostgresServer
) -> None:
    """Another client has written after the commit, when the first learns that its reply is lost."""
    wire.lose_replies(then=lambda: postgres.ask("UPDATE counter SET n = n * 10"))
    with pytest.raises(psycopg.OperationalError):
        connection.execute("UPDATE counter SET n = n + 1")

    assert 20 == postgres.ask("SELECT n FROM counter")
