"""Clocks that only tests move, time-outs in real seconds, and settings for hypothesis."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import freezegun.api
import pytest
from freezegun import freeze_time
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


# Whole seconds keep sums of floats exact.
START = datetime(2026, 1, 1, tzinfo=UTC)
# How many real seconds what should not take long may take, so that a fault is no endless wait.
PATIENCE = 30
DAY = 86_400
MICROSECOND = 1e-6


def monotonic() -> float:
    """What freezegun drives; a cache that was given `time.monotonic` would keep the real clock."""
    return time.monotonic()


@contextmanager
def frozen_clock() -> Iterator[FrozenDateTimeFactory]:
    """A clock that stands still in every thread, but for pytest, hypothesis and psycopg."""
    frozen = freeze_time(START, ignore=["_pytest", "hypothesis", "psycopg"])
    with pytest.MonkeyPatch.context() as patch, frozen as clock:
        patch.setattr(freezegun.api, "call_stack_inspection_limit", 1)
        yield clock


# Neither a slow machine nor chance fails a test.
EVERYDAY = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
LONG = "long"
settings.register_profile("everyday", EVERYDAY)
settings.register_profile(LONG, EVERYDAY)
settings.load_profile("everyday")


def examples(number: int) -> int:
    """The number with `--hypothesis-profile long`, and a quarter of it in the everyday run."""
    return number if settings.get_current_profile_name() == LONG else number // 4
