"""The take-over of stored updates that other processes have left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from telesession.errors import DecodeError, LockLostError

if TYPE_CHECKING:
    from telesession.bot.inbox import Inbox, Stored
    from telesession.bot.known import KnownNumbers
    from telesession.bot.owners import Owner
    from telesession.storage.base import Change

_log = logging.getLogger("telesession")


class Takeover:
    """
    One look through an inbox for updates that this process has to handle.

    These are the updates of other processes, and its own that were stored and did not reach the
    workers. The answers about other processes hold for one look.

    Args:
        inbox: The inbox.
        owner: This process.
        known: The updates that the workers have; those taken over are added.
        attempts: See `Intake`.
        everything: Whether updates of living processes are taken, too.
    """

    def __init__(
        self,
        inbox: Inbox,
        owner: Owner,
        known: KnownNumbers,
        attempts: int,
        *,
        everything: bool,
    ) -> None:
        self._inbox = inbox
        self._owner = owner
        self._known = known
        self._attempts = attempts
        self._everything = everything
        self._lives: dict[str, bool] = {}
        self._was_killed: dict[str, bool] = {}

    def __iter__(self) -> Iterator[list[Stored]]:
        """The updates in pages, in the order of their numbers. A page is taken when it is given."""
        for keys in self._inbox.pages_of_keys():
            left = [key for key in keys if not self._known.is_taken(self._inbox.number_of(key))]
            if taken := self._take(left):
                yield taken

    def _take(self, keys: list[str]) -> list[Stored]:
        while True:
            taken, changes = self._plan(keys)
            try:
                self._inbox.write(changes)
            except LockLostError:
                # A record has changed since it was read: read the page again.
                continue
            return [stored for stored in taken if self._known.take_over(stored.number)]

    def _plan(self, keys: list[str]) -> tuple[list[Stored], list[Change]]:
        """The updates of a page that this process takes, and the writes for the page."""
        taken: list[Stored] = []
        changes: list[Change] = []
        for key in keys:
            payload = self._inbox.storage.get(key)
            if payload is None:
                continue
            try:
                stored = self._inbox.load(key, payload)
            except DecodeError as error:
                _log.error("set an update aside: %s", error)
                changes += self._inbox.setting_aside(key, payload)
                continue
            if self._is_left(stored.owner):
                self._count_kill(stored)
                if stored.kills >= self._attempts:
                    _log.error(
                        "set update %d aside: %d processes were killed while its handler ran",
                        stored.number,
                        stored.kills,
                    )
                    changes += self._inbox.setting_aside(key, payload)
                    continue
                stored.owner = self._owner.name
                change = self._inbox.changing(stored)
                stored.payload = change.payload
                changes.append(change)
                taken.append(stored)
        return taken, changes

    def _is_left(self, owner: str) -> bool:
        """Whether the updates of an owner are to be taken."""
        if self._everything or owner == self._owner.name:
            # The workers do not have these own updates, because their numbers are not known.
            return True
        return not _remembered(self._lives, owner, self._owner.lives)

    def _count_kill(self, stored: Stored) -> None:
        """Count that a process was killed while a handler of the update ran."""
        owner = stored.owner
        if stored.has_begun:
            stored.has_begun = False
            if not _remembered(self._lives, owner, self._owner.lives):
                stored.kills += _remembered(self._was_killed, owner, self._owner.was_killed)


def _remembered(answers: dict[str, bool], name: str, ask: Callable[[str], bool]) -> bool:
    if name not in answers:
        answers[name] = ask(name)
    return answers[name]
