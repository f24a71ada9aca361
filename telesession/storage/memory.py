"""Sessions in the memory of the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, suppress
from math import inf
from typing import Any, Literal

from telesession.codecs import Codec, PickleCodec
from telesession.codecs.memory import MemoryCodec
from telesession.errors import LockLostError, StorageError
from telesession.forks import call_in_forked_child
from telesession.storage.base import UNREAD, Change, Hold, Note, ProcessState, Record, Storage
from telesession.storage.evictions import log_eviction
from telesession.storage.expiry import Expiry

# At how many keys `keys` looks at a time.
_PAGE = 5_000


class MemoryStorage(Storage):
    """
    Keeps records in a mapping of this process; they are gone when it ends.

    The default of every decorator. Records are bytes in memory too: no handler can share an
    object with the store, rollback is free, and a million sessions are not a million objects
    for the garbage collector.

    Keep one instance for as long as the bot runs. Any thread may use it. While no record has a
    lifetime, a dict is read and written in single steps of the interpreter. Any other use of the
    store is under one mutex, because cachetools' caches change even when they are read.

    Args:
        store: A mutable mapping of `str` to `bytes`, a new `dict` by default. It belongs to the
            storage from now on. A cache of cachetools bounds memory: by age with
            `TTLCache(10_000, 3600, timer=lambda: time.monotonic())`, by bytes with
            `LRUCache(64 * 2**20, getsizeof=len)`. A session that a cache evicts starts anew.
        codec: The codec that turns records into bytes; by default a `PickleCodec`. Without a store,
            it does not pickle plain data and adds no checksum, because no other program reads these
            bytes.
    """

    # A slot in the place of the property, which asks the system for the number of the process.
    # Each process has a store of its own, so a fork in C, which calls no hook, does no harm here.
    __slots__ = ("process_state",)
    process_state: ProcessState

    persistent = False

    def __init__(
        self, store: MutableMapping[str, bytes] | None = None, codec: Codec | None = None
    ) -> None:
        if codec is None:
            codec = MemoryCodec() if store is None else PickleCodec()
        self.codec = codec
        self._store: MutableMapping[str, bytes] = {} if store is None else _checked_store(store)
        # A dict keeps every payload that it is given; any other mapping may refuse one.
        self._is_dict = type(self._store) is dict
        self._expiry = Expiry(self._store)
        # While it is an object, threads may read and write a single record without the mutex,
        # because a dict does so in one step of the interpreter. An operation of several steps
        # removes the object, and sets a new one afterwards. So a thread that has written sees
        # whether such an operation came between.
        self._pass: object | None = None
        self._begin_anew()
        call_in_forked_child(self._begin_anew)

    def get(self, key: str) -> bytes | None:
        """See `Storage.get`."""
        if self._pass is not None:
            payload = self._store.get(key)
        else:
            with self._mutex:
                payload = self._live(key)
        if payload is None or isinstance(payload, bytes):
            return payload
        raise _no_bytes(key, payload)

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """See `Storage.set`. It also removes some expired records from the store."""
        granted = self._pass
        if granted is not None and lifetime is None:
            self._store[key] = payload
            if self._pass is granted:
                return
        with self._mutex:
            self._pass = None
            self._put(key, payload, lifetime)
            self._let_pass()

    def delete(self, key: str) -> bool:
        """See `Storage.delete`."""
        with self._mutex:
            self._pass = None
            deleted = self._remove(key)
            self._let_pass()
            return deleted

    def touch(self, key: str, lifetime: float | None) -> bool:
        """See `Storage.touch`. A cache's own age limit still counts from the last write."""
        with self._mutex:
            self._pass = None
            touched = self._renew(key, lifetime)
            self._let_pass()
            return touched

    def commit(  # noqa: C901 -- most updates pass here
        self, holds: Sequence[Hold], also: Sequence[Change] = ()
    ) -> None:
        """See `Storage.commit`. All writes happen under the mutex, or none if one of them fails."""
        if len(holds) == 1 and not also:
            (hold,) = holds
            note = hold.note
            if not self._is_dict:
                self._log_if_evicted(hold)
            if note is None or note.payload is None or note.action != "set":
                hold.flush()
                return
            # As in `Hold.flush`, without a call: most updates come here.
            hold.note = None
            self.set(hold.key, note.payload, note.lifetime)
            # A subclass may do more in its own `commit`, under the lock.
            if type(hold) is MemoryHold and type(self) is MemoryStorage:
                hold.unlock()
            return
        if not self._is_dict:
            for hold in holds:
                self._log_if_evicted(hold)
        with self._mutex:
            self._pass = None
            for change in also:
                if self._live(change.key) != change.expected:
                    raise LockLostError(change.key)
            self._write_together(_noted_changes(holds, also))
            self._let_pass()

    def hold(self, key: str, timeout: float | None = None) -> Hold:
        """See `Storage.hold`."""
        return MemoryHold(self, key, timeout)

    def enter_hold(
        self, key: str, timeout: float | None, beside: Hold | None = None
    ) -> tuple[AbstractContextManager[Hold], Hold]:
        """See `Storage.enter_hold`. It locks and reads in one call."""
        if type(self) is not MemoryStorage:
            # A subclass may have methods of its own.
            return super().enter_hold(key, timeout, beside)
        # Not by its constructor, which is one more call.
        hold: MemoryHold = MemoryHold.__new__(MemoryHold)
        hold.storage, hold.key, hold.note = self, key, None
        hold.process_state = state = self.process_state
        hold.is_left = False
        # As `LockTable.acquire`.
        locks, me = state.locks, (threading.get_ident(), time.monotonic())
        try:
            if locks.holders.setdefault(key, me) is not me or key in locks.queues:
                me = locks.wait(key, me, timeout)
            payload = UNREAD if self._pass is None else self._store.get(key)
            hold.is_read = payload is None or type(payload) is bytes
        except BaseException:
            # After a KeyboardInterrupt the caller knows of no lock.
            locks.withdraw(key, me)
            raise
        # `get` reads any other object once more, and refuses it.
        hold.payload = payload if hold.is_read else UNREAD
        return hold, hold

    def has(self, key: str) -> bool:
        """See `Storage.has`. A cache does not count it as a use of the record."""
        with self._mutex:
            return self._contains(key)

    def get_record(self, key: str) -> Record | None:
        """See `Storage.get_record`. A cache's own age limit is no lifetime."""
        with self._mutex:
            payload, deadline = self._live(key), self._expiry.deadlines.get(key)
        if payload is None:
            return None
        if not isinstance(payload, bytes):
            raise _no_bytes(key, payload)
        left = None if deadline is None else deadline - time.monotonic()
        return None if left is not None and left <= 0 else Record(payload, left)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """
        See `Storage.keys`. The keys are those at the time of the call.

        Other threads wait while the keys are copied, and go on while they are filtered. A key that
        is deleted during the call may be missing.
        """
        try:
            with self._mutex:
                now = time.monotonic()
                keys = list(self._store)
                if not self._is_dict:
                    is_over = self._expiry.is_over
                    return iter([k for k in keys if k.startswith(prefix) and not is_over(k)])
                timed = bool(self._expiry.deadlines)
            pages = self._live_pages(keys, prefix, now if timed else None)
        except Exception as error:
            raise _failure("list the keys", None, error) from error
        return _iter_pages(pages)

    def __repr__(self) -> str:
        return f"<MemoryStorage in a {type(self._store).__name__}>"

    def _begin_anew(self) -> None:
        """Begin with no locks, in a new storage and in each forked child."""
        self._let_pass()
        self.process_state = self._make_state()  # pyright: ignore[reportIncompatibleMethodOverride]
        # It may be older than a patch of threading by gevent, and is then a lock of threads.
        # No thread waits for it long, because the code under it neither blocks nor switches to a
        # greenlet.
        self._mutex = threading.Lock()

    def _log_if_evicted(self, hold: Hold) -> None:
        """Log a session that the store has dropped since it was read."""
        note, read = hold.note, hold.payload
        # A record with a lifetime may have ended, and was perhaps removed.
        if note is None or note.lifetime is not None or read is None or read is UNREAD:
            return
        # If the store fails here, the write reports that, or succeeds.
        with suppress(StorageError):
            if not self.has(hold.key):
                log_eviction(hold.key)

    def _live(self, key: str) -> bytes | None:
        if key in self._expiry.deadlines and self._expiry.is_over(key):
            return None
        return self._read(key, "read")

    def _write(self, key: str, note: Note) -> None:
        if note.payload is None:
            self._remove(key)
        elif note.action == "set" or not self._renew(key, note.lifetime):
            self._put(key, note.payload, note.lifetime)

    def _let_pass(self) -> None:
        """Let threads work without the mutex again, unless a record has a lifetime."""
        if self._is_dict and self._expiry.due == inf:
            self._pass = object()

    def _write_together(self, writes: Iterable[tuple[str, Note]]) -> None:
        undo: list[tuple[str, bytes | None, float | None]] = []
        try:
            for key, write in writes:
                undo.append((key, self._read(key, "read"), self._expiry.deadlines.get(key)))
                self._write(key, write)
        except BaseException:
            # A KeyboardInterrupt, too, writes all or nothing.
            for before in reversed(undo):
                self._restore(*before)
            raise

    def _put(self, key: str, payload: bytes, lifetime: float | None) -> None:
        before = None if self._is_dict else self._read(key, "write")
        try:
            self._store[key] = payload
        except Exception as error:
            raise _failure("write", key, error) from error
        if before is not None and before != payload:
            self._drop_older(key, before)
        if lifetime is not None or self._expiry.due != inf:
            self._expiry.schedule(key, lifetime)
            self._expiry.remove_some()

    def _remove(self, key: str) -> bool:
        live = not self._expiry.is_over(key)
        try:
            del self._store[key]
        except KeyError:
            live = False
        except Exception as error:
            raise _failure("delete", key, error) from error
        self._expiry.cancel(key)
        return live

    def _renew(self, key: str, lifetime: float | None) -> bool:
        if not self._contains(key):
            return False
        self._expiry.schedule(key, lifetime)
        self._expiry.remove_some()
        return True

    def _restore(self, key: str, payload: bytes | None, deadline: float | None) -> None:
        """Undo a write, as far as the store lets us."""
        with suppress(Exception):
            if payload is None:
                del self._store[key]
            else:
                self._store[key] = payload
        if deadline is None:
            self._expiry.cancel(key)
        else:
            self._expiry.schedule(key, deadline - time.monotonic())

    def _read(self, key: str, action: str) -> bytes | None:
        try:
            return self._store[key]
        except KeyError:
            return None
        except Exception as error:
            raise _failure(action, key, error) from error

    def _contains(self, key: str) -> bool:
        try:
            return key in self._store and not self._expiry.is_over(key)
        except Exception as error:
            raise _failure("look up", key, error) from error

    def _live_pages(self, keys: list[str], prefix: str, now: float | None) -> list[tuple[str, ...]]:
        """
        Empty a list of the keys of a dict into pages of live keys, the last keys first.

        Needs no mutex. `now` is the moment of the list; `None` if no key had a deadline then.
        """
        store, deadline_of = self._store, self._expiry.deadlines.get
        pages = []
        while keys:
            # One list of all live keys would be traversed by each garbage collection, and to free
            # millions of keys at once stops all threads.
            page = [key for key in keys[-_PAGE:] if key.startswith(prefix)]
            del keys[-_PAGE:]
            if now is not None:
                # A key without a deadline may be an expired one that another thread has removed.
                page = [
                    key
                    for key in page
                    if (now < end if (end := deadline_of(key)) is not None else key in store)
                ]
            pages.append(tuple(page))
        return pages

    def _drop_older(self, key: str, before: bytes) -> None:
        # TLRUCache ignores a value whose time is already over and keeps the one before it. A
        # deletion first would be simpler, but it loses the old record when the store refuses the
        # new one.
        with suppress(Exception):
            if self._store[key] == before:
                del self._store[key]


class MemoryHold(Hold):
    """Exclusive use of one session in memory."""

    __slots__ = ("is_left", "is_read")

    def __init__(self, storage: Storage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self.is_read = self.is_left = False

    def get(self) -> bytes | None:
        """See `Hold.get`."""
        if self.note is not None:
            return self.note.payload
        # As in `Hold._read`, without a call.
        payload = self.payload
        if payload is UNREAD:
            payload = self.payload = self.storage.get(self.key)
        return payload

    def __exit__(self, kind: object, error: object = None, trace: object = None) -> None:
        if self.note is not None:
            super().__exit__(kind, error, trace)
        elif self.process_state is self.storage.process_state:
            self._leave()

    def _leave(self) -> None:
        if not self.is_left:
            self.unlock()

    def unlock(self) -> None:
        """Unlock the key before the end of the block, which does nothing then."""
        locks, key = self.process_state.locks, self.key
        # As `LockTable.release`. No call comes between the first two steps, so no KeyboardInterrupt
        # does.
        self.is_left = True
        del locks.holders[key]
        try:
            if key in locks.queues:
                locks.hand_over(key)
        except BaseException:
            locks.hand_over(key)
            raise

    def leave_again(self) -> None:
        """See `Hold.leave_again`."""
        if self.process_state is self.storage.process_state:
            self._leave()


def _iter_pages(pages: list[tuple[str, ...]]) -> Iterator[str]:
    """Give the keys of the pages, the last page first, and free each page after its last key."""
    while pages:
        yield from pages.pop()


def _noted_changes(holds: Sequence[Hold], also: Sequence[Change]) -> Iterator[tuple[str, Note]]:
    """The noted writes of holds, whose notes are removed, and the changes of other keys."""
    for hold in holds:
        if (note := hold.take_note()) is not None:
            yield hold.key, note
    for change in also:
        action: Literal["set", "delete"] = "delete" if change.payload is None else "set"
        yield change.key, Note(action, change.payload, change.lifetime)


def _checked_store(store: Any) -> MutableMapping[str, bytes]:
    methods = ("__getitem__", "__setitem__", "__delitem__", "__contains__", "__iter__")
    lacking = [name for name in methods if not hasattr(type(store), name)]
    if lacking or isinstance(store, Sequence | Storage | type):
        shown = store.__name__ if isinstance(store, type) else f"a {type(store).__name__}"
        raise TypeError(
            f"MemoryStorage(store=...) must be a mutable mapping such as {{}}, not {shown}"
            + (f", which has no {lacking[0]}" if lacking else "")
        )
    checked: MutableMapping[str, bytes] = store
    return checked


def _no_bytes(key: str, payload: object) -> StorageError:
    reason = f"the store of MemoryStorage gave a {type(payload).__name__}, no bytes"
    return StorageError("read", key, reason, "give it a store of bytes only")


def _failure(action: str, key: str | None, error: Exception) -> StorageError:
    reason = f"the store of MemoryStorage raised {type(error).__name__}"
    if isinstance(error, ValueError) and action == "write":
        remedy = "raise its maxsize if it is a cache too small for the record, else see __cause__"
        return StorageError(action, key, reason, remedy)
    return StorageError(action, key, reason)
