"""The tests of indexes: keys in pages, and numbers that are added once."""

# ruff: noqa: SIM300 -- a test compares the expected number with the real one

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from telesession.errors import LockLostError
from telesession.storage.base import Change
from telesession.testing.promises.subject import FOR_AGES, HOSTILE_KEYS, Subject
from telesession.testing.threads import in_threads

if TYPE_CHECKING:
    from telesession.storage.base import Storage


class IndexPromises(Subject):
    """The promises about indexes and about numbers that are added once."""

    def test_listed_gives_an_index_in_pages(self, storage: Storage) -> None:
        """`listed` gives the keys of an index in order, after a key, and up to a limit."""
        keys = sorted(f"@in:{key}" for key in HOSTILE_KEYS)
        changes = [Change(key, None, b"payload", index="@in:") for key in reversed(keys)]
        storage.commit([], changes)
        storage.commit([], [Change("@in", None, b"payload", index="@in")])
        storage.set("@inside", b"payload")
        storage.set("@", b"payload")

        assert keys == storage.listed("@in:", limit=len(keys))
        assert keys == storage.listed("@in:", "@in", 1_000)
        assert keys[3:5] == storage.listed("@in:", keys[2], 2)
        assert keys[-1:] == storage.listed("@in:", keys[-2], 2)
        assert [] == storage.listed("@in:", keys[-1])
        assert [] == storage.listed("@in:", limit=0)
        assert [] == storage.listed("@out:")

    def test_listed_gives_a_hundred_keys(self, storage: Storage) -> None:
        """Without a limit, a call of `listed` gives up to 100 keys, and the next one the rest."""
        keys = [f"@in:{number:03}" for number in range(150)]
        storage.commit([], [Change(key, None, b"payload", index="@in:") for key in keys])

        assert [keys[:100], keys[100:]] == [
            storage.listed("@in:"),
            storage.listed("@in:", keys[99]),
        ]

    def test_listed_gives_live_keys_only(self, storage: Storage) -> None:
        """A deleted, vanished or expired record is not listed, and takes no place of another."""

        def change(key: str, expected: bytes | None, payload: bytes | None) -> Change:
            lifetime = self.second if key == "@expired" else None
            return Change(key, expected, payload, lifetime, "@")

        names = ["@deleted", "@expired", "@replaced", "@vanished", "@vanished too", "@z"]
        storage.commit([], [change(key, None, b"old") for key in names])
        storage.delete("@vanished")
        storage.delete("@vanished too")
        changes = [change("@deleted", b"old", None), change("@replaced", b"old", b"new")]
        with storage.hold("held") as held:
            held.set(b"payload")
            storage.commit([held], changes)
        with pytest.raises(LockLostError):
            storage.commit([], [change("@new", None, b"new"), change("@z", b"other", None)])
        before = storage.listed("@")
        self.tick(self.second)

        assert ["@expired", "@replaced", "@z"] == before
        assert [["@replaced", "@z"]] * 2 == [storage.listed("@"), storage.listed("@", limit=2)]

    def test_add_once_stores_new_numbers(self, storage: Storage) -> None:
        """`add_once` stores a record for each new number, and gives these in their order."""
        payloads = {number: b"%d" % number for number in (7, 0, 4095, 4096, 2**52 - 1, 3)}

        def add(*numbers: int) -> list[int]:
            some = {number: payloads[number] for number in numbers}
            return storage.add_once("@in:", some, pages="@seen:", memory=FOR_AGES)

        added = [add(), add(7, 0, 4095), add(7), add(*payloads), add(*payloads)]
        keys = [f"@in:{number:016}" for number in sorted(payloads)]

        assert [[], [7, 0, 4095], [], [4096, 2**52 - 1, 3], []] == added
        assert keys == storage.listed("@in:")
        assert [b"0", b"3", b"7", b"4095", b"4096", b"%d" % (2**52 - 1)] == [
            storage.get(key) for key in keys
        ]

    def test_add_once_remembers_deleted_records(self, storage: Storage) -> None:
        """A number is not added again after its record was changed or deleted."""

        def add(payload: bytes) -> list[int]:
            some = {1: payload, 2: payload}
            return storage.add_once("@", some, pages="+", memory=5 * self.second)

        added = [add(b"old")]
        one, two = storage.listed("@")
        changes = [Change(one, b"old", None, index="@"), Change(two, b"old", b"changed", index="@")]
        storage.commit([], changes)
        self.tick(self.second)
        added += [add(b"new")]

        assert [[1, 2], []] == added
        assert ([two], b"changed") == (storage.listed("@"), storage.get(two))

    def test_add_once_forgets_numbers_with_time(self, storage: Storage) -> None:
        """A number is new again after `memory` seconds without another number of its page."""

        def add(*numbers: int) -> list[int]:
            some = dict.fromkeys(numbers, b"payload")
            return storage.add_once("@", some, pages="+", memory=5 * self.second)

        added = [add(1, 5000)]
        self.tick(5 * self.second - self.margin)
        added += [add(2), add(1)]
        self.tick(self.margin)
        added += [add(1), add(5000)]
        self.tick(5 * self.second)
        added += [add(1)]

        assert [[1, 5000], [2], [], [], [5000], [1]] == added
        # A record outlives the memory of its number.
        assert [f"@{number:016}" for number in (1, 2, 5000)] == storage.listed("@")

    def test_add_once_takes_many_numbers(self, storage: Storage) -> None:
        """Thousands of numbers are added by one call, in their order."""
        payloads = {number * 3: b"%d" % number for number in reversed(range(3_000))}
        added = storage.add_once("@", payloads, pages="+", memory=FOR_AGES)
        keys = storage.listed("@", limit=5_000)

        assert list(payloads) == added
        assert sorted(f"@{number:016}" for number in payloads) == keys
        assert [b"0", b"2999"] == [storage.get(keys[0]), storage.get(keys[-1])]
        assert [] == storage.add_once("@", payloads, pages="+", memory=FOR_AGES)

    def test_add_once_refuses_other_numbers(self, storage: Storage) -> None:
        """A number that is negative, or not below 2**52, is a `ValueError`; nothing is stored."""
        for number in (-1, 2**52):
            with pytest.raises(ValueError, match=str(number)):
                storage.add_once("@", {1: b"", number: b""}, pages="+", memory=FOR_AGES)

        assert [] == list(storage.keys())

    def test_threads_add_each_number_once(self, storage: Storage) -> None:
        """Of threads that add the same numbers at the same time, each number is new for one."""
        numbers = range(4090, 4115)

        def add(name: str) -> list[int]:
            added = []
            for number in numbers:
                some = {number: name.encode()}
                added += storage.add_once("@", some, pages="+", memory=FOR_AGES)
            return added

        added = in_threads([partial(add, name) for name in "abcd"])

        assert list(numbers) == sorted(number for some in added for number in some)
        for name, some in zip("abcd", added, strict=True):
            assert [name.encode()] * len(some) == [storage.get(f"@{each:016}") for each in some]
