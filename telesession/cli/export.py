"""The command `export`: records as lines of JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

import click

from telesession.cli.erase import tell_unknown
from telesession.cli.exits import Exit, missing
from telesession.cli.lines import Line
from telesession.cli.options import prefixes, with_storage
from telesession.cli.output import counted, tell, tracked
from telesession.cli.person import Person
from telesession.cli.rooms import Kind, Place
from telesession.cli.stored import rows_of
from telesession.codecs import JSONCodec
from telesession.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from telesession.cli.address import Opened
    from telesession.storage.rows import Row

# Two bots would handle these updates, and no other bot could use the rest.
_LEFT_OUT = (Kind.UPDATES, Kind.ASIDE, Kind.BOOKKEEPING)
# How many lines are written at once.
_LINES = 50


@click.command()
@click.option("--key", metavar="KEY", help="The record of one key only.")
@click.option("--user", "user_id", type=int, metavar="ID", help="The records of one user only.")
@prefixes
@with_storage
def export(storage: Opened, key: str | None, user_id: int | None, prefixes: tuple[str, ...]) -> int:
    """
    Print records as lines of JSON.

    A line has the record, and the ends of its lifetime and of those of its fields. The updates of
    an inbox are printed for a key or a user only.
    """
    if key is not None and user_id is not None:
        raise click.UsageError("--key and --user exclude each other; give one of them")
    person = None if user_id is None else Person(user_id, prefixes)
    if key is not None:
        rows = rows_of(storage, [key])
    elif person is not None:
        rows = rows_of(storage, person.keys(storage))
    else:
        rows = (row for row in storage.rows() if Place.of(row.key).kind not in _LEFT_OUT)
    written, refused = _write(storage, tracked(rows, "export"))
    if person is not None:
        tell_unknown(person)
    if key is not None and not written and not refused:
        raise missing(key)
    tell(f"exported {counted(written, 'record')}")
    return Exit.FOUND if refused else Exit.DONE


def _write(storage: Opened, rows: Iterable[Row]) -> tuple[int, int]:
    """Print rows, and return how many were written and how many have no form in JSON."""
    written = refused = 0
    # JSON is UTF-8, in any terminal.
    out, codec = sys.stdout.buffer, JSONCodec()
    is_json = type(storage.codec) is JSONCodec
    # A server is asked once for its time, and not for each record.
    offset = storage.now() - time.monotonic()
    lines: list[bytes] = []
    try:
        for row in rows:
            try:
                line = Line.of(row, storage.codec, time.monotonic() + offset)
                lines.append(line.encode(codec, row.payload if is_json else None))
            except (DecodeError, EncodeError) as error:
                tell(str(error))
                refused += 1
                continue
            written += 1
            if written % _LINES == 0:
                _write_lines(out, lines)
    finally:
        _write_lines(out, lines)
    # A full disk must be an error before the number is printed.
    out.flush()
    return written, refused


def _write_lines(out: BinaryIO, lines: list[bytes]) -> None:
    """Write lines at once, because standard output may be without a buffer, and forget them."""
    out.write(b"".join([line + b"\n" for line in lines]))
    lines.clear()
