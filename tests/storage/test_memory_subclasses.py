"""Subclasses of `MemoryStorage`, and stores that were filled by hand."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from telesession import MemoryStorage, Sessions, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class CopyingStorage(MemoryStorage):
    """A storage that notes the locked keys after each commit."""

    def __init__(self) -> None:
        super().__init__()
        self.locked: list[str] = []

    def commit(self, holds: Sequence[Any], also: Sequence[Any] = ()) -> None:
        """Commit, and go on."""
        super().commit(holds, also)
        self.locked += self.process_state.locks.holders


class WrappingStorage(MemoryStorage):
    """A storage that wraps each hold, and notes its steps and the exception of its block."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    @contextmanager
    def hold(self, key: str, timeout: float | None = None) -> Iterator[Any]:  # type: ignore[override]
        """Hold a key."""
        self.steps.append("entered")
        try:
            with super().hold(key, timeout) as hold:
                yield hold
        except BaseException as error:
            self.steps.append(type(error).__name__)
            raise
        self.steps.append("left")


def test_commit_of_a_subclass_has_the_lock_until_its_end() -> None:
    """A subclass that goes on after the commit of `MemoryStorage` has the lock there."""
    storage = CopyingStorage()
    with Sessions(storage=storage).open(1) as session:
        session.name = "Anna"
    assert ["1"] == storage.locked
    assert 0 == len(storage.process_state.locks)


def test_wrapped_hold_of_a_subclass_is_left_without_an_error() -> None:
    """A context manager around a hold of memory is left when the unit ends."""
    storage = WrappingStorage()
    with Sessions(storage=storage).open(1) as session:
        session.name = "Anna"
    assert ["entered", "left"] == storage.steps


@pytest.mark.parametrize("value", ["text", 5, bytearray(b"x")], ids=["text", "number", "bytearray"])
def test_value_in_the_store_that_is_no_bytes_is_refused(value: object) -> None:
    """A handler gets a StorageError for an object in the store that is no bytes."""
    storage = MemoryStorage(store=cast("Any", {"1": value}))
    with pytest.raises(StorageError, match="no bytes"), Sessions(storage=storage).open(1):
        pass
    assert 0 == len(storage.process_state.locks)
