"""Bots, and sessions and states in the storages that their tests need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from telebot import TeleBot

from support.bots import Host, MakeBot, close_pool, make_host
from support.inboxes import Life, MakeLife, Snapshot
from support.servers import patient_url
from support.storages import SpyStorage, storage_of
from support.updates import TOKEN
from telesession import (
    JSONCodec,
    MemoryStorage,
    Session,
    Sessions,
    SessionStateStorage,
    SQLiteStorage,
    Storage,
    use_sequential_workers,
)
from telesession.bot.workers import stop_workers


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage, for which the clock stands still if it does for the test."""
    clocks = {"clock", "frozen_time"}.intersection(request.fixturenames)
    clock = request.getfixturevalue(clocks.pop()) if clocks else None
    with storage_of(request.param, tmp_path, request, clock) as storage:
        yield storage


@pytest.fixture(params=["file", "server", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address without records, for storages of several processes."""
    return str(tmp_path / "bot.db") if request.param == "file" else _url_of(request)


@pytest.fixture(params=["server", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a server without records."""
    return _url_of(request)


def _url_of(request: pytest.FixtureRequest) -> str:
    # Only now, so that a server is started for those who need it.
    server = request.getfixturevalue(request.param)
    return server.url() if request.param == "postgres" else patient_url(server)


@pytest.fixture
def spy_storage() -> SpyStorage:
    """An empty storage in memory, which notes its calls."""
    return SpyStorage()


@pytest.fixture
def sessions(spy_storage: SpyStorage) -> Sessions[Session]:
    """Sessions without options, in that storage."""
    return Sessions(storage=spy_storage)


@pytest.fixture(params=["no-middlewares", "class-middlewares"])
def quick_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A bot without threads, for what does not depend on them."""
    yield from make_host(request.param)


@pytest.fixture
def make_bot() -> Iterator[MakeBot]:
    """Makes bots with threads, whose workers end with the test."""
    bots = []

    def make(num_threads: int = 2, **options: Any) -> TeleBot:
        bots.append(TeleBot(TOKEN, num_threads=num_threads, **options))
        return bots[-1]

    yield make
    for bot in bots:
        close_pool(bot.worker_pool)


@pytest.fixture
def make_sequential(make_bot: MakeBot) -> MakeBot:
    """Makes bots whose workers are sequential."""

    def make(num_threads: int = 2, *, workers: Any = None, **options: Any) -> TeleBot:
        bot = make_bot(num_threads, **options)
        use_sequential_workers(bot, **(workers or {}))
        return bot

    return make


@pytest.fixture(params=["telebot's", "sequential"])
def make_either(request: pytest.FixtureRequest) -> MakeBot:
    """Makes bots with the one pool, then with the other."""
    name = "make_bot" if request.param == "telebot's" else "make_sequential"
    make: MakeBot = request.getfixturevalue(name)
    return make


@pytest.fixture
def states(storage: Storage) -> SessionStateStorage:
    """States in an empty storage."""
    return SessionStateStorage(storage)


@pytest.fixture
def states_in_memory() -> SessionStateStorage:
    """States in memory, for what no storage sees."""
    return SessionStateStorage(MemoryStorage())


@pytest.fixture
def json_memory() -> MemoryStorage:
    """An empty storage with the codec of those that outlive a process."""
    return MemoryStorage(codec=JSONCodec())


@pytest.fixture
def pickle_path(tmp_path: Path) -> Path:
    """Where a file of telebot's will be."""
    (tmp_path / ".state-save").mkdir()
    return tmp_path / ".state-save" / "states.pkl"


@pytest.fixture
def ordered_host() -> Iterator[Host]:
    """A bot whose workers keep the order."""
    host = Host(threaded=True)
    stop_workers(host.bot.worker_pool)
    pool = use_sequential_workers(host.bot)
    yield host
    pool.close()


@pytest.fixture(params=["memory", "sqlite"])
def local_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage that needs no server."""
    made = MemoryStorage() if request.param == "memory" else SQLiteStorage(tmp_path / "bot.db")
    with made as storage:
        yield storage


@pytest.fixture
def snapshot(local_storage: Storage, tmp_path: Path) -> Snapshot:
    """A snapshot of that storage."""
    return Snapshot(local_storage, tmp_path)


@pytest.fixture
def make_life() -> Iterator[MakeLife]:
    """Makes bots with an inbox, whose workers end with the test."""
    lives: list[Life] = []

    def make(*args: Any, **options: Any) -> Life:
        lives.append(Life(*args, **options))
        return lives[-1]

    yield make
    for life in lives:
        life.close()
