"""The output of the command: results on standard output, all other lines on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from telesession.cli.exits import RefusedError

T = TypeVar("T")

# Items between two steps of a progress bar.
_STEP = 100
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def printable(text: str) -> str:
    """A text without control characters, which a terminal would obey; they become escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def spelled(seconds: float | None) -> str:
    """The time that is left, in the two largest units; `None` is for ever."""
    if seconds is None:
        return "for ever"
    left = max(0, int(seconds))
    days, hours, minutes = left // _DAY, left % _DAY // _HOUR, left % _HOUR // _MINUTE
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left % _MINUTE} s" if minutes else f"{left} s"


def sized(count: float) -> str:
    """A number of bytes in the largest unit that it reaches."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:  # noqa: PLR2004 -- a thousand of a unit is one of the next unit
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 record`, `2 records`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def print_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=True))


def print_table(names: Iterable[str], rows: Iterable[Iterable[str]], numbers: int = 0) -> None:
    """
    Print a table.

    Args:
        names: The heads of the columns.
        rows: The cells of each row.
        numbers: How many of the last columns are numbers.
    """
    heads = list(names)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(heads):
        is_number = place >= len(heads) - numbers
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console().print(table)


def console() -> Console:
    """The console of results: 80 columns unless the terminal has others."""
    return Console(highlight=False, markup=False, emoji=False)


def tell(text: str) -> None:
    """Print a line on standard error."""
    click.echo(printable(text), err=True)


@contextmanager
def progress(verb: str, total: int | None = None) -> Iterator[Callable[[int], object]]:
    """
    A progress bar on standard error, if that is a terminal, until the block is left.

    Args:
        verb: The work, such as `"read"`.
        total: The number of items, if it is known.

    Returns:
        A function that gets the number of items that are done.
    """
    columns = (SpinnerColumn(), TextColumn(verb), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(verb, total=total)
        yield lambda done: bar.update(task, completed=done) if done % _STEP == 0 else None


def tracked(items: Iterable[T], verb: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar; see `progress`."""
    with progress(verb, total) as done:
        for number, item in enumerate(items, start=1):
            yield item
            if number % _STEP == 0:
                done(number)


def confirm(question: str, *, is_agreed: bool) -> None:
    """
    Ask before records are destroyed.

    Args:
        question: The question.
        is_agreed: Whether the option `--yes` was given.

    Raises:
        click.UsageError: There is no terminal to ask in.
        RefusedError: The answer is no.
    """
    if is_agreed:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask in; add --yes to agree.")
    if not click.confirm(printable(question), err=True):
        raise RefusedError("nothing was changed, because the answer was no")
