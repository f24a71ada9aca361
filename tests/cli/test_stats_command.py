"""The command `stats`: counts, sizes and lifetimes of all records."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support.command import COLUMNS, call
from support.command_records import FEW, MANY, PAYLOAD, measured, store_many
from support.servers import Server, patient_url
from telesession import Sessions, Storage

if TYPE_CHECKING:
    import pytest


def fill(storage: Storage) -> None:
    for key in range(3):
        with Sessions(storage=storage, lifetime=7200).open(key) as session:
            session.text = "x" * 1000 * key
    with Sessions(storage=storage, name="cart", version=2).open(1) as session:
        session.items = [1]
    storage.set("broken", b"{")


def test_records_are_counted_by_room_and_version(storage: Storage) -> None:
    """Each room has a row for each version, and one for the records that cannot be read."""
    fill(storage)
    found = json.loads(call("stats", "--json").out)
    rows = [(row["room"], row["version"], row["records"]) for row in found["rooms"]]

    assert [("", "0", 3), ("", "unreadable", 1), ("@cart:", "2", 1)] == rows
    assert 5 == found["records"]
    assert sum(row["bytes"] for row in found["rooms"]) == found["bytes"]


def test_sizes_and_lifetimes_are_counted_by_range(storage: Storage) -> None:
    """A record counts in the range of its size, and in that of its time left."""
    fill(storage)
    found = json.loads(call("stats", "--json").out)

    assert {"< 100 B": 3, "< 10 kB": 2} == nonzero(found["sizes"])
    assert {"< 1 d": 3, "for ever": 2} == nonzero(found["time left"])


def test_bars_are_as_long_as_their_counts(file_storage: Storage) -> None:
    """The largest count has the longest bar, and each other count a part of it."""
    fill(file_storage)
    lines = call("stats").out.splitlines()
    bars = {line[:8].strip(): line.count("#") for line in lines[lines.index("size") + 1 :]}

    assert (40, 27, 0) == (bars["< 100 B"], bars["< 10 kB"], bars["< 1 MB"])
    assert max(map(len, lines)) <= COLUMNS


def test_damaged_rows_and_an_inbox_are_counted(file_storage: Any) -> None:
    """A damaged row is unreadable, and the bookkeeping of an inbox has no version."""
    file_storage.set("damaged", b"{}")
    spoil = "UPDATE sessions SET expires = 'soon'"
    file_storage.database.write("spoil", None, lambda cursor: cursor.execute(spoil))
    file_storage.set("@inbox-1-numbers:0", b"\x80")
    rows = json.loads(call("stats", "--json").out)["rooms"]

    assert [("", "unreadable"), ("@inbox-1-numbers:", "")] == [
        (row["room"], row["version"]) for row in rows
    ]
    assert [3, 3] == [call(command).code for command in ("doctor", "export")]


def test_an_empty_storage_has_statistics(storage: Storage) -> None:
    """Without a record all counts are zero."""
    assert (0, "0 records, 0 B") == (call("stats").code, call("stats").out.splitlines()[0])


class TestManyRecords:
    """The memory that a walk needs does not grow with the number of records."""

    def test_statistics_need_little_memory(self, file_storage: Any) -> None:
        """`stats` over a hundred thousand records keeps a page of them at a time."""
        store_many(file_storage)
        ran, peak = measured(lambda: call("stats", "--json"))

        assert MANY == json.loads(ran.out)["records"]
        assert peak < FEW

    def test_statistics_of_a_server_need_little_memory(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server is asked page by page, and no list of its keys is kept."""
        monkeypatch.setenv("TELESESSION_STORAGE", patient_url(server))
        with server.client() as client:
            for begin in range(0, MANY, 10_000):
                names = (f"telesession:{key}" for key in range(begin, begin + 10_000))
                client.mset(dict.fromkeys(names, PAYLOAD))
        ran, peak = measured(lambda: call("stats", "--json"))

        assert MANY == json.loads(ran.out)["records"]
        assert peak < FEW

    def test_all_records_in_memory_need_much(self, file_storage: Any) -> None:
        """Control: a list of all rows is found by the measurement."""
        store_many(file_storage)
        rows, peak = measured(lambda: list(file_storage.rows()))

        assert MANY == len(rows)
        assert peak > FEW


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {label: count for label, count in counts.items() if count}
