"""The intake: stores the updates that arrive, and takes over those that other processes left."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from telesession.bot.inbox import MEMORY, Stored
from telesession.bot.known import KnownNumbers
from telesession.bot.owners import Owner
from telesession.bot.polls import PollRecord
from telesession.bot.takeover import Takeover
from telesession.codecs.text import encode
from telesession.errors import LockLostError, SessionError, fault_of
from telesession.handlers import storages_of
from telesession.locks import LockTable

if TYPE_CHECKING:
    from telesession.bot.inbox import Inbox

# Larger numbers have no place in the pages of `Storage.add_once`.
_NUMBERS = 2**52

# Handlers that are remembered.
_NOTICED = 10_000

_log = logging.getLogger("telesession")

#: Hands stored updates to the workers.
Feed = Callable[[list[Stored]], object]
Phase = Literal["new", "opening", "open", "closed"]


class Intake:
    """
    The updates of one bot on their way into the inbox, in one process and for one worker pool.

    An update that the workers have, or that has ended, is recognised by its number when it is
    delivered again. For updates of webhooks the storage remembers the numbers. For updates of a
    poll the record of the polling process has those that Telegram may still deliver.

    Any thread may use it. It lives from the first poll or the first `receive` of a process until
    the pool is closed.

    Args:
        inbox: The inbox.
        attempts: The number of processes that may be killed while handlers of an update run before
            it is set aside.

    Attributes:
        is_superseded: Whether another process has taken updates over from this one, which lives.
    """

    def __init__(self, inbox: Inbox, attempts: int) -> None:
        self.inbox = inbox
        self.is_superseded = False
        self._attempts = attempts
        self._known = KnownNumbers()
        self._owner = Owner(inbox)
        self._poll = PollRecord(inbox, self._owner, self._known)
        self._numbers = LockTable()
        self._batches = threading.Lock()
        self._phase_changed = threading.Condition()
        self._phase: Phase = "new"
        self._end = threading.Event()
        self._is_closing = threading.Event()
        self._is_watched = False
        # Updates whose end could not be written.
        self._unended: list[Stored] = []
        # The ids of the handlers whose storages were looked at.
        self._checked_functions: set[int] = set()

    def open(self, feed: Feed, *, polls: bool, waits: bool = True) -> None:
        """
        Take over the updates that other processes left, once, and begin to look for more.

        Telegram lets one process poll. So a process that polls takes over all updates of the bot,
        and a process with a webhook those of dead processes.

        Args:
            feed: Hands updates to the workers, which must be done before new ones are handed over.
            polls: Whether this process polls.
            waits: Whether to wait while another thread does it. A worker must not, because that
                thread may wait for its line.
        """
        with self._phase_changed:
            while self._phase == "opening" and waits:
                self._phase_changed.wait()
            is_open = self._phase == "open" and (self._poll.has_begun or not polls)
            if is_open or self._phase in {"opening", "closed"}:
                return
            self._phase = "opening"
        try:
            self._owner.begin()
            if polls:
                self._poll.begin()
            else:
                self._poll.learn()
            for leftovers in self._left(everything=polls):
                feed(leftovers)
            if not self._is_watched:
                watch = partial(self._watch, feed)
                threading.Thread(target=watch, name="Inbox", daemon=True).start()
                self._is_watched = True
        except BaseException:
            self._become("new")
            raise
        self._become("open")

    def close(self) -> None:
        """Leave the updates that are still stored to other processes."""
        self._end.set()
        # Without the lock of the state, because the handler of a signal may close in the thread
        # that has it.
        self._phase = "closed"
        # If the storage fails, or is closed already, the lock ends with the process.
        with suppress(SessionError):
            self._end_again()
            self._owner.end()

    def stop_pauses(self) -> None:
        """Let no update wait for the storage any more, because the pool is being closed."""
        self._is_closing.set()

    def pause(self, seconds: float) -> bool:
        """Wait for some seconds; `False` if the pool is being closed."""
        return not self._is_closing.wait(seconds)

    def will_end(self) -> None:
        """Note that this process is being stopped, while handlers of it still run."""
        with suppress(SessionError):
            self._owner.stop()

    def confirm(self, offset: int | None) -> None:
        """Note that Telegram will not deliver the updates below an offset again."""
        if offset is not None and offset > 0:
            self._poll.offset = offset

    def store_batch(self, batch: Mapping[int, str]) -> dict[int, Stored]:
        """
        Store the updates of one poll together.

        Args:
            batch: Updates as JSON, by number.

        Returns:
            The new updates, and the updates that this process has stored and not handed over. Give
            back each update that the workers do not get.

        Raises:
            SessionError: Another process polls, or the storage failed. Nothing is confirmed.
        """
        with self._batches:
            new: list[int] = []
            try:
                new += (number for number in batch if self._take(number))
                stored = {
                    number: self.inbox.make(number, batch[number], self._owner.name)[0]
                    for number in new
                }
                self._store(stored, list(batch))
            except BaseException:
                for number in new:
                    self._known.give_back(number)
                self.is_superseded |= self._poll.is_taken
                if self._poll.is_over:
                    self._become("new")
                raise
            return stored

    def add(self, number: int, raw: str) -> Stored | None:
        """
        Store an update of a webhook, unless it came before.

        A repetition waits until the update is stored, because its answer confirms it, too.

        Returns:
            The update; give it back if the workers do not get it. `None` if the workers have it
            already, or if it has ended.
        """
        key = str(number)
        self._numbers.acquire(key, None)
        try:
            return self._store_new(number, raw) if self._take(number) else None
        finally:
            self._numbers.release(key)

    def _store_new(self, number: int, raw: str) -> Stored | None:
        inbox = self.inbox
        try:
            stored, payload = inbox.make(number, raw, self._owner.name)
            payloads = {number: payload}
            if inbox.storage.add_once(inbox.room, payloads, pages=inbox.pages, memory=MEMORY):
                return stored
            found = self.own(stored.key)
        except BaseException:
            self._known.give_back(number)
            raise
        if found is None:
            self._known.end(number)
            _log_repetition(number)
        return found

    def notice(self, function: Any) -> None:
        """Log once for a handler that its sessions lie in another storage than the inbox."""
        if id(function) in self._checked_functions:
            return
        if len(self._checked_functions) > _NOTICED:
            # Of handlers that come and go.
            self._checked_functions.clear()
        self._checked_functions.add(id(function))
        storage = self.inbox.storage
        if any(each is not storage for each in storages_of(function)):
            _log.warning(
                "sessions of the handler %s lie in another storage than the inbox, so after a kill "
                "an update may change them twice, or not at all in memory; give both the same "
                "storage object",
                getattr(function, "__qualname__", type(function).__name__),
            )

    def give_back(self, stored: Stored) -> None:
        """Note that the workers did not get an update, which may come again."""
        self._known.give_back(stored.number)

    def own(self, key: str) -> Stored | None:
        """The update of a key as it is stored, if this process has it."""
        payload = self.inbox.storage.get(key)
        if payload is None:
            return None
        found = self.inbox.load(key, payload)
        found.is_leftover = False
        return found if found.owner == self._owner.name else None

    def has_ended(self, stored: Stored) -> None:
        """Note that an update has ended, or that another process handles it."""
        self._known.end(stored.number)

    def lose(self) -> None:
        """Note that another process handles an update of this one."""
        self.is_superseded = True
        # If the storage fails, the next update that is lost tells.
        with suppress(SessionError):
            self._poll.look()

    @property
    def is_replaced(self) -> bool:
        """
        Whether another process polls now, and takes over all updates of this process.

        The other process takes them page by page, so this process still has some of them. It must
        not handle these, because they would overtake earlier updates of their users.
        """
        return self._poll.is_taken

    def end_later(self, stored: Stored) -> None:
        """Try again later to end an update whose handlers are done."""
        self._unended.append(stored)

    def _become(self, phase: Phase) -> None:
        with self._phase_changed:
            if self._phase != "closed":
                self._phase = phase
            self._phase_changed.notify_all()

    def _take(self, number: int) -> bool:
        """Take the number of an update that arrives, unless it came before."""
        if self._known.take(number):
            return True
        _log_repetition(number)
        return False

    def _store(self, stored: dict[int, Stored], numbers: list[int]) -> None:
        """Store the updates of a batch, and leave out those that another process handles."""
        missing = dict(stored)
        while missing and (key := self._poll.store(list(missing.values()), numbers)) is not None:
            # The record of this key was there already, and nothing was stored.
            number = self.inbox.number_of(key)
            del missing[number]
            found = self.own(key)
            if found is None:
                del stored[number]
                self._known.end(number)
                _log_repetition(number)
            else:
                stored[number] = found

    def _left(self, *, everything: bool) -> Takeover:
        return Takeover(self.inbox, self._owner, self._known, self._attempts, everything=everything)

    def _watch(self, feed: Feed) -> None:
        """Take over the updates of processes that die, every half lease."""
        while not self._end.wait(self.inbox.storage.lease / 2):
            try:
                self._look(feed)
            except Exception as error:  # noqa: BLE001 -- it looks again
                _log.warning("looks for updates of dead processes again later: %s", fault_of(error))

    def _look(self, feed: Feed) -> None:
        """Take over the updates of processes that have died."""
        is_unbroken = self._owner.renew()
        self._end_again()
        # After an outage processes that live look dead, too, until they have renewed their leases.
        if is_unbroken:
            for leftovers in self._left(everything=False):
                feed(leftovers)

    def _end_again(self) -> None:
        """End updates whose end could not be written before."""
        while self._unended:
            stored = self._unended[0]
            try:
                self.inbox.write([self.inbox.ending(stored)])
            except LockLostError:
                # Another process handles it.
                pass
            except SessionError as error:
                _log.warning("could not end update %d: %s", stored.number, error)
                return
            self.has_ended(stored)
            # Another thread may do the same.
            with suppress(ValueError):
                self._unended.remove(stored)


def number_of(update: Mapping[str, Any]) -> int:
    """The number of an update as Telegram sent it."""
    number = update.get("update_id")
    if type(number) is not int or not 0 <= number < _NUMBERS:
        raise ValueError("an update of Telegram has an update_id, which is a positive number")
    return number


def raw_of(update: Mapping[str, Any]) -> str:
    """An update as JSON."""
    try:
        return encode(update).decode()
    except (OverflowError, ValueError):
        # Half of a surrogate pair, or a number beyond 64 bits.
        return json.dumps(update)


def _log_repetition(number: int) -> None:
    _log.warning("update %d was delivered again, and is not handled a second time", number)
