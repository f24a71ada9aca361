"""Holders of locks in words, for errors and the log: handlers, blocks and other processes."""

from __future__ import annotations

from typing import Protocol


class Working(Protocol):
    """The part of a unit of work that names its handler."""

    @property
    def holder(self) -> str:
        """The handler or the block in words."""
        ...


#: Identifier of a thread or greenlet -> its innermost unit, while it has one.
units: dict[int, Working] = {}

#: The holder of a lock that no thread of this process has.
OTHER_PROCESS = "another process"


def holder_in(thread: int) -> str:
    """The handler that a thread of this process runs, in words."""
    unit = units.get(thread)
    return "another thread" if unit is None else unit.holder
