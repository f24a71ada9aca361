"""Files that other programs must not move, delete or replace."""

from __future__ import annotations

import math
import os
import time

# Device and inode of a file.
Identity = tuple[int, int]

# Seconds after which a further change of the folder certainly has another time.
_GRANULARITY = 0.1


def identity_of(path: str) -> Identity | None:
    """Device and inode of a file; `None` if there is none at the path."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


class WatchedFiles:
    """
    The files that one process has open in a folder, each with its device and inode.

    A file that enters or leaves a folder changes the time of the folder's last status change,
    which no program can set. So one look at the folder is enough while that time is the same. Any
    thread may use it.

    Args:
        folder: The absolute path of the folder, without symbolic links.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        # Path -> device and inode.
        self._identities: dict[str, Identity | None] = {}
        # The paths that are symbolic links. Their targets may change while the folder stays the
        # same.
        self._links: set[str] = set()
        # Inode and time of the folder when all files were found in their places.
        self._seen: tuple[int, int] | None = None
        # When all files were found in their places, on the monotonic clock.
        self._looked = -math.inf

    def watch(self, path: str, identity: Identity | None) -> None:
        """Expect this file at a path from now on."""
        self._identities[path] = identity
        if os.path.dirname(path) != self._folder or os.path.islink(path):
            self._links.add(path)
        self._seen = None
        self._looked = -math.inf

    def forget(self, path: str) -> None:
        """Expect nothing at a path any more."""
        self._identities.pop(path, None)
        self._links.discard(path)
        self._looked = -math.inf

    def is_watched(self, path: str, identity: Identity) -> bool:
        """Whether this file is expected at a path."""
        return self._identities.get(path) == identity

    def find_replaced(self, age: float = 0.0) -> str | None:
        """
        The path of the first file that was moved, deleted or replaced; `None` if all are there.

        Args:
            age: Seconds for which an answer of `None` holds.

        Raises:
            OSError: The system cannot tell.
        """
        now = time.monotonic()
        if now - self._looked < age:
            return None
        if self._links:
            replaced = next(filter(self._is_replaced, list(self._links)), None)
            if replaced is not None:
                return replaced
        try:
            status = os.stat(self._folder)
        except (FileNotFoundError, NotADirectoryError):
            return next(iter(self._identities), None)
        seen = status.st_ino, status.st_ctime_ns
        if seen != self._seen:
            replaced = next(filter(self._is_replaced, list(self._identities)), None)
            if replaced is not None:
                return replaced
            if time.time() - status.st_ctime > _GRANULARITY:
                self._seen = seen
        self._looked = now
        return None

    def _is_replaced(self, path: str) -> bool:
        return path in self._identities and identity_of(path) != self._identities[path]
