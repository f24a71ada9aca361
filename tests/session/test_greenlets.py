"""Units in greenlets of gevent, which patches the standard library before or after the import."""

from __future__ import annotations

import sys

import pytest

from support.processes import run_program

PROGRAM = """
{before}
import random
from telesession import DeadlockError, MemoryStorage, Sessions, on_commit
from telesession.locks import units
{after}
import gevent

storage = MemoryStorage()
sessions = Sessions(storage=storage, initial={{"coins": 0}}, lock_timeout=30)
calls, errors = [], []


def transfer(rng):
    giver, taker = rng.sample(range(5), 2)
    with sessions.open(giver) as gives:
        gevent.sleep(0)
        with sessions.open(taker) as takes, sessions.open(giver) as again:
            assert again is gives
            gives.coins -= 1
            gevent.sleep(0)
            takes.coins += 1
        on_commit(calls.append, giver)


def work(number):
    rng = random.Random(number)
    for _ in range(10):
        state = rng.getstate()
        while True:
            try:
                transfer(rng)
                break
            except DeadlockError as error:
                errors.append(error.key)
                gevent.sleep(0)
                rng.setstate(state)


gevent.joinall([gevent.spawn(work, number) for number in range(20)], raise_error=True)
coins = [sessions.peek(key).coins for key in list(sessions.keys())]
held = len(storage.process_state.locks)
print(len(coins), sum(coins), len(calls), bool(errors), units, held)
"""
PATCH = "from gevent import monkey; monkey.patch_all()"


@pytest.mark.parametrize(
    ("before", "after"), [(PATCH, ""), ("", PATCH)], ids=["patched before", "patched after"]
)
def test_each_greenlet_has_a_unit_of_its_own(before: str, after: str) -> None:
    """Greenlets of one thread share no unit, and circles among them end at once."""
    program = PROGRAM.format(before=before, after=after)

    code, printed, _ = run_program([sys.executable, "-W", "ignore", "-c", program])

    assert (0, "5 0 200 True {} 0\n") == (code, printed)
