"""Addresses of storages for tests with processes: the path of a file, or the URL of a server."""

from __future__ import annotations

from typing import Any

# Not the classes: the import of the packages of a server takes long.
import telesession
from telesession import SQLiteStorage, Storage


def kind_of(place: str) -> type[Storage]:
    """The class of the storage at an address."""
    if "://" not in place:
        return SQLiteStorage
    is_postgres = place.startswith("postgres")
    return telesession.PostgresStorage if is_postgres else telesession.RedisStorage


def open_leased(
    place: str, lease: float, first: type[Any] | None = None, **options: Any
) -> Storage:
    """
    Open the storage at an address.

    Args:
        place: The address.
        lease: Seconds of the leases on a server.
        first: A base class in front of that of the storage.
        options: Of the storage.
    """
    kind = kind_of(place)
    if kind is telesession.RedisStorage:
        options["lease"] = lease
    if first is not None:
        kind = type(f"{first.__name__}Storage", (first, kind), {})
    storage = kind(place, **options)
    if kind is not SQLiteStorage:
        storage.lease = lease
    return storage
