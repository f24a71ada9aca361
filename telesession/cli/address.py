"""The address of a storage as a URL, and the storage behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

import click

from telesession.errors import StorageError
from telesession.storage.redis import RedisStorage
from telesession.storage.redis_client import cluster_client
from telesession.storage.sqlite import SQLiteStorage

if TYPE_CHECKING:
    from telesession.codecs import Codec
    from telesession.storage.postgres import PostgresStorage

#: A storage that the command can open.
Opened: TypeAlias = "SQLiteStorage | RedisStorage | PostgresStorage"

_FILE = "sqlite:///"
# The options that the command takes out of the URL, by scheme. The driver gets all others.
_REDIS, _POSTGRES = ("prefix", "cluster"), ("table",)
_SERVERS = MappingProxyType(
    {
        **dict.fromkeys(("redis", "rediss", "valkey", "valkeys", "unix"), _REDIS),
        **dict.fromkeys(("postgresql", "postgres"), _POSTGRES),
    }
)
_FORMS = (
    "sqlite:///bot.db, sqlite:////path/to/bot.db, redis://host:6379/0, rediss://, valkey://, "
    "valkeys://, unix:///path/to/socket or postgresql://host/database"
)


class MissingError(click.UsageError):
    """There is no such file or table, and the command does not make it."""


class Address(NamedTuple):
    """
    The address of a storage.

    Attributes:
        path: The path of a file; `None` for a server.
        url: The URL of a server, without the options of the command.
        options: The options of a server: `prefix` and `cluster` of Redis, `table` of PostgreSQL.
    """

    path: Path | None
    url: str
    options: dict[str, str]

    @staticmethod
    def of(url: str) -> Address:
        """
        The address that a URL gives.

        Raises:
            click.UsageError: The URL has another form. The message does not show it, because it may
                have a password.
        """
        if url.startswith(_FILE) and len(url) > len(_FILE):
            return Address(Path(url.removeprefix(_FILE)), "", {})
        scheme, separator, _ = url.partition("://")
        if not separator or scheme not in _SERVERS:
            raise click.UsageError(f"the URL of the storage has another form; write {_FORMS}")
        bare, _, query = url.partition("?")
        options: dict[str, str] = {}
        # The others stay as they are written: drivers do not agree on the meaning of a plus.
        others: list[str] = []
        for part in filter(None, query.split("&")):
            pairs = dict(parse_qsl(part, keep_blank_values=True))
            if pairs.keys() <= set(_SERVERS[scheme]):
                options |= pairs
            else:
                others.append(part)
        return Address(None, f"{bare}?{'&'.join(others)}" if others else bare, options)

    @property
    def is_postgres(self) -> bool:
        """Whether the address is that of a PostgreSQL server."""
        return self.url.startswith("postgres")


@contextmanager
def opened(url: str, codec: Codec, *, may_create: bool = False) -> Iterator[Opened]:
    """
    The storage of a URL, which is closed when the block is left.

    Args:
        url: The URL. That of a server may end with `?prefix=shop:`, the `prefix` of the bot's
            `RedisStorage`, and with `cluster=yes` for a node of a cluster. That of a PostgreSQL
            server may end with `?table=shop`, the `table` of the bot's `PostgresStorage`.
        codec: The codec.
        may_create: Whether a file or a table that does not exist is made.

    Raises:
        MissingError: The file or the table does not exist.
        click.UsageError: It is no URL of a storage, or an extra is missing.
        StorageError: The storage cannot be opened.
    """
    address = Address.of(url)
    with ExitStack() as exits:
        try:
            storage = _open(address, codec, exits, may_create=may_create)
        except (ImportError, ValueError) as error:
            raise click.UsageError(str(error)) from None
        exits.callback(storage.close)
        yield storage


def _open(address: Address, codec: Codec, exits: ExitStack, *, may_create: bool) -> Opened:
    if address.path is not None:
        if not may_create and not address.path.exists():
            raise MissingError(
                f"there is no file {address.path}; sqlite:///bot.db is a path below the current "
                "folder, and sqlite:////path/to/bot.db an absolute one"
            )
        return SQLiteStorage(address.path, codec)
    if address.is_postgres:
        return _open_postgres(address, codec, may_create=may_create)
    cluster, prefix = address.options.get("cluster"), address.options.get("prefix", "telesession:")
    if cluster not in (None, "yes"):
        raise click.UsageError("the option cluster of the URL is yes, or is left out")
    # Without the package, the error of the constructor has the command that installs it.
    if cluster is None or not find_spec("redis"):
        return _whole(RedisStorage(address.url, codec, prefix=prefix))
    return RedisStorage(exits.enter_context(cluster_client(address.url)), codec, prefix=prefix)


def _open_postgres(address: Address, codec: Codec, *, may_create: bool) -> PostgresStorage:
    # Only here, because the import takes longer than many commands.
    from telesession.storage.postgres import PostgresStorage  # noqa: PLC0415

    storage = PostgresStorage(address.url, codec, **address.options)
    # The command itself reports a server that does not answer.
    with suppress(StorageError):
        if not may_create and not storage.process_state.has_table():
            storage.close()
            raise MissingError(
                f"there is no table {storage.table} in the database; name that of the bot, as in "
                "postgresql://host/database?table=sessions"
            )
    return storage


def _whole(storage: RedisStorage) -> RedisStorage:
    """
    A storage on a server that has all of its records.

    Raises:
        ValueError: The server is a node of a cluster. It would list only its own records.
    """
    # The command itself reports a server that does not answer, or does not tell its state.
    with suppress(StorageError):
        state = storage.server.command("read the state", None, "INFO", "cluster")
        if state.get("cluster_enabled"):
            storage.close()
            raise ValueError(
                "the server is a node of a cluster, and has only a part of the records; add the "
                "option cluster=yes to the URL, as in redis://host:6379?cluster=yes"
            )
    return storage
