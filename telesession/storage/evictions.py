"""Evictions: records that a server or a cache drops while a handler has their sessions."""

from __future__ import annotations

import logging

_log = logging.getLogger("telesession")


def log_eviction(key: str) -> None:
    """
    Log that a record was gone when its handler saved or renewed it.

    Args:
        key: The storage key of the session.
    """
    _log.warning(
        "evicted while held: the record of session %r was gone when its handler ended; give the "
        "server or the cache more memory, and set the maxmemory-policy of a server to noeviction",
        key,
    )
