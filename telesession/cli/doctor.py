"""The command `doctor`: the health of a storage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from telesession import RedisStorage, SQLiteStorage
from telesession.cli.checks import Check, State, common_checks, probe, record_checks
from telesession.cli.exits import Exit
from telesession.cli.file_checks import file_checks
from telesession.cli.options import as_json, with_storage
from telesession.cli.output import print_json, print_table
from telesession.cli.postgres_checks import postgres_checks
from telesession.cli.server_checks import server_checks
from telesession.errors import StorageError

if TYPE_CHECKING:
    from telesession.cli.address import Opened


@click.command()
@as_json
@with_storage
def doctor(storage: Opened, is_json: bool) -> int:
    """
    Check the health of the storage.

    All records are read, and one is written and deleted in a room of its own.
    """
    checks = list(_checks(storage))
    if is_json:
        print_json([{**each._asdict(), "state": each.state.value} for each in checks])
    else:
        rows = [(each.state.value, each.name, each.text) for each in checks]
        print_table(("state", "check", "finding"), rows)
    has_problem = any(each.state is State.PROBLEM for each in checks)
    return Exit.FOUND if has_problem else Exit.DONE


def _checks(storage: Opened) -> Iterator[Check]:
    try:
        yield from common_checks(storage)
        yield from _own_checks(storage)
        # A write removes some expired records, which the checks before count.
        yield probe(storage)
        yield from record_checks(storage)
    except StorageError as error:
        yield Check("failure", State.PROBLEM, str(error))


def _own_checks(storage: Opened) -> Iterator[Check]:
    if isinstance(storage, SQLiteStorage):
        return file_checks(storage)
    return server_checks(storage) if isinstance(storage, RedisStorage) else postgres_checks(storage)
