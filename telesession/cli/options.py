"""The options that several commands have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import click

from telesession.cli.address import Opened, opened
from telesession.cli.codec import codec_from

P = ParamSpec("P")
R = TypeVar("R")

storage_url = click.option(
    "--storage",
    "url",
    envvar="TELESESSION_STORAGE",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="The storage, such as sqlite:///bot.db or redis://localhost:6379/0.",
)


def with_storage(
    command: Callable[Concatenate[Opened, P], R],
) -> Callable[..., R]:
    """Give a command the option `--storage`, and its storage as the first argument."""

    @storage_url
    @wraps(command)
    def wrapper(url: str, *args: P.args, **kwargs: P.kwargs) -> R:
        with opened(url, codec_from(os.environ)) as storage:
            return command(storage, *args, **kwargs)

    return wrapper


as_json = click.option("--json", "is_json", is_flag=True, help="Print JSON, a value on each line.")
values = click.option(
    "--values", "has_values", is_flag=True, help="Show the values of the fields, too."
)
yes = click.option("--yes", "is_agreed", is_flag=True, help="Do it without a question.")
wait = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="The longest wait for a record that a handler has.",
)
prefixes = click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="TEXT",
    help="The option `prefix` of the bot's Sessions, if it has one; may be repeated.",
)
overwrite = click.option(
    "--overwrite", is_flag=True, help="Replace other records of the target under the same keys."
)
dry_run = click.option("--dry-run", is_flag=True, help="Write nothing, and say the result.")
