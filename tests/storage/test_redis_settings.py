"""What `RedisStorage` is made from, and what it refuses."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
from redis.sentinel import Sentinel

import support.redis_storages
from support.clocks import PATIENCE
from support.redis_storages import SECRET, update
from telesession.storage.redis import RedisStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.servers import Server

server = support.redis_storages.server


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("localhost:6379", "scheme"),
        ("http://localhost", "scheme"),
        ("redis:/localhost", "scheme"),
        ("", "scheme"),
        (f"redis://:{SECRET}@localhost:port", "port"),
        (f"redis://:{SECRET}/x@localhost", "port"),
        (f"redis://:{SECRET}@localhost/sessions", "number of a database"),
        (f"redis://:{SECRET}@localhost/0?socket_timout=1", "socket_timout"),
        (f"redis://:{SECRET}@localhost/0?socket_timeout=soon", "socket_timeout"),
        (f"redis://:{SECRET}@localhost?protocol=4", "protocol"),
    ],
)
def test_a_url_with_a_mistake_is_refused_at_once(url: str, fault: str) -> None:
    """A mistake in a URL is a `ValueError` that says which, without showing the password."""
    with pytest.raises(ValueError, match=fault) as caught:
        RedisStorage(url)

    assert SECRET not in str(caught.value)
    assert "redis://" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: None, "NoneType"),
        (lambda: b"redis://localhost", "bytes"),
        (redis.ConnectionPool, "ConnectionPool"),
        (lambda: Sentinel([]), "master_for"),
        (lambda: redis.Redis().pipeline(), "Pipeline"),
        (redis.asyncio.Redis, "handlers block"),
    ],
)
def test_what_is_no_blocking_client_is_refused_at_once(make: Callable[[], Any], hint: str) -> None:
    """Anything but a URL or a blocking client is a `TypeError` that says what to pass."""
    with pytest.raises(TypeError, match=hint):
        RedisStorage(make())


def test_a_client_for_one_thread_is_refused(server: Server) -> None:
    """A client with a single connection would let everybody wait for each other."""
    with (
        server.client(single_connection_client=True) as client,
        pytest.raises(ValueError, match="single_connection_client"),
    ):
        RedisStorage(client)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"lease": 0}, ValueError),
        ({"lease": -1}, ValueError),
        ({"lease": math.nan}, ValueError),
        ({"lease": math.inf}, ValueError),
        ({"lease": timedelta(0)}, ValueError),
        ({"lease": "30"}, TypeError),
        ({"lease": None}, TypeError),
        ({"lease": True}, TypeError),
        ({"prefix": ""}, ValueError),
        ({"prefix": b"telesession:"}, TypeError),
        ({"prefix": None}, TypeError),
    ],
)
def test_bad_settings_are_refused_at_once(options: dict[str, Any], error: type[Exception]) -> None:
    """A lease that is no time, or a prefix that is no text, is refused by the constructor."""
    with pytest.raises(error, match=next(iter(options))):
        RedisStorage("redis://localhost", **options)


def test_close_closes_a_client_that_was_made_here(server: Server) -> None:
    """A client made from a URL is closed, any number of times; one that was passed stays open."""
    with server.client() as client:
        theirs, ours = RedisStorage(client), RedisStorage(server.url)
        for storage in (theirs, ours):
            update(storage)
            storage.close()
            storage.close()
        assert client.connection_pool._available_connections[0]._sock is not None
        assert ours._client.connection_pool._available_connections[0]._sock is None
        assert 3 == update(theirs)


def test_a_repr_shows_no_password(server: Server) -> None:
    """What is printed is where the keys are, not how to get there."""
    with RedisStorage(f"redis://:{SECRET}@localhost") as storage:
        assert "<RedisStorage 'telesession:' on a Redis>" == repr(storage)


def test_without_redis_whoever_wants_a_storage_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`redis` is an extra: without it the class can be imported, and says how to get it."""
    spec = importlib.util.find_spec("telesession.storage.redis")
    monkeypatch.setitem(sys.modules, "redis", None)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    with pytest.raises(ImportError, match=r"RedisStorage needs .*pip install 'redis>=7.2'"):
        module.RedisStorage("redis://localhost")


def test_nothing_else_imports_redis() -> None:
    """The package works without its extra."""
    code = "import sys, telesession; print('redis' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE
    )

    assert "False" == run.stdout.strip()
