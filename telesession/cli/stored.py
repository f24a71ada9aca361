"""A stored record: its payload and the rest of its lifetime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.storage.rows import Row

if TYPE_CHECKING:
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
