"""The commands `copy`, `rekey` and `import`."""

from __future__ import annotations

import os
import time
from itertools import islice
from typing import TYPE_CHECKING, TextIO

import click

from telesession import JSONCodec, MemoryStorage
from telesession.cli.address import opened
from telesession.cli.codec import SOURCE, TARGET, codec_from
from telesession.cli.copying import Copying
from telesession.cli.exits import RefusedError
from telesession.cli.lines import Line
from telesession.cli.options import as_json, storage_url, with_storage, yes
from telesession.cli.output import confirm, counted, tell
from telesession.cli.rooms import Kind, Place
from telesession.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telesession.cli.address import Opened
    from telesession.cli.exits import Exit

# How many lines of a file are in memory.
_BATCH = 500
_INBOX = frozenset((Kind.UPDATES, Kind.ASIDE, Kind.BOOKKEEPING))

_overwrite = click.option(
    "--overwrite", is_flag=True, help="Replace other records of the target under the same keys."
)
_dry_run = click.option("--dry-run", is_flag=True, help="Write nothing, and say the result.")


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option("--prefix", default="", metavar="TEXT", help="Only keys that begin with it.")
@_overwrite
@_dry_run
@yes
@as_json
def copy(
    *,
    source: str,
    target: str,
    prefix: str,
    overwrite: bool,
    dry_run: bool,
    is_agreed: bool,
    is_json: bool,
) -> Exit:
    """
    Copy the records of SOURCE to TARGET.

    Both are URLs of storages. Bots may use both at the same time. A copy that was interrupted goes
    on when it is run again.
    """
    _agree(overwrite=overwrite and not dry_run, is_agreed=is_agreed)
    with (
        opened(source, codec_from(os.environ, SOURCE)) as origin,
        opened(target, codec_from(os.environ, TARGET), may_create=True) as other,
    ):
        copying = Copying(other, overwrite=overwrite, dry_run=dry_run)
        copying.run([origin], prefix)
    return copying.report(is_json=is_json)


@click.command()
@storage_url
@_dry_run
@as_json
def rekey(url: str, dry_run: bool, is_json: bool) -> Exit:
    """
    Write all records with another key or codec.

    It is that of TELESESSION_TARGET_CODEC and TELESESSION_TARGET_KEYS. Without these names,
    records under an old key get the first key of TELESESSION_KEYS.
    """
    with (
        opened(url, codec_from(os.environ, SOURCE)) as source,
        opened(url, codec_from(os.environ, TARGET)) as target,
    ):
        copying = Copying(target, overwrite=False, dry_run=dry_run)
        copying.run([source])
    return copying.report(is_json=is_json)


@click.command(name="import")
@click.argument("file", type=click.File(encoding="utf-8"))
@_overwrite
@_dry_run
@yes
@as_json
@with_storage
def import_lines(
    storage: Opened,
    *,
    file: TextIO,
    overwrite: bool,
    dry_run: bool,
    is_agreed: bool,
    is_json: bool,
) -> Exit:
    """
    Store the records of an export.

    FILE has the output of `export`; `-` is standard input.
    """
    _agree(overwrite=overwrite and not dry_run, is_agreed=is_agreed)
    copying = Copying(storage, overwrite=overwrite, dry_run=dry_run)
    copying.run(_batches(file))
    return copying.report(is_json=is_json)


class _Batch(MemoryStorage):
    """Some records of a file. Their deadlines are in wall-clock time, as in the file."""

    persistent = True


def _batches(file: TextIO) -> Iterator[_Batch]:
    """
    The records of a file, some hundred at a time.

    Raises:
        RefusedError: A line is none of an export. The records before are stored.
    """
    numbered = enumerate(file, start=1)
    left_out = 0
    while some := list(islice(numbered, _BATCH)):
        batch = _Batch(codec=JSONCodec())
        for number, text in some:
            line = _line(text, number)
            if Place.of(line.key).kind in _INBOX:
                left_out += 1
                continue
            left = None if line.expires is None else line.expires - time.time()
            if left is None or left > 0:
                batch.set(line.key, batch.codec.encode(line.record, line.key), left)
        yield batch
    if left_out:
        tell(f"left out {counted(left_out, 'record')} of an inbox, which belongs to its own bot")


def _line(text: str, number: int) -> Line:
    try:
        return Line.read(text)
    except (DecodeError, ValueError):
        raise RefusedError(
            f"could not import line {number}: it is no line that `telesession export` writes; "
            "the records before it may be stored already; mend the file and run it again"
        ) from None


def _agree(*, overwrite: bool, is_agreed: bool) -> None:
    if overwrite:
        confirm("Replace other records under the same keys?", is_agreed=is_agreed)
