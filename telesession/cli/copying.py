"""The calls of `copy_sessions`: the question before, the progress, and the result in a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

import click

from telesession.cli.exits import Exit
from telesession.cli.output import confirm, counted, print_json, printable, progress, tell
from telesession.copies import CopyCounts, CopyResult, copy_sessions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telesession.storage.base import Storage

_COUNTS = tuple(each.name for each in fields(CopyCounts))
# The outcomes after which the target lacks a record, or has it under an old key.
_LACKING = ("kept", "refused", "unreadable", "busy", "waiting", "old_keys", "unknown_lifetimes")
_LISTED = ("kept", "refused", "unreadable", "busy")


class Copying:
    """
    Copies from storages to one target, and the sum of their results.

    Lives for one command, in one thread.

    Args:
        target: The storage that gets the records.
        overwrite: Whether another record of the target is replaced.
        dry_run: Whether nothing is written.

    Attributes:
        counts: The numbers of records by outcome; see `CopyCounts`.
        keys: The keys of the records that need a look, by outcome.
    """

    def __init__(self, target: Storage, *, overwrite: bool, dry_run: bool) -> None:
        self._target = target
        self._overwrite = overwrite
        self._dry_run = dry_run
        self.counts: Counter[str] = Counter()
        self.keys: dict[str, list[str]] = {outcome: [] for outcome in _LISTED}

    def run(self, sources: Iterable[Storage], prefix: str = "") -> None:
        """
        Copy the records of storages whose keys begin with a prefix.

        If the copy is interrupted or fails, it prints the number of records that are done.

        Raises:
            StorageError: A storage failed. The records before are copied.
        """
        latest = CopyCounts()
        before = 0
        with progress("copy") as show:

            def note(counts: CopyCounts) -> None:
                nonlocal latest
                latest = counts
                show(before + counts.total)

            try:
                for source in sources:
                    result = copy_sessions(
                        source,
                        self._target,
                        prefix=prefix,
                        overwrite=self._overwrite,
                        on_progress=note,
                        dry_run=self._dry_run,
                    )
                    self._add(result)
                    before += result.total
                    latest = CopyCounts()
            except BaseException:
                done = counted(before + latest.total, "record")
                tell(f"stopped after {done}; another run leaves out those that are the same")
                raise

    def report(self, *, is_json: bool) -> Exit:
        """Print the result, and return the exit code."""
        found = {name: self.counts[name] for name in _COUNTS if self.counts[name]}
        if is_json:
            print_json({**{name: self.counts[name] for name in _COUNTS}, "keys": self.keys})
        else:
            for name, number in found.items():
                click.echo(f"{name.replace('_', ' '):<17} {number:>9,}")
            for outcome in _LISTED:
                for key in self.keys[outcome]:
                    click.echo(printable(f"{outcome}: {key}"))
            if not found:
                tell("there was no record to store")
        return Exit.FOUND if any(name in found for name in _LACKING) else Exit.DONE

    def _add(self, result: CopyResult) -> None:
        numbers = asdict(result)
        self.counts.update({name: numbers[name] for name in _COUNTS})
        for outcome, keys in self.keys.items():
            keys.extend(numbers[f"{outcome}_keys"])


def agree(*, overwrite: bool, is_agreed: bool) -> None:
    """
    Ask before other records are replaced; see `confirm`.

    Args:
        overwrite: Whether records are replaced.
        is_agreed: Whether the option `--yes` was given.
    """
    if overwrite:
        confirm("Replace other records under the same keys?", is_agreed=is_agreed)
