"""Targets: the storages that get records from another storage or a file."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from telesession import MemoryStorage
from telesession.cli.address import MissingError, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telesession.codecs import Codec
    from telesession.storage.base import Storage


class Batch(MemoryStorage):
    """
    Some records in memory, with deadlines in seconds since the epoch.

    Lives for a part of one command, in one thread.

    Args:
        codec: The codec.
        ahead: Seconds by which the clock of the deadlines is ahead of the clock of this machine.
    """

    persistent = True

    def __init__(self, codec: Codec, ahead: float = 0.0) -> None:
        super().__init__(codec=codec)
        self._ahead = ahead

    def now(self) -> float:
        """See `Storage.now`."""
        return time.time() + self._ahead


@contextmanager
def opened_target(url: str, codec: Codec, *, dry_run: bool) -> Iterator[Storage]:
    """
    The storage that gets the records. A file or table is made if it does not exist.

    For a dry run it is not made, and an empty storage in memory stands for it.

    Raises:
        click.UsageError: It is no URL of a storage, or an extra is missing.
        StorageError: The storage cannot be opened.
    """
    with ExitStack() as exits:
        storage: Storage
        try:
            storage = exits.enter_context(opened(url, codec, may_create=not dry_run))
        except MissingError:
            storage = Batch(codec)
        yield storage
