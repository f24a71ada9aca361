"""
The ratios of an update on PostgreSQL, measured side by side in one run.

Run it in a clone as `python benchmarks/compare_postgres.py`. A real server is started on the
loopback interface, with `fsync` off so that its disk is not what is measured. Each contender runs
in a process of its own, and they take turns, so that a busy machine slows down all of them:

    session    an update of a counter with `Sessions` on a conninfo, in a table of 1,000 sessions
    million    the same in a table of 1,000,000 sessions
    pooler     the same without prepared statements, as behind a pooler
    read       an update that only reads
    floor      the two round trips of an update in psycopg's pipeline mode, with nothing around them
    rows       a counter by SELECT ... FOR UPDATE, UPDATE and COMMIT one by one, with one connection
    pooled     the same with a connection of a pool, as a bot with threads has to

The program fails if an update takes more than 1.3 times the floor, or as long as the statements one
by one in a pool, or if a million sessions make it more than 20 % slower.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import psycopg
from contenders import ROOT, Contender, compare, work
from psycopg_pool import ConnectionPool

PAYLOAD = '{"fields":{"counter":1}}'
SIZES = {"sessions_of_few": 1_000, "sessions_of_many": 1_000_000}
FEW, MANY = SIZES
BOUNDS = {("session", "floor"): 1.3, ("session", "pooled"): 1.0, ("million", "session"): 1.2}
FILL = """
INSERT INTO {table} (key, payload, commit_token)
SELECT number::text, '{payload}', 0 FROM generate_series(1, {size}) AS number
"""


def session_on(conninfo: str, table: str = FEW) -> Callable[[], object]:
    from telesession import PostgresStorage, Sessions

    sessions = Sessions(initial={"counter": 0}, storage=PostgresStorage(conninfo, table=table))
    keys = itertools.cycle(map(str, range(1, SIZES[table], SIZES[table] // 100)))

    def update() -> None:
        with sessions.open(next(keys)) as session:
            session.counter += 1

    return update


def pooler_on(conninfo: str) -> Callable[[], object]:
    from telesession import PostgresStorage, Sessions

    pool = ConnectionPool(conninfo, kwargs={"prepare_threshold": None}, open=True)
    sessions = Sessions(initial={"counter": 0}, storage=PostgresStorage(pool, table=FEW))

    def update() -> None:
        with sessions.open("42") as session:
            session.counter += 1

    return update


def read_on(conninfo: str) -> Callable[[], object]:
    from telesession import PostgresStorage, Sessions

    sessions = Sessions(initial={"counter": 0}, storage=PostgresStorage(conninfo, table=FEW))

    def update() -> None:
        with sessions.open("43") as session:
            assert session.counter

    return update


def floor_on(conninfo: str) -> Callable[[], object]:
    connection = psycopg.connect(conninfo, autocommit=True)

    def update() -> None:
        with connection.pipeline():
            connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            connection.execute("SET LOCAL lock_timeout = 60000")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (44,))
            read = connection.execute(f"SELECT payload::text FROM {FEW} WHERE key = %s", ("44",))
        read.fetchone()
        with connection.pipeline():
            connection.execute(f"UPDATE {FEW} SET payload = %s WHERE key = %s", (PAYLOAD, "44"))
            connection.execute("COMMIT")

    return update


def counter_on(connection: psycopg.Connection[Any]) -> None:
    """Count in a row: SELECT ... FOR UPDATE and UPDATE."""
    sql = f"SELECT payload::text FROM {FEW} WHERE key = %s FOR UPDATE"
    (payload,) = connection.execute(sql, ("45",)).fetchone() or (PAYLOAD,)
    record = json.loads(payload)
    record["fields"]["counter"] += 1
    sql = f"UPDATE {FEW} SET payload = %s WHERE key = %s"
    connection.execute(sql, (json.dumps(record), "45"))


def rows_on(conninfo: str) -> Callable[[], object]:
    connection = psycopg.connect(conninfo)

    def update() -> None:
        counter_on(connection)
        connection.commit()

    return update


def pooled_on(conninfo: str) -> Callable[[], object]:
    pool = ConnectionPool(conninfo, open=True)

    def update() -> None:
        with pool.connection() as connection:
            counter_on(connection)

    return update


MAKE: dict[str, Callable[[str], Callable[[], object]]] = {
    "session": session_on,
    "million": lambda conninfo: session_on(conninfo, MANY),
    "pooler": pooler_on,
    "read": read_on,
    "floor": floor_on,
    "rows": rows_on,
    "pooled": pooled_on,
}


def compare_all() -> bool:
    """Measure all contenders, and say whether the bounds hold."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
    from support.postgres import PostgresServer
    from telesession import PostgresStorage

    with PostgresServer(shared_buffers="512MB") as server:
        conninfo = server.conninfo()
        with psycopg.connect(conninfo, autocommit=True) as connection:
            for table, size in SIZES.items():
                with PostgresStorage(conninfo, table=table) as storage:
                    storage.ping()
                    assert storage.get("") is None
                connection.execute(FILL.format(table=table, payload=PAYLOAD, size=size))
                connection.execute(f"VACUUM ANALYZE {table}")
        contenders = {name: Contender(__file__, name, conninfo) for name in MAKE}
        ratios = [
            (one, two)
            for one in ("session", "pooler", "read")
            for two in ("floor", "rows", "pooled")
        ]
        return compare(contenders, [*ratios, ("million", "session")], BOUNDS)


if __name__ == "__main__":
    if sys.argv[1:]:
        work(MAKE[sys.argv[1]](sys.argv[2]))
    else:
        sys.exit(not compare_all())
