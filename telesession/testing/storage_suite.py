"""
One suite for pytest that every storage must pass: a test for each promise of `Storage`.

Import it into a test module and inherit from it. It needs pytest, as `telesession.testing.fixtures`
does.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from telesession.testing.promises.commits import CommitPromises
from telesession.testing.promises.holds import HoldPromises
from telesession.testing.promises.indexes import IndexPromises
from telesession.testing.promises.records import RecordPromises
from telesession.testing.promises.subject import FOR_AGES, HOSTILE_KEYS, try_hold

__all__ = ["FOR_AGES", "HOSTILE_KEYS", "StorageSuite", "try_hold"]


class StorageSuite(RecordPromises, HoldPromises, CommitPromises, IndexPromises):
    """
    The promises of a storage, a test each; inherit from it and give it a storage.

        class TestMyStorage(StorageSuite):
            @pytest.fixture
            def storage(self):
                return MyStorage()

    Every test gets a storage of its own, which is empty. Threads call the storage, and time passes.
    Here the time is real: a few seconds in all. A suite with a clock that can be set overrides
    `tick`, and with it the three attributes, which are in seconds.

    Attributes:
        second: The unit of the lifetimes of the suite. On a machine so busy that four of them
            pass between two calls, make it longer.
        margin: How long before the end of its lifetime a record is asked for; less than five
            times `second`.
        ages: How long a record without a lifetime is watched.
    """

    second = 0.05
    margin = 0.2
    ages = 0.25

    @pytest.fixture
    def storage(self) -> Any:
        """An empty storage; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture named storage")

    def tick(self, seconds: float) -> None:
        """Let time pass for the records: at least this number of seconds."""
        # Servers count in milliseconds, and some round up.
        end = time.monotonic() + seconds + 0.005
        while (left := end - time.monotonic()) > 0:
            time.sleep(left)
