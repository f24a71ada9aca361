"""Deadlines of fields, which the storages of a copy keep by different clocks."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.copies import CODECS, Make, fill, lefts, view
from support.storages import record_of
from telesession import MemoryStorage, Sessions, SQLiteStorage, Storage, copy_sessions, ttl_left
from telesession.copies import CopyResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory


def ahead(seconds: float) -> Storage:
    """A storage whose clock is that of another machine, and ahead of the clock of this one."""

    class Ahead(MemoryStorage):
        __slots__ = ()
        persistent = True

        def now(self) -> float:
            return time.time() + seconds

    return Ahead(codec=CODECS["json"])


MAKERS: dict[str, Callable[[Make, str], Storage]] = {
    "memory": lambda make, name: make("memory", CODECS["json"], name),
    "file": lambda make, name: make("sqlite", CODECS["json"], name),
    "ahead": lambda _make, _name: ahead(5000),
    "behind": lambda _make, _name: ahead(-5000),
    "a little ahead": lambda _make, _name: ahead(0.25),
}


def deadline_of(storage: Storage) -> Any:
    """The deadline of a field as it is stored."""
    record = record_of(storage, "ada")
    assert record is not None
    return record["ttl"]["code"][1]


@pytest.mark.parametrize("kinds", list(itertools.product(MAKERS, MAKERS)), ids="-".join)
def test_a_deadline_is_that_of_the_clock_of_the_target(
    kinds: tuple[str, str], make: Make, clock: FrozenDateTimeFactory
) -> None:
    """A field expires in the target when it would have expired in the source."""
    source, target = MAKERS[kinds[0]](make, "source"), MAKERS[kinds[1]](make, "target")
    fill(source)
    clock.tick(60)
    done = [copy_sessions(source, target), copy_sessions(source, target, overwrite=True)]

    assert [CopyResult(copied=4), CopyResult(same=4)] == done
    assert (view(source), lefts(source)) == (view(target), lefts(target))
    shift = target.now() - source.now()
    if source.persistent and target.persistent:
        assert shift == pytest.approx(deadline_of(target) - deadline_of(source), abs=0.001)


def test_the_same_clock_keeps_each_number(tmp_path: Path) -> None:
    """Between storages of one clock, a deadline is the same number, to the last bit."""
    with SQLiteStorage(tmp_path / "a.db") as source, SQLiteStorage(tmp_path / "b.db") as target:
        fill(source)
        copy_sessions(source, target)

        assert record_of(source, "ada") == record_of(target, "ada")


def test_seconds_since_the_epoch_are_no_monotonic_seconds(tmp_path: Path) -> None:
    """By real clocks, a field has the same seconds left in memory, in a file, and back again."""
    memory, back = MemoryStorage(), MemoryStorage()
    with SQLiteStorage(tmp_path / "a.db") as file:
        begun = time.monotonic()
        fill(memory)
        copy_sessions(memory, file)
        copy_sessions(file, back)
        left = [
            ttl_left(Sessions(storage=storage).peek("@bob"), "until")
            for storage in (memory, file, back)
        ]
        passed = time.monotonic() - begun

    assert [True] * 3 == [10_000 - passed - 0.002 <= each <= 10_000 + 0.002 for each in left]


def test_a_fixed_end_is_that_of_the_clock_of_the_target(tmp_path: Path) -> None:
    """By real clocks, a session with `expires_after` ends at the same time wherever it is."""
    memory, back = MemoryStorage(), MemoryStorage()
    with SQLiteStorage(tmp_path / "a.db") as file:
        with Sessions(storage=memory, expires_after=10_000).open("ada") as session:
            session.visits = 1
        done = [copy_sessions(memory, file), copy_sessions(file, back), copy_sessions(memory, back)]
        ends = [record_of(storage, "ada")["end"] for storage in (memory, file, back)]  # type: ignore[index]
        offset = time.time() - time.monotonic()

    assert [CopyResult(copied=1), CopyResult(copied=1), CopyResult(same=1)] == done
    assert ends == pytest.approx([ends[0], ends[0] + offset, ends[0]], abs=0.01)


def test_a_session_that_has_ended_begins_anew_in_the_target(tmp_path: Path) -> None:
    """An end before the machine has started is no damage, and the session is over."""
    with SQLiteStorage(tmp_path / "a.db") as file:
        file.set("ada", b'{"fields":{"visits":7},"end":1}')
        memory = MemoryStorage()
        copy_sessions(file, memory)

        assert [None, None] == [Sessions(storage=each).peek("ada") for each in (file, memory)]
