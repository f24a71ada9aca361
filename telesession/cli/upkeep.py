"""The commands `purge` and `backup`, which look after a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telesession import SQLiteStorage
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

    Their space goes back to the disk. A server removes such records by itself.
    """
    if isinstance(storage, SQLiteStorage):
        tell(f"removed {counted(storage.purge(), 'expired record')}")
    else:
        tell("nothing to do: a server removes expired records by itself")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@with_storage
def backup(storage: Opened, file: str) -> None:
    """
    Copy a SQLite storage into FILE.

    The bot may run and write. The file appears when it is complete, and replaces an older backup.
    """
    if not isinstance(storage, SQLiteStorage):
        raise RefusedError(
            "could not back up: a server makes its own backups; see its command BGSAVE, or copy "
            "its records into a file with `telesession copy`"
        )
    storage.backup(file)
    tell(f"wrote {file}")
