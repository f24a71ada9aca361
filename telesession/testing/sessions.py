"""The sessions of a bot under test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telesession.sessions import default_storage
from telesession.testing.faulty_storage import FaultyStorage

if TYPE_CHECKING:
    from telesession.storage.base import Storage


def forget_sessions(*storages: Storage) -> None:
    """
    Delete every record in some storages, in all their rooms: sessions, questions and the inbox.

    Let the bot under test have another storage than the bot at work, such as another file. The
    faults and the counts of a `FaultyStorage` stay as they are: its records are deleted behind it.

    Raises the errors of `Storage.delete`.

    Args:
        storages: The storages of the bot; by default that of the sessions that name none, which
            the fixture `fresh_sessions` empties before a test.
    """
    for storage in storages or (default_storage,):
        behind = storage
        while isinstance(behind, FaultyStorage):
            behind = behind.storage
        for key in list(behind.keys()):
            behind.delete(key)
