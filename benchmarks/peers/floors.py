"""The raw clients of databases, by hand: the least that a counter on them costs."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import redis
from psycopg_pool import ConnectionPool

from benchmarks.peers.on_telebot import Handler, Pause, Peer, PlainPeer, run
from benchmarks.peers.turns import USER, Turn, parse_turn

if TYPE_CHECKING:
    import psycopg
    from telebot import TeleBot, types


class SQLitePeer(Peer):
    """One transaction of `sqlite3`: BEGIN IMMEDIATE, SELECT, REPLACE and COMMIT."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._own = threading.local()
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS floor (key TEXT PRIMARY KEY, count) WITHOUT ROWID"
        )

    @property
    def _connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        if not hasattr(self._own, "connection"):
            connection = sqlite3.connect(self._place, isolation_level=None, timeout=60)
            connection.execute("PRAGMA synchronous = NORMAL")
            self._own.connection = connection
        made: sqlite3.Connection = self._own.connection
        return made

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        def count(message: types.Message) -> None:
            key, connection = str(message.from_user.id), self._connection
            connection.execute("BEGIN IMMEDIATE")
            counter = self._read(key)
            pause()
            connection.execute("REPLACE INTO floor VALUES (?, ?)", (key, counter + 1))
            connection.execute("COMMIT")

        return count

    def total(self, bot: TeleBot) -> int:
        return self._read(str(USER))

    def _read(self, key: str) -> int:
        sql = "SELECT count FROM floor WHERE key = ?"
        row = self._connection.execute(sql, (key,)).fetchone()
        return row[0] if row else 0


class RedisPeer(Peer):
    """GET and SET of redis-py, without a lock."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self.client = redis.Redis.from_url(place)

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        def count(message: types.Message) -> None:
            key = f"floor:{message.from_user.id}"
            counter = int(self.client.get(key) or 0)
            pause()
            self.client.set(key, counter + 1)

        return count

    def total(self, bot: TeleBot) -> int:
        return int(self.client.get(f"floor:{USER}") or 0)


class RedisLockPeer(RedisPeer):
    """The same inside a `Lock` of redis-py."""

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        unlocked = super().make_handler(bot, pause)

        def count(message: types.Message) -> None:
            with self.client.lock(f"floor:{message.from_user.id}:lock", timeout=30):
                unlocked(message)

        return count


class PostgresPeer(Peer):
    """SELECT ... FOR UPDATE, UPDATE and COMMIT with a connection of a pool."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._pool = ConnectionPool(place, open=True)
        with self._pool.connection() as connection:
            # Two processes that start together must not make the table at the same time.
            connection.execute("SELECT pg_advisory_xact_lock(1)")
            connection.execute("CREATE TABLE IF NOT EXISTS floor (key text PRIMARY KEY, count int)")
            sql = "INSERT INTO floor VALUES (%s, 0) ON CONFLICT DO NOTHING"
            connection.execute(sql, (str(USER),))

    def make_handler(self, bot: TeleBot, pause: Pause) -> Handler:
        def count(message: types.Message) -> None:
            key = str(message.from_user.id)
            with self._pool.connection() as connection:
                counter = self._read(connection, key)
                pause()
                sql = "UPDATE floor SET count = %s WHERE key = %s"
                connection.execute(sql, (counter + 1, key))

        return count

    def total(self, bot: TeleBot) -> int:
        with self._pool.connection() as connection:
            counter = self._read(connection, str(USER))
        self._pool.close()
        return counter

    def _read(self, connection: psycopg.Connection, key: str) -> int:
        sql = "SELECT count FROM floor WHERE key = %s FOR UPDATE"
        (counter,) = connection.execute(sql, (key,)).fetchone() or (0,)
        return int(counter)


PEERS: dict[str, Callable[[str], Peer]] = {
    "sqlite": SQLitePeer,
    "redis": RedisPeer,
    "redis_lock": RedisLockPeer,
    "postgres": PostgresPeer,
}


def main(turn: Turn) -> None:
    run(PEERS[turn.variant](turn.storage), PlainPeer(), turn)


if __name__ == "__main__":
    main(parse_turn(list(PEERS)))
