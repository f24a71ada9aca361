"""The results of copies: the records that were left out, and the numbers on the way."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import pytest

from support.copies import CODECS, KINDS, Make, fill, lefts, view
from support.servers import patient_url
from support.storages import SECRET, payloads
from telesession import (
    MemoryStorage,
    RedisStorage,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    copy_sessions,
    ttl,
)
from telesession.copies import CopyCounts, CopyResult
from telesession.testing import FaultyStorage

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from support.servers import Server

with_each_kind = pytest.mark.parametrize("kind", KINDS)


def change(storage: Storage, **fields: Any) -> None:
    """Let a handler change the session of ada."""
    with Sessions(storage=storage, lifetime=3000).open("ada") as session:
        session.update(fields)


@with_each_kind
def test_another_record_is_kept(kind: str, make: Make) -> None:
    """Another record under a key is no error: it stays, and its key is in the result."""
    source, target = make(kind, CODECS["json"], "a"), make(kind, CODECS["pickle"], "b")
    fill(source)
    change(target, counter=7)
    done = copy_sessions(source, target)

    assert CopyResult(copied=3, kept=1, kept_keys=("ada",)) == done
    assert {"counter": 7} == Sessions(storage=target).peek("ada")


@with_each_kind
def test_another_record_is_replaced_if_asked(
    kind: str, make: Make, clock: FrozenDateTimeFactory
) -> None:
    """With `overwrite`, the record of the source replaces that of the target."""
    source, target = make(kind, CODECS["json"], "a"), make(kind, CODECS["pickle"], "b")
    fill(source)
    change(target, counter=7)
    done = copy_sessions(source, target, overwrite=True)

    assert CopyResult(copied=3, replaced=1) == done
    assert (view(source), lefts(source)) == (view(target), lefts(target))


@with_each_kind
def test_bytes_of_another_codec_are_another_record(
    kind: str, make: Make, clock: FrozenDateTimeFactory
) -> None:
    """A record of the target that its codec cannot read is kept, or replaced if asked."""
    source, target = make(kind, CODECS["json"], "a"), make(kind, CODECS["encrypted"], "b")
    fill(source)
    target.set("ada", b"\0damaged")
    kept = copy_sessions(source, target)
    before = target.get("ada")
    replaced = copy_sessions(source, target, overwrite=True)

    assert CopyResult(copied=3, kept=1, kept_keys=("ada",)) == kept
    assert b"\0damaged" == before
    assert CopyResult(same=3, replaced=1) == replaced


@with_each_kind
def test_a_renewed_lifetime_is_copied_if_asked(
    kind: str, make: Make, clock: FrozenDateTimeFactory
) -> None:
    """With `overwrite`, a record that was used since the first copy gets its new lifetime."""
    source, target = make(kind, CODECS["json"], "a"), make(kind, CODECS["json"], "b")
    fill(source)
    copy_sessions(source, target)
    clock.tick(30)
    source.touch("ada", None)
    source.touch("@@bob", 100)
    source.touch("@cart:bob \ud800", 999_970.1)
    kept = copy_sessions(source, target)
    before = lefts(target)
    renewed = copy_sessions(source, target, overwrite=True)

    assert (CopyResult(same=4), CopyResult(same=1, replaced=3)) == (kept, renewed)
    assert [2_970_000, None] == [before["ada"], before["@@bob"]]
    assert lefts(source) == lefts(target)


@with_each_kind
def test_a_renewed_field_is_another_record(
    kind: str, make: Make, clock: FrozenDateTimeFactory
) -> None:
    """A field whose deadline moved by more than a second makes another record, also if equal."""
    source, target = make(kind, CODECS["json"], "a"), make(kind, CODECS["json"], "b")
    fill(source)
    copy_sessions(source, target)
    clock.tick(0.5)
    change(source, code=ttl("1234", 90))
    near = copy_sessions(source, target)
    clock.tick(1)
    change(source, code=ttl("1234", 90))
    far = copy_sessions(source, target)
    done = copy_sessions(source, target, overwrite=True)

    assert (0, ("ada",)) == (near.kept, far.kept_keys)
    assert ({"ada"}, 0) == (set(far.kept_keys), done.kept)
    assert view(source) == view(target)


@with_each_kind
def test_the_order_of_fields_makes_no_other_record(kind: str, make: Make) -> None:
    """A record whose fields were stored in another order is the same one."""
    source, target = make(kind, CODECS["json"], "a"), make(kind, CODECS["encrypted"], "b")
    for storage, names in ((source, "abc"), (target, "cab")):
        with Sessions(storage=storage).open("ada") as session:
            session.update({name: ttl(name, 3000) for name in names})

    assert CopyResult(same=1) == copy_sessions(source, target)


def test_a_record_that_the_codec_refuses_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The key is in the result, the reason in the log, the value nowhere; the rest goes on."""
    source, target = MemoryStorage(), MemoryStorage(codec=CODECS["json"])
    fill(source)
    with Sessions(storage=source).open("carol") as session:
        session.cart = [1, {SECRET: frozenset([len])}]
    with caplog.at_level(logging.WARNING, "telesession"):
        done = copy_sessions(source, target)

    assert CopyResult(copied=4, refused=1, refused_keys=("carol",)) == done
    assert "did not copy a record" in caplog.text
    assert "cart[1][<str>]" in caplog.text
    assert SECRET not in caplog.text


@with_each_kind
def test_a_record_that_nothing_reads_is_reported(kind: str, make: Make) -> None:
    """Bytes that the codec of the source did not write are in the result, and the rest goes on."""
    source, target = make(kind, CODECS["json"], "a"), make(kind, CODECS["json"], "b")
    fill(source)
    for key, payload in {"x": b"", "y": b"\x80\x05", "z": b'{"fields": {}, "ttl": 7}'}.items():
        source.set(key, payload)
    done = copy_sessions(source, target)

    assert (4, 3, {"x", "y", "z"}) == (done.copied, done.unreadable, set(done.unreadable_keys))


def test_a_damaged_row_is_reported(tmp_path: Path) -> None:
    """A row of SQLite that is no record is in the result, between storages and in place."""
    with SQLiteStorage(tmp_path / "bot.db") as source, MemoryStorage() as target:
        fill(source)
        with closing(sqlite3.connect(tmp_path / "bot.db")) as admin:
            admin.execute("UPDATE sessions SET payload = 7 WHERE key = 'ada'")
            admin.commit()
        done = copy_sessions(source, target)
        in_place = copy_sessions(source, source)

    assert CopyResult(copied=3, unreadable=1, unreadable_keys=("ada",)) == done
    assert CopyResult(same=3, unreadable=1, unreadable_keys=("ada",)) == in_place


def test_an_outage_ends_the_copy() -> None:
    """A storage that fails is a `StorageError`, and not a list of records that cannot be read."""
    source = FaultyStorage(MemoryStorage())
    fill(source)
    source.fail("get_record", times=99)
    source.fail("ping", times=99)
    with pytest.raises(StorageError, match="could not reach the storage"):
        copy_sessions(source, MemoryStorage())

    source.clear_faults()
    target = FaultyStorage(MemoryStorage())
    target.fail("commit", at=3)
    with pytest.raises(StorageError, match="the disk is full"):
        copy_sessions(source, target)
    assert CopyResult(copied=2, same=2) == copy_sessions(source, target)


def test_a_lock_that_was_lost_is_taken_again() -> None:
    """A record whose lock was lost before its write is copied all the same, and counted once."""
    source, target = MemoryStorage(), FaultyStorage(MemoryStorage())
    fill(source)
    target.lose_lock(at=2)

    assert CopyResult(copied=4) == copy_sessions(source, target)
    assert len(payloads(source)) == len(payloads(target))


def test_a_record_that_is_gone_counts_nothing() -> None:
    """A record that is deleted after its key was listed is no part of the result."""
    source, target = FaultyStorage(MemoryStorage()), MemoryStorage()
    fill(source)
    source.evict("hold", at=2)

    assert CopyResult(copied=3) == copy_sessions(source, target)


def test_a_session_that_stays_busy_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that a handler keeps is left out after a minute, on either side."""
    monkeypatch.setattr("telesession.copies.transfers._PATIENCE", 0)
    source, target = MemoryStorage(), MemoryStorage()
    fill(source)
    with source.hold("ada"), target.hold("@@bob"):
        done = copy_sessions(source, target)

    assert (2, {"ada", "@@bob"}) == (done.copied, set(done.busy_keys))
    assert CopyResult(copied=2, same=2) == copy_sessions(source, target)


def test_progress_is_told_after_each_record() -> None:
    """`on_progress` gets the numbers so far, of which the last are those of the result."""
    source, target = MemoryStorage(), MemoryStorage(codec=CODECS["json"])
    fill(source)
    with Sessions(storage=source).open("carol") as session:
        session.value = frozenset([len])
    seen: list[CopyCounts] = []
    done = copy_sessions(source, target, on_progress=seen.append)

    assert [1, 2, 3, 4, 5] == [counts.total for counts in seen]
    assert [CopyCounts] * 5 == [type(counts) for counts in seen]
    assert (4, 1) == (seen[-1].copied, seen[-1].refused)
    assert 5 == done.total


def test_an_exception_of_the_callback_ends_the_copy() -> None:
    """An exception of `on_progress` leaves the records before it copied, and no lock held."""
    source, target = MemoryStorage(), MemoryStorage()
    fill(source)

    def interrupt(_: CopyCounts) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_sessions(source, target, on_progress=interrupt)

    assert [0, 0] == [len(storage.process_state.locks) for storage in (source, target)]
    assert CopyResult(copied=3, same=1) == copy_sessions(source, target)


def test_a_result_is_frozen() -> None:
    """No attribute of a result can be set."""
    done = copy_sessions(MemoryStorage(), MemoryStorage())

    assert (CopyResult(), 0) == (done, done.total)
    with pytest.raises(FrozenInstanceError):
        done.copied = 1  # type: ignore[misc]


@pytest.mark.parametrize("pair", [("bot.db", MemoryStorage()), (MemoryStorage(), Sessions())])
def test_only_storages_are_copied(pair: tuple[Any, Any]) -> None:
    """A path or `Sessions` in the place of a storage is a `TypeError` that says so."""
    with pytest.raises(TypeError, match="copy_sessions takes two storages"):
        copy_sessions(*pair)


def test_a_key_of_another_type_on_a_server_is_left_out(server: Server, make: Make) -> None:
    """It is told by its key, and the rest is copied."""
    source, target = RedisStorage(patient_url(server)), make("memory", CODECS["json"], "b")
    with source, server.client() as client:
        for key in ("a", "c"):
            source.set(key, b'{"fields":{"n":1}}')
        client.rpush("telesession:b", "1")
        done = copy_sessions(source, target)

    assert CopyResult(copied=2, unreadable=1, unreadable_keys=("b",)) == done
    assert [b'{"fields":{"n":1}}', None] == [target.get("c"), target.get("b")]
