"""Fixtures for all tests: those that the library offers, and bots, a server and storages."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from freezegun import freeze_time

from support.bots import MODES, Host, Stage, forget_settings, make_host, on_stage
from support.bouncers import Bouncer
from support.clocks import START, frozen_clock
from support.loopback import take_refused
from support.postgres import PostgresServer
from support.servers import Cluster, Server
from support.storages import KINDS, storage_of, storage_of_test
from telesession.locks import units

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from telesession import Storage
    from telesession.testing import BotAPI

# The extra `dev` brings the type checkers.
if not all(map(find_spec, ("mypy", "pyright"))):
    collect_ignore = ["test_typing.py"]

# A shell lets programs in the background ignore Ctrl-C, and so would the processes of the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester", "telesession.testing.fixtures"]


@pytest.fixture(params=MODES, ids="-".join)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A bot in every mode of telebot."""
    yield from make_host(*request.param)


@pytest.fixture
def simple_host() -> Iterator[Host]:
    """A bot in the simplest mode, for what no mode changes."""
    yield from make_host()


@pytest.fixture(scope="session")
def running_server() -> Iterator[Server]:
    """A Valkey server for all tests that leave it as it was."""
    with Server() as server:
        yield server


@pytest.fixture
def server(running_server: Server) -> Server:
    """A server that has nothing stored."""
    with running_server.client() as client:
        client.flushall()
    return running_server


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[Cluster]:
    """A cluster of three Valkey servers for all tests that leave it as it was."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(running_cluster: Cluster) -> Cluster:
    """A cluster that has nothing stored."""
    running_cluster.empty()
    return running_cluster


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests that leave it as it was, but for its database."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(running_postgres: PostgresServer) -> PostgresServer:
    """A PostgreSQL server with an empty database and without clients."""
    running_postgres.empty()
    return running_postgres


@pytest.fixture
def bouncer(postgres: PostgresServer) -> Iterator[Bouncer]:
    """A pgbouncer in transaction pooling, in front of that server."""
    with Bouncer(postgres) as bouncer:
        yield bouncer


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty storage, for which the clock stands still if it does for the test."""
    with storage_of_test(request, tmp_path) as storage:
        yield storage


@pytest.fixture
def fresh_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_sessions: None) -> None:
    """No token, an empty directory, and nothing in the storage that all decorators share."""
    forget_settings(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stage(request: pytest.FixtureRequest, bot_api: BotAPI, fresh_process: None) -> Iterator[Stage]:
    """The example that the class of the test is about."""
    with on_stage(request.cls.example, bot_api) as stage:
        yield stage


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    """A clock that stands still in every thread of the test."""
    with frozen_clock() as clock:
        yield clock


@pytest.fixture(scope="module")
def frozen_module() -> Iterator[None]:
    """A clock that stands still for a whole module; freezing it again for a test is cheap then."""
    # freezegun looks through all modules when it starts; inside another freeze it need not.
    with freeze_time(START, ignore=["_pytest.timing", "psycopg"]):
        yield


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    """The kind of `moved_storage`."""
    return request.param


@pytest.fixture
def moved_storage(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Storage]:
    """An empty storage, of every kind and with every codec, for sessions that move."""
    with storage_of(kind, tmp_path, request) as storage:
        yield storage


@pytest.fixture
def frozen_moved_storage(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, clock: FrozenDateTimeFactory
) -> Iterator[Storage]:
    """The same, and its time is that of the clock."""
    with storage_of(kind, tmp_path, request, clock) as storage:
        yield storage


@pytest.fixture(autouse=True)
def _no_unit_is_left_open() -> Iterator[None]:
    """Every test leaves each block that it entered; a unit left open would swallow the next one."""
    yield
    left = dict(units)
    units.clear()
    assert {} == left


@pytest.fixture(autouse=True)
def _nothing_leaves_the_loopback() -> Iterator[None]:
    """No test tries to reach another address, not even in a thread that retries after the error."""
    yield
    assert [] == take_refused()
