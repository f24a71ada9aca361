"""Addresses of storages for tests with processes: the path of a file, or the URL of a server."""

from __future__ import annotations

from typing import Any

from telesession import PostgresStorage, RedisStorage, SQLiteStorage, Storage


def kind_of(place: str) -> type[Storage]:
    """The class of the storage at an address."""
    if "://" not in place:
        return SQLiteStorage
    return PostgresStorage if place.startswith("postgres") else RedisStorage


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
    if kind is RedisStorage:
        options["lease"] = lease
    if first is not None:
        kind = type(f"{first.__name__}Storage", (first, kind), {})
    storage = kind(place, **options)
    if kind is not SQLiteStorage:
        storage.lease = lease
    return storage
