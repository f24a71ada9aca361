"""The memory that a copy needs."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from support.copies import CODECS, Make
from telesession import copy_sessions
from telesession.storage.base import Change

if TYPE_CHECKING:
    from telesession import Storage

MANY = 10_000
TEXT = "one pot of sencha, please " * 100


def fill(storage: Storage) -> int:
    """Store many records, and return the number of their bytes."""
    size = 0
    for start in range(0, MANY, 500):
        changes = []
        for number in range(start, start + 500):
            key = f"{number}"
            fields = {"number": number, "text": TEXT}
            changes.append(Change(key, None, storage.codec.encode({"fields": fields}, key)))
        storage.commit([], changes)
        size += sum(len(change.payload or b"") for change in changes)
    return size


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(("memory", "sqlite"), id="memory-sqlite", marks=pytest.mark.long),
        pytest.param(("sqlite", "redis"), id="sqlite-redis"),
        pytest.param(("redis", "sqlite"), id="redis-sqlite", marks=pytest.mark.long),
        pytest.param(("sqlite", "postgres"), id="sqlite-postgres", marks=pytest.mark.long),
        pytest.param(("postgres", "sqlite"), id="postgres-sqlite"),
    ],
)
def test_many_records_need_little_memory(kinds: tuple[str, str], make: Make) -> None:
    """Copying 10,000 records needs a tenth of the memory of their bytes at most."""
    source = make(kinds[0], CODECS["json"], "source")
    target = make(kinds[1], CODECS["json"], "target")
    size = fill(source)
    tracemalloc.start()
    try:
        done = copy_sessions(source, target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert MANY == done.copied
    assert peak < size / 10
