"""The numbers that PostgreSQL adds: it decides in one statement whether a number is new."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import pytest

from support.postgres_storages import TABLE
from support.threads import in_threads
from telesession.storage.bitmaps import Bitmap

if TYPE_CHECKING:
    from collections.abc import Iterable

    from support.postgres import PostgresServer
    from telesession import PostgresStorage, Storage


PAGES, PREFIX, MEMORY = "@seen:", "@in:", 1000.0


def add(storage: Storage, *numbers: int) -> list[int]:
    """Add numbers, and return those that were new."""
    payloads = dict.fromkeys(numbers, b'{"n": 1}')
    return storage.add_once(PREFIX, payloads, pages=PAGES, memory=MEMORY)


def bitmap_of(numbers: Iterable[int]) -> bytes:
    """The bitmap of the first page."""
    bitmap = Bitmap(None)
    for number in numbers:
        bitmap.add(number)
    return bitmap.payload


def test_its_bitmaps_are_those_of_all_storages(storage: PostgresStorage) -> None:
    """Numbers in any order, alone and together, have the bits that other storages give them."""
    rng = random.Random(7)
    numbers = [0, 7, 8, 4095, *rng.sample(range(9, 4095), 60)]
    rng.shuffle(numbers)
    added = []
    for size in (1, 1, 2, 20, 40):
        some, numbers = numbers[:size], numbers[size:]
        assert some == add(storage, *some)
        # A repetition changes nothing.
        assert [] == add(storage, *some)
        added += some

        assert bitmap_of(added) == storage.get(f"{PAGES}0")


def test_new_numbers_among_known_ones_are_added(storage: PostgresStorage) -> None:
    """Of several numbers in several pages, those are stored that are new, in the given order."""
    add(storage, 5, 5000)
    storage.delete(f"{PREFIX}{5:016d}")

    assert [4096, 6] == add(storage, 4096, 5, 5000, 6)
    assert [6, 4096, 5000] == [int(key[len(PREFIX) :]) for key in storage.listed(PREFIX)]


@pytest.mark.parametrize("payload", [b"{}", b"\x01", b"\xff" * 512])
def test_a_page_of_another_writer_is_kept(payload: bytes, storage: PostgresStorage) -> None:
    """A page that was copied here keeps its numbers, also if its bytes happen to be JSON."""
    storage.set(f"{PAGES}0", payload)
    known = Bitmap(payload)
    expected = [number for number in range(0, 4096, 5) if known.add(number)]

    assert expected == add(storage, *range(0, 4096, 5))
    assert known.payload == storage.get(f"{PAGES}0")


def test_an_expired_page_begins_anew(storage: PostgresStorage, postgres: PostgresServer) -> None:
    """After its lifetime a page has no numbers, and the next one is the only one."""
    add(storage, 1, 2)
    postgres.ask(f"UPDATE {TABLE} SET expires = now() WHERE expires IS NOT NULL")

    assert ([2], bitmap_of([2])) == (add(storage, 2), storage.get(f"{PAGES}0"))


def test_of_several_processes_one_adds_a_number(
    storage: PostgresStorage, other: PostgresStorage
) -> None:
    """Threads of two processes that add the same numbers in any order have each number once."""
    rng = random.Random(1)
    orders = [rng.sample(range(4000, 4200), 200) for _ in range(8)]
    adders = [
        partial(add, storage if place % 2 else other, *order) for place, order in enumerate(orders)
    ]
    added = [number for some in in_threads(adders) for number in some]

    assert list(range(4000, 4200)) == sorted(added)


def test_control_without_a_lock_of_the_page_a_number_is_added_twice(
    storage: PostgresStorage, other: PostgresStorage
) -> None:
    """If a page is read before it is written, as without a lock, both processes add the number."""
    seen = storage.get(f"{PAGES}0")

    def add_blindly(storage: PostgresStorage) -> bool:
        bitmap = Bitmap(seen)
        is_new = bitmap.add(7)
        storage.set(f"{PAGES}0", bitmap.payload)
        return is_new

    assert [True, True] == [add_blindly(each) for each in (storage, other)]
