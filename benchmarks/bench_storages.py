"""
What one update costs on SQLite and on Valkey, next to the floor below it and what telebot offers.

Run it with `python -m pytest -n 0 benchmarks/bench_storages.py`. The floor is what the storage must
do at the least, with nothing around it: two transactions, or two scripts. A real Valkey server is
started on the loopback interface.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median
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
    def test_one_read_and_one_transaction(self, benchmark: Any, tmp_path: Path) -> None:
        connection = sqlite3.connect(tmp_path / "floor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE sessions (key TEXT PRIMARY KEY, payload) WITHOUT ROWID")
        numbers = itertools.count()

        def floor() -> None:
            connection.execute("SELECT payload FROM sessions WHERE key = '42'").fetchone()
            # The same payload again would not be written.
            connection.execute("REPLACE INTO sessions VALUES ('42', ?)", (next(numbers),))

        benchmark(floor)
        connection.close()

    def test_hold(self, benchmark: Any, sqlite_storage: Storage) -> None:
        benchmark(hold_and_write, sqlite_storage)

    def test_session(self, benchmark: Any, sqlite_storage: Storage) -> None:
        benchmark(count_on(sqlite_storage), MESSAGE)

    def test_retrieve_data_on_state_pickle_storage(self, benchmark: Any, tmp_path: Path) -> None:
        storage = StatePickleStorage(file_path=str(tmp_path / "states.pkl"))
        bot = TeleBot("123456:offline", threaded=False, state_storage=storage)
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
        bot = TeleBot("123456:offline", threaded=False, state_storage=storage)
        benchmark(retrieve_data_on(bot), MESSAGE)


# SQLite and the build before, side by side.

BEFORE = "0c1b03d"
ROOT = Path(__file__).parent.parent
ROUNDS = 30
UPDATES = 300

# The program of one build, in a process of its own: one round for each line that comes in.
PROGRAM = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from telesession import Sessions, SQLiteStorage

path, size = sys.argv[2], int(sys.argv[3])
storage = SQLiteStorage(path)
sessions = Sessions(initial=dict, storage=storage)
with sessions.open(42) as session:
    session.counter, session.text = 0, "x" * size

def update():
    with sessions.open(42) as session:
        session.counter += 1

def read():
    with sessions.open(42) as session:
        session.counter

def seconds(function, number):
    times = []
    for _ in range(number):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return times

for line in sys.stdin:
    number = int(line)
    times = {"update": seconds(update, number), "read": seconds(read, number)}
    print(json.dumps(times), flush=True)
"""


class Build:
    """A build of telesession that runs in a process of its own."""

    def __init__(self, root: Path, path: Path, size: int = 0) -> None:
        self.times: dict[str, list[float]] = {"update": [], "read": []}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(root), str(path), str(size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, number: int) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        for name, times in json.loads(self._process.stdout.readline()).items():
            self.times[name] += times

    def end(self) -> None:
        self._process.communicate()


def compare(before: Build, after: Build, names: tuple[str, str]) -> None:
    """Run two builds by turns, and print the microseconds of both and their ratios."""
    for _ in range(ROUNDS):
        for build in (before, after):
            build.run(UPDATES)
    for name in ("update", "read"):
        for kind, summary in (("median", median), ("mean", mean)):
            one, two = (summary(build.times[name]) * 1e6 for build in (before, after))
            print(
                f"{name:>8}, {kind:<6}: {names[0]} {one:6.1f} us, {names[1]} {two:6.1f} us, "
                f"ratio {two / one:.2f}"
            )
    for build in (before, after):
        build.end()


def fill(path: Path, number: int) -> None:
    """Make a file of many sessions, all in one transaction."""
    SQLiteStorage(path).close()
    connection = sqlite3.connect(path)
    rows = ((f"user {n}", None, PAYLOAD.decode()) for n in range(number))
    connection.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()


def main() -> None:
    folder = Path(tempfile.mkdtemp(dir=ROOT.parent))
    tree = folder / "before"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(tree), BEFORE], check=True)
    try:
        for size in (0, 400, 2600, 4000):
            print(f"A counter{f' and {size} bytes' if size else ''}, {BEFORE} and this build:")
            builds = [
                Build(root, folder / f"{name} {size}.db", size)
                for name, root in (("before", tree), ("after", ROOT))
            ]
            compare(builds[0], builds[1], (BEFORE, "now"))
        fill(folder / "small.db", 1000)
        fill(folder / "large.db", 1_000_000)
        print("A counter among 1,000 and 1,000,000 sessions:")
        builds = [Build(ROOT, folder / "small.db"), Build(ROOT, folder / "large.db")]
        compare(builds[0], builds[1], ("1,000", "1,000,000"))
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
