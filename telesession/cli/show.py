"""The commands that show records: `keys` and `show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from telesession.cli.exits import missing
from telesession.cli.fields import Field, described, json_text, live_fields, record_of
from telesession.cli.options import as_json, values, with_storage
from telesession.cli.output import print_json, print_table, printable, sized, spelled
from telesession.cli.stored import row_of

if TYPE_CHECKING:
    from telesession.cli.address import Opened


@click.command()
@click.argument("prefix", default="")
@as_json
@with_storage
def keys(storage: Opened, prefix: str, is_json: bool) -> None:
    """
    List the stored keys.

    These are the keys that begin with PREFIX, as they are in the storage, with their rooms.
    """
    for key in storage.keys(prefix):
        if is_json:
            print_json(key)
        else:
            click.echo(printable(key))


@click.command()
@click.argument("key")
@values
@as_json
@with_storage
def show(storage: Opened, key: str, has_values: bool, is_json: bool) -> None:
    """
    Show the fields of a record.

    Their types and their time left are shown, and their values only if asked for.
    """
    row = row_of(storage, key)
    if row is None or row.payload is None:
        raise missing(key)
    payload, left = row.payload, row.left
    record = record_of(storage.codec, payload, key)
    fields = live_fields(record, storage.now())
    if is_json:
        print_json(
            {
                "key": key,
                "version": record.get("version", 0),
                "class": record.get("class"),
                "bytes": len(payload),
                "left": left,
                "fields": {each.name: described(each, key, has_values) for each in fields},
            }
        )
        return
    facts = [("key", key), ("version", str(record.get("version", 0)))]
    if "class" in record:
        facts.append(("class", record["class"]))
    facts += [("size", sized(len(payload))), ("time left", spelled(left))]
    for name, fact in facts:
        click.echo(f"{name:<10} {printable(fact)}")
    click.echo()
    heads = ["field", "type", "time left", *["value"] * has_values]
    print_table(heads, (_cells(each, key, has_values) for each in fields))


def _cells(field: Field, key: str, has_values: bool) -> list[str]:
    cells = [field.name, field.type_name, spelled(field.left)]
    return [*cells, json_text(field.value, key)] if has_values else cells
