"""The commands `purge` and `backup`, which look after a file or a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telesession import RedisStorage, SQLiteStorage
from telesession.cli.exits import RefusedError
from telesession.cli.options import with_storage
from telesession.cli.output import counted, tell

if TYPE_CHECKING:
    from telesession.cli.address import Opened


@click.command()
@with_storage
def purge(storage: Opened) -> None:
    """
    Remove the expired records.

    The space of a file goes back to the disk. A Redis or Valkey server removes such records by
    itself.
    """
    if isinstance(storage, RedisStorage):
        tell("nothing to do: the server removes expired records by itself")
    else:
        tell(f"removed {counted(storage.purge(), 'expired record')}")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@with_storage
def backup(storage: Opened, file: str) -> None:
    """
    Copy a SQLite storage into FILE.

    The bot may run and write. The file appears when it is complete, and replaces an older backup.
    """
    if not isinstance(storage, SQLiteStorage):
        if isinstance(storage, RedisStorage):
            tool = "its command BGSAVE"
        else:
            name = storage.table.replace('"', "")
            tool = f"`pg_dump --table={name}`"
        raise RefusedError(
            f"could not back up: a server makes its own backups; see {tool}, or copy its records "
            "into a file with `telesession copy`"
        )
    storage.backup(file)
    tell(f"wrote {file}")
