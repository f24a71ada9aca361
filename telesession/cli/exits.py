"""The exit codes of the command, and the refusals that end it."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """
    The exit codes of the command.

    Attributes:
        DONE: The command did its work.
        FAILED: It was refused, or failed.
        USAGE: It was called in the wrong way.
        FOUND: It did its work, and reports records or settings that need attention.
        MISSING: There is no such record.
        INTERRUPTED: It was interrupted, as by Ctrl-C. The storage is consistent.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    FOUND = 3
    MISSING = 4
    INTERRUPTED = 130


class RefusedError(Exception):
    """
    The command cannot go on; its message is all that is printed.

    Args:
        message: The attempt, the reason and the remedy.
        code: The exit code.
    """

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


def missing(key: str) -> RefusedError:
    """The refusal for a key without a record."""
    return RefusedError(
        f"there is no record of session {key!r}; see the stored keys with `telesession keys`",
        Exit.MISSING,
    )
