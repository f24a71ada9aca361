"""The commands `copy` and `rekey`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from telesession.cli.address import opened
from telesession.cli.codec import SOURCE, TARGET, codec_from
from telesession.cli.copying import Copying, agree
from telesession.cli.options import as_json, dry_run, overwrite, storage_url, yes
from telesession.cli.targets import opened_target

if TYPE_CHECKING:
    from telesession.cli.exits import Exit


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option("--prefix", default="", metavar="TEXT", help="Only keys that begin with it.")
@overwrite
@dry_run
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

    Both are URLs of storages. For a URL with a password write `-`: the source is that of
    TELESESSION_STORAGE then, and the target that of TELESESSION_TARGET_STORAGE. Bots may use both
    at the same time. Run an interrupted copy again to complete it.
    """
    agree(overwrite=overwrite and not dry_run, is_agreed=is_agreed)
    source, target = _url_of(source, SOURCE), _url_of(target, TARGET)
    with (
        opened(source, codec_from(os.environ, SOURCE)) as origin,
        opened_target(target, codec_from(os.environ, TARGET), dry_run=dry_run) as other,
    ):
        copying = Copying(other, overwrite=overwrite, dry_run=dry_run)
        copying.run([origin], prefix)
    return copying.report(is_json=is_json)


@click.command()
@storage_url
@dry_run
@as_json
def rekey(url: str, dry_run: bool, is_json: bool) -> Exit:
    """
    Write all records with another key or codec.

    The variables TELESESSION_TARGET_CODEC and TELESESSION_TARGET_KEYS name the new codec and its
    keys. Without them, records under an old key get the first key of TELESESSION_KEYS.
    """
    with (
        opened(url, codec_from(os.environ, SOURCE)) as source,
        opened(url, codec_from(os.environ, TARGET)) as target,
    ):
        copying = Copying(target, overwrite=False, dry_run=dry_run)
        copying.run([source])
    return copying.report(is_json=is_json)


def _url_of(url: str, begin: str) -> str:
    """
    A URL of an argument, or of the environment if it is `-`.

    Raises:
        click.UsageError: The environment has no URL.
    """
    name = f"{begin}STORAGE"
    if url != "-":
        return url
    if not (found := os.environ.get(name)):
        raise click.UsageError(f"- stands for the URL in {name}; set that variable")
    return found
