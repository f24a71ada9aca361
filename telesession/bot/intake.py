"""The intake: stores the updates that arrive, and takes over those that other processes left."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from telesession.bot.inbox import MEMORY, Stored
from telesession.bot.owners import Owner
from telesession.errors import DecodeError, LockLostError, SessionError
from telesession.storage.base import Change
from telesession.text import encode

if TYPE_CHECKING:
    from telesession.bot.inbox import Inbox

# Larger numbers have no place in the pages of `Storage.add_once`.
_NUMBERS = 2**52

_log = logging.getLogger("telesession")

#: Hands stored updates to the workers.
Feed = Callable[[list[Stored]], object]


class Intake:
    """
    The updates of one bot on their way into the inbox, in one process and for one worker pool.

    An update that was handed to the workers, or has ended, is recognised by its number when it is
    delivered again. For updates of webhooks the storage remembers the numbers. For updates of a
    poll the record of the polling process has those that Telegram may still deliver.

    Any thread may use it. It lives from the first poll or the first `receive` of a process until
    the pool is closed.

    Args:
        inbox: The inbox.
        attempts: The number of killed processes in which handlers of an update may have begun
            before it is set aside.
    """

    def __init__(self, inbox: Inbox, attempts: int) -> None:
        self.inbox = inbox
        self._attempts = attempts
        self._owner = Owner(inbox)
        self._mutex = threading.Lock()
        self._end = threading.Event()
        self._is_open = False
        # The record of the polling process, and the numbers that Telegram may deliver again.
        self._poll: bytes | None = None
        self._unconfirmed: list[int] = []
        self._offset = 0

    def open(self, feed: Feed, *, polls: bool) -> None:
        """
        Take over the updates that other processes left, once, and begin to look for more.

        Telegram lets one process poll. So a process that polls takes over all updates of the bot,
        and a process with a webhook those of dead processes.

        Args:
            feed: Hands updates to the workers, which must be done before new ones are handed over.
            polls: Whether this process polls.
        """
        with self._mutex:
            # A closed pool handles nothing, so other processes must take over what is left.
            if self._is_open or self._end.is_set():
                return
            self._owner.begin()
            try:
                if polls:
                    self._begin_to_poll()
                else:
                    self._learn_unconfirmed(self.inbox.storage.get(self.inbox.poll_key))
                for leftovers in self._take_over(everything=polls):
                    feed(leftovers)
            except BaseException:
                self._owner.end()
                raise
            self._is_open = True
        threading.Thread(target=self._watch, args=(feed,), name="Inbox", daemon=True).start()

    def close(self) -> None:
        """Leave the updates that are still stored to other processes."""
        self._end.set()
        with self._mutex:
            self._is_open = False
            self._owner.end()

    def confirm(self, offset: int | None) -> None:
        """Learn that Telegram will not deliver the updates below an offset again."""
        if offset is not None and offset > 0:
            self._offset = offset

    def store_batch(self, batch: Mapping[int, str]) -> dict[int, Stored]:
        """
        Store the updates of one poll together.

        Args:
            batch: Updates as JSON, by number.

        Returns:
            Those that are new, and those that this process has stored and not handed over.

        Raises:
            SessionError: Another process polls, or the storage failed. Nothing is confirmed.
        """
        with self._mutex:
            new = [number for number in batch if not self._is_repeated(number)]
            stored = {
                number: self.inbox.make(number, batch[number], self._owner.name)[0]
                for number in new
            }
            missing = dict(stored)
            while missing and (key := self._fault(missing, list(batch))) is not None:
                if key == self.inbox.poll_key:
                    self._poll_again()
                    for number in filter(self._owner.knows, list(missing)):
                        del missing[number], stored[number]
                else:
                    self._find(key, missing, stored)
            return stored

    def add(self, number: int, raw: str) -> Stored | None:
        """
        Store an update of a webhook, unless it came before.

        Returns:
            The update; `None` if it was handed over already, or has ended.
        """
        if self._is_repeated(number):
            return None
        inbox = self.inbox
        stored, payload = inbox.make(number, raw, self._owner.name)
        payloads = {number: payload}
        if inbox.storage.add_once(inbox.room, payloads, pages=inbox.pages, memory=MEMORY):
            return stored
        present = inbox.storage.get(stored.key)
        found = None if present is None else inbox.load(stored.key, present)
        if found is None or found.owner != self._owner.name:
            _log_repetition(number)
            return None
        # It was stored, and could not be handed over.
        found.is_leftover = False
        return found

    def hands_over(self, stored: Stored) -> None:
        """Learn that an update is handed to the workers."""
        self._owner.know(stored.number)

    def takes_back(self, stored: Stored) -> None:
        """Learn that the workers did not take an update, which may come again."""
        self._owner.forget(stored.number)

    def _is_repeated(self, number: int) -> bool:
        if self._owner.knows(number):
            _log_repetition(number)
            return True
        return False

    def _fault(self, missing: Mapping[int, Stored], numbers: list[int]) -> str | None:
        """Store updates; the key of a record that was not as expected, if nothing was stored."""
        kept = [number for number in self._unconfirmed if number >= self._offset]
        unconfirmed = [*kept, *(number for number in numbers if number not in kept)]
        payload = self._poll_record(unconfirmed)
        # The numbers last: a storage that writes one after the other may stop in between.
        changes = [self.inbox.adding(stored) for stored in missing.values()]
        poll = Change(self.inbox.poll_key, self._poll, payload)
        try:
            self.inbox.write([*changes, poll])
        except LockLostError as error:
            return error.key
        self._poll, self._unconfirmed = payload, unconfirmed
        return None

    def _poll_record(self, unconfirmed: list[int]) -> bytes:
        fields = {"owner": self._owner.name, "numbers": unconfirmed, "time": int(time.time())}
        return self.inbox.encode(self.inbox.poll_key, fields)

    def _find(self, key: str, missing: dict[int, Stored], stored: dict[int, Stored]) -> None:
        """Go on without an update that has a record already."""
        number = next(number for number, each in missing.items() if each.key == key)
        del missing[number]
        payload = self.inbox.storage.get(key)
        if payload is None:
            # It has ended meanwhile.
            del stored[number]
            self._owner.know(number)
            return
        found = self.inbox.load(key, payload)
        if found.owner == self._owner.name:
            # It was stored, and could not be handed over.
            found.is_leftover = False
            stored[number] = found
            return
        del stored[number]
        _log_repetition(number)

    def _begin_to_poll(self) -> None:
        """Be the process that polls. The former one can store nothing any more."""
        inbox = self.inbox
        while True:
            before = inbox.storage.get(inbox.poll_key)
            self._learn_unconfirmed(before)
            payload = self._poll_record(self._unconfirmed)
            try:
                inbox.write([Change(inbox.poll_key, before, payload)])
            except LockLostError:
                continue
            self._poll = payload
            return

    def _learn_unconfirmed(self, payload: bytes | None) -> None:
        """Remember the numbers that the process that polled before may get again."""
        if payload is None:
            return
        fields = self.inbox.fields_of(self.inbox.poll_key, payload)
        if time.time() - fields.get("time", 0) > MEMORY:
            # By now Telegram has forgotten them, and its numbers may have begun anew.
            return
        self._unconfirmed = list(fields.get("numbers", ()))
        for number in self._unconfirmed:
            self._owner.know(number)

    def _poll_again(self) -> None:
        """Go on after another process has polled, or the record of the poll was lost."""
        payload = self.inbox.storage.get(self.inbox.poll_key)
        if payload is not None:
            owner = self.inbox.fields_of(self.inbox.poll_key, payload).get("owner")
            if owner != self._owner.name and self._owner.lives(str(owner)):
                raise SessionError(
                    "could not store the updates of this poll: another process polls for the same "
                    "bot by now and handles them; end one of the two"
                )
            self._learn_unconfirmed(payload)
        self._poll = payload

    def _take_over(self, *, everything: bool) -> Iterator[list[Stored]]:
        """Let this process own the updates of all others, or of dead ones, page by page."""
        for keys in self.inbox.pages_of_keys():
            while True:
                taken, changes = self._taken(keys, everything=everything)
                try:
                    self.inbox.write(changes)
                except LockLostError:
                    # A record has changed meanwhile: read them again.
                    continue
                break
            for stored in taken:
                self._owner.know(stored.number)
            if taken:
                yield taken

    def _taken(self, keys: list[str], *, everything: bool) -> tuple[list[Stored], list[Change]]:
        """The updates of a page that this process takes over, and the writes for the page."""
        inbox, taken, changes = self.inbox, [], []
        for key in keys:
            payload = inbox.storage.get(key)
            if payload is None:
                continue
            try:
                stored = inbox.load(key, payload)
            except DecodeError as error:
                _log.error("set an update aside: %s", error)
                changes += inbox.setting_aside(key, payload)
                continue
            if stored.owner == self._owner.name:
                continue
            if not everything and self._owner.lives(stored.owner):
                continue
            if stored.begun >= self._attempts:
                _log.error(
                    "set update %d aside: its handler had begun in %d processes that were killed",
                    stored.number,
                    stored.begun,
                )
                changes += inbox.setting_aside(key, payload)
                continue
            stored.owner = self._owner.name
            change = inbox.changing(stored)
            stored.payload = change.payload
            changes.append(change)
            taken.append(stored)
        return taken, changes

    def _watch(self, feed: Feed) -> None:
        """Take over the updates of processes that die, every half lease."""
        while not self._end.wait(self.inbox.storage.lease / 2):
            try:
                with self._mutex:
                    if not self._is_open:
                        return
                    self._owner.renew()
                    pages = list(self._take_over(everything=False))
                for leftovers in pages:
                    feed(leftovers)
            except SessionError as error:
                _log.warning("looks for updates of dead processes again later: %s", error)


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
    _log.warning("update %d was delivered again; it is handled once", number)
