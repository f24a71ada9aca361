"""The spy storage, the spy store and the storage without locks, on which other tests rest."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from support.storages import ONE_USE, SpyStorage, SpyStore, UnlockedStorage, is_held
from telesession import MemoryStorage, Sessions, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from telesession import Storage

CALLS: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("key"),
    "set": lambda storage: storage.set("key", b"payload"),
    "touch": lambda storage: storage.touch("key", None),
    "delete": lambda storage: storage.delete("key"),
    "hold": lambda storage: storage.hold("key").__enter__(),
}
OPERATIONS: dict[str, Callable[[SpyStore], object]] = {
    "read": lambda store: store["key"],
    "write": lambda store: store.update(key=b"new"),
    "delete": lambda store: store.pop("key"),
    "look up": lambda store: "key" in store,
}


def test_a_spy_storage_counts_calls_and_lists_writes() -> None:
    """One update is one hold, one read and one write."""
    storage = SpyStorage()

    with Sessions(storage=storage).open("key") as session:
        session.counter = 1
    storage.delete("key")

    assert (ONE_USE + Counter(delete=1), ["set", "delete"]) == (storage.calls, storage.writes)


@pytest.mark.parametrize(("method", "call"), CALLS.items(), ids=CALLS)
def test_a_spy_storage_fails_as_many_calls_as_it_is_told(
    method: str, call: Callable[[Storage], object]
) -> None:
    """The next two calls raise a `StorageError` and change nothing, and the third one works."""
    store = {"key": b"old"}
    storage = SpyStorage(store)
    storage.fail(method, times=2)

    for _ in range(2):
        with pytest.raises(StorageError, match="the disk is full"):
            call(storage)
    left = dict(store)
    call(storage)

    assert ({"key": b"old"}, 3) == (left, storage.calls[method])


@pytest.mark.parametrize(("operation", "use"), OPERATIONS.items(), ids=OPERATIONS)
def test_a_spy_store_fails_until_it_is_told_to_stop(
    operation: str, use: Callable[[SpyStore], object]
) -> None:
    """A failing operation raises an `OSError` and changes nothing."""
    store = SpyStore({"key": b"old"})
    store.failing = {operation}

    with pytest.raises(OSError, match=f"cannot {operation}"):
        use(store)
    store.failing.clear()

    assert {"key": b"old"} == store.data
    use(store)


def test_a_read_back_is_the_first_read_after_a_write() -> None:
    """Only the first read after a write of the same key fails as a read back."""
    store = SpyStore({"other": b"other"})
    store.failing = {"read back"}

    store["key"] = b"new"
    with pytest.raises(OSError, match="cannot read back"):
        store["key"]

    assert (b"new", b"other", 1) == (store["key"], store["other"], store.writes)


@pytest.mark.parametrize(
    ("make", "expected"), [(MemoryStorage, True), (UnlockedStorage, False)], ids=["with", "without"]
)
def test_without_locks_a_held_key_is_free(make: Callable[[], Storage], expected: bool) -> None:
    """A hold of a storage without locks keeps no other thread out, but reads and writes."""
    storage = make()

    with storage.hold("key", 0) as held:
        held.set(b"payload")
        busy = is_held(storage, "key")

    assert (expected, b"payload") == (busy, storage.get("key"))
