"""What `RedisStorage` is made from, and what it refuses."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
import valkey
import valkey.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from support.clocks import PATIENCE
from support.counts import update
from support.redis_storages import SECRET
from support.values import told_by
from telesession.storage.redis import RedisStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.servers import RedisWire, Server


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

    assert SECRET not in told_by(caught.value)
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


@pytest.mark.parametrize(
    ("url", "connection"),
    [
        ("valkey://:pass@localhost:7000/3?socket_timeout=5", redis.Connection),
        ("valkeys://:pass@localhost:7000/3?socket_timeout=5", redis.SSLConnection),
        ("redis://:pass@localhost:7000/3?socket_timeout=5", redis.Connection),
        ("rediss://:pass@localhost:7000/3?socket_timeout=5", redis.SSLConnection),
    ],
)
def test_a_url_may_have_the_scheme_of_valkey(url: str, connection: type[Any]) -> None:
    """`valkey://` and `valkeys://` mean what `redis://` and `rediss://` do."""
    with RedisStorage(url) as storage:
        pool = storage.server.client.connection_pool
        settings = pool.connection_kwargs

    expected = {"host": "localhost", "port": 7000, "db": 3, "password": "pass"}
    assert connection is pool.connection_class
    assert expected == {name: settings[name] for name in expected}
    assert 5 == settings["socket_timeout"]


def test_a_valkey_url_leads_to_a_server(server: Server) -> None:
    """An update works on a `valkey://` URL."""
    with RedisStorage(server.url.replace("redis", "valkey")) as storage:
        assert [1, 2] == [update(storage) for _ in range(2)]


@pytest.mark.parametrize("make", [valkey.Valkey, valkey.asyncio.Valkey], ids=["client", "asyncio"])
def test_a_client_of_valkey_py_is_refused(make: Callable[[], Any]) -> None:
    """A client of another package is a `TypeError` that asks for its URL."""
    with pytest.raises(TypeError, match="for a client of valkey-py pass its URL"):
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


@pytest.mark.parametrize("pool", [redis.ConnectionPool, redis.BlockingConnectionPool])
def test_a_client_that_was_passed_gets_its_connections_back(
    server: Server, pool: type[redis.ConnectionPool]
) -> None:
    """Between two calls all connections are in the pool of the client, for its other users."""
    with (
        closing(pool(port=server.port, max_connections=1)) as connections,
        redis.Redis(connection_pool=connections) as client,
    ):
        storage = RedisStorage(client)
        for number in (1, 2):
            assert number == update(storage)
            assert client.ping()


def test_a_client_of_another_class_is_asked_for_each_call(server: Server) -> None:
    """A subclass of `redis.Redis` sees all calls, because it may count or route them."""
    seen: list[object] = []

    class Counting(redis.Redis):
        def execute_command(self, *args: object, **options: Any) -> Any:
            seen.append(args[0])
            return super().execute_command(*args, **options)

    with Counting(port=server.port) as client:
        update(RedisStorage(client))

    assert ["EVALSHA", "EVALSHA"] == seen


def test_a_client_that_was_passed_makes_its_own_retries(wire: RedisWire) -> None:
    """A lost reply is no error if the client asks once more."""
    with redis.Redis.from_url(wire.url, retry=Retry(NoBackoff(), 1)) as client:
        storage = RedisStorage(client)
        storage.server.pauses = ()
        update(storage)
        wire.lose_replies(2)
        assert 2 == update(storage)
        assert 2 == wire.lost


def test_close_closes_a_client_that_was_made_here(server: Server) -> None:
    """A client made from a URL is closed, any number of times; one that was passed stays open."""
    with server.client() as client:
        theirs, ours = RedisStorage(client), RedisStorage(server.url)
        for storage in (theirs, ours):
            update(storage)
            storage.close()
            storage.close()
        assert client.connection_pool._available_connections[0]._sock is not None
        assert [None] == [each._sock for each in connections_of(ours)]
        assert 3 == update(theirs)


def connections_of(storage: RedisStorage) -> list[Any]:
    return storage.server.client.connection_pool._available_connections


def test_a_repr_shows_no_password() -> None:
    """A repr tells storages apart, for the order of locks, and shows neither user nor password."""
    with RedisStorage(f"redis://:{SECRET}@localhost") as storage:
        assert "<RedisStorage 'telesession:' on a Redis at localhost:6379/0>" == repr(storage)


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
