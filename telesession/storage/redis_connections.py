"""The connections of a plain client, used without the work that the client does for a call."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

# Without the package the class still exists, because `from telesession import *` names it.
if TYPE_CHECKING or find_spec("redis"):
    from redis.exceptions import ResponseError


class Connections:
    """
    Connections to one server, each used by one thread at a time, and kept for the next.

    redis-py takes a connection from its pool, checks it, measures the call, and gives the
    connection back. That costs more than a script does. Here a call fails on a dead connection, and
    the caller asks again. The connections of a client that was passed go back to its pool after
    each call, because others use it too.

    Keep one for as long as the client, in one process: a forked child needs its own. Any thread
    may use it.

    Args:
        client: A plain client of redis-py.
        keep: Whether only the storage uses the client, so that a connection need not go back.
    """

    def __init__(self, client: Any, *, keep: bool) -> None:
        self._pool: Any = client.connection_pool
        self._keep = keep
        # append and pop need no lock. A lock might be held by another thread when C code forks.
        self._idle: list[Any] = []

    def ask(self, *args: object) -> Any:
        """
        Send a command, wait for the reply, and give it in bytes.

        Raises:
            redis.RedisError: The server refused or did not answer.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            connection.send_packed_command((_packed(args),))
            reply = connection.read_response(disable_decoding=True)
        except ResponseError:
            self._give_back(connection)
            raise
        except BaseException:
            self._drop(connection)
            raise
        self._give_back(connection)
        return reply

    def _connect(self) -> Any:
        try:
            return self._pool.get_connection()
        except Exception:
            raise
        except BaseException:
            # redis-py puts a connection that was interrupted between a command and its reply back
            # into the pool. The next call on it would get that reply, and so would all others.
            self._pool.disconnect(inuse_connections=False)
            raise

    def drop_idle(self) -> None:
        """Close the connections that no thread uses."""
        with suppress(IndexError):
            while True:
                self._drop(self._idle.pop())

    def _give_back(self, connection: Any) -> None:
        if self._keep:
            self._idle.append(connection)
        else:
            self._pool.release(connection)

    def _drop(self, connection: Any) -> None:
        connection.disconnect()
        self._pool.release(connection)


def _packed(args: tuple[object, ...]) -> bytes:
    """A command as it goes to the server."""
    parts = [b"*%d\r\n" % len(args)]
    for arg in args:
        text = arg if isinstance(arg, bytes) else str(arg).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)
