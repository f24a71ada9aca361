"""Exclusive use of a session that is on a server: one round trip to begin, one to end."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Self

from telesession.errors import LockLostError, LockTimeoutError, StorageError
from telesession.storage.base import Hold
from telesession.storage.redis_scripts import ACQUIRE, COMMIT, KEPT, milliseconds

if TYPE_CHECKING:
    from telesession.storage.base import Storage
    from telesession.storage.redis_server import Names, Owner, RedisServer

# The noted write of a commit: the action, the lifetime or an empty string, and the payload.
_Note = tuple[str, int | str, bytes]


def _note(action: str, lifetime: float | None = None, payload: bytes = b"") -> _Note:
    if lifetime is not None and lifetime <= 0:
        return "delete", "", b""
    return action, "" if lifetime is None else milliseconds(lifetime), payload


class RedisHold(Hold):
    """
    Exclusive use of one session among all processes.

    A write is only noted; it happens together with the unlock, or at `flush`. The lock is a key
    with a token and a lease:

        time  0: A asks for session 42: its token becomes the lock, and it gets the payload.
        time  1: B asks. The lock is A's, so B joins the queue and listens for calls, in steps of
                 at most two seconds and never longer than what is left of the lease.
        time 10: A is still at work; its background thread renews the lease of 30 seconds.
        time 12: A commits: the token is still the lock, so A's fields are written. The queue is
                 not empty, so the lock is reserved and the longest listener, B, called.
        time 12: C asks. The lock is reserved, so C joins the queue and does not overtake B.
        time 12: B has heard the call, takes over the reserved lock and reads what A wrote.
        time 13: B is killed. Nobody renews its lease.
        time 42: The lease is over, and so is C's step, which takes the lock.

    Had B been frozen instead, it would find another token at its commit, write nothing and raise
    `LockLostError`. Had the answer to A's commit been lost on its way, A would send it again, and
    the server find that it was done already. Had the answer to the first question been lost, and
    the server been away for longer than A asks, the next update of A's process would take over
    the lock, which has the name of its owner in it.
    """

    __slots__ = (
        "_end",
        "_is_first",
        "_lead",
        "_names",
        "_note",
        "_owner",
        "_payload",
        "_server",
        "_token",
    )

    _owner: Owner
    _token: bytes
    # The server's clock minus the monotonic clock, in seconds.
    _lead: float
    _payload: bytes | None
    # The monotonic time at which the payload expires.
    _end: float
    _note: _Note | None

    def __init__(
        self, storage: Storage, server: RedisServer, key: str, timeout: float | None
    ) -> None:
        super().__init__(storage, key, timeout)
        self._server = server
        self._names: Names = server.names(key)
        self._note = None
        self._is_first = True

    def __enter__(self) -> Self:
        timeout = self._timeout
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._owner = self._server.owner
        super().__enter__()
        try:
            # Not before, because the server takes the highest number of an owner for the newest.
            self._token = self._owner.next_token()
            self._acquire(deadline)
        except BaseException as error:
            if not isinstance(error, LockTimeoutError):
                self._owner.leave(self._names, self._token)
            super()._leave()
            raise
        self._owner.renewal.add((self._token, self._names.lock))
        return self

    def _leave(self) -> None:
        try:
            if self._note is None:
                self._unlock()
            else:
                self._write(unlock=True)
        finally:
            self._owner.renewal.discard((self._token, self._names.lock))
            super()._leave()

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
            LockLostError: The lease was lost, or is another process's since a fork; nothing was
                written.
        """
        if self.is_inherited():
            raise LockLostError(self._key)
        if self._note is not None:
            self._write(unlock=False)

    def now(self) -> float:
        """See `Hold.now`. The server was asked when it gave the lock."""
        return self._lead + time.monotonic()

    def _acquire(self, deadline: float) -> None:
        server, key, names = self._server, self._key, self._names
        claim = b""
        while True:
            left = max(0.0, deadline - time.monotonic())
            patience = math.ceil(min(left, server.patience) * 1000)
            args = (self._token, claim, server.lease, patience)
            is_mine, *answer = server.run(ACQUIRE, "lock", key, 4, *names[:4], *args)
            if is_mine:
                break
            wait, holder, end = answer
            still = self._owner.observe(key, holder, end)
            if not still:
                claim = holder
                continue
            if not left:
                raise LockTimeoutError(key, self._timeout or 0.0)
            # Redis 6.2 takes 0.001 s for 0 s, which is for ever.
            silence = max(min(wait / 1000, still), 0.002)
            claim = server.listen(key, names.calls, silence) or b""
        self._owner.forget(key)
        self._payload, left, seconds, microseconds = answer
        self._live_for(left / 1000 if left >= 0 else None)
        self._lead = int(seconds) + int(microseconds) / 1e6 - time.monotonic()

    def _live_for(self, lifetime: float | None) -> None:
        self._end = math.inf if lifetime is None else time.monotonic() + lifetime

    def _write(self, *, unlock: bool) -> None:
        # Forgotten first: a write that failed here must not be done later, behind the handler's
        # back.
        note, self._note = self._note, None
        begun = time.monotonic()
        try:
            is_done = self._commit("write", unlock, note)
        except StorageError as error:
            if unlock and error.outcome is None:
                self._unlock()
            elif unlock:
                self._owner.leave(self._names, self._token)
            raise
        if is_done:
            return
        if time.monotonic() - begun > KEPT / 1000:
            raise StorageError(
                "write",
                self._key,
                f"its lock was lost while the server had no answer for {KEPT // 1000} s",
                "read the session to see",
                "unknown",
            )
        raise LockLostError(self._key)

    def _unlock(self) -> None:
        try:
            self._commit("unlock", True, None)
        except StorageError:
            # Nothing is lost: the lease ends, and this process need not wait for that.
            self._owner.leave(self._names, self._token)

    def _commit(self, action: str, unlock: bool, note: _Note | None) -> bool:
        """Do the noted write; false if the lock was lost before."""
        server, owner = self._server, self._owner
        is_first, self._is_first = self._is_first, False
        args = (
            *(self._token, owner.name, owner.next_number(), server.lease),
            *("first" if is_first else "", "unlock" if unlock else ""),
            *(note or _note("")),
        )
        run = server.run if note is None else server.run_commit
        return bool(run(COMMIT, action, self._key, 5, *self._names, *args))
