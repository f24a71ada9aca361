"""The sessions of a bot under test."""

from __future__ import annotations

from telesession.sessions import default_storage


def forget_sessions() -> None:
    """
    Delete all sessions in the storage of those that name none, in all its rooms.

    The fixture `fresh_sessions` does so before a test.
    """
    for key in list(default_storage.keys()):
        default_storage.delete(key)
