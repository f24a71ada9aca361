"""The commands that change single records: `set`, `unset` and `delete`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from telesession.cli.exits import Exit, RefusedError, missing
from telesession.cli.fields import live_fields, record_of, value_of
from telesession.cli.options import wait, with_storage, yes
from telesession.cli.output import confirm, counted, tell, tracked
from telesession.cli.rooms import Kind, Place
from telesession.cli.stored import row_of

if TYPE_CHECKING:
    from telesession.cli.address import Opened

#: Changes a record, and gets seconds since the epoch on the clock of the storage.
Edit = Callable[[dict[str, Any], float], None]

# The kinds of records whose fields a bot does not lock.
_NOT_LOCKED = (Kind.UPDATES, Kind.ASIDE, Kind.BOOKKEEPING)


@click.command(name="set")
@click.argument("key")
@click.argument("field")
@click.argument("json")
@wait
@with_storage
def set_field(storage: Opened, key: str, field: str, json: str, wait: float) -> None:
    """
    Set one field of a record.

    The field FIELD of the record KEY gets the value of the text JSON, with the tags of a record.
    A field with a lifetime gets its whole lifetime again. The lifetime of the record stays.
    """
    try:
        value = value_of(json)
    except ValueError as error:
        raise click.UsageError(f"the argument JSON cannot be read: {error}") from None

    def change(record: dict[str, Any], now: float) -> None:
        record["fields"][field] = value
        deadlines = record.get("ttl") or {}
        if field in deadlines:
            lifetime, _ = deadlines[field]
            deadlines[field] = [lifetime, now + lifetime]

    edit(storage, key, change, wait)
    tell(f"set {field!r} of {key!r}")


@click.command()
@click.argument("key")
@click.argument("field")
@wait
@with_storage
def unset(storage: Opened, key: str, field: str, wait: float) -> None:
    """
    Remove one field of a record.

    A record without any field is deleted.
    """

    def change(record: dict[str, Any], now: float) -> None:
        if field not in {each.name for each in live_fields(record, now)}:
            raise RefusedError(
                f"session {key!r} has no field {field!r}; see its fields with `telesession show`",
                Exit.MISSING,
            )
        del record["fields"][field]
        (record.get("ttl") or {}).pop(field, None)
        if not record.get("ttl"):
            record.pop("ttl", None)

    edit(storage, key, change, wait)
    tell(f"removed {field!r} from {key!r}")


@click.command()
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@wait
@yes
@with_storage
def delete(storage: Opened, keys: tuple[str, ...], wait: float, is_agreed: bool) -> int:
    """
    Delete records.

    Each is deleted as soon as no handler has it.
    """
    confirm(f"Delete {counted(len(keys), 'record')}?", is_agreed=is_agreed)
    deleted = delete_all(storage, list(keys), wait)
    return Exit.DONE if deleted == len(keys) else Exit.MISSING


def edit(storage: Opened, key: str, change: Edit, wait: float) -> None:
    """
    Change a record under its lock; its lifetime goes on.

    Args:
        storage: The storage.
        key: The key.
        change: Changes the record.
        wait: Seconds to wait for a busy record.

    Raises:
        DecodeError: The record cannot be read.
        EncodeError: The new record cannot be stored.
        LockTimeoutError: A handler had the record for too long.
        RefusedError: There is no record, or its fields cannot be changed.
    """
    if Place.of(key).kind in _NOT_LOCKED:
        raise RefusedError(
            f"could not change {key!r}: a process of the bot writes it without a lock; stop the "
            "bot, and delete the record if it has to go"
        )
    with storage.hold(key, wait) as hold:
        row = row_of(storage, key)
        if row is None or row.payload is None:
            raise missing(key)
        payload, left = row.payload, row.left
        record = record_of(storage.codec, payload, key)
        change(record, hold.now())
        if record["fields"]:
            hold.set(storage.codec.encode(record, key, payload), left)
        else:
            hold.delete()


def delete_all(storage: Opened, keys: list[str], wait: float) -> int:
    """
    Delete records one after the other, each under its lock, and return how many there were.

    The number is printed, also if the command is interrupted or fails.

    Raises:
        LockTimeoutError: A handler had a record for too long; those before it are deleted.
    """
    deleted = 0
    try:
        for key in tracked(keys, "delete", len(keys)):
            with storage.hold(key, wait) as hold:
                is_there = hold.delete()
            deleted += is_there
    finally:
        tell(f"deleted {deleted:,} of {counted(len(keys), 'record')}")
    return deleted
