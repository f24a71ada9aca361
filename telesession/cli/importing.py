"""The command `import`: the lines of an export become records."""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

import click

from telesession import JSONCodec
from telesession.cli.codec import codec_from
from telesession.cli.copying import Copying, agree
from telesession.cli.exits import RefusedError
from telesession.cli.lines import Line
from telesession.cli.options import as_json, dry_run, overwrite, storage_url, yes
from telesession.cli.output import counted, tell
from telesession.cli.rooms import Kind, Place
from telesession.cli.targets import Batch, opened_target
from telesession.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telesession.cli.exits import Exit
    from telesession.storage.base import Storage

# How many lines of a file are in memory.
_BATCH = 500
_INBOX = frozenset((Kind.UPDATES, Kind.ASIDE, Kind.BOOKKEEPING))


@click.command(name="import")
@click.argument("file", type=click.File("rb"))
@storage_url
@overwrite
@dry_run
@yes
@as_json
def import_lines(
    *,
    file: BinaryIO,
    url: str,
    overwrite: bool,
    dry_run: bool,
    is_agreed: bool,
    is_json: bool,
) -> Exit:
    """
    Store the records of an export.

    FILE has the output of `export`; `-` is standard input. A SQLite file is made if it does not
    exist.
    """
    agree(overwrite=overwrite and not dry_run, is_agreed=is_agreed)
    with opened_target(url, codec_from(os.environ), dry_run=dry_run) as storage:
        copying = Copying(storage, overwrite=overwrite, dry_run=dry_run)
        copying.run(_batches(file, storage))
    return copying.report(is_json=is_json)


def _batches(file: BinaryIO, target: Storage) -> Iterator[Batch]:
    """
    The records of a file, some hundred at a time.

    Args:
        file: The file.
        target: The storage that gets them. The deadlines in the file are on its clock, so that an
            export comes back to its own storage as it was.

    Raises:
        RefusedError: A line is not one of an export. The records before it are stored.
    """
    numbered = enumerate(file, start=1)
    left_out = 0
    ahead = target.now() - time.time()
    while some := list(islice(numbered, _BATCH)):
        batch = Batch(JSONCodec(), ahead)
        for number, text in some:
            line = _line(text, number)
            if Place.of(line.key).kind in _INBOX:
                left_out += 1
                continue
            left = None if line.expires is None else line.expires - batch.now()
            if left is None or left > 0:
                batch.set(line.key, batch.codec.encode(line.record, line.key), left)
        yield batch
    if left_out:
        tell(f"left out {counted(left_out, 'record')} of an inbox, which belongs to its own bot")


def _line(text: bytes, number: int) -> Line:
    try:
        return Line.read(text)
    except (DecodeError, RecursionError, ValueError):
        raise RefusedError(
            f"could not import line {number}: it is no line that `telesession export` writes; "
            "the records before it may be stored already; correct the file and run it again"
        ) from None
