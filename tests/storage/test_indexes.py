"""Changes, indexes and added numbers: in files, one after the other, and among processes."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

import support.redis_storages
import support.sqlite_files
from support.processes import open_storage, run
from support.servers import patient_url
from support.sqlite_files import trace
from support.storages import FiveMethods
from telesession import Storage, StorageError
from telesession.storage.base import Change
from telesession.storage.sqlite_records import _KEYS, _PAGE_OF

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from telesession.storage.sqlite import SQLiteStorage

server = support.redis_storages.server
path = support.sqlite_files.path
storage = support.sqlite_files.storage
admin = support.sqlite_files.admin


def change(key: str, expected: bytes | None, payload: bytes | None) -> Change:
    return Change(f"@in:{key}", expected, payload, index="@in:")


def add(storage: Storage, *numbers: int) -> list[int]:
    some = dict.fromkeys(numbers, b"payload")
    return storage.add_once("@in:", some, pages="@seen:", memory=3600)


def key_of(number: int) -> str:
    return f"@in:{number:016}"


# Storages that write one record after the other.


class Failing(FiveMethods):
    """A storage that cannot store one key."""

    key = ""

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        if key == self.key:
            raise StorageError("write", key, "the disk is full")
        super().set(key, payload, lifetime)


def test_changes_are_written_in_their_order() -> None:
    """A failure in the middle leaves the changes before it, and the error names their keys."""
    storage = Failing()
    storage.key = "@in:b"
    storage.set("@in:d", b"old")
    changes = [
        change("c", None, b"new"),
        change("d", b"old", None),
        change("b", None, b"new"),
        change("a", None, b"new"),
    ]
    with storage.hold("42") as held:
        held.set(b"payload")
        with pytest.raises(StorageError) as caught:
            storage.commit([held], changes)

    assert ("42", "@in:c", "@in:d") == caught.value.written
    assert ["42", "@in:c"] == sorted(storage.keys())


def test_numbers_after_a_failure_are_new_again() -> None:
    """A number is remembered after its record is stored, so no number is lost by a failure."""
    storage = Failing()
    storage.key = key_of(5001)
    with pytest.raises(StorageError) as caught:
        add(storage, 1, 2, 5000, 5001, 5002)
    storage.key = ""

    assert tuple(map(key_of, (1, 2, 5000))) == caught.value.written
    assert [5000, 5001, 5002] == add(storage, 1, 2, 5000, 5001, 5002)


# Files.


def kinds_of(statements: list[str]) -> Counter[str]:
    return Counter(statement.split()[0] for statement in statements)


def test_a_commit_of_changes_is_one_transaction(storage: SQLiteStorage) -> None:
    """A hundred changes begin one transaction, with a read and a write for each, in order."""
    storage.set("42", b"payload")
    statements = trace(storage)
    keys = [f"@in:{number * 7 % 101:03}" for number in range(101)]
    storage.commit([], [Change(key, None, b"payload", index="@in:") for key in keys])
    counted = kinds_of(statements)
    written = [statement for statement in statements if statement.startswith("INSERT")]

    assert {"BEGIN": 1, "SELECT": 101, "INSERT": 101, "COMMIT": 1} == counted
    assert keys == [statement.split("'")[1] for statement in written]


def test_an_addition_of_numbers_is_one_transaction(storage: SQLiteStorage) -> None:
    """A hundred numbers of two pages read and write two pages, and write their records."""
    add(storage, 1)
    statements = trace(storage)
    add(storage, *range(4050, 4150))

    assert {"BEGIN": 1, "SELECT": 2, "INSERT": 102, "COMMIT": 1} == kinds_of(statements)


def test_a_look_reads_a_range_of_keys(storage: SQLiteStorage, admin: sqlite3.Connection) -> None:
    """A look searches the primary key and sorts nothing: sessions make it no longer."""
    add(storage, *range(30))
    query = "EXPLAIN QUERY PLAN " + _PAGE_OF.format(_KEYS, ">", "TEXT")
    plan = [row[-1] for row in admin.execute(query, (b"@in:", 100))]
    storage.listed("@in:")
    statements = trace(storage, "reader")
    listed = storage.listed("@in:", key_of(9), 20)

    assert ["SEARCH sessions USING PRIMARY KEY (key>?)"] == plan
    assert list(map(key_of, range(10, 30))) == listed
    # The second one finds no key that is no text.
    assert {"SELECT": 2} == kinds_of(statements)


@pytest.mark.parametrize(
    "call",
    [
        lambda storage: storage.commit(
            [], [Change(key_of(number), None, b"") for number in (6, 7)]
        ),
        lambda storage: add(storage, 6, 7, 8),
    ],
    ids=["commit", "add_once"],
)
def test_a_refused_write_leaves_no_other(
    storage: SQLiteStorage, admin: sqlite3.Connection, call: Callable[[Storage], object]
) -> None:
    """If one record of many cannot be written, none is, and no number is remembered."""
    admin.execute(
        f"CREATE TRIGGER refuse BEFORE INSERT ON sessions WHEN new.key = '{key_of(7)}' "
        "BEGIN SELECT raise(ABORT, 'refused'); END"
    )
    with pytest.raises(StorageError):
        call(storage)
    stored = list(storage.keys())
    admin.execute("DROP TRIGGER refuse")

    assert ([], [6, 7, 8]) == (stored, add(storage, 6, 7, 8))


def test_a_damaged_page_is_an_error(storage: SQLiteStorage, admin: sqlite3.Connection) -> None:
    """A page that cannot be read never looks like one without numbers."""
    add(storage, 1)
    admin.execute("UPDATE sessions SET expires = 'soon' WHERE key = '@seen:0'")
    with pytest.raises(StorageError) as caught:
        add(storage, 5000, 1)

    assert ("@seen:0", [key_of(1)]) == (caught.value.key, storage.listed("@in:"))


def test_a_number_takes_less_than_100_bytes(storage: SQLiteStorage, path: Path) -> None:
    """A file that has added and ended 20,000 updates takes 100 bytes for each of them."""
    before = path.stat().st_size
    payload = b"x" * 400
    for start in range(0, 20_000, 100):
        numbers = range(start, start + 100)
        storage.add_once("@in:", dict.fromkeys(numbers, payload), pages="@seen:", memory=3600)
        storage.commit([], [change(f"{number:016}", payload, None) for number in numbers])
    again = add(storage, *range(20_000))
    storage.close()

    assert ([], True) == (again, path.stat().st_size - before <= 100 * 20_000)


# Processes.


@pytest.fixture(params=["file", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where nothing is stored yet."""
    if request.param == "file":
        return str(tmp_path / "bot.db")
    return patient_url(request.getfixturevalue("server"))


def test_processes_add_each_number_once(place: str) -> None:
    """Of four processes that add a number at the same time, it is new to one, which stores it."""
    outcome = run("add_numbers", place, 4, 100, "exclusive")
    added: dict[str, list[int]] = outcome["added"]
    stored: Counter[Any] = Counter()
    with open_storage(place) as storage:
        for key in storage.listed("@in:"):
            stored[(storage.get(key) or b"").decode()] += 1

    assert ([0] * 4, list(range(100))) == (outcome["exit codes"], sorted(chain(*added.values())))
    assert {process: len(numbers) for process, numbers in added.items() if numbers} == stored


def test_control_without_a_lock_among_processes_a_number_is_added_twice(place: str) -> None:
    """With locks of one process each, a number that all add at once is new to all of them."""
    outcome = run("add_numbers", place, 4, 5, "alone")

    assert ([0] * 4, [[*range(5)]] * 4) == (outcome["exit codes"], [*outcome["added"].values()])
