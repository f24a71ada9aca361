"""Copies in place: the same records with another codec, or under another key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.copies import NEW, OLD, Make, fill, lefts, view
from support.storages import FIELDS, payloads
from telesession import (
    EncryptedCodec,
    JSONCodec,
    MemoryStorage,
    PickleCodec,
    Sessions,
    SQLiteStorage,
    Storage,
    copy_sessions,
)
from telesession.copies import CopyResult
from telesession.testing import FaultyStorage

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from telesession.codecs import Codec

SHARED = ["sqlite", "redis", "postgres"]
ANY = [*SHARED, "memory"]
CHANGES: dict[str, tuple[Codec, Codec]] = {
    "plain-encrypted": (JSONCodec(), EncryptedCodec(JSONCodec(), [NEW])),
    "encrypted-plain": (EncryptedCodec(JSONCodec(), [NEW]), JSONCodec()),
    "pickle-json": (PickleCodec(), JSONCodec()),
    "json-pickle": (JSONCodec(), PickleCodec()),
    "pickle-json-inside": (
        EncryptedCodec(PickleCodec(), [NEW]),
        EncryptedCodec(JSONCodec(), [NEW]),
    ),
}
with_each_change = pytest.mark.parametrize("codecs", CHANGES.values(), ids=CHANGES)


@with_each_change
@pytest.mark.parametrize("kind", SHARED)
def test_records_get_another_codec(
    kind: str, codecs: tuple[Codec, Codec], make: Make, clock: FrozenDateTimeFactory
) -> None:
    """Two storages in one place: each record is replaced, and keeps its fields and lifetimes."""
    source, target = (make(kind, codec, "bot") for codec in codecs)
    fill(source)
    expected = view(source), lefts(source)
    done = copy_sessions(source, target)

    assert CopyResult(replaced=4) == done
    assert expected == (view(target), lefts(target))


@with_each_change
@pytest.mark.parametrize("kind", SHARED)
def test_a_half_of_the_records_may_have_it_already(
    kind: str, codecs: tuple[Codec, Codec], make: Make
) -> None:
    """A copy in place that was interrupted is completed, and the rest is left alone."""
    source, target = (make(kind, codec, "bot") for codec in codecs)
    fill(source)
    half = copy_sessions(source, target, prefix="@")
    before = payloads(target)
    done, again = copy_sessions(source, target), copy_sessions(source, target)

    assert (CopyResult(replaced=3), CopyResult(replaced=1, same=3)) == (half, done)
    assert CopyResult(same=4) == again
    after = payloads(target)
    assert [before[key] for key in before if key[0] == "@"] == [
        after[key] for key in before if key[0] == "@"
    ]


@pytest.mark.parametrize("kind", ANY)
def test_an_old_key_is_rotated_out(kind: str, make: Make, clock: FrozenDateTimeFactory) -> None:
    """A storage that is copied to itself has its records under the first key of its codec."""
    storage = make(kind, EncryptedCodec(JSONCodec(), [OLD]), "bot")
    fill(storage)
    expected = view(storage), lefts(storage)
    storage.codec = EncryptedCodec(JSONCodec(), [NEW, OLD])
    with Sessions(storage=storage).open("carol") as session:
        session.counter = 1
    dry = copy_sessions(storage, storage, dry_run=True)
    done, again = copy_sessions(storage, storage), copy_sessions(storage, storage)
    storage.delete("carol")
    storage.codec = EncryptedCodec(JSONCodec(), [NEW])

    assert CopyResult(replaced=4, same=1, old_keys=4) == dry
    assert (CopyResult(replaced=4, same=1), CopyResult(same=5)) == (done, again)
    assert expected == (view(storage), lefts(storage))


@pytest.mark.parametrize("kind", ANY)
def test_records_that_keep_an_old_key_are_counted(
    kind: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result counts the records that still have an old key, such as one that is in use."""
    monkeypatch.setattr("telesession.copies.transfers._PATIENCE", 0)
    storage = make(kind, EncryptedCodec(JSONCodec(), [OLD]), "bot")
    fill(storage)
    storage.codec = EncryptedCodec(JSONCodec(), [NEW, OLD])
    with storage.hold("ada"):
        done = copy_sessions(storage, storage)

    assert CopyResult(replaced=3, busy=1, old_keys=1, busy_keys=("ada",)) == done
    assert CopyResult(replaced=1, same=3) == copy_sessions(storage, storage)


def test_records_of_another_storage_keep_no_old_key() -> None:
    """A record that the target has already gets the first key of its codec, too."""
    source = MemoryStorage()
    target = MemoryStorage(codec=EncryptedCodec(JSONCodec(), [OLD]))
    fill(source)
    copy_sessions(source, target)
    target.codec = EncryptedCodec(JSONCodec(), [NEW, OLD])
    with Sessions(storage=source).open("@bob") as session:
        session.counter += 1
    done = copy_sessions(source, target)

    assert CopyResult(replaced=3, kept=1, old_keys=1, kept_keys=("@@bob",)) == done


def test_a_record_that_the_codec_refuses_stays_as_it_is(tmp_path: Path) -> None:
    """From pickle to JSON in place, a record with an object is reported, and can be read still."""
    with (
        SQLiteStorage(tmp_path / "bot.db", PickleCodec()) as source,
        SQLiteStorage(tmp_path / "bot.db") as target,
    ):
        fill(source)
        with Sessions(storage=source).open("carol") as session:
            session.value = frozenset([len])
        done = copy_sessions(source, target)

        assert CopyResult(replaced=4, refused=1, refused_keys=("carol",)) == done
        assert {"value": frozenset([len])} == Sessions(storage=source).peek("carol")
        assert Sessions(storage=target).peek("ada")["text"] == FIELDS["text"]


@pytest.mark.parametrize("kind", ANY)
def test_the_same_codec_changes_nothing(kind: str, make: Make) -> None:
    """A storage whose records have the codec and the key already is left as it is."""
    storage = make(kind, JSONCodec(), "bot")
    fill(storage)
    before = payloads(storage)
    done = copy_sessions(storage, storage, overwrite=True)

    assert (CopyResult(same=4), before) == (done, payloads(storage))


@pytest.mark.parametrize("kind", ANY)
def test_a_storage_in_front_of_another_one_is_in_one_place_with_it(kind: str, make: Make) -> None:
    """One place is known by its locks, not by the name or the class of a storage."""
    behind = make(kind, JSONCodec(), "bot")
    fill(behind)
    front = FaultyStorage(behind)
    front.codec = EncryptedCodec(JSONCodec(), [NEW])

    assert CopyResult(replaced=4) == copy_sessions(behind, front)
    assert CopyResult(same=4) == copy_sessions(behind, front)


@pytest.mark.parametrize("kind", SHARED)
def test_two_places_are_told_apart(kind: str, make: Make) -> None:
    """Storages of one kind in two places are no copy in place: the source stays as it is."""
    source: Storage = make(kind, JSONCodec(), "one")
    target = make(kind, EncryptedCodec(JSONCodec(), [NEW]), "other")
    fill(source)
    before = payloads(source)

    assert CopyResult(copied=4) == copy_sessions(source, target)
    assert before == payloads(source)
