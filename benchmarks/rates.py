"""
The rates of `stats` and `export` over 1,000,000 records, beside bare loops over their cursors.

Run it with `python -m benchmarks.rates`. Servers are started on the loopback interface.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis

from benchmarks import servers
from benchmarks.operators import run
from telesession import PostgresStorage, SQLiteStorage

MANY, ROUNDS = 1_000_000, 3
PAYLOAD = b'{"fields":{"counter":%d,"name":"ada","items":["tea","milk"]}}'


def cursor_of_file(path: str) -> Callable[[], Iterator[Any]]:
    """A bare loop over the rows of a file."""

    def rows() -> Iterator[Any]:
        connection = sqlite3.connect(path)
        yield from connection.execute("SELECT key, expires, payload FROM sessions")
        connection.close()

    return rows


def cursor_of_server(client: redis.Redis) -> Callable[[], Iterator[Any]]:
    """A bare loop over the records of a server."""

    def rows() -> Iterator[Any]:
        cursor = -1
        while cursor:
            cursor, names = client.scan(max(cursor, 0), "telesession:*", 500)
            yield from zip(names, client.mget(names) if names else (), strict=True)

    return rows


def cursor_of_table(url: str) -> Callable[[], Iterator[Any]]:
    """A bare loop over the rows of a table, by a cursor of the server."""

    def rows() -> Iterator[Any]:
        with psycopg.connect(url) as connection:
            cursor = connection.cursor("rows")
            cursor.itersize = 1000
            cursor.execute("SELECT key, payload::text FROM telesession_sessions")
            yield from cursor

    return rows


def seconds_of(loop: Iterator[Any], work: Callable[[Any], object] | None = None) -> float:
    """The seconds of a loop, which does something with each row."""
    began = time.perf_counter()
    if work is None:
        for _ in loop:
            pass
    else:
        for row in loop:
            work(row)
    return time.perf_counter() - began


def measure_rates(name: str, url: str, rows: Callable[[], Iterator[Any]], folder: Path) -> None:
    """Print the rates of `stats` and `export` beside those of bare loops, which take turns."""

    def command(name: str) -> float:
        began = time.perf_counter()
        run([name], folder, TELESESSION_STORAGE=url)
        return time.perf_counter() - began

    loops: dict[str, Callable[[], float]] = {
        "the cursor alone": lambda: seconds_of(rows()),
        "the cursor and `json.loads`": lambda: seconds_of(rows(), lambda row: json.loads(row[-1])),
        "`stats`": lambda: command("stats"),
        "`export`": lambda: command("export"),
    }
    rounds = [[loop() for loop in loops.values()] for _ in range(ROUNDS)]
    best = [min(times) for times in zip(*rounds, strict=True)]
    for loop, seconds in zip(loops, best, strict=True):
        print(
            f"| {name}, {loop} | {MANY / seconds:,.0f} | {best[0] / seconds:.2f} "
            f"| {best[1] / seconds:.2f} |"
        )
    # Of all commands so far, the one that needed most.
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    print(f"\n{name}: at most {memory:.0f} MB\n", flush=True)


def show_rates(folder: Path) -> None:
    """Print the table of rates."""
    print("| records a second | rate | of the cursor | of `json.loads` |")
    print("| --- | --- | --- | --- |")
    path = str(folder / "many.db")
    SQLiteStorage(path).close()
    connection = sqlite3.connect(path)
    records = ((str(key), None, (PAYLOAD % key).decode()) for key in range(MANY))
    connection.executemany("INSERT INTO sessions VALUES (?, ?, ?)", records)
    connection.commit()
    connection.close()
    measure_rates("SQLite", f"sqlite:///{path}", cursor_of_file(path), folder)
    with servers.valkey() as port, redis.Redis(port=port) as client:
        for first in range(0, MANY, 10_000):
            client.mset(
                {f"telesession:{key}": PAYLOAD % key for key in range(first, first + 10_000)}
            )
        url = f"redis://127.0.0.1:{port}"
        measure_rates("Valkey", url, cursor_of_server(client), folder)
    with servers.postgres() as port:
        url = f"postgresql://bot@127.0.0.1:{port}/bots"
        fill_table(url)
        measure_rates("PostgreSQL", url, cursor_of_table(url), folder)


def fill_table(url: str) -> None:
    """Store the records in the table of a bot."""
    with PostgresStorage(url) as storage:
        storage.get("0")
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.cursor()
        columns = "telesession_sessions (key, payload, commit_token)"
        with cursor.copy(f"COPY {columns} FROM STDIN") as copy:
            for key in range(MANY):
                copy.write_row((str(key), (PAYLOAD % key).decode(), 0))
        connection.execute("VACUUM ANALYZE telesession_sessions")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        show_rates(Path(folder))
