"""A storage in front of another one, which fails on request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Self

from telesession.storage.base import Change, Hold, Note, Record, Storage
from telesession.testing.storage_faults import StorageFaults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

_OF_A_RECORD = ("get", "get_record", "set", "delete", "touch", "has", "hold", "commit")


class FaultyStorage(StorageFaults, Storage):
    """
    A storage in front of another one, which counts its calls and fails if a test asks for it.

        storage = FaultyStorage(MemoryStorage())
        storage.fail("commit")

    Without a fault it keeps every promise that the other storage keeps, that of one transaction
    too. A handler that uses a session makes two calls: `hold` locks and reads it, and `commit`
    writes it, if it has changed. `save` is a call of `commit`, too. `get` is the read of
    `Sessions.peek` and of filters.

    A bot whose inbox is this storage makes calls of its own for each update, such as a `commit`
    that stores it. So name the record that a fault is about: `fail("commit", key="1")` is the
    commit of the session of user 1. `lose_lock` counts only commits of locked records.

    Keep one instance for a test, and give it to every user of the records. Threads may share it.

    Args:
        storage: The storage that does the work. `close` closes it.

    Attributes:
        calls: The number of calls so far, by the name of the method. It may be cleared.
        storage: The storage that does the work.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self.storage = storage
        self.codec = storage.codec
        self.lease = storage.lease
        self.leases_locks = storage.leases_locks
        self.holds_connections = storage.holds_connections
        self.persistent = storage.persistent

    def evict(self, method: str, *, at: int = 1) -> None:
        """
        Delete the records of a later call before it is made, as a Redis without free memory does.

        Args:
            method: The method's name: `"hold"`, or another one that gets keys of records.
            at: Which of the next calls it is; 1 is the next one.

        Raises `ValueError` for a method that gets no key.
        """
        if method not in _OF_A_RECORD:
            methods = ", ".join(_OF_A_RECORD)
            raise ValueError(f"a call of {method!r} has no record to evict; take one of {methods}")

        def evict(keys: Sequence[str]) -> None:
            for key in keys:
                self.storage.delete(key)

        self._plan(method, at, evict)

    def get(self, key: str) -> bytes | None:
        """See `Storage.get`."""
        return self._call("get", [key], partial(self.storage.get, key))

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """See `Storage.set`."""
        self._call("set", [key], partial(self.storage.set, key, payload, lifetime))

    def delete(self, key: str) -> bool:
        """See `Storage.delete`."""
        return self._call("delete", [key], partial(self.storage.delete, key))

    def touch(self, key: str, lifetime: float | None) -> bool:
        """See `Storage.touch`."""
        return self._call("touch", [key], partial(self.storage.touch, key, lifetime))

    def has(self, key: str) -> bool:
        """See `Storage.has`."""
        return self._call("has", [key], partial(self.storage.has, key))

    def get_record(self, key: str) -> Record | None:
        """See `Storage.get_record`."""
        return self._call("get_record", [key], partial(self.storage.get_record, key))

    def ping(self) -> None:
        """See `Storage.ping`."""
        self._call("ping", (), self.storage.ping)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """See `Storage.keys`."""
        return self._call("keys", (), partial(self.storage.keys, prefix))

    def hold(self, key: str, timeout: float | None = None) -> FaultyHold:
        """See `Storage.hold`. It is called when the block is entered."""
        return self._faulty_hold(key, self.storage.hold(key, timeout))

    def hold_beside(self, hold: Hold, key: str, timeout: float | None = None) -> FaultyHold:
        """See `Storage.hold_beside`. It is a call of `hold`."""
        inner = hold.inner if isinstance(hold, FaultyHold) else hold
        return self._faulty_hold(key, self.storage.hold_beside(inner, key, timeout))

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """See `Storage.commit`."""
        inner = [hold.inner if isinstance(hold, FaultyHold) else hold for hold in holds]
        keys = [*(hold.key for hold in holds), *(change.key for change in also)]
        self._write(inner, keys, partial(self.storage.commit, inner, also))

    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        """See `Storage.listed`."""
        return self._call("listed", (), partial(self.storage.listed, prefix, after, limit))

    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        """See `Storage.add_once`."""
        add = partial(self.storage.add_once, prefix, payloads, pages=pages, memory=memory)
        return self._call("add_once", (), add)

    def now(self) -> float:
        """See `Storage.now`."""
        return self._call("now", (), self.storage.now)

    def close(self) -> None:
        """See `Storage.close`."""
        self._call("close", (), self.storage.close)

    def __repr__(self) -> str:
        return f"<FaultyStorage in front of {self.storage!r}>"

    def _faulty_hold(self, key: str, manager: AbstractContextManager[Hold]) -> FaultyHold:
        return FaultyHold(self, key, manager, self._enter, self._write)

    def _write(self, holds: Sequence[Hold], keys: Sequence[str], write: Callable[[], None]) -> None:
        """Do noted writes of holds of the storage behind, as a call of `commit`."""
        try:
            self._call("commit", keys, write, has_locks=bool(holds))
        except BaseException:
            # A write that failed is not done later.
            for hold in holds:
                hold.note = None
            raise

    def _enter(self, key: str, manager: AbstractContextManager[Hold]) -> Hold:
        """Enter a hold of the storage behind, as a call of `hold`."""
        entered: list[Hold] = []

        def enter() -> Hold:
            entered.append(manager.__enter__())
            return entered[0]

        try:
            return self._call("hold", [key], enter)
        except BaseException as error:
            # The answer was lost, and with it the lock.
            if entered:
                _leave(manager, error)
            raise


class FaultyHold(Hold):
    """
    A hold of the storage behind, whose lock and writes are calls of the `FaultyStorage`.

    Args:
        storage: The `FaultyStorage`.
        key: The key of the record.
        manager: Gives the hold of the storage behind.
        enter: Enters that hold, as a call of `hold`.
        write: Does the noted writes of holds for some keys, as a call of `commit`.

    Attributes:
        inner: The hold of the storage behind, once this one was entered.
    """

    __slots__ = ("_enter", "_manager", "_write", "inner")

    inner: Hold

    def __init__(
        self,
        storage: FaultyStorage,
        key: str,
        manager: AbstractContextManager[Hold],
        enter: Callable[[str, AbstractContextManager[Hold]], Hold],
        write: Callable[[Sequence[Hold], Sequence[str], Callable[[], None]], None],
    ) -> None:
        self.storage = storage
        # The commit of a unit compares it.
        self.process_state = storage.process_state
        self.key = key
        self._manager = manager
        self._enter = enter
        self._write = write

    @property
    def note(self) -> Note | None:
        """The write that the hold behind has noted."""
        return self.inner.note

    @note.setter
    def note(self, note: Note | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.inner.note = note

    def __enter__(self) -> Self:
        self.inner = self._enter(self.key, self._manager)
        return self

    def __exit__(self, kind: object, error: object = None, trace: object = None) -> None:
        failure = error if isinstance(error, BaseException) else None
        try:
            if kind is None and not self.is_inherited():
                self.flush()
        except BaseException as raised:
            failure = raised
            raise
        finally:
            _leave(self._manager, failure)

    def is_inherited(self) -> bool:
        """See `Hold.is_inherited`."""
        return self.inner.is_inherited()

    def get(self) -> bytes | None:
        """See `Hold.get`."""
        return self.inner.get()

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        """See `Hold.set`."""
        self.inner.set(payload, lifetime)

    def delete(self) -> bool:
        """See `Hold.delete`."""
        return self.inner.delete()

    def touch(self, lifetime: float | None) -> bool:
        """See `Hold.touch`."""
        return self.inner.touch(lifetime)

    def flush(self) -> None:
        """See `Hold.flush`. A noted write is a call of `FaultyStorage.commit`."""
        if self.note is not None:
            self._write([self.inner], [self.key], self.inner.flush)

    def now(self) -> float:
        """See `Hold.now`."""
        return self.inner.now()


def _leave(manager: AbstractContextManager[Hold], error: BaseException | None) -> None:
    """Leave a block with an error, or without one."""
    if error is None:
        manager.__exit__(None, None, None)
    else:
        manager.__exit__(type(error), error, error.__traceback__)
