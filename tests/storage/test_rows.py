"""The rows of a storage: records with the seconds that are left, for a walk over all of them."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from support.servers import patient_url
from telesession import PostgresStorage, RedisStorage, SQLiteStorage, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.servers import Cluster, Server

    Walked = SQLiteStorage | RedisStorage | PostgresStorage

PAYLOADS = {"@cart:1": b"{}", "a*": b"\xff", "a[b": b"1", "b{c}": b"2", "\ud800": b"3"}


@pytest.fixture(params=["sqlite", "redis", "cluster", "postgres"])
def walked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Walked]:
    """A storage with records; every second one expires in a thousand seconds."""
    if request.param == "cluster":
        cluster: Cluster = request.getfixturevalue("cluster")
        with closing(cluster.client()) as client:
            yield filled(RedisStorage(client, prefix="rows*:"))
    elif request.param == "postgres":
        with filled(PostgresStorage(request.getfixturevalue("postgres").url())) as storage:
            yield storage
    elif request.param == "redis":
        server: Server = request.getfixturevalue("server")
        with filled(RedisStorage(patient_url(server))) as storage:
            yield storage
    else:
        with filled(SQLiteStorage(tmp_path / "bot.db")) as storage:
            yield storage


def filled(storage: Walked) -> Walked:
    for number, (key, payload) in enumerate(PAYLOADS.items()):
        storage.set(key, payload, 1000 if number % 2 else None)
    return storage


def test_rows_are_the_records(walked: Walked) -> None:
    """There is a row for each record, with its payload and the seconds that are left."""
    rows = {row.key: row for row in walked.rows()}
    endless = [key for key, row in rows.items() if row.left is None]
    lefts = [row.left for row in rows.values() if row.left is not None]

    assert PAYLOADS == {key: row.payload for key, row in rows.items()}
    assert sorted(list(PAYLOADS)[::2]) == sorted(endless)
    assert [True, True] == [0 < left <= 1000 for left in lefts]


def test_rows_begin_with_a_prefix(walked: Walked) -> None:
    """Rows are those of the keys that begin with a text, whatever characters it has."""
    assert [["a*"], ["a[b"], ["b{c}"], ["\ud800"]] == [
        [row.key for row in walked.rows(prefix)] for prefix in ("a*", "a[", "b{", "\ud800")
    ]


def test_more_rows_than_a_page_come_once(walked: Walked) -> None:
    """A walk over several pages gives each record once."""
    keys = {f"many:{number}" for number in range(1200)}
    for key in keys:
        walked.set(key, b"{}")
    found = [row.key for row in walked.rows("many:")]

    assert (len(keys), keys) == (len(found), set(found))


def test_a_damaged_row_has_no_payload(tmp_path: Path) -> None:
    """A row of another type is given without a payload, and the walk goes on."""
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        for key in "abc":
            storage.set(key, b"{}")
        spoil = "UPDATE sessions SET expires = 'soon' WHERE key = 'b'"
        storage.database.write("spoil", None, lambda cursor: cursor.execute(spoil))
        assert [("a", b"{}"), ("b", None), ("c", b"{}")] == [row[:2] for row in storage.rows()]


def test_a_key_of_another_type_has_no_payload(server: Server) -> None:
    """A list among the records is a row without a payload, and the walk goes on."""
    with RedisStorage(patient_url(server)) as storage, server.client() as client:
        storage.set("a", b"{}")
        client.rpush("telesession:b", "1")
        assert {("a", b"{}"), ("b", None)} == {row[:2] for row in storage.rows()}


def test_a_server_that_is_down_is_an_error(server: Server) -> None:
    """A walk that cannot go on raises."""
    with RedisStorage("redis://127.0.0.1:1") as storage, pytest.raises(StorageError):
        next(storage.rows())


def test_a_key_with_half_a_surrogate_pair_is_sound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that SQLite keeps as a blob is listed, and not logged as damaged."""
    with SQLiteStorage(tmp_path / "bot.db") as storage:
        storage.set("\ud800", b"{}")
        assert (["\ud800"], ["\ud800"]) == (list(storage.keys()), storage.listed(""))
    assert [] == caplog.messages
