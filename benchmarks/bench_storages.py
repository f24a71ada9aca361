"""
What one update costs on SQLite and on Valkey, next to the floor below it and what telebot offers.

Run it with `python -m pytest -n 0 benchmarks/bench_storages.py`. The floor is what the storage must
do at the least, with nothing around it: two transactions, or two scripts. A real Valkey server is
started on the loopback interface.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from bench_update import MESSAGE
from telebot import TeleBot
from telebot.storage import StatePickleStorage, StateRedisStorage

from telesession import RedisStorage, Sessions, SQLiteStorage, Storage

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from support.servers import Server

PAYLOAD = b'{"fields":{"counter":1}}'


@pytest.fixture(scope="module")
def server() -> Any:
    with Server() as running:
        yield running


@pytest.fixture
def sqlite_storage(tmp_path: Path) -> Any:
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        yield storage


@pytest.fixture
def redis_storage(server: Server) -> Any:
    with RedisStorage(server.url) as storage:
        yield storage


def count_on(storage: Storage) -> Any:
    @Sessions(initial={"counter": 0}, storage=storage).with_session
    def handler(message: Any, session: Any) -> None:
        session.counter += 1

    return handler


def hold_and_write(storage: Storage) -> None:
    """The lock, the read, the write and the unlock of an update, and nothing else."""
    with storage.hold("floor", 60) as held:
        held.get()
        held.set(PAYLOAD)


def retrieve_data_on(bot: TeleBot) -> Any:
    bot.set_state(42, "counting", 42)
    bot.add_data(42, 42, counter=0)

    def handler(message: Any) -> None:
        with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
            data["counter"] += 1

    return handler


@pytest.mark.benchmark(group="one update on SQLite")
class TestSQLite:
    def test_two_bare_transactions(self, benchmark: Any, tmp_path: Path) -> None:
        import sqlite3

        connection = sqlite3.connect(tmp_path / "floor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE sessions (key TEXT PRIMARY KEY, payload TEXT)")
        connection.execute("CREATE TABLE locks (key TEXT PRIMARY KEY, token TEXT)")

        def floor() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO locks VALUES ('42', 'token')")
            connection.execute("SELECT payload FROM sessions WHERE key = '42'").fetchone()
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("REPLACE INTO sessions VALUES ('42', ?)", (PAYLOAD.decode(),))
            connection.execute("DELETE FROM locks WHERE key = '42' AND token = 'token'")
            connection.execute("COMMIT")

        benchmark(floor)
        connection.close()

    def test_hold(self, benchmark: Any, sqlite_storage: Storage) -> None:
        benchmark(hold_and_write, sqlite_storage)

    def test_session(self, benchmark: Any, sqlite_storage: Storage) -> None:
        benchmark(count_on(sqlite_storage), MESSAGE)

    def test_retrieve_data_on_state_pickle_storage(self, benchmark: Any, tmp_path: Path) -> None:
        storage = StatePickleStorage(file_path=str(tmp_path / "states.pkl"))
        bot = TeleBot("1:offline", threaded=False, state_storage=storage)
        benchmark(retrieve_data_on(bot), MESSAGE)


@pytest.mark.benchmark(group="one update on Valkey")
class TestValkey:
    def test_two_bare_scripts(self, benchmark: Any, server: Server) -> None:
        with server.client() as client:
            take = client.register_script(
                "if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', 30000) then "
                "return redis.call('GET', KEYS[1]) end return 0"
            )
            give = client.register_script(
                "if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end "
                "redis.call('SET', KEYS[1], ARGV[2]) redis.call('DEL', KEYS[2]) return 1"
            )

            def floor() -> None:
                take(keys=["{floor}", "{floor}:lock"], args=["token"])
                give(keys=["{floor}", "{floor}:lock"], args=["token", PAYLOAD])

            benchmark(floor)

    def test_hold(self, benchmark: Any, redis_storage: Storage) -> None:
        benchmark(hold_and_write, redis_storage)

    def test_session(self, benchmark: Any, redis_storage: Storage) -> None:
        benchmark(count_on(redis_storage), MESSAGE)

    def test_lock_get_set_of_redis_py(self, benchmark: Any, server: Server) -> None:
        with server.client() as client:

            def update() -> None:
                with client.lock("plain:lock", timeout=30):
                    counter = int(client.get("plain") or 0)
                    client.set("plain", counter + 1)

            benchmark(update)

    def test_retrieve_data_on_state_redis_storage(self, benchmark: Any, server: Server) -> None:
        storage = StateRedisStorage(
            redis_url=server.url, connection_pool=redis.ConnectionPool.from_url(server.url)
        )
        bot = TeleBot("1:offline", threaded=False, state_storage=storage)
        benchmark(retrieve_data_on(bot), MESSAGE)
