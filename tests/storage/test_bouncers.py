"""The pgbouncers of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from support.postgres_backends import backends

if TYPE_CHECKING:
    from support.bouncers import Bouncer
    from support.postgres import PostgresServer

pytestmark = pytest.mark.pgbouncer


def test_transactions_share_a_connection_of_the_server(
    postgres: PostgresServer, bouncer: Bouncer
) -> None:
    """Two clients whose transactions follow each other have the same backend."""
    with psycopg.connect(bouncer.conninfo()) as one, psycopg.connect(bouncer.conninfo()) as other:
        pids = []
        for connection in (one, other):
            pids.append(connection.execute("SELECT pg_backend_pid()").fetchone()[0])
            connection.commit()

    assert [*backends(postgres)] * 2 == pids


def test_a_state_of_the_session_is_lost(bouncer: Bouncer) -> None:
    """A prepared statement is one of the server's connection, which the next client gets."""
    with psycopg.connect(bouncer.conninfo()) as one, psycopg.connect(bouncer.conninfo()) as other:
        one.execute("PREPARE mine AS SELECT 42")
        one.commit()

        assert (42,) == other.execute("EXECUTE mine").fetchone()
