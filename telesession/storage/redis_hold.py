"""Exclusive use of a session that is on a server: one round trip to begin, one to end."""

from __future__ import annotations

import math
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from telesession.errors import LockLostError, LockTimeoutError, StorageError
from telesession.storage.base import Hold
from telesession.storage.redis_scripts import ACQUIRE, COMMIT, milliseconds

if TYPE_CHECKING:
    from telesession.storage.redis import RedisStorage

# What a commit shall do: the action, the lifetime or an empty string, and the payload.
_Note = tuple[str, int | str, bytes]


def _note(action: str, lifetime: float | None = None, payload: bytes = b"") -> _Note:
    if lifetime is not None and lifetime <= 0:
        return "delete", "", b""
    return action, "" if lifetime is None else milliseconds(lifetime), payload


class RedisHold(Hold):
    """
    Exclusive use of one session among all processes.

    What is written is only noted; it happens together with the unlock, or at `flush`. The lock
    is a key with a random token and a lease:

        time  0: A asks for session 42: its token becomes the lock, and it gets the payload.
        time  1: B asks. The lock is A's, so B joins the queue and listens for calls, in steps of
                 at most two seconds and never longer than what is left of the lease.
        time 10: A is still at work; its background thread renews the lease of 30 seconds.
        time 12: A commits: the token is still the lock, so A's fields are written. The queue is
                 not empty, so the lock is reserved and the longest listener, B, called.
        time 12: C asks. The lock is reserved, so C joins the queue: nobody overtakes B.
        time 12: B has heard the call, takes over the reserved lock and reads what A wrote.
        time 13: B is killed. Nobody renews its lease.
        time 42: The lease is over, and so is C's step, which takes the lock.

    Had B been frozen instead, it would find another token at its commit, write nothing and raise
    `LockLostError`. Had the answer to A's commit been lost on its way, redis-py would send it
    again, and the server find beside the lock that it was done already.
    """

    __slots__ = ("_done", "_end", "_lead", "_names", "_note", "_number", "_payload", "_token")

    _storage: RedisStorage
    # What the scripts use: the record, and beside it lock, queue and calls.
    _names: tuple[bytes, bytes, bytes, bytes]
    _token: bytes
    # The number of the last commit with this token.
    _done: bytes
    # How far the server's clock is ahead of the monotonic clock.
    _lead: float
    _payload: bytes | None
    # When the payload expires, on the monotonic clock.
    _end: float
    _note: _Note | None

    def __init__(self, storage: RedisStorage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        record = storage._name(key)
        # The braces keep the names in the slot of a cluster in which the record is.
        beside = b"{%b}:" % record
        self._names = (record, beside + b"lock", beside + b"queue", beside + b"calls")
        self._done = beside + b"done:"
        self._note = None
        self._number = 0

    def __enter__(self) -> Self:
        storage, key, timeout = self._storage, self._key, self._timeout
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        storage._locks.acquire(key, timeout)
        self._token = secrets.token_hex(12).encode()
        self._done += self._token
        try:
            self._acquire(deadline)
        except BaseException:
            storage._abandon(key, self._token)
            storage._locks.release(key)
            raise
        storage._renewal.add((self._token, self._names[1]))
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._note is None:
                self._unlock()
            else:
                self._write(unlock=True)
        finally:
            self._storage._renewal.discard((self._token, self._names[1]))
            self._storage._locks.release(self._key)

    def get(self) -> bytes | None:
        """Like `Storage.get`: as it was when the lock was taken, or what was written since."""
        return self._payload if time.monotonic() < self._end else None

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        """Like `Storage.set`, with the next `flush` or on leaving the block."""
        self._payload = payload
        self._live_for(lifetime)
        self._note = _note("set", lifetime, payload)

    def delete(self) -> bool:
        """Like `Storage.delete`, with the next `flush` or on leaving the block."""
        if self.get() is None:
            return False
        self._payload = None
        self._note = _note("delete")
        return True

    def touch(self, lifetime: float | None) -> bool:
        """Like `Storage.touch`, with the next `flush` or on leaving the block."""
        if self.get() is None:
            return False
        self._live_for(lifetime)
        action, _, payload = self._note or _note("touch")
        self._note = _note(action, lifetime, payload)
        return True

    def flush(self) -> None:
        """
        See `Hold.flush`.

        Raises:
            LockLostError: The lease was lost, so nothing was written.
        """
        if self._note is not None:
            self._write(unlock=False)

    def now(self) -> float:
        """See `Hold.now`. The server was asked when it gave the lock."""
        return self._lead + time.monotonic()

    def _acquire(self, deadline: float) -> None:
        storage, key = self._storage, self._key
        claim = storage._orphans.pop(key, b"")
        while True:
            left = max(0.0, deadline - time.monotonic())
            patience = math.ceil(min(left, storage._patience) * 1000)
            args = (self._token, claim, storage._lease, patience)
            answer = storage._run(ACQUIRE, "lock", key, self._names, *args)
            if not isinstance(answer, int):
                break
            if not left:
                raise LockTimeoutError(key, self._timeout or 0.0)
            # Redis 6.2 takes 0.001 s for 0 s, which is for ever.
            silence = max(answer, 2) / 1000
            call = storage._command("lock", key, "BLPOP", self._names[3], silence)
            claim = call[1] if call else b""
        self._payload, left, seconds, microseconds = answer
        self._live_for(left / 1000 if left >= 0 else None)
        self._lead = int(seconds) + int(microseconds) / 1e6 - time.monotonic()

    def _live_for(self, lifetime: float | None) -> None:
        self._end = math.inf if lifetime is None else time.monotonic() + lifetime

    def _write(self, *, unlock: bool) -> None:
        # Forgotten first: what failed here must not be written later, behind the handler's back.
        storage, note, self._note = self._storage, self._note, None
        try:
            written = self._commit("write", unlock, note)
        except StorageError as error:
            if unlock and storage._was_refused(error):
                self._unlock()
            raise
        if not written:
            raise LockLostError(self._key)

    def _unlock(self) -> None:
        # If this fails nothing is lost: the lease ends, and this process need not wait for that.
        with suppress(StorageError):
            self._commit("unlock", True, None)

    def _commit(self, what: str, unlock: bool, note: _Note | None) -> bool:
        """Do what is noted; false if the lock was lost before."""
        storage, key = self._storage, self._key
        self._number += 1
        names = (*self._names, self._done)
        args = (self._token, self._number, storage._lease, "unlock" if unlock else "")
        try:
            return bool(storage._run(COMMIT, what, key, names, *args, *(note or _note(""))))
        except BaseException:
            storage._abandon(key, self._token)
            raise
