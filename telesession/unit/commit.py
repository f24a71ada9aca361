"""The commit of a unit: several storages, the end of an update, and errors."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from telesession.errors import LockLostError, SessionError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from telesession.storage.base import Hold, Note, Storage
    from telesession.unit.endings import Ending
    from telesession.unit.entry import Entry

_log = logging.getLogger("telesession")


def kept_entries(entries: Iterable[Entry], error: BaseException | None) -> list[Entry]:
    """The entries whose changes are kept when a block ends with an error, or without one."""
    if error is None:
        return list(entries)
    if not isinstance(error, Exception):
        return []
    return [entry for entry in entries if entry.kind.commit_on_error]


def commit_with(ending: Ending | None, storage: Storage, holds: Sequence[Hold]) -> None:
    """Write the sessions of one storage, and the changes of the ending if it has that storage."""
    if ending is None or ending.storage is not storage:
        storage.commit(holds)
    else:
        changes = ending.changes()
        # Before the commit, which takes the note of each hold.
        notes = [(hold.key, hold.note) for hold in holds if hold.note is not None]
        try:
            storage.commit(holds, changes)
        except StorageError as error:
            if error.outcome is None or not (ending.happened() and _are_written(storage, notes)):
                raise
        ending.done()


def _are_written(storage: Storage, notes: Iterable[tuple[str, Note]]) -> bool:
    """Whether the records show that a commit with an unknown outcome was done."""
    try:
        return all(storage.get(key) == note.payload for key, note in notes)
    except StorageError:
        return False


def commit_each(entries: Iterable[Entry], ending: Ending | None) -> None:
    """Write the sessions of one storage after the other."""
    groups: dict[Storage, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.hold.storage, []).append(entry)
    written: list[Entry] = []
    # Memory fails least, so it is written last. The storage with the end of the update is written
    # just before it: if another storage fails, the update has not ended.
    last = None if ending is None else ending.storage
    for storage in sorted(groups, key=lambda each: (not each.persistent, each is last)):
        holds, noted = [], []
        for entry in groups[storage]:
            holds.append(entry.hold)
            if entry.hold.note is not None:
                noted.append(entry)
        if not noted:
            continue
        try:
            commit_with(ending, storage, holds)
        except (LockLostError, StorageError) as error:
            translate_commit_error(error, groups[storage])
            error.written = (*(entry.key for entry in written), *error.written)
            raise
        written += noted


def translate_commit_error(error: LockLostError | StorageError, entries: Iterable[Entry]) -> None:
    """Replace the places in an error of a commit by keys."""
    by_place = {entry.hold.key: entry for entry in entries}
    if error.key in by_place:
        by_place[error.key].kind.translate_error(error)
        log_loss(error)
    error.written = tuple(by_place[place].key for place in error.written if place in by_place)


def log_loss(error: SessionError) -> None:
    """Log that the lock of a session was lost. Other errors are not logged here."""
    if isinstance(error, LockLostError):
        _log.error("lock lost: %s", error)
