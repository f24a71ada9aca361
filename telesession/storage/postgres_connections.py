"""The connections of one process to a PostgreSQL server."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from telesession.errors import StorageError
from telesession.storage.postgres_errors import diagnosis
from telesession.storage.postgres_link import Link, Prepared

if TYPE_CHECKING:
    from psycopg import Connection

# The connections of a storage that was given a conninfo, and the seconds that a thread waits for
# one of them.
_MOST, _PATIENCE = 50, 5.0
# The names of the encodings in which the server takes UTF-8 as it is. A pooler gives the name that
# the client has asked for, such as "utf-8".
_ENCODINGS = ("UTF8", "UNICODE", "SQL_ASCII")
# Settings of connections that notice soon if the network or the server is gone.
_WATCHFUL = MappingProxyType(
    {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
    }
)


class Connections:
    """
    A pool of connections, and the threads that have them.

    Keep one for as long as the storage, in one process. Any thread may use it.

    Args:
        pool: The pool.
        is_mine: Whether it is opened here, with the first use, and closed here.
    """

    def __init__(self, pool: ConnectionPool[Any], *, is_mine: bool) -> None:
        self._pool = pool
        self._is_mine = is_mine
        self._is_closed = False
        # A thread never waits while it has the mutex.
        self._mutex = threading.Lock()
        # link in use -> the thread that took it
        self._takers: dict[Link, int] = {}
        # connection -> its prepared statements
        self._prepared: weakref.WeakKeyDictionary[Connection[Any], Prepared]
        self._prepared = weakref.WeakKeyDictionary()
        # identifier of a thread -> the number of its connections, while it waits for one more
        self._waiting: Counter[int] = Counter()

    @property
    def most(self) -> int:
        """The number of connections that the pool has at most; 0 for no limit."""
        most: int = self._pool.max_size
        return most

    def take(self, key: str | None) -> Link:
        """
        Take a connection, and wait for it if all are in use.

        Args:
            key: The key of the record that needs the connection.

        Raises:
            StorageError: No connection became free, or the server cannot be reached.
        """
        if self._is_closed:
            raise StorageError("read", key, "the storage is closed", "make a new one")
        thread = threading.get_ident()
        mine = len(self._links_of(thread))
        if mine:
            with self._mutex:
                if 0 < self.most <= self._waiting.total() + mine:
                    raise self._too_small(key)
                self._waiting[thread] = mine
        try:
            if self._is_mine and self._pool.closed:
                self._open()
            connection: Connection[Any] = self._pool.getconn()
        except psycopg.Error as error:
            raise self._unavailable(key, error) from error
        finally:
            if mine:
                with self._mutex:
                    del self._waiting[thread]
        try:
            link = self._link(connection, key)
            self._takers[link] = thread
        except BaseException:
            self._pool.putconn(connection)
            raise
        return link

    def of_thread(self) -> Link | None:
        """The connection of the latest transaction of this thread; `None` if it has none."""
        for link in reversed(self._links_of(threading.get_ident())):
            pgconn = link.connection.pgconn
            # The handler of a signal may ask in the middle of an exchange.
            is_free = pgconn.pipeline_status == PipelineStatus.OFF
            if is_free and pgconn.transaction_status == TransactionStatus.INTRANS:
                return link
        return None

    def _links_of(self, thread: int) -> list[Link]:
        # A copy, because other threads change the dict.
        return [link for link, taker in list(self._takers.items()) if taker == thread]

    def _link(self, connection: Connection[Any], key: str | None) -> Link:
        # Each time, because the bot may change the setting, too.
        encoding = (connection.pgconn.parameter_status(b"client_encoding") or b"").decode()
        if encoding.upper().replace("-", "") not in _ENCODINGS:
            raise StorageError(
                "read",
                key,
                f"a connection of the pool has the client_encoding {encoding}",
                "make the pool with kwargs={'client_encoding': 'utf8'}, and do not set another one",
            )
        prepared = self._prepared.get(connection)
        if prepared is None:
            prepared = self._prepared[connection] = Prepared(connection)
        return Link(connection, prepared)

    def _open(self) -> None:
        """Open the pool. The first connection is made here, because the pool hides its errors."""
        _connect(self._pool).close()
        self._pool.open()
        # A child that was forked must not end the connections of its parent.
        weakref.finalize(self, _close_in, os.getpid(), self._pool)

    def give_back(self, link: Link) -> None:
        """Give a connection back; the pool drops it if it is closed or in a transaction."""
        self._takers.pop(link, None)
        self._pool.putconn(link.connection)

    def close(self) -> None:
        """Close all connections, unless the pool is the user's."""
        self._is_closed = True
        if self._is_mine:
            self._pool.close()

    def _too_small(self, key: str | None) -> StorageError:
        return StorageError(
            "read",
            key,
            f"all {self.most} connections of the pool belong to handlers that wait for one more, "
            "as for a block with independent=True or for save",
            "give the pool more connections: twice the number of threads",
        )

    def _unavailable(self, key: str | None, error: psycopg.Error) -> StorageError:
        """The error of a pool that gave no connection, with the reason."""
        if isinstance(error, PoolTimeout):
            # The pool does not give the reason, but an attempt to connect does.
            try:
                _connect(self._pool).close()
            except psycopg.Error as failure:
                # Else the two exceptions would be a circle.
                failure.__context__ = None
                error.__cause__ = failure
                return StorageError("read", key, *diagnosis(failure))
            reason = (
                f"no connection of the pool became free within {self._pool.timeout:g} s; "
                f"handlers have {len(self._takers)} of {self.most or 'any number'}"
            )
            return StorageError("read", key, reason, "give the pool more connections")
        if isinstance(error, TooManyRequests):
            reason = f"{self._pool.max_waiting} or more threads wait for the pool already"
            remedy = "give the pool more connections, or raise its max_waiting"
            return StorageError("read", key, reason, remedy)
        if isinstance(error, PoolClosed):
            remedy = "open the pool before, and close it when the bot has stopped"
            return StorageError("read", key, "the pool is closed", remedy)
        return StorageError("read", key, *diagnosis(error))


def _close_in(process: int, pool: ConnectionPool[Any]) -> None:
    if os.getpid() == process:
        pool.close()


def make_pool(conninfo: str) -> ConnectionPool[Any]:
    """
    A pool for a conninfo or a URL, which is not open yet.

    Raises:
        ValueError: The conninfo has a mistake. It is not shown, because it may have a password.
    """
    given: dict[str, Any] | None = None
    # The exception is no cause of this one, because its text may quote a part of a password.
    with suppress(psycopg.ProgrammingError):
        given = conninfo_to_dict(conninfo)
    if given is None:
        raise ValueError(
            "PostgresStorage(conninfo) cannot use this conninfo: it cannot be read; write "
            "postgresql://[user[:password]@][host][:port][/database], with special characters of a "
            "password percent-encoded, or 'host=... dbname=...'"
        )
    settings = {name: value for name, value in _WATCHFUL.items() if name not in given}
    return ConnectionPool(
        conninfo,
        kwargs={"autocommit": True, "client_encoding": "utf8", **settings},
        min_size=1,
        max_size=_MOST,
        timeout=_PATIENCE,
        name="telesession",
        open=False,
    )


def copy_pool(pool: ConnectionPool[Any]) -> ConnectionPool[Any]:
    """A pool with the settings of another one, which belongs to the parent of this process."""
    return type(pool)(
        pool.conninfo,
        connection_class=pool.connection_class,
        kwargs=pool.kwargs,
        min_size=pool.min_size,
        max_size=pool.max_size or None,
        configure=pool._configure,
        check=pool._check,
        reset=pool._reset,
        name=pool.name,
        timeout=pool.timeout,
        max_waiting=pool.max_waiting,
        max_lifetime=pool.max_lifetime,
        max_idle=pool.max_idle,
        reconnect_timeout=pool.reconnect_timeout,
        num_workers=pool.num_workers,
        open=False,
    )


def _connect(pool: ConnectionPool[Any]) -> Connection[Any]:
    conninfo = pool.conninfo() if callable(pool.conninfo) else pool.conninfo
    kwargs = pool.kwargs() if callable(pool.kwargs) else pool.kwargs or {}
    connection: Connection[Any] = pool.connection_class.connect(
        conninfo, **{**kwargs, "connect_timeout": _WATCHFUL["connect_timeout"]}
    )
    return connection
