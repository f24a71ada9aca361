"""Storages of every kind with a codec that writes JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.clocks import PATIENCE
from support.values import CODEC
from telesession import MemoryStorage, PostgresStorage, RedisStorage, SQLiteStorage, Storage


@pytest.fixture(scope="module", params=["memory", "file", "server", "postgres"])
def storage(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storage]:
    """Each storage of the library, with this codec."""
    with ExitStack() as exits:
        if request.param == "memory":
            yield MemoryStorage(codec=CODEC)
        elif request.param == "file":
            path = tmp_path_factory.mktemp("sessions") / "bot.db"
            yield exits.enter_context(SQLiteStorage(path))
        elif request.param == "postgres":
            postgres = request.getfixturevalue("running_postgres")
            postgres.empty()
            yield exits.enter_context(PostgresStorage(postgres.socket_conninfo()))
        else:
            server = request.getfixturevalue("running_server")
            yield exits.enter_context(RedisStorage(f"{server.url}?socket_timeout={PATIENCE}"))
