"""Sessions on a Redis or Valkey server, shared by the processes of many machines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

from telesession.codecs import Codec, JSONCodec
from telesession.errors import StorageError
from telesession.storage.base import Storage
from telesession.storage.redis_hold import RedisHold
from telesession.storage.redis_scripts import RENEW, Script, milliseconds
from telesession.storage.renewal import Renewal, checked_lease

# Without the package the class is there all the same, for `from telesession import *`.
if TYPE_CHECKING or find_spec("redis"):
    import redis
    from redis.backoff import ConstantBackoff
    from redis.client import NEVER_DECODE, Pipeline
    from redis.cluster import ClusterPipeline, RedisCluster
    from redis.exceptions import NoScriptError, ResponseError
    from redis.retry import Retry

# Seconds after which a waiter looks for itself whether the lock is free, if nobody calls it.
_PATIENCE = 2.0
# How many keys the server looks at before it answers a step of an iteration.
_PAGE = 500
# How many abandoned locks are remembered. The others end with their lease.
_MANY = 10_000

_DIAGNOSES = MappingProxyType(
    {
        "OOM OutOfMemoryError": ("the server is out of memory", "raise its maxmemory"),
        "READONLY ReadOnlyError": (
            "the server is a replica, which may only be read",
            "connect to the master, or wait until the failover is over",
        ),
        "WRONGTYPE": (
            "the server has something else by this name",
            "give the storage another prefix",
        ),
        "NOPERM NoPermissionError ACL": (
            "the server forbids this user a command or a key",
            "see __cause__ and grant it with ACL SETUSER",
        ),
        "AuthenticationError": (
            "the server does not accept the user or the password",
            "correct them in the URL or the client",
        ),
        "MaxConnectionsError": (
            "the client has no connection left",
            "raise its max_connections",
        ),
        "TimeoutError": (
            "the server did not answer in time",
            "see whether it is overloaded or the network is slow, and retry",
        ),
        "ConnectionError": (
            "the server cannot be reached",
            "see whether it runs and the address is right, and retry",
        ),
    }
)


class _Client(Protocol):
    """What is used of redis-py's clients, whose own methods are hardly annotated."""

    def execute_command(self, *args: object, **options: object) -> Any: ...

    def get_connection_kwargs(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


class RedisStorage(Storage):
    """
    Keeps records on a Redis (6.2 or later) or Valkey server: for bots on many machines.

    An update takes two round trips, lock included. As soon as a session is free, who waits for it
    is called: in a process in the order of asking, among processes whoever has listened longest,
    and they begin anew every two seconds. Deadlines count on the server's clock, so the clocks of
    the machines may differ. Nothing here outlives what the server loses or evicts.

    Keep one instance for as long as the bot runs. Any thread may use it, and so may every process
    that is forked from the one that made it.

    Args:
        client_or_url: A URL such as `"redis://localhost:6379/0"`, `rediss://` or `unix://`, or a
            blocking client of redis-py: a `redis.Redis`, a `redis.RedisCluster`, or what
            `Sentinel.master_for` gives. Each thread that has a session or waits for one may need
            a connection of its own. With a URL, a server that refuses or does not answer is a
            `StorageError` within seconds; a client has its own retries, and its own time-out,
            which should not be below half a second.
        codec: How records become bytes; readable JSON by default.
        prefix: Begins the name of every key on the server: the record of key `"42"` is
            `telesession:42`, and what surrounds its lock begins with `{telesession:42}`.
        lease: Seconds or a `timedelta` until the session of a holder that died is free again. A
            background thread renews the lease of handlers that take longer.

    Raises:
        ImportError: The package redis is not installed.
        TypeError: An option is of the wrong type, or the client of the wrong kind.
        ValueError: An option has a value that makes no sense.
    """

    def __init__(
        self,
        client_or_url: redis.Redis | RedisCluster | str,
        codec: Codec | None = None,
        *,
        prefix: str = "telesession:",
        lease: float | timedelta = 30.0,
    ) -> None:
        if not find_spec("redis"):
            raise ImportError(
                "RedisStorage needs the package redis, which is not installed; "
                "pip install 'redis>=7.2'"
            )
        self.codec = JSONCodec() if codec is None else codec
        self._prefix = _checked_prefix(prefix)
        self._lease = milliseconds(checked_lease(lease, "RedisStorage"))
        self._client = _checked_client(client_or_url)
        self._is_mine = isinstance(client_or_url, str)
        self._is_cluster = isinstance(self._client, RedisCluster)
        timeout = self._client.get_connection_kwargs().get("socket_timeout")
        # A wait must be over before the client takes the silence for a failure.
        self._patience = min(_PATIENCE, timeout / 2) if timeout else _PATIENCE
        self._forget_holders()

    def get(self, key: str) -> bytes | None:
        """See `Storage.get`."""
        name = self._name(key)
        # A client that caches replies wants to be told the keys.
        payload: bytes | None = self._command("read", key, "GET", name, keys=[name])
        return payload

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """See `Storage.set`."""
        if lifetime is not None and lifetime <= 0:
            self.delete(key)
            return
        expiry = () if lifetime is None else ("PX", milliseconds(lifetime))
        # Asked for the old value, the server refuses to overwrite what is no record.
        self._command("write", key, "SET", self._name(key), payload, *expiry, "GET", get=True)

    def delete(self, key: str) -> bool:
        """
        See `Storage.delete`. If the answer is lost and the client asks again, it is that there is
        none.
        """
        return self._command("delete", key, "GETDEL", self._name(key)) is not None

    def touch(self, key: str, lifetime: float | None) -> bool:
        """See `Storage.touch`."""
        if lifetime is not None and lifetime <= 0:
            return self.delete(key)
        expiry = ("PERSIST",) if lifetime is None else ("PX", milliseconds(lifetime))
        return self._command("touch", key, "GETEX", self._name(key), *expiry) is not None

    def keys(self, prefix: str = "") -> Iterator[str]:
        """
        See `Storage.keys`.

        The server is asked step by step. What it stores or deletes meanwhile may be missing.
        """
        start = self._prefix + _escape(prefix)
        pattern = _encode(re.sub(r"([*?\[\]\\])", r"\\\1", start) + "*")
        seen: set[bytes] = set()
        for node in self._nodes():
            cursor = -1
            while cursor:
                args = ("SCAN", max(cursor, 0), "MATCH", pattern, "COUNT", _PAGE)
                cursor, names = _execute(node, "list the keys", None, *args)
                for name in names:
                    # A server that rearranges its table gives a key twice.
                    if name not in seen:
                        seen.add(name)
                        yield _unescape(_decode(name)[len(self._prefix) :])

    def hold(self, key: str, timeout: float | None = None) -> RedisHold:
        """See `Storage.hold`; exclusive among all who use this server and prefix."""
        return RedisHold(self, key, timeout)

    def now(self) -> float:
        """See `Storage.now`; on the clock of the server."""
        seconds, microseconds = _execute(next(self._nodes()), "ask for the time", None, "TIME")
        return int(seconds) + int(microseconds) / 1e6

    def close(self) -> None:
        """See `Storage.close`. A client that was passed in stays open."""
        self._renewal.stop()
        if self._is_mine:
            self._client.close()

    def __repr__(self) -> str:
        return f"<RedisStorage {self._prefix!r} on a {type(self._client).__name__}>"

    def _forget_holders(self) -> None:
        super()._forget_holders()
        self._renewal = Renewal(self._renew, self._lease / 3000)
        # By key, the token of a lock that may still be there because a call to the server failed.
        self._orphans: dict[str, bytes] = {}

    def _abandon(self, key: str, token: bytes) -> None:
        """Remember a lock that may still be there, so that the next update can take it over."""
        if len(self._orphans) >= _MANY:
            self._orphans.clear()
        self._orphans[key] = token

    def _name(self, key: str) -> bytes:
        return _encode(self._prefix + _escape(key))

    def _nodes(self) -> Iterator[_Client]:
        """The clients of the servers that have the records: of a cluster one for each primary."""
        client: Any = self._client
        if not self._is_cluster:
            yield client
            return
        for node in client.get_primaries():
            yield client.get_redis_connection(node)

    def _command(self, action: str, key: str, *args: object, **options: object) -> Any:
        return _execute(self._client, action, key, *args, **options)

    def _run(
        self, script: Script, action: str, key: str | None, names: Sequence[bytes], *args: object
    ) -> Any:
        """Run a script that the server most likely knows already."""
        numbered = (len(names), *names, *args)
        try:
            return _execute(self._client, action, key, "EVALSHA", script.digest, *numbered)
        except NoScriptError:
            return _execute(self._client, action, key, "EVAL", script.text, *numbered)

    @staticmethod
    def _was_refused(error: StorageError) -> bool:
        """Whether the server has answered, and refused: nothing was done, and it may do more."""
        return isinstance(error.__cause__, ResponseError)

    def _renew(self, leases: list[tuple[bytes, bytes]]) -> None:
        """Renew leases, given as token and lock: all at once, or in a cluster where they are."""
        for group in [[lease] for lease in leases] if self._is_cluster else [leases]:
            tokens, locks = zip(*group, strict=True)
            # The next round is early enough to try again; a lost lock is noticed at the commit.
            with suppress(StorageError):
                self._run(RENEW, "renew", None, locks, self._lease, *tokens)


def _execute(
    client: _Client, action: str, key: str | None, *args: object, **options: object
) -> Any:
    """Ask a server for something and get bytes, whatever the client makes of them for others."""
    try:
        return client.execute_command(*args, **{NEVER_DECODE: True}, **options)
    except NoScriptError:
        raise
    except Exception as error:
        raise StorageError(action, key, *_diagnosis(error)) from error


def _diagnosis(error: Exception) -> tuple[str, str]:
    """
    The reason and the remedy of a failed call.

    Not in the words of the server, which may quote a stored value.
    """
    words = {kind.__name__ for kind in type(error).__mro__} | set(re.findall(r"\w+", str(error)))
    for signs, (reason, remedy) in _DIAGNOSES.items():
        if not words.isdisjoint(signs.split()):
            return f"{reason} ({type(error).__name__})", remedy
    return f"redis-py raised {type(error).__name__}", "see __cause__, fix it and retry"


def _escape(key: str) -> str:
    """Spell a key without braces, by which a cluster chooses the slot."""
    return key.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")


def _unescape(name: str) -> str:
    return name.replace("%7D", "}").replace("%7B", "{").replace("%25", "%")


def _encode(name: str) -> bytes:
    # A lone surrogate is no text, but a key may hold any character.
    return name.encode("utf-8", "surrogatepass")


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def _checked_prefix(prefix: object) -> str:
    if not isinstance(prefix, str):
        raise TypeError(f"RedisStorage(prefix=...) must be a str, not {type(prefix).__name__}")
    if not prefix:
        raise ValueError("RedisStorage(prefix=...) must not be empty; it keeps its keys together")
    return _escape(prefix)


def _checked_client(client_or_url: Any) -> _Client:
    if isinstance(client_or_url, str):
        return _make_client(client_or_url)
    if not isinstance(client_or_url, redis.Redis | RedisCluster) or isinstance(
        client_or_url, Pipeline | ClusterPipeline
    ):
        kind = f"{type(client_or_url).__module__}.{type(client_or_url).__qualname__}"
        hint = "; handlers block, so its client has to, too" if ".asyncio." in kind else ""
        raise TypeError(
            "RedisStorage(client_or_url) takes a URL, a redis.Redis, a redis.RedisCluster or what "
            f"Sentinel.master_for(...) gives, not a {kind}{hint}"
        )
    if getattr(client_or_url, "connection", None) is not None:
        raise ValueError(
            "RedisStorage(client_or_url) needs a client with a pool of connections, for many "
            "threads; leave out single_connection_client=True"
        )
    return cast("_Client", client_or_url)


def _make_client(url: str) -> _Client:
    """
    A client whose calls end soon, whatever the server does.

    One that refuses costs a back-off, one that hangs two time-outs. The URL may set others, as
    in `redis://localhost?socket_timeout=10`.
    """
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise _bad_url("its scheme is another")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _bad_url("its host or port is malformed") from None
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise _bad_url("its path is not the number of a database")
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=3.0,
            socket_connect_timeout=1.5,
            retry=Retry(ConstantBackoff(0.1), 1),
            # The last, because behind a name that moved in a failover only a new connection finds
            # the new server. The others are so by default, but not in every version.
            retry_on_error=[redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError],
            # The threads are the limit; redis-py's own would raise in those that are too many.
            max_connections=2**31,
        )
        pool = client.connection_pool
        # Made only to see whether it can be: redis-py looks at the options when it connects.
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError, redis.RedisError) as error:
        raise _bad_url(str(error)) from None
    return cast("_Client", client)


def _bad_url(fault: str) -> ValueError:
    """Say what is wrong with a URL without showing it: there may be a password in it."""
    return ValueError(
        f"RedisStorage(url) cannot use this URL: {fault}; write "
        "redis://[[user]:password@]host[:port][/database], rediss:// likewise for TLS, or "
        "unix:///path/to/socket, with special characters of a password percent-encoded"
    )
