"""Rows: the records of a storage as its cursor gives them in a walk over all of them."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """
    A record at the moment at which the cursor of its storage found it.

    Attributes:
        key: The key.
        payload: The payload; `None` if it is damaged, so that `Storage.get` raises.
        left: Seconds until the record expires; `None` is for ever.
    """

    key: str
    payload: bytes | None
    left: float | None
