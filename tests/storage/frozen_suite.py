"""The suite of every storage, by a clock that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from clocks import MICROSECOND, frozen_clock

from telesession.testing.storage_suite import FOR_AGES, StorageSuite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from freezegun.api import FrozenDateTimeFactory


class FrozenClockSuite(StorageSuite):
    """The suite by a clock that stands still until it ticks: exact, and done in no time."""

    second = 1.0
    margin = MICROSECOND
    ages = FOR_AGES / 2

    @pytest.fixture(autouse=True)
    def clock(self) -> Iterator[FrozenDateTimeFactory]:
        with frozen_clock() as self.frozen:
            yield self.frozen

    def tick(self, seconds: float) -> None:
        self.frozen.tick(seconds)
