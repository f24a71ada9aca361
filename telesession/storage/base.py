"""What a storage promises to the rest of the library, and the locks around it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

from telesession.codecs import Codec, JSONCodec
from telesession.forks import PerProcess
from telesession.locks import LockTable
from telesession.storage.successions import Successions


class ProcessState:
    """
    The part of a storage that belongs to one process. A forked child begins with an empty one.

    Attributes:
        locks: The locks of the keys, for the threads of the process.
        opened: The sessions in use, by `threading.get_ident()` of the thread and by key. Not a
            `threading.local`: gevent may patch `threading` after this was made, and all greenlets
            of a thread would share it. Whoever adds a session removes it, because a later thread
            may get the same number.
    """

    __slots__ = ("locks", "opened")

    def __init__(self) -> None:
        self.locks = LockTable()
        self.opened: dict[tuple[int, str], Any] = {}


class Storage(ABC):
    """
    Keeps `key -> bytes`, each with an optional lifetime. The base class of every storage.

    A backend is five methods: `get`, `set`, `delete`, `touch` and `keys`. It knows nothing of
    fields or of Telegram. Whatever its backend raises must leave as `StorageError` with that
    exception as the `__cause__`: an error is never to look like a missing record, for the user
    would then start anew and lose what was stored.

    Keep one instance for as long as the bot runs and give it to everybody who uses the same
    records: the locks live in it. Every method may be called from any thread. A storage is a
    context manager that closes itself.

    Attributes:
        codec: How records become bytes. The storage only carries it, and never calls it.
        persistent: Whether records outlive the process or are read by others, so that their
            deadlines must be written in wall-clock time. Only a storage that lives and dies
            with its process may say no.
    """

    codec: Codec = JSONCodec()
    persistent: bool = True

    _states: PerProcess[ProcessState]
    _successions: Successions

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Give every storage its locks, also one whose own `__init__` calls no other."""
        self = super().__new__(cls)
        self._states = PerProcess()
        self._successions = Successions()
        return self

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """
        The payload of a key; `None` if it was never stored, was deleted, or has expired.

        Raises:
            StorageError: The backend failed, so nobody knows whether there is a record.
        """

    @abstractmethod
    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        """
        Replace payload and lifetime of a key together, or neither.

        Args:
            key: Any string.
            payload: What `get` shall return.
            lifetime: Seconds from now until the record expires; `None` keeps it for ever, also
                if the record had a lifetime before.

        Raises:
            StorageError: The backend failed; the old record is still whole.
        """

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Remove a record and say whether there was one; may be repeated."""

    @abstractmethod
    def touch(self, key: str, lifetime: float | None) -> bool:
        """
        Give a record a new lifetime, counted from now, without rewriting its payload.

        Returns:
            Whether there was a record. Where there is none, nothing happens.
        """

    @abstractmethod
    def keys(self, prefix: str = "") -> Iterator[str]:
        """Iterate over the live keys that start with `prefix`, without loading payloads."""

    def has(self, key: str) -> bool:
        """Whether `get` would return a payload."""
        return self.get(key) is not None

    def hold(self, key: str, timeout: float | None = None) -> AbstractContextManager[Hold]:
        """
        Exclusive use of a key, as a context manager that gives a `Hold`.

        Here the lock is one of this process, first come, first served. It is not reentrant. A
        backend that is shared by processes overrides this to lock among them, and may do the
        lock together with the read and the write together with the unlock.

        Args:
            key: Any string.
            timeout: Seconds to wait while others hold it; `None` waits for ever.

        Raises:
            LockTimeoutError: On entering, when the key stayed busy for that long.
        """
        return Hold(self, key, timeout)

    def now(self) -> float:
        """
        Seconds since the epoch, on the clock by which everybody who uses the records counts.

        Here it is the clock of this machine; a server has its own.
        """
        return time.time()

    @property
    def _process(self) -> ProcessState:
        """The state of this process: a new object after every fork."""
        return self._states.get(self._make_state)

    def _make_state(self) -> ProcessState:
        """Make the state of a process; a storage with more of it returns a subclass."""
        return ProcessState()

    def close(self) -> None:  # noqa: B027 -- most storages have nothing to close
        """Give back what the storage has opened; may be repeated. Here there is nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Hold:
    """
    Exclusive use of one key, from entering the `with` block to leaving it.

    Lives for one block in one thread. What is written here happens at once; where a backend
    combines the last write with the unlock, it happens at `flush` or on leaving the block.

    A hold belongs to the process that made it. In a child that was forked inside the block,
    leaving the block does nothing. A subclass overrides `__enter__`, and `_leave` instead of
    `__exit__`; the lock of its threads is `self._process.locks`.
    """

    __slots__ = ("_key", "_process", "_storage", "_timeout")

    def __init__(self, storage: Storage, key: str, timeout: float | None) -> None:
        self._storage = storage
        self._key = key
        self._timeout = timeout
        self._process = storage._process

    def __enter__(self) -> Self:
        self._process.locks.acquire(self._key, self._timeout)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_inherited():
            self._leave()

    def _leave(self) -> None:
        """Write what is left to write, and unlock. Never called in a child that was forked."""
        self._process.locks.release(self._key)

    def is_inherited(self) -> bool:
        """
        Whether this process was forked while its parent held the key.

        The key is the parent's then: the child neither writes nor unlocks it.
        """
        return self._process is not self._storage._process

    def get(self) -> bytes | None:
        """Like `Storage.get`, of the held key."""
        return self._storage.get(self._key)

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        """Like `Storage.set`, of the held key."""
        self._storage.set(self._key, payload, lifetime)

    def delete(self) -> bool:
        """Like `Storage.delete`, of the held key."""
        return self._storage.delete(self._key)

    def touch(self, lifetime: float | None) -> bool:
        """Like `Storage.touch`, of the held key."""
        return self._storage.touch(self._key, lifetime)

    def flush(self) -> None:
        """Let everything that was written take effect now, and keep the key."""

    def now(self) -> float:
        """Like `Storage.now`, but never more than one question to a server for each hold."""
        return self._storage.now()
