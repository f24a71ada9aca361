"""The promises of a storage, and the locks around it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from heapq import nsmallest
from typing import Any, Self

from telesession.codecs import Codec, JSONCodec
from telesession.errors import LockLostError, StorageError
from telesession.forks import PerProcess
from telesession.locks import LockTable
from telesession.storage.bitmaps import Bitmap, by_page, key_of
from telesession.storage.notes import DELETION, Change, Note, Record, make_note

__all__ = [
    "UNREAD", "Change", "Hold", "Note", "ProcessState", "Record", "Storage", "deletes", "make_note",
]  # fmt: skip


class ProcessState:
    """
    The part of a storage that belongs to one process. A forked child begins with an empty one.

    Attributes:
        locks: The locks of the keys among the threads of the process.
    """

    __slots__ = ("locks",)

    def __init__(self) -> None:
        self.locks = LockTable(of_sessions=True)


# A key in a room that has no records.
_PINGED = "@ping:"


class Storage(ABC):
    """
    Keeps `key -> bytes`, each with an optional lifetime. The base class of every storage.

    A backend is five methods: `get`, `set`, `delete`, `touch` and `keys`. It knows nothing of
    fields or of Telegram. Its methods must raise a `StorageError` for every exception of the
    database or the server, with that exception as the `__cause__`. An error must never look like a
    missing record, because the user would then start anew and lose the stored session.

    Keep one instance for as long as the bot runs, and use it for all accesses to its records,
    because it has their locks. Every method may be called from any thread. A storage is a context
    manager that closes itself.

    Attributes:
        codec: The codec that turns records into bytes. The storage only carries it, and never calls
            it.
        lease: Seconds after which the lock of a process that died is free at the latest.
        leases_locks: Whether such a lock is not free at once, but only after the lease.
        holds_connections: Whether each hold keeps a connection to the backend until it is left.
            A process then proves by a lease, and not by a hold, that it lives.
        persistent: Whether records outlive the process or are read by others, so that their
            deadlines must be written in wall-clock time. Only a storage that lives and dies
            with its process may say no.
    """

    codec: Codec = JSONCodec()
    lease: float = 30.0
    leases_locks: bool = False
    holds_connections: bool = False
    persistent: bool = True

    _states: PerProcess[ProcessState]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Give every storage its locks, also one whose own `__init__` calls no other."""
        self = super().__new__(cls)
        self._states = PerProcess()
        return self

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """
        The payload of a key; `None` if it was never stored, was deleted, or has expired.

        Raises:
            StorageError: The backend failed, so it is unknown whether there is a record.
        """

    @abstractmethod
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """
        Replace payload and lifetime of a key together, or neither.

        Args:
            key: Any string.
            payload: The bytes that `get` returns from then on.
            lifetime: Seconds from now until the record expires; `None` keeps it for ever, also
                if the record had a lifetime before.

        Raises:
            StorageError: The backend failed; the old record is still whole.
        """

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Remove a record, and return whether there was one; may be repeated."""

    @abstractmethod
    def touch(self, key: str, lifetime: float | None) -> bool:
        """
        Give a record a new lifetime, counted from now, without rewriting its payload.

        Returns:
            Whether there was a record. Without a record nothing happens.
        """

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the live keys that start with `prefix`, without loading payloads."""

    def has(self, key: str) -> bool:
        """Whether `get` would return a payload."""
        return self.get(key) is not None

    def get_record(self, key: str) -> Record | None:
        """
        The payload of a key with the seconds that are left of its lifetime.

        Here these are `"unknown"`. A storage whose backend tells them overrides this, and reads
        both in one step. `copy_sessions` needs them to give each copy the rest of its lifetime.

        Returns:
            The record; `None` where `get` returns `None`.

        Raises:
            StorageError: The backend failed.
        """
        payload = self.get(key)
        return None if payload is None else Record(payload, "unknown")

    def ping(self) -> None:
        """
        Return if the backend can be reached, as for a health check; nothing is written.

        Here a key without a record is read. A storage with a better way overrides this.

        Raises:
            StorageError: The backend cannot be reached, or refuses.
        """
        self.get(_PINGED)

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        """
        Exclusive use of a key, as a context manager that gives a `Hold`.

        Here the lock is one of this process, first come, first served. It is not reentrant. A
        storage that several processes share overrides this, to lock among them. It may lock and
        read in one step, and write and unlock in one step.

        Args:
            key: Any string.
            timeout: Seconds to wait while another thread or process holds it; `None` waits for
                ever.

        Raises:
            LockTimeoutError: On entering, when the key stayed busy for that long.
        """
        return Hold(self, key, timeout)

    def enter_hold(
        self, key: str, timeout: float | None, beside: Hold | None = None
    ) -> tuple[AbstractContextManager[Hold], Hold]:
        """
        Enter `hold`, or `hold_beside`, and give the context manager with its hold.

        A unit of work locks by this method. A storage may override it to do so in fewer steps.

        Args:
            key: Any string.
            timeout: See `hold`.
            beside: A hold of the unit in this storage; `None` without one.
        """
        if beside is None:
            manager = self.hold(key, timeout)
        else:
            manager = self.hold_beside(beside, key, timeout)
        return manager, manager.__enter__()

    def hold_beside(
        self,
        hold: Hold,  # noqa: ARG002 -- for storages whose locks belong to a transaction
        key: str,
        timeout: float | None = None,
    ) -> AbstractContextManager[Hold]:
        """
        Exclusive use of one more key for a unit of work that already has a key.

        Both holds are passed to one `commit`. Here this is `hold`. A storage whose locks belong to
        a transaction overrides this, so that both are in one.

        Args:
            hold: A hold of this storage and this thread, which was entered and is not left.
            key: Any string.
            timeout: See `hold`.

        Raises:
            LockTimeoutError: On entering, when the key stayed busy for that long.
        """
        return self.hold(key, timeout)

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        """
        Do the noted writes of several holds, and changes of other keys, together or not at all.

        It is the last use of the holds: a storage may unlock their keys in the same step. Their
        blocks are left afterwards in any case. Here the writes are done one after the other: first
        the writes of the holds, then their deletions, then the changes. So a failure in the middle
        keeps the earlier writes, and a record that moves to another key is never lost. A storage
        whose backend has transactions overrides this.

        Args:
            holds: Holds of this storage. Holds that have noted nothing must still have their locks,
                because the writes of the others may depend on their records.
            also: Changes of keys without a hold among these.

        Raises:
            LockLostError: A lock was lost, or a record was not as a change expects it. Nothing
                was written.
            StorageError: The backend failed. The attribute `written` has the keys that were
                written before.
        """
        for change in also:
            if self.get(change.key) != change.expected:
                raise LockLostError(change.key)
        written: list[str] = []
        try:
            for hold in sorted(holds, key=deletes):
                is_changed = hold.note is not None
                hold.flush()
                written += [hold.key] * is_changed
            for change in also:
                if change.payload is None:
                    self.delete(change.key)
                else:
                    self.set(change.key, change.payload, change.lifetime)
                written.append(change.key)
        except StorageError as error:
            error.written = tuple(written)
            raise

    def listed(self, prefix: str, after: str = "", limit: int = 100) -> list[str]:
        """
        The live keys of an index, in the order of their characters.

        An index has the records that a `Change` with this `index`, or `add_once`, has stored. Store
        and delete all records whose keys begin with the prefix in these ways, because `set` and
        `delete` may leave an index as it is. Here the keys come from `keys`. A storage with a
        faster way overrides this, so that a call costs the number of keys in the index.

        Args:
            prefix: The name of the index, with which its keys begin.
            after: Only greater keys are listed; pass the last key of a page to get the next one.
            limit: The largest number of keys that are listed. Fewer keys are the last page.

        Raises:
            StorageError: The backend failed.
        """
        return nsmallest(limit, (key for key in self.keys(prefix) if key > after))

    def add_once(
        self, prefix: str, payloads: Mapping[int, bytes], *, pages: str, memory: float
    ) -> list[int]:
        """
        Store the records of new numbers, and remember the numbers.

        A number is new if it was not added during the last `memory` seconds. Of several calls
        with the same number, one stores its record, and the others leave it out. A number is
        remembered for longer than its record exists.

        The key of a record is the prefix and the 16 digits of its number, and the prefix is its
        index: see `listed`. The storage remembers numbers in pages of 4,096, one bit for each. The
        key of a page is `pages` and the number divided by 4,096. Each write to a page renews the
        lifetime of the whole page.

        Here each page is read and written under its lock, after the records of its new numbers
        have been stored one by one. A storage whose backend has transactions overrides this.

        Args:
            prefix: Begins the key of each record.
            payloads: Payloads by number; numbers are from 0 to 2**52 - 1.
            pages: Begins the key of each page. No other key begins with it.
            memory: Seconds that a number is remembered at least.

        Returns:
            The numbers that were new, in the order of the payloads.

        Raises:
            StorageError: The backend failed. The attribute `written` has the keys of the records
                that were stored before. The last of them may be stored again by the next call.
            ValueError: A number is out of range.
        """
        added: list[int] = []
        try:
            for page, numbers in by_page(payloads).items():
                with self.hold(f"{pages}{page}") as held:
                    bitmap = Bitmap(held.get())
                    new = [number for number in numbers if bitmap.add(number)]
                    for number in new:
                        self.set(key_of(prefix, number), payloads[number])
                        added.append(number)
                    if new:
                        held.set(bitmap.payload, memory)
        except StorageError as error:
            error.written = tuple(key_of(prefix, number) for number in added)
            raise
        new_numbers = set(added)
        return [number for number in payloads if number in new_numbers]

    def now(self) -> float:
        """
        Seconds since the epoch, on the clock of the records' deadlines.

        Here it is the clock of this machine; a server has its own.
        """
        return time.time()

    @property
    def process_state(self) -> ProcessState:
        """The state of this process: a new object after every fork."""
        return self._states.get(self._make_state)

    def _make_state(self) -> ProcessState:
        """Make the state of a process; a storage with further state returns a subclass."""
        return ProcessState()

    def close(self) -> None:  # noqa: B027 -- most storages have nothing to close
        """Close the files and connections of the storage; may be repeated. Here there are none."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def deletes(hold: Hold) -> bool:
    """Whether a hold has noted to delete its record."""
    return hold.note is not None and hold.note.payload is None


# The record of a hold that was not read yet.
UNREAD: Any = object()


class Hold:
    """
    Exclusive use of one key, from entering the `with` block to leaving it.

    Lives for one block in one thread. Writes are only noted: `flush`, `Storage.commit` or leaving
    the block does them. A block that raises does not write.

    A hold belongs to the process that made it. In a child that was forked inside the block,
    leaving the block does nothing. A storage that several processes share has a subclass with
    `__enter__`, which locks, `_read`, `_leave` and `flush`.

    Attributes:
        key: The key.
        storage: The storage of the key.
        note: The noted write; `None` if there is none.
        payload: The record that the hold has read or written; `UNREAD` before.
        process_state: The state of the process that made the hold.
        is_read: Whether `get` returns `payload`, as long as nothing is noted.
        is_left: Whether the commit has unlocked the key already.
    """

    __slots__ = ("_timeout", "key", "note", "payload", "process_state", "storage")

    is_read: bool = False
    is_left: bool = False

    def __init__(self, storage: Storage, key: str, timeout: float | None) -> None:
        self.storage = storage
        self.key = key
        self.note: Note | None = None
        self._timeout = timeout
        self.process_state = storage.process_state
        self.payload: bytes | None = UNREAD

    def __enter__(self) -> Self:
        self.process_state.locks.acquire(self.key, self._timeout)
        return self

    def __exit__(self, kind: object, error: object = None, trace: object = None) -> None:
        if self.is_inherited():
            return
        if kind is not None:
            # A subclass may write together with the unlock.
            self.note = None
        try:
            if self.note is not None:
                self.storage.commit([self])
        finally:
            self._leave()

    def _read(self) -> bytes | None:
        """The payload as it was when the key was locked, or as it was last written."""
        payload = self.payload
        if payload is UNREAD:
            payload = self.payload = self.storage.get(self.key)
        return payload

    def _leave(self) -> None:
        """Unlock the key. Never called in a child that was forked."""
        self.process_state.locks.release(self.key)

    def leave_again(self) -> None:
        """
        Unlock the key, if an interruption of `__exit__` has left it locked.

        Here this does nothing. A hold that knows whether it has the lock overrides this.
        """

    def is_inherited(self) -> bool:
        """
        Whether this process was forked while its parent held the key.

        Then the parent has the lock, and the child neither writes nor unlocks the key.
        """
        return self.process_state is not self.storage.process_state

    def get(self) -> bytes | None:
        """The payload as it was when the key was locked, or as it was noted since."""
        note = self.note
        return self._read() if note is None else note.payload

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        """Note a write as by `Storage.set`."""
        if lifetime is not None and lifetime <= 0:
            self.note = DELETION
        else:
            self.note = make_note(Note, ("set", payload, lifetime))

    def delete(self) -> bool:
        """Note a deletion as by `Storage.delete`, and return whether there is a record."""
        if self.get() is None:
            return False
        self.note = DELETION
        return True

    def touch(self, lifetime: float | None) -> bool:
        """Note a new lifetime as by `Storage.touch`, and return whether there is a record."""
        payload = self.get()
        if payload is None:
            return False
        is_set = self.note is not None and self.note.action == "set"
        is_over = lifetime is not None and lifetime <= 0
        self.note = DELETION if is_over else Note("set" if is_set else "touch", payload, lifetime)
        return True

    def flush(self) -> None:
        """
        Do the noted write now, and keep the lock.

        Raises:
            StorageError: The backend failed. The write is not noted any more.
        """
        note, self.note = self.note, None
        if note is None:
            return
        if note.payload is None:
            self.storage.delete(self.key)
        elif note.action == "set" or not self.storage.touch(self.key, note.lifetime):
            # A record that was touched just before its end may have expired since.
            self.storage.set(self.key, note.payload, note.lifetime)
        # Not before, because a write that failed has stored nothing.
        self.payload = note.payload

    def take_note(self) -> Note | None:
        """The noted write, which the caller does now; a write that failed is not done later."""
        note, self.note = self.note, None
        if note is not None:
            self.payload = note.payload
        return note

    def now(self) -> float:
        """Like `Storage.now`, but a hold asks a server at most once."""
        return self.storage.now()
