"""The client of redis-py that `RedisStorage` uses: made from a URL, or checked."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import SplitResult, urlsplit

from telesession.errors import StorageError
from telesession.storage.redis_errors import diagnosis, without_values

# Without the package the class still exists, because `from telesession import *` names it.
if TYPE_CHECKING or find_spec("redis"):
    import redis
    from redis.backoff import NoBackoff
    from redis.client import Pipeline
    from redis.cluster import ClusterPipeline, RedisCluster
    from redis.connection import parse_url
    from redis.exceptions import RedisClusterException
    from redis.retry import Retry


class Client(Protocol):
    """The part of redis-py's clients that is used; their own methods are hardly annotated."""

    def execute_command(self, *args: object, **options: object) -> Any:
        """Send a command and give the reply."""

    def get_connection_kwargs(self) -> dict[str, Any]:
        """The settings of the connections."""
        ...

    def close(self) -> None:
        """Close the connections."""


def checked_client(client_or_url: Any) -> Client:
    """
    The client for a URL, or the client itself.

    Raises:
        TypeError: It is neither, or a client of another kind.
        ValueError: The URL has a mistake, or the client has a single connection.
    """
    if isinstance(client_or_url, str):
        return _make_client(client_or_url)
    if not isinstance(client_or_url, redis.Redis | RedisCluster) or isinstance(
        client_or_url, Pipeline | ClusterPipeline
    ):
        module = type(client_or_url).__module__
        kind = f"{module}.{type(client_or_url).__qualname__}"
        hint = "; handlers block, so its client has to, too" if ".asyncio." in kind else ""
        if module.partition(".")[0] == "valkey":
            hint = "; for a client of valkey-py pass its URL, such as 'valkey://localhost:6379/0'"
        raise TypeError(
            "RedisStorage(client_or_url) takes a URL, a redis.Redis, a redis.RedisCluster or the "
            f"result of Sentinel.master_for(...), not a {kind}{hint}"
        )
    if getattr(client_or_url, "connection", None) is not None:
        raise ValueError(
            "RedisStorage(client_or_url) needs a client with a pool of connections for many "
            "threads; leave out single_connection_client=True"
        )
    return cast("Client", client_or_url)


def cluster_client(url: str) -> RedisCluster:
    """
    A client of the cluster that has the server of a URL as one of its nodes.

    Raises:
        StorageError: No node answers, or the server belongs to no cluster.
        ValueError: The URL has a mistake.
    """
    # Made to see whether the URL is sound, because the client of a cluster connects at once.
    _make_client(url).close()
    options: dict[str, Any] = parse_url(_with_redis_scheme(url))  # type: ignore[no-untyped-call]
    if options.pop("db", 0) or "path" in options:
        raise _bad_url("a cluster has no socket, and no database but 0")
    is_encrypted = options.pop("connection_class", None) is not None
    try:
        # Not by the `from_url` of the class, whose client does not close its connections.
        return RedisCluster(**{"socket_timeout": 3.0, "ssl": is_encrypted, **options})
    except (redis.RedisError, RedisClusterException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        reason, remedy = diagnosis(without_values(cause), True)
        raise StorageError("reach the cluster", None, reason, remedy) from error


def is_cluster(client: object) -> bool:
    """Whether the client leads to a cluster."""
    return isinstance(client, RedisCluster)


def is_plain(client: Any) -> bool:
    """Whether a call needs only a connection of the client."""
    # A subclass may do more for a call, and a cache wants to know of each.
    return type(client) is redis.Redis and client.get_cache() is None


def _make_client(url: str) -> Client:
    """
    A client whose calls end soon, even if the server hangs; the caller asks again.

    The URL may set other time-outs, as in `redis://localhost?socket_timeout=10`.
    """
    url = _with_redis_scheme(url)
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise _bad_url("it does not begin with a scheme of Redis or Valkey")
    parts = _split(url)
    if parts is None:
        raise _bad_url("its host or port is malformed")
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise _bad_url("its path is not the number of a database")
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=3.0,
            socket_connect_timeout=1.5,
            # A retry inside redis-py would hide whether the first attempt was sent.
            retry=Retry(NoBackoff(), 0),
            # The number of threads is the limit. The limit of redis-py would raise in further
            # threads.
            max_connections=2**31,
        )
        pool = client.connection_pool
        # Made only as a check, because redis-py looks at the options when it connects.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError) as error:
        raise _bad_url(str(error)) from None
    return cast("Client", client)


def _with_redis_scheme(url: str) -> str:
    """The URL with a scheme of Redis, because redis-py knows no others."""
    return url.replace("valkey", "redis", 1) if url.startswith(("valkey://", "valkeys://")) else url


def _split(url: str) -> SplitResult | None:
    """The parts of a URL; `None` without any exception if its host or port is malformed."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        # The text of the exception quotes the port, which may be a part of a password.
        return None
    return parts


def _bad_url(fault: str) -> ValueError:
    """The error for a mistake in a URL, which it does not show: it may have a password."""
    return ValueError(
        f"RedisStorage(url) cannot use this URL: {fault}; write "
        "redis://[[user]:password@]host[:port][/database], rediss:// likewise for TLS, valkey:// "
        "or valkeys://, or unix:///path/to/socket, with special characters of a password "
        "percent-encoded"
    )
