"""One lifetime for fields and sessions, in a storage that counts its calls."""

from __future__ import annotations

import pytest
from clocks import DAY
from counted import CountedStorage

from telesession import Sessions, ttl_left

LIFETIME = 300
JUST_BEFORE = LIFETIME - 0.000001
ONCE_OVER = pytest.mark.parametrize(
    "elapsed", [LIFETIME, LIFETIME + 0.000001, DAY], ids=["at the deadline", "after it", "later"]
)


@pytest.fixture
def storage():
    """An empty storage that counts its calls."""
    return CountedStorage()


@pytest.fixture
def sessions(storage):
    """Sessions that live for ever."""
    return Sessions(storage=storage)


@pytest.fixture
def sliding_sessions(storage):
    """Sessions that live for `LIFETIME` after their last use."""
    return Sessions(storage=storage, lifetime=LIFETIME)


def left_of(sessions, name="code", key="1"):
    """The seconds until a field of a stored session expires."""
    with sessions.open(key) as session:
        return ttl_left(session, name)
