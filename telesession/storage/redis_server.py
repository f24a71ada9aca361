"""A Redis or Valkey server as `RedisStorage` and its holds use it: calls and scripts."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from telesession.errors import StorageError
from telesession.forks import PerProcess
from telesession.storage.redis_client import Client, is_cluster, is_plain
from telesession.storage.redis_connections import Connections
from telesession.storage.redis_errors import (
    diagnosis,
    is_passing,
    is_unanswered,
    may_be_executed,
    without_values,
)
from telesession.storage.redis_names import Names, encode, escape
from telesession.storage.redis_owner import Leftover, Owner
from telesession.storage.redis_scripts import (
    COMMIT,
    RENEW,
    Script,
)

# Without the package the class still exists, because `from telesession import *` names it.
if TYPE_CHECKING or find_spec("redis"):
    from redis.client import NEVER_DECODE
    from redis.exceptions import (
        ConnectionError as RedisConnectionError,
        NoScriptError,
        TimeoutError as RedisTimeoutError,
    )

# Seconds after which a waiter asks again whether the lock is free, if it is not called.
_PATIENCE = 2.0
# Seconds before each further attempt of a call, and seconds after which no attempt begins. The
# second attempt is made at once, because most often only the connection was too old.
_PAUSES = (0.0, 0.1)
_LIMIT = 5.0
_COMMIT_PAUSES = (0.0, 0.1, 0.2, 0.4, *[0.8] * 12)
_COMMIT_LIMIT = 10.0


class RedisServer:
    """
    The server, or the nodes of the cluster, that a client of redis-py leads to.

    Keep one for as long as the storage. Any thread may use it, and so may forked processes.

    Args:
        client: A client of redis-py.
        is_mine: Whether the storage made it, without retries of its own.
        prefix: Begins the name of every key; without braces.
        lease: Milliseconds after which the lock of a dead holder is free.

    Attributes:
        patience: Seconds that a waiter listens for a call before it asks again.
        pauses: Seconds before each further attempt of a call.
        commit_pauses: Seconds before each further attempt of a commit.
    """

    def __init__(self, client: Client, *, is_mine: bool, prefix: str, lease: int) -> None:
        self.client = client
        self.prefix = prefix
        self.lease = lease
        self.is_cluster = is_cluster(client)
        self.pauses: Sequence[float] = _PAUSES
        self.commit_pauses: Sequence[float] = _COMMIT_PAUSES
        self._is_mine = is_mine
        timeout = client.get_connection_kwargs().get("socket_timeout")
        # A wait must be over before the client takes the silence for a failure.
        self.patience = min(_PATIENCE, timeout / 2) if timeout else _PATIENCE
        self._owners: PerProcess[Owner] = PerProcess()

    @property
    def owner(self) -> Owner:
        """The owner of the locks of this process."""
        return self._owners.get(self._make_owner)

    @property
    def address(self) -> str:
        """The address to which the client connects, without user and password."""
        settings = self.client.get_connection_kwargs()
        # With Sentinel the service has a name, and its address changes. A cluster has many.
        service = getattr(getattr(self.client, "connection_pool", None), "service_name", None)
        host = f"{settings['host']}:{settings.get('port') or 6379}" if settings.get("host") else ""
        place = service or settings.get("path") or host or "many nodes"
        return f"a {type(self.client).__name__} at {place}/{settings.get('db') or 0}"

    def record(self, key: str) -> bytes:
        """The name of a record."""
        return encode(self.prefix + escape(key))

    def pattern(self, prefix: str) -> bytes:
        """A pattern of SCAN for the beginning of the names of records."""
        return encode(re.sub(r"([*?\[\]\\])", r"\\\1", self.prefix + escape(prefix)))

    def names(self, key: str) -> Names:
        """The names of a record and of the keys beside it, which have the same slot."""
        record = self.record(key)
        # The braces keep the names in the slot of a cluster in which the record is.
        beside = b"{%b}:" % record
        return Names(
            record, beside + b"lock", beside + b"queue", beside + b"calls", beside + b"done"
        )

    def index(self, prefix: str) -> bytes:
        """The name of the index of the records whose keys begin with a prefix."""
        return b"{%b}:index" % self.record(prefix)

    def note(self, key: str, number: int) -> bytes:
        """The name by which a script without a lock notes that it is done, in the slot of a key."""
        return b"%b:%b.%d" % (self.names(key).done, self.owner.name, number)

    def nodes(self) -> Iterator[Client]:
        """The clients of the servers that have the records: of a cluster one for each primary."""
        client: Any = self.client
        if not self.is_cluster:
            yield client
            return
        for node in client.get_primaries():
            yield client.get_redis_connection(node)

    def command(
        self,
        action: str,
        key: str | None,
        *args: object,
        node: Client | None = None,
        is_write: bool = False,
        **options: object,
    ) -> Any:
        """
        Send a command, again if its server has no answer, and give the reply as bytes.

        Args:
            action: A verb for the error, such as `"read"`.
            key: The key of the session, or `None`.
            args: The command and its arguments.
            node: A client for the one node that is asked; by default the key decides.
            is_write: Whether the outcome is unknown if the answer is lost.
            options: Options of redis-py.

        Raises:
            StorageError: The server refused, or has no answer.
        """
        client = node or self.client
        return self._attempt(
            lambda: client.execute_command(*args, **{NEVER_DECODE: True}, **options),
            action,
            key,
            is_write=is_write,
        )

    def pipeline(
        self, action: str, commands: Sequence[tuple[object, ...]], node: Client
    ) -> list[Any]:
        """
        Send commands that only read in one round trip, and give the replies as bytes.

        The reply of a command that the server refuses is an exception.

        Args:
            action: A verb for the error.
            commands: Each a command and its arguments.
            node: A client of the one node that is asked.

        Raises:
            StorageError: The server has no answer.
        """
        client: Any = node

        def send() -> list[Any]:
            with client.pipeline(transaction=False) as pipe:
                for command in commands:
                    pipe.execute_command(*command, **{NEVER_DECODE: True})
                replies: list[Any] = pipe.execute(raise_on_error=False)
            return replies

        return self._attempt(send, action, None) if commands else []

    def listen(self, key: str, calls: bytes, seconds: float) -> bytes | None:
        """
        Wait for a call and return it; `None` after the seconds are over.

        Raises:
            StorageError: As `command`.
        """
        reply = self._attempt(lambda: self._ask("BLPOP", calls, seconds), "lock", key)
        call: bytes | None = reply and reply[1]
        return call

    def run(self, script: Script, action: str, key: str | None, *args: object) -> Any:
        """
        Run a script that the server most likely knows already.

        Args:
            script: The script.
            action: A verb for the error.
            key: The key of the session, or `None`.
            args: The number of names, the names, and the arguments.

        Raises:
            StorageError: As `command`.
        """
        return self._attempt(lambda: self._evaluate(script, args), action, key)

    def run_commit(self, script: Script, action: str, key: str, *args: object) -> Any:
        """
        Like `run` for a script that writes. It asks again for ten seconds, on new connections.

        Raises:
            StorageError: The server refused, or has no answer: the outcome may be unknown.
        """
        return self._attempt(
            lambda: self._evaluate(script, args), action, key, is_write=True, is_commit=True
        )

    def close(self) -> None:
        """End the renewal, and close the client if the storage made it."""
        self.owner.renewal.stop()
        self.owner.leftovers.stop()
        if self._is_mine:
            self._drop_idle_connections()
            self.client.close()

    def _evaluate(self, script: Script, args: Sequence[object]) -> Any:
        try:
            return self._ask("EVALSHA", script.digest, *args)
        except NoScriptError:
            return self._ask("EVAL", script.text, *args)

    def _ask(self, *args: object) -> Any:
        connections = self.owner.connections
        if connections is not None:
            try:
                return connections.ask(*args)
            except (RedisConnectionError, RedisTimeoutError):
                if self._is_mine:
                    raise
        # A client of the user makes its own retries.
        return self.client.execute_command(*args, **{NEVER_DECODE: True})

    def _attempt(
        self,
        call: Callable[[], Any],
        action: str,
        key: str | None,
        *,
        is_write: bool = False,
        is_commit: bool = False,
    ) -> Any:
        begun, is_unknown = time.monotonic(), False
        limit = begun + (_COMMIT_LIMIT if is_commit else _LIMIT)
        pauses = iter(self.commit_pauses if is_commit else self.pauses)
        while True:
            try:
                return call()
            except Exception as caught:  # noqa: BLE001 -- any failure is a StorageError
                error = without_values(caught)
            is_unknown |= is_write and self._may_be_executed(error)
            pause = next(pauses, math.inf)
            is_late = time.monotonic() + pause >= limit
            if is_late or not self._is_worth_another(error, is_commit):
                break
            self._drop_idle_connections()
            time.sleep(pause)
        # Not in the block of the `except`, because the context would show the caught exception.
        outcome: Literal["unknown"] | None = "unknown" if is_unknown else None
        raise StorageError(action, key, *diagnosis(error, self.is_cluster), outcome) from error

    def _is_worth_another(self, error: Exception, is_commit: bool) -> bool:
        # A client of the user has asked again by itself; only a commit asks for longer.
        may_ask_again = self._is_mine or is_commit
        return is_passing(error) or (may_ask_again and is_unanswered(error))

    def _may_be_executed(self, error: Exception) -> bool:
        # A client of the user may have sent the command before its last attempt.
        return may_be_executed(error) if self._is_mine else is_unanswered(error)

    def _drop_idle_connections(self) -> None:
        """
        Close the connections that no thread uses.

        After a failover they may lead to a server that is a replica now, or that is gone.
        """
        connections = self.owner.connections
        if connections is not None:
            connections.drop_idle()
        if not self.is_cluster:
            client: Any = self.client
            with suppress(Exception):
                client.connection_pool.disconnect(inuse_connections=False)

    def _make_owner(self) -> Owner:
        connections = None
        if is_plain(self.client):
            connections = Connections(self.client, keep=self._is_mine)
        return Owner(self.lease, connections, renew=self.renew, unlock=self.unlock)

    def unlock(self, leftovers: list[Leftover]) -> None:
        """Unlock sessions that this process may still have."""
        owner, now = self.owner, time.monotonic()
        for leftover in [each for each in leftovers if each.end <= now]:
            owner.leftovers.discard(leftover)
        for leftover in [each for each in leftovers if each.end > now]:
            names, token, _ = leftover
            args = (owner.name, owner.next_number(), self.lease, "first", "unlock", 1, token)
            try:
                self._evaluate(COMMIT, (len(names), *names, *args, "", "", ""))
            except Exception:  # noqa: BLE001 -- the next round tries again
                return
            owner.leftovers.discard(leftover)

    def renew(self, leases: list[tuple[bytes, bytes]]) -> None:
        """Renew leases, given as token and lock: all at once, or in a cluster one by one."""
        for group in [[lease] for lease in leases] if self.is_cluster else [leases]:
            tokens, locks = zip(*group, strict=True)
            # The next round is early enough to try again; a lost lock is noticed at the commit.
            with suppress(StorageError):
                self.run(RENEW, "renew", None, len(locks), *locks, self.lease, *tokens)
