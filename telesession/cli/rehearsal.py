"""The command `migrate --dry-run`: every record through the migrations and the dataclass."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext, redirect_stdout
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import click

from telesession.cli.address import opened
from telesession.cli.exits import Exit, RefusedError
from telesession.cli.fields import record_of
from telesession.cli.options import as_json
from telesession.cli.output import print_json, print_table, printable, tracked
from telesession.errors import DecodeError, EncodeError, SessionError, StorageError
from telesession.sessions import Sessions, kind_of

if TYPE_CHECKING:
    from telesession.kinds.kind import Kind


@click.command()
@click.option(
    "--app",
    required=True,
    metavar="MODULE:SESSIONS",
    help="The Sessions of the new program, such as bot:sessions. The module is imported.",
)
@click.option(
    "--storage",
    "url",
    metavar="URL",
    help="Another storage with the same codec, such as a backup; by default that of the Sessions.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Write nothing; the only way for now.")
@as_json
def migrate(app: str, url: str | None, is_dry: bool, is_json: bool) -> int:
    """
    Try the migrations of a program.

    Every record goes through the migrations and the dataclass of the Sessions, and nothing is
    written. Records that would fail are reported by key.
    """
    if not is_dry:
        raise click.UsageError(
            "a record migrates when a handler uses it, so there is nothing to write; add --dry-run "
            "to see which records would fail"
        )
    kind = kind_of(sessions_of(app))
    if not kind.storage.persistent:
        raise RefusedError(f"the sessions of {app} are in memory, so there is nothing to migrate")
    versions, failed = Counter[str](), Counter[str]()
    with nullcontext() if url is None else opened(url, kind.storage.codec) as other:
        if other is not None:
            kind = kind.with_storage(other)
        for version, error in tracked(rehearse(kind), "migrate"):
            versions[version] += 1
            if error is not None:
                failed[version] += 1
                _print_failure(error, is_json)
    if is_json:
        print_json({"records": dict(versions), "failed": dict(failed)})
    else:
        rows = [(each, f"{versions[each]:,}", f"{failed[each]:,}") for each in sorted(versions)]
        print_table(("version", "records", "would fail"), rows, numbers=2)
    return Exit.FOUND if failed else Exit.DONE


def sessions_of(app: str) -> Sessions[Any]:
    """
    The `Sessions` that a text such as `bot:sessions` names; the module is imported.

    Raises:
        click.UsageError: The text has another form, or names something else.
        RefusedError: The import failed.
    """
    module_name, colon, path = app.partition(":")
    if not colon or not module_name or not path:
        raise click.UsageError("--app is a module and a name in it, such as bot:sessions")
    # As `python -m` does.
    sys.path.insert(0, "")
    try:
        # The lines that the module prints do not belong to the result.
        with redirect_stdout(sys.stderr):
            module = importlib.import_module(module_name)
    except Exception as error:
        raise RefusedError(
            f"could not import {module_name}: {type(error).__name__}; run `python -c 'import "
            f"{module_name}'` in this folder to see why"
        ) from error
    try:
        found = attrgetter(path)(module)
    except AttributeError:
        found = None
    if not isinstance(found, Sessions):
        raise click.UsageError(
            f"{module_name} has no Sessions with the name {path}; give --app the name of one"
        )
    return found


def rehearse(kind: Kind) -> Iterator[tuple[str, SessionError | None]]:
    """
    The stored version of each record of some sessions, with the error that a handler would get.

    Raises:
        StorageError: The storage failed.
    """
    for place in kind.places():
        version = "unreadable"
        try:
            payload = kind.storage.get(place)
            if payload is None:
                continue
            version = str(record_of(kind.storage.codec, payload, place).get("version", 0))
            kind.translator.check(kind.peek(place) or {}, place)
            kind.read(place)
        except SessionError as error:
            if isinstance(error, StorageError):
                # This raises again if the storage has failed, and not only one record.
                kind.storage.ping()
            kind.translate_error(error)
            yield version, error
        else:
            yield version, None


def _print_failure(error: SessionError, is_json: bool) -> None:
    key, reason = getattr(error, "key", None), getattr(error, "reason", str(error))
    if is_json:
        print_json({"key": key, "error": type(error).__name__, "reason": reason})
    elif isinstance(error, DecodeError | EncodeError):
        where = f"{error.path}: " if isinstance(error, EncodeError) else ""
        click.echo(printable(f"{key}: {where}{reason}"))
    else:
        click.echo(printable(str(error)))
