"""The record of the process that polls: the updates that Telegram may deliver again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from telesession.bot.inbox import MEMORY
from telesession.errors import DecodeError, LockLostError, SessionError
from telesession.storage.base import Change

if TYPE_CHECKING:
    from telesession.bot.inbox import Inbox, Stored
    from telesession.bot.known import KnownNumbers
    from telesession.bot.owners import Owner

_log = logging.getLogger("telesession")


class PollRecord:
    """
    The record of the one process that polls for a bot.

    The commit of each batch writes it, too, if no other process has changed it. So a process that
    polled before can store nothing any more. The record has the numbers of the updates that no
    later poll has confirmed. If the process dies, Telegram delivers these again, and some of them
    have ended.

    Keep one for as long as its intake. One thread at a time uses it, but any thread may call
    `look`.

    Args:
        inbox: The inbox.
        owner: This process.
        known: Gets the numbers of updates that have ended in other processes.

    Attributes:
        offset: The offset of the latest poll, which has confirmed all lower numbers.
        has_begun: Whether this process has been the one that polls.
        is_taken: Whether another process has polled since.
        is_over: Whether another process has polled since, and has died: `begin` is due again.
    """

    def __init__(self, inbox: Inbox, owner: Owner, known: KnownNumbers) -> None:
        self.offset = 0
        self.has_begun = False
        self.is_taken = False
        self.is_over = False
        self._inbox = inbox
        self._owner = owner
        self._known = known
        self._payload: bytes | None = None
        self._unconfirmed: list[int] = []
        self._mutex = threading.Lock()

    def begin(self) -> None:
        """Become the process that polls."""
        while True:
            before = self.learn()
            payload = self._encode(self._unconfirmed)
            # Else `look` could read the record of the former process, and note it afterwards.
            with self._mutex:
                try:
                    self._inbox.write([Change(self._inbox.poll_key, before, payload)])
                except LockLostError:
                    # Another process was faster.
                    continue
                self._payload = payload
                self.has_begun, self.is_taken, self.is_over = True, False, False
                return

    def look(self) -> None:
        """Look whether another process has polled since."""
        with self._mutex:
            if self.has_begun and not self.is_taken:
                fields = self._fields_of(self._inbox.storage.get(self._inbox.poll_key))
                self.is_taken = fields.get("owner", self._owner.name) != self._owner.name

    def learn(self) -> bytes | None:
        """Read the record, and remember the numbers in it."""
        payload = self._inbox.storage.get(self._inbox.poll_key)
        fields = self._fields_of(payload)
        # Later Telegram has forgotten them, and its numbers may have begun anew.
        if time.time() - fields.get("time", 0) <= MEMORY:
            self._unconfirmed = list(fields.get("numbers", ()))
            self._known.end_elsewhere(self._unconfirmed)
        return payload

    def store(self, updates: Sequence[Stored], batch: Sequence[int]) -> str | None:
        """
        Store the updates of a poll.

        Args:
            updates: The updates.
            batch: The numbers of all updates that the poll brought.

        Returns:
            The key of an update that has a record already; then nothing was stored.

        Raises:
            SessionError: Another process polls, or has polled since, or the storage failed.
        """
        kept = [number for number in self._unconfirmed if number >= self.offset]
        unconfirmed = [*kept, *(number for number in batch if number not in kept)]
        payload = self._encode(unconfirmed)
        # The numbers last, because a storage that writes one after the other may stop in between.
        changes = [self._inbox.adding(stored) for stored in updates]
        try:
            self._inbox.write([*changes, Change(self._inbox.poll_key, self._payload, payload)])
        except LockLostError as error:
            if error.key != self._inbox.poll_key:
                return error.key
            self._check_owner()
            return self.store(updates, batch)
        self._payload, self._unconfirmed = payload, unconfirmed
        return None

    def _check_owner(self) -> None:
        """Continue if the record was lost, or if this process wrote it and got no answer."""
        payload = self._inbox.storage.get(self._inbox.poll_key)
        owner = self._fields_of(payload).get("owner", self._owner.name)
        if owner == self._owner.name:
            self._payload = payload
            return
        self.is_taken, self.is_over = True, not self._owner.lives(owner)
        raise SessionError(
            "could not store the updates of this poll: another process polls for the same bot by "
            "now, and handles them; "
            + ("it has died, so the next poll goes on" if self.is_over else "end one of the two")
        )

    def _encode(self, unconfirmed: list[int]) -> bytes:
        fields = {"owner": self._owner.name, "numbers": unconfirmed, "time": int(time.time())}
        return self._inbox.encode(self._inbox.poll_key, fields)

    def _fields_of(self, payload: bytes | None) -> dict[str, Any]:
        if payload is None:
            return {}
        try:
            return self._inbox.fields_of(self._inbox.poll_key, payload)
        except DecodeError as error:
            _log.error("updates that were handled before may be handled again: %s", error)
            return {}
