"""A stored record: its payload and the rest of its lifetime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.errors import StorageError
from telesession.storage.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telesession.cli.address import Opened


def row_of(storage: Opened, key: str) -> Row | None:
    """
    The row of one key; `None` if there is no record.

    Raises:
        StorageError: The storage failed, or the record is damaged.
    """
    record = storage.get_record(key)
    if record is None:
        return None
    # Each storage that has a URL knows the lifetimes.
    return Row(key, record.payload, None if record.left == "unknown" else record.left)


def rows_of(storage: Opened, keys: Iterable[str]) -> Iterator[Row]:
    """
    The rows of keys. A key without a record has no row, and the row of a damaged record no payload.

    Raises:
        StorageError: The storage failed.
    """
    for key in keys:
        try:
            row = row_of(storage, key)
        except StorageError:
            # This raises again if the storage has failed, and not only one record.
            storage.ping()
            row = Row(key, None, None)
        if row is not None:
            yield row
