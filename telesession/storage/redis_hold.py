"""Exclusive use of a session that is on a server: one round trip to begin, one to end."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Self, cast

from telesession.errors import LockLostError, LockTimeoutError, StorageError
from telesession.locks import OTHER_PROCESS, LongWait
from telesession.storage.evictions import log_eviction
from telesession.storage.redis_names import encode
from telesession.storage.redis_scripts import ACQUIRE, COMMIT, KEPT, milliseconds
from telesession.storage.server_hold import ServerHold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telesession.storage.base import Change, Hold, Storage
    from telesession.storage.redis_names import Names
    from telesession.storage.redis_owner import Owner
    from telesession.storage.redis_server import RedisServer


class RedisHold(ServerHold):
    """
    Exclusive use of one session among all processes.

    The write happens together with the unlock, or at `flush`. The lock is a key with a token and a
    lease:

        time  0: A asks for session 42: its token becomes the lock, and it gets the payload.
        time  1: B asks. The lock is A's, so B joins the queue and listens for calls, in steps of
                 at most two seconds and never longer than the rest of the lease.
        time 10: A is still at work; its background thread renews the lease of 30 seconds.
        time 12: A commits: the token is still the lock, so A's fields are written. The queue is
                 not empty, so the lock is reserved and the longest listener, B, called.
        time 12: C asks. The lock is reserved, so C joins the queue and does not overtake B.
        time 12: B has heard the call, takes over the reserved lock and reads A's fields.
        time 13: B is killed. Its lease is not renewed.
        time 42: The lease is over, and so is C's step, which takes the lock.

    If B was frozen instead, it finds another token at its commit, writes nothing and raises
    `LockLostError`. If the answer to A's commit was lost, A sends the commit again, and the server
    finds that it is done already. If the answer to A's first question was lost, and the server was
    away for longer than A asks, the next update of A's process takes over the lock. The token of
    the lock has the name of its owner.
    """

    __slots__ = ("_is_first", "_is_locked", "_owner", "_server", "names", "token")

    # The owner of the lock.
    _owner: Owner
    token: bytes

    def __init__(
        self, storage: Storage, server: RedisServer, key: str, timeout: float | None
    ) -> None:
        super().__init__(storage, key, timeout)
        self.names: Names = server.names(key)
        self._server = server
        self._is_first = self._is_locked = True

    def __enter__(self) -> Self:
        timeout = self._timeout
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._owner = self._server.owner
        super().__enter__()
        token = None
        try:
            # Not before, because the server takes the highest number of an owner for the newest.
            self.token = token = self._owner.next_token()
            self._acquire(deadline)
        except BaseException as error:
            if token is not None and not isinstance(error, LockTimeoutError):
                self._owner.leave(self.names, token)
            super()._leave()
            raise
        self._owner.renewal.add((self.token, self.names.lock))
        return self

    def _leave(self) -> None:
        try:
            if self._is_locked:
                self._unlock()
        finally:
            self._owner.renewal.discard((self.token, self.names.lock))
            super()._leave()

    def flush(self) -> None:
        """
        See `Hold.flush`.

        Raises:
            LockLostError: The lease was lost, or belongs to the parent of this process; nothing was
                written.
        """
        if self.note is None:
            return
        if self.is_inherited():
            raise LockLostError(self.key)
        with self._restored_on_failure():
            write_together(self._server, [self], unlock=False)

    def _acquire(self, deadline: float) -> None:
        server, key, names = self._server, self.key, self.names
        claim, long_wait = b"", LongWait(key)
        while True:
            left = max(0.0, deadline - time.monotonic())
            patience = math.ceil(min(left, server.patience) * 1000)
            args = (self.token, claim, server.lease, patience)
            is_mine, *answer = server.run(ACQUIRE, "lock", key, 4, *names[:4], *args)
            if is_mine:
                break
            wait, holder, end = answer
            still = self._owner.observe(key, holder, end)
            if not still:
                claim = holder
                continue
            if not left:
                raise LockTimeoutError(key, self._timeout or 0.0, OTHER_PROCESS)
            long_wait.go_on()
            # Redis 6.2 takes 0.001 s for 0 s, which is for ever.
            silence = max(min(wait / 1000, still), 0.002)
            claim = server.listen(key, names.calls, silence) or b""
        self._owner.forget(key)
        payload, left, seconds, microseconds = answer
        now = int(seconds) + int(microseconds) / 1e6
        self._loaded(payload, left / 1000 if left >= 0 else None, now)

    def _unlock(self) -> None:
        self._is_locked = False
        try:
            self._server.run(COMMIT, "unlock", self.key, *_arguments(self._server, [self], True))
        except StorageError:
            # Nothing is lost, because the lease ends, and this process need not wait for that.
            self.give_up()

    def give_up(self) -> None:
        """Unlock in the background; see `Owner.leave`."""
        self._is_locked = False
        self._owner.leave(self.names, self.token)

    def take_write(self, *, unlock: bool) -> tuple[bytes | str | int, ...]:
        """The token, and the noted write for the script, whose note is removed."""
        is_late = self._is_late
        is_expected = self.payload is not None and not is_late
        note = self.take_note()
        if unlock:
            self._is_locked = False
        self._is_first = False
        if note is None:
            return self.token, "", "", b""
        self._live_for(note.lifetime)
        if note.action == "touch" and is_late:
            return self.token, *_write("keep", note.payload, note.lifetime)
        action = "replace" if note.action == "set" and is_expected else note.action
        return self.token, *_write(action, note.payload, note.lifetime)

    @property
    def is_first(self) -> bool:
        """Whether the script is called for this hold for the first time."""
        return self._is_first

    def keep_lock(self) -> None:
        """Note that the commit has not unlocked, because the server refused it."""
        self._is_locked = True


def write_together(
    server: RedisServer,
    holds: Sequence[Hold],
    also: Sequence[Change] = (),
    *,
    unlock: bool = True,
) -> None:
    """
    Do the noted writes of holds, and changes of other keys, in one script.

    Args:
        server: The server of all of them.
        holds: The holds. Unless they are flushed, their keys are unlocked in the same step.
        also: Changes of keys without a hold among these.
        unlock: Whether the keys are unlocked.

    Raises:
        LockLostError: A lock was lost, or a record was not as a change expects it; nothing was
            written.
        StorageError: The server refused, and nothing was written; or the outcome is unknown.
    """
    own = cast("Sequence[RedisHold]", holds)
    if not also and all(hold.note is None for hold in own):
        return
    keys = [*(hold.key for hold in own), *(change.key for change in also)]
    begun = time.monotonic()
    arguments = _arguments(server, own, unlock, also)
    try:
        lost = server.run_commit(COMMIT, "write", keys[0], *arguments)
    except StorageError as error:
        for hold in own if unlock else ():
            if error.outcome is None:
                hold.keep_lock()
            else:
                hold.give_up()
        raise
    if lost < 0:
        log_eviction(keys[-lost - 1])
    if lost <= 0:
        return
    for hold in own if unlock else ():
        hold.keep_lock()
    raise _loss(keys[lost - 1], time.monotonic() - begun)


def _loss(key: str, seconds: float) -> LockLostError | StorageError:
    """The error for a lock that was found lost after a commit of some seconds."""
    if seconds <= KEPT / 1000:
        return LockLostError(key)
    reason = f"its lock was lost while the server had no answer for {KEPT // 1000} s"
    return StorageError("write", key, reason, "read the session to see", "unknown")


def _arguments(
    server: RedisServer, holds: Sequence[RedisHold], unlock: bool, also: Sequence[Change] = ()
) -> list[object]:
    """The number of names, the names, and the arguments of `COMMIT`."""
    owner, number = server.owner, server.owner.next_number()
    names = [name for hold in holds for name in hold.names]
    names += [server.record(change.key) for change in also]
    # index -> its position among the names
    indexes: dict[str, int] = {}
    for change in also:
        if change.index is not None and change.index not in indexes:
            names.append(server.index(change.index))
            indexes[change.index] = len(names)
    if not holds:
        names.append(server.note(also[0].key, number))
    is_first = all(hold.is_first for hold in holds)
    arguments: list[object] = [len(names), *names, owner.name, number, server.lease]
    arguments += ["first" if is_first else "", "unlock" if unlock else "", len(holds)]
    for hold in holds:
        arguments += hold.take_write(unlock=unlock)
    for change in also:
        expected = ("", b"") if change.expected is None else ("expected", change.expected)
        arguments += (*expected, *_write("set", change.payload, change.lifetime))
        arguments += "" if change.index is None else indexes[change.index], encode(change.key)
    return arguments


def _write(
    action: str, payload: bytes | None, lifetime: float | None
) -> tuple[str, int | str, bytes]:
    """A write for the script: the action, the milliseconds or an empty string, the payload."""
    if payload is None or (lifetime is not None and lifetime <= 0):
        return "delete", "", b""
    sent = b"" if action == "touch" else payload
    return action, "" if lifetime is None else milliseconds(lifetime), sent
