"""The lifetime of one record: its payload with the seconds that are left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telesession.cli.address import Opened


def read(storage: Opened, key: str) -> tuple[bytes | None, float | None]:
    """
    The payload of a key and the seconds that it is left; `None` for none and for ever.

    Raises:
        StorageError: The storage failed.
    """
    payload = storage.get(key)
    return payload, next((row.left for row in storage.rows(key) if row.key == key), None)
