"""Sessions on a Redis or Valkey server, shared by the processes of many machines."""

from __future__ import annotations

import hashlib
import math
import os
import re
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self, cast
from urllib.parse import urlsplit

from telesession.codecs import Codec, PickleCodec
from telesession.errors import LockLostError, LockTimeoutError, StorageError
from telesession.locks import LockTable
from telesession.storage.base import Hold, Storage

try:
    import redis
    from redis.backoff import ConstantBackoff
    from redis.client import NEVER_DECODE, Pipeline
    from redis.cluster import ClusterPipeline, RedisCluster
    from redis.exceptions import NoScriptError, ResponseError
    from redis.retry import Retry
except ImportError as error:
    raise ImportError(
        "RedisStorage needs the package redis; install it with: pip install 'telesession[redis]'"
    ) from error

# All times in scripts are milliseconds.

# Takes the lock and reads the record; or joins the queue, and says how long to wait for a call.
# `claim` is a holder whose lock the caller may take over, if there is one.
_ACQUIRE = """
local record, lock, queue = KEYS[1], KEYS[2], KEYS[3]
local token, claim, lease, patience = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local holder, now = redis.call('GET', lock), redis.call('TIME')
if holder and holder ~= token and holder ~= claim then
    local left = redis.call('PTTL', lock)
    local wait = left < 0 and patience or math.min(left + 1, patience)
    if wait > 0 then
        local gone = now[1] * 1000 + math.floor(now[2] / 1000) + wait + 500
        redis.call('ZADD', queue, gone, token)
        redis.call('PEXPIRE', queue, 60000)
    end
    return wait
end
local payload = redis.call('GET', record)
redis.call('SET', lock, token, 'PX', lease)
redis.call('ZREM', queue, token)
return {payload, now[1], now[2]}
"""

# Does what the holder has noted, once, and keeps the lock for another lease, or frees it: then
# whoever has waited longest is called, and has a second to come. Gives 0 if the lock was lost.
_COMMIT = """
local record, lock, queue, calls, done = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token, number, lease = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local action, lifetime, payload = ARGV[4], ARGV[5], ARGV[6]
if tonumber(redis.call('GET', done) or 0) >= number then return 1 end
if redis.call('GET', lock) ~= token then return 0 end
if action == 'delete' then redis.call('DEL', record)
elseif action == 'set' and lifetime == '' then redis.call('SET', record, payload)
elseif action == 'set' then redis.call('SET', record, payload, 'PX', lifetime)
elseif action == 'touch' and lifetime == '' then redis.call('PERSIST', record)
elseif action == 'touch' then redis.call('PEXPIRE', record, lifetime)
end
if action ~= '' then redis.pcall('SET', done, number, 'PX', 60000) end
if lease ~= '' then
    redis.call('PEXPIRE', lock, lease)
    return 1
end
redis.call('DEL', lock)
local now = redis.call('TIME')
if redis.call('ZCOUNT', queue, now[1] * 1000 + math.floor(now[2] / 1000), '+inf') > 0 then
    redis.call('SET', lock, '~' .. token, 'PX', 1000)
    redis.call('RPUSH', calls, '~' .. token)
    redis.call('PEXPIRE', calls, 1000)
end
return 1
"""

# Renews the locks that their holders still have.
_RENEW = """
for i, lock in ipairs(KEYS) do
    if redis.call('GET', lock) == ARGV[i + 1] then redis.call('PEXPIRE', lock, ARGV[1]) end
end
"""

# Seconds after which a waiter looks for itself whether the lock is free, if nobody calls it.
_PATIENCE = 2.0
# How many keys the server looks at before it answers a step of an iteration.
_PAGE = 500
# The server counts in 64 bits, from its own now on.
_FOR_EVER = 2**53

_REASONS = {
    "OOM OutOfMemoryError": "the server is out of memory; raise its maxmemory",
    "READONLY ReadOnlyError": "the server is a replica, which may only be read",
    "WRONGTYPE": "the server has something else under its name; give the storage another prefix",
    "NOPERM NoPermissionError": "the server forbids this user a command or a key",
    "AuthenticationError": "the server does not accept the user or the password",
    "MaxConnectionsError": "the client has no connection left; raise its max_connections",
    "TimeoutError": "the server did not answer in time",
    "ConnectionError": "the server cannot be reached",
}


class RedisStorage(Storage):
    """
    Keeps records on a Redis (6.2 or later) or Valkey server: for bots on many machines.

    An update takes two round trips, lock included. Who waits for a session is called as soon as
    it is free, in the order of asking. Deadlines count on the server's clock, so the clocks of
    the machines may differ. Nothing here outlives what the server loses or evicts.

    Keep one instance for as long as the bot runs. Any thread may use it, and so may every process
    that is forked from the one that made it.

    Args:
        client_or_url: A URL such as `"redis://localhost:6379/0"`, `rediss://` or `unix://`, or a
            blocking client of redis-py: a `redis.Redis`, a `redis.RedisCluster`, or what
            `Sentinel.master_for` gives. Each thread that has a session or waits for one may need
            a connection of its own. With a URL, a server that refuses or does not answer is a
            `StorageError` within seconds; a client has its own time-outs and retries.
        codec: How records become bytes; readable JSON by default.
        prefix: Begins the name of every key on the server: the record of key `"42"` is
            `telesession:42`, and what surrounds its lock begins with `{telesession:42}`.
        lease: Seconds or a `timedelta` until the session of a holder that died is free again. A
            background thread renews the lease of handlers that take longer.

    Raises:
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
        self.codec = PickleCodec() if codec is None else codec
        self._prefix = _checked_prefix(prefix)
        self._lease = _checked_lease(lease)
        self._client = _checked_client(client_or_url)
        self._is_mine = isinstance(client_or_url, str)
        timeout = self._client.get_connection_kwargs().get("socket_timeout")
        # A wait must be over before the client takes the silence for a failure.
        self._patience = min(_PATIENCE, timeout / 2) if timeout else _PATIENCE
        self._begin()
        _call_in_forked_children(self._begin)

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
        expiry = () if lifetime is None else ("PX", _milliseconds(lifetime))
        # Asked for the old value, the server refuses to overwrite what is no record.
        self._command("write", key, "SET", self._name(key), payload, *expiry, "GET", get=True)

    def delete(self, key: str) -> bool:
        """See `Storage.delete`."""
        return self._command("delete", key, "GETDEL", self._name(key)) is not None

    def touch(self, key: str, lifetime: float | None) -> bool:
        """See `Storage.touch`."""
        if lifetime is not None and lifetime <= 0:
            return self.delete(key)
        expiry = ("PERSIST",) if lifetime is None else ("PX", _milliseconds(lifetime))
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

    def hold(self, key: str, timeout: float | None = None) -> _RedisHold:
        """See `Storage.hold`; exclusive among all who use this server and prefix."""
        return _RedisHold(self, key, timeout)

    def now(self) -> float:
        """See `Storage.now`; on the clock of the server."""
        seconds, microseconds = _execute(next(self._nodes()), "ask for the time", None, "TIME")
        return float(seconds) + microseconds / 1e6

    def close(self) -> None:
        """See `Storage.close`. A client that was passed in stays open."""
        self._renewal.stop()
        if self._is_mine:
            self._client.close()

    def __repr__(self) -> str:
        return f"<RedisStorage {self._prefix!r} on a {type(self._client).__name__}>"

    def _begin(self) -> None:
        """Forget who holds what: nobody yet, or nobody any more in a process just forked."""
        self._locks = LockTable()
        self._renewal = _Renewal(self._renew, self._lease / 3000)
        # By key, the token of a lock that may still be there because a call to the server failed.
        self._orphans: dict[str, bytes] = {}

    def _name(self, key: str) -> bytes:
        return _encode(self._prefix + _escape(key))

    def _nodes(self) -> Iterator[_Client]:
        """The clients of the servers that have the records: of a cluster one for each primary."""
        client: Any = self._client
        if not isinstance(client, RedisCluster):
            yield client
            return
        for node in client.get_primaries():
            yield cast(_Client, client.get_redis_connection(node))

    def _command(self, action: str, key: str, *args: object, **options: object) -> Any:
        return _execute(self._client, action, key, *args, **options)

    def _run(
        self, script: str, action: str, key: str | None, names: list[bytes], *args: object
    ) -> Any:
        """Run a script that the server most likely knows already."""
        numbered = (len(names), *names, *args)
        try:
            return _execute(self._client, action, key, "EVALSHA", _DIGESTS[script], *numbered)
        except NoScriptError:
            return _execute(self._client, action, key, "EVAL", script, *numbered)

    def _renew(self, held: dict[bytes, bytes]) -> None:
        """Renew locks, given by their tokens: at once, or in a cluster, where they are."""
        groups = [held]
        if isinstance(self._client, RedisCluster):
            groups = [{token: lock} for token, lock in held.items()]
        for group in groups:
            # The next turn is early enough to try again, and a lost lock is found at the commit.
            with suppress(StorageError):
                self._run(_RENEW, "renew", None, list(group.values()), self._lease, *group)


class _RedisHold(Hold):
    """
    Exclusive use of one session among all processes.

    What is written is only noted; it happens together with the unlock, or at `flush`. The lock
    is a key with a random token and a lease:

        time  0: A asks for session 42: its token becomes the lock, and it gets the payload.
        time  1: B asks. The lock is A's, so B joins the queue and listens for calls, in steps of
                 at most two seconds and never longer than what is left of the lease.
        time 10: A is still at work; its background thread renews the lease of 30 seconds.
        time 12: A commits: the token is still the lock, so A's fields are written. The queue is
                 not empty, so the lock is reserved and the longest listener, B, called.
        time 12: C asks. The lock is reserved, so C joins the queue: nobody overtakes B.
        time 12: B has heard the call, takes over the reserved lock and reads what A wrote.
        time 13: B is killed. Nobody renews its lease.
        time 43: The lease is over, C's wait as well, so C has the lock.

    Had B been frozen instead, it would find another token at its commit, write nothing and raise
    `LockLostError`. Had the answer to A's commit been lost on its way, redis-py would send it
    again, and the server find beside the lock that it was done already.
    """

    __slots__ = ("_lead", "_note", "_number", "_payload", "_record", "_token")

    _storage: RedisStorage
    # How far the server's clock is ahead of the monotonic clock.
    _lead: float
    _payload: bytes | None
    # What to do at the commit: action, lifetime, payload.
    _note: tuple[str, int | str, bytes] | None

    def __init__(self, storage: RedisStorage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self._record = storage._name(key)
        self._token = secrets.token_hex(12).encode()
        self._note = None
        self._number = 0

    def __enter__(self) -> Self:
        storage, key, timeout = self._storage, self._key, self._timeout
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        storage._locks.acquire(key, timeout)
        try:
            self._acquire(deadline)
        except BaseException:
            storage._locks.release(key)
            raise
        storage._renewal.add(self._token, self._beside("lock"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._note is None:
                self._unlock()
            else:
                self._write(lease="")
        finally:
            self._storage._renewal.discard(self._token)
            self._storage._locks.release(self._key)

    def get(self) -> bytes | None:
        """Like `Storage.get`: as it was when the lock was taken, or what was written since."""
        return self._payload

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        """Like `Storage.set`, with the next `flush` or on leaving the block."""
        if lifetime is not None and lifetime <= 0:
            self.delete()
            return
        self._payload = payload
        self._note = ("set", "" if lifetime is None else _milliseconds(lifetime), payload)

    def delete(self) -> bool:
        """Like `Storage.delete`, with the next `flush` or on leaving the block."""
        existed, self._payload = self._payload is not None, None
        self._note = ("delete", "", b"")
        return existed

    def touch(self, lifetime: float | None) -> bool:
        """Like `Storage.touch`, with the next `flush` or on leaving the block."""
        if self._payload is None:
            return False
        if lifetime is not None and lifetime <= 0:
            return self.delete()
        action, _, payload = self._note or ("touch", "", b"")
        self._note = (action, "" if lifetime is None else _milliseconds(lifetime), payload)
        return True

    def flush(self) -> None:
        """
        See `Hold.flush`.

        Raises:
            LockLostError: The lease was lost, so nothing was written.
        """
        if self._note is not None:
            self._write(lease=self._storage._lease)

    def now(self) -> float:
        """See `Hold.now`. The server was asked when it gave the lock."""
        return self._lead + time.monotonic()

    def _acquire(self, deadline: float) -> None:
        storage, key = self._storage, self._key
        names = [self._record, self._beside("lock"), self._beside("queue")]
        claim = storage._orphans.pop(key, b"")
        try:
            while True:
                left = max(0.0, deadline - time.monotonic())
                patience = math.ceil(min(left, storage._patience) * 1000)
                args = (self._token, claim, storage._lease, patience)
                answer = storage._run(_ACQUIRE, "lock", key, names, *args)
                if not isinstance(answer, int):
                    break
                if not left:
                    raise LockTimeoutError(key, self._timeout or 0.0)
                call = storage._command("lock", key, "BLPOP", self._beside("calls"), answer / 1000)
                claim = call[1] if call else b""
        except LockTimeoutError:
            raise
        except BaseException:
            storage._orphans[key] = self._token
            raise
        self._payload, seconds, microseconds = answer
        self._lead = int(seconds) + int(microseconds) / 1e6 - time.monotonic()

    def _write(self, lease: int | str) -> None:
        # Forgotten first: what failed once must not be written later, behind the handler's back.
        (action, lifetime, payload), self._note = self._note or ("", "", b""), None
        try:
            written = self._commit("write", lease, action, lifetime, payload)
        except StorageError as error:
            if isinstance(error.__cause__, ResponseError) and not lease:
                self._unlock()
            raise
        if not written:
            raise LockLostError(self._key)

    def _unlock(self) -> None:
        # Nothing is lost if this fails: the lease ends, and this process need not even wait.
        with suppress(StorageError):
            self._commit("unlock", "", "", "", b"")

    def _commit(self, what: str, *args: object) -> bool:
        storage, key = self._storage, self._key
        self._number += 1
        beside = (self._beside(part) for part in ("lock", "queue", "calls", "done:"))
        record, lock, queue, calls, done = self._record, *beside
        names = [record, lock, queue, calls, done + self._token]
        try:
            return bool(storage._run(_COMMIT, what, key, names, self._token, self._number, *args))
        except BaseException:
            storage._orphans[key] = self._token
            raise

    def _beside(self, part: str) -> bytes:
        """The name of another key, in the slot of a cluster in which the record is."""
        return b"{%b}:%b" % (self._record, part.encode())
