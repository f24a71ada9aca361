"""The command `watch`: the changes of one record, as they are saved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import click

from telesession.cli.fields import Field, described, json_text, live_fields, record_of
from telesession.cli.options import as_json, values, with_storage
from telesession.cli.output import print_json, printable, tell

if TYPE_CHECKING:
    from telesession.cli.address import Opened

# Seconds between two looks at the record.
_PAUSE = 0.2


class Change(NamedTuple):
    """
    The difference between two looks at a record.

    Attributes:
        is_stored: Whether there is a record now.
        fields: The fields that were added or changed, each with one of these words.
        removed: The names of the fields that are gone.
    """

    is_stored: bool
    fields: list[tuple[str, Field]]
    removed: list[str]


@click.command()
@click.argument("key")
@values
@as_json
@with_storage
def watch(storage: Opened, key: str, has_values: bool, is_json: bool) -> None:
    """
    Print each change of a record.

    A change is printed when it is saved. Ctrl-C ends the command.
    """
    tell(f"watching {key!r}; Ctrl-C ends it")
    try:
        for change in _changes(storage, key):
            if is_json:
                print_json(_data(change, key, has_values))
            else:
                click.echo(_line(change, key, has_values))
    except KeyboardInterrupt:
        return


def _changes(storage: Opened, key: str) -> Iterator[Change]:
    """The changes from now on, without end; the first one has all fields of the record."""
    before: dict[str, Field] = {}
    was_stored = False
    while True:
        payload = storage.get(key)
        now = {} if payload is None else _fields(storage, key, payload)
        added = [("added", each) for name, each in now.items() if name not in before]
        changed = [
            ("changed", each)
            for name, each in now.items()
            if name in before and each.value != before[name].value
        ]
        removed = [name for name in before if name not in now]
        is_stored = payload is not None
        if added or changed or removed or is_stored != was_stored:
            yield Change(is_stored, added + changed, removed)
        before, was_stored = now, is_stored
        time.sleep(_PAUSE)


def _fields(storage: Opened, key: str, payload: bytes) -> dict[str, Field]:
    fields = live_fields(record_of(storage.codec, payload, key), storage.now())
    return {field.name: field for field in fields}


def _line(change: Change, key: str, has_values: bool) -> str:
    parts = [
        f"{word} {field.name} ({field.type_name})"
        + (f" = {json_text(field.value, key)}" if has_values else "")
        for word, field in change.fields
    ]
    parts += [f"removed {name}" for name in change.removed]
    if not change.is_stored:
        parts = ["deleted"]
    moment = datetime.now().astimezone().strftime("%H:%M:%S")
    return printable(f"{moment} {', '.join(parts) or 'stored'}")


def _data(change: Change, key: str, has_values: bool) -> dict[str, object]:
    fields: dict[str, object] = {
        field.name: {"change": word, **described(field, key, has_values)}
        for word, field in change.fields
    }
    fields |= {name: {"change": "removed"} for name in change.removed}
    return {"time": time.time(), "stored": change.is_stored, "fields": fields}
