"""Sessions on a Redis or Valkey server, shared by the processes of many machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from telesession.codecs import Codec, JSONCodec
from telesession.errors import LockLostError, StorageError
from telesession.storage.base import Change, Hold, Record, Storage, deletes
from telesession.storage.redis_client import Client, checked_client
from telesession.storage.redis_hold import RedisHold, write_together
from telesession.storage.redis_indexes import add_once, listed
from telesession.storage.redis_names import decode, escape, unescape
from telesession.storage.redis_scripts import READ, READ_ALL, milliseconds
from telesession.storage.redis_server import RedisServer
from telesession.storage.renewal import checked_lease
from telesession.storage.rows import Row

if TYPE_CHECKING:
    import redis
    from redis.cluster import RedisCluster

# How many keys the server looks at before it answers a step of an iteration.
_PAGE = 5_000
# How many keys it looks at where their records are read as well.
_PAGE_OF_ROWS = 500
# How many of the latest keys an iteration remembers at least.
_REMEMBERED = 20_000


class RedisStorage(Storage):
    """
    Keeps records on a Redis (6.2 or later) or Valkey server: for bots on many machines.

    An update takes two round trips, the lock included. A session that becomes free goes to the next
    waiter. Within a process, that is the thread that asked first. Among processes, it is the one
    that has listened longest, and listeners begin anew every two seconds. Deadlines count on the
    server's clock, so the clocks of the machines may differ. A record that the server loses or
    evicts is gone.

    After an outage, the next update of a process takes over the lock that a failed one left, and
    other processes get it within a second. A commit that gets no answer is sent again for ten
    seconds, and executed once. If it still has none, the `outcome` of the `StorageError` is
    `"unknown"`.

    Keep one instance for as long as the bot runs. Any thread may use it, and so may every process
    that is forked from the one that made it, with or without Python's fork hooks.

    Args:
        client_or_url: A URL such as `"redis://localhost:6379/0"`, `rediss://`, `valkey://`,
            `valkeys://` or `unix://`, or a blocking client of redis-py: a `redis.Redis`, a
            `redis.RedisCluster`, or the result of `Sentinel.master_for`. Each thread that waits
            for a session needs a connection of its own. With a URL, a server that refuses or does
            not answer is a `StorageError` within seconds. A client has its own retries, and its
            own time-out, which should not be below half a second.
        codec: The codec that turns records into bytes; readable JSON by default.
        prefix: Begins the name of every key on the server: the record of key `"42"` is
            `telesession:42`, and the keys for its lock begin with `{telesession:42}`.
        lease: Seconds or a `timedelta` until the session of a dead holder is free again. If the
            server's clock steps back, it takes at most twice as long. A background thread renews
            the lease of handlers that take longer.

    Attributes:
        server: Sends the commands of the storage. It is for this library itself, and may change.

    Raises:
        ImportError: The package redis is not installed.
        TypeError: An option is of the wrong type, or the client of the wrong kind.
        ValueError: An option has a value that makes no sense.
    """

    leases_locks = True

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
        prefix = _checked_prefix(prefix)
        self.lease = checked_lease(lease, "RedisStorage")
        self.server = RedisServer(
            checked_client(client_or_url),
            is_mine=isinstance(client_or_url, str),
            prefix=prefix,
            lease=milliseconds(self.lease),
        )

    def get(self, key: str) -> bytes | None:
        """See `Storage.get`."""
        name = self.server.record(key)
        # A client that caches replies wants to be told the keys.
        payload: bytes | None = self.server.command("read", key, "GET", name, keys=[name])
        return payload

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """See `Storage.set`."""
        if lifetime is not None and lifetime <= 0:
            self.delete(key)
            return
        expiry = () if lifetime is None else ("PX", milliseconds(lifetime))
        # GET makes the server refuse to overwrite another kind of key.
        args = ("SET", self.server.record(key), payload, *expiry, "GET")
        self.server.command("write", key, *args, get=True, is_write=True)

    def delete(self, key: str) -> bool:
        """
        See `Storage.delete`. If the answer is lost and the client asks again, the result is false.
        """
        name = self.server.record(key)
        return self.server.command("delete", key, "GETDEL", name, is_write=True) is not None

    def touch(self, key: str, lifetime: float | None) -> bool:
        """See `Storage.touch`."""
        if lifetime is not None and lifetime <= 0:
            return self.delete(key)
        expiry = ("PERSIST",) if lifetime is None else ("PX", milliseconds(lifetime))
        args = ("GETEX", self.server.record(key), *expiry)
        return self.server.command("touch", key, *args, is_write=True) is not None

    def get_record(self, key: str) -> Record | None:
        """See `Storage.get_record`."""
        payload, left = self.server.run(READ, "read", key, 1, self.server.record(key))
        return None if payload is None else Record(payload, left / 1000 if left >= 0 else None)

    def ping(self) -> None:
        """See `Storage.ping`. In a cluster each primary is asked."""
        for node in self.server.nodes():
            self.server.command("reach the server", None, "PING", node=node)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """
        See `Storage.keys`.

        The server is asked step by step. Keys that are stored or deleted in between may be missing.
        A key may come twice if hundreds of thousands of keys are deleted in between, or if a
        cluster moves it.
        """
        for _, names in self._scan(prefix, _PAGE):
            yield from map(self._key_of, names)

    def rows(self, prefix: str = "") -> Iterator[Row]:
        """
        Iterate over the live records whose keys start with `prefix`.

        The server is asked step by step, so the memory for it does not grow. A record may come
        twice, as a key of `keys` may. A key of another type is a row without a payload.

        Raises:
            StorageError: The server failed.
        """
        for node, names in self._scan(prefix, _PAGE_OF_ROWS):
            for name, payload, left in zip(names, *self._read_all(node, names), strict=True):
                # Without a payload the record has ended since it was listed.
                if payload is not None:
                    yield Row(
                        self._key_of(name),
                        payload if isinstance(payload, bytes) else None,
                        left / 1000 if left >= 0 else None,
                    )

    def _read_all(self, node: Client, names: list[bytes]) -> tuple[Sequence[object], Sequence[int]]:
        """The payload of each record, and the milliseconds that are left."""
        server = self.server
        if server.is_cluster:
            # A script takes the keys of one slot only.
            commands = [(verb, name) for name in names for verb in ("GET", "PTTL")]
            replies = server.pipeline("read", commands, node)
            lefts = [left if isinstance(left, int) else -1 for left in replies[1::2]]
            return replies[::2], lefts
        if not names:
            return (), ()
        payloads, left = server.run(READ_ALL, "read", None, len(names), *names)
        return payloads, [int(each) for each in left.split()]

    def _scan(self, prefix: str, size: int) -> Iterator[tuple[Client, list[bytes]]]:
        """The names of the records whose keys start with a prefix, by node and step."""
        server = self.server
        pattern = server.pattern(prefix) + b"*"
        # A server that makes its table smaller gives some of the latest keys again. All keys of a
        # large server would not fit in memory.
        seen, before = set[bytes](), set[bytes]()
        for node in server.nodes():
            cursor = -1
            while cursor:
                args = ("SCAN", max(cursor, 0), "MATCH", pattern, "COUNT", size)
                cursor, names = server.command("list the keys", None, *args, node=node)
                if len(seen) >= _REMEMBERED:
                    seen, before = set(), seen
                fresh = [
                    each for each in dict.fromkeys(names) if each not in seen and each not in before
                ]
                seen.update(fresh)
                yield node, fresh

    def _key_of(self, name: bytes) -> str:
        return unescape(decode(name)[len(self.server.prefix) :])

    def hold(self, key: str, timeout: float | None = None) -> RedisHold:
        """See `Storage.hold`; exclusive among all users of this server and prefix."""
        return RedisHold(self, self.server, key, timeout)

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """
        See `Storage.commit`. It is one script, which unlocks the keys as well.

        In a cluster it is one script for each session and each change, one after the other.
        """
        if not self.server.is_cluster:
            if holds or also:
                write_together(self.server, holds, also)
            return
        # Each change is checked again as it is done. By then the sessions are written.
        for change in also:
            if self.get(change.key) != change.expected:
                raise LockLostError(change.key)
        written: list[str] = []
        try:
            # Deletions last: a record that moves to another key must not be lost in between.
            for hold in sorted(holds, key=deletes):
                is_changed = hold.note is not None
                write_together(self.server, [hold])
                written += [hold.key] * is_changed
            for change in also:
                # The index would be in another slot.
                write_together(self.server, (), [change._replace(index=None)])
                written.append(change.key)
        except (LockLostError, StorageError) as error:
            error.written = tuple(written)
            raise

    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        """
        See `Storage.listed`. The server has a sorted set for each index.

        In a cluster there is none, because it would be in another slot than the records, so all
        keys of the cluster are looked at.
        """
        if self.server.is_cluster:
            return super().listed(prefix, after, limit)
        return listed(self.server, prefix, after, limit)

    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        """
        See `Storage.add_once`. It is one script.

        In a cluster the records are stored one by one while their page is locked, because they are
        in different slots.
        """
        if self.server.is_cluster:
            return super().add_once(prefix, payloads, pages=pages, memory=memory)
        return add_once(self.server, prefix, payloads, pages, memory)

    def now(self) -> float:
        """See `Storage.now`; on the clock of the server."""
        node = next(self.server.nodes())
        seconds, microseconds = self.server.command("ask for the time", None, "TIME", node=node)
        return int(seconds) + int(microseconds) / 1e6

    def close(self) -> None:
        """See `Storage.close`. A client that was passed in stays open."""
        self.server.close()

    def __repr__(self) -> str:
        return f"<RedisStorage {self.server.prefix!r} on {self.server.address}>"


def _checked_prefix(prefix: object) -> str:
    if not isinstance(prefix, str):
        raise TypeError(f"RedisStorage(prefix=...) must be a str, not {type(prefix).__name__}")
    if not prefix:
        raise ValueError("RedisStorage(prefix=...) must not be empty; it keeps its keys together")
    return escape(prefix)
