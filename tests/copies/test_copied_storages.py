"""Copies from each storage and codec to each other."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest

from support.copies import CODECS, KINDS, Make, ends, fill, lefts, view
from support.storages import FiveMethods, payloads
from telesession import JSONCodec, MemoryStorage, Sessions, copy_sessions
from telesession.copies import CopyResult
from telesession.testing.storage_suite import HOSTILE_KEYS

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

PAIRS = list(itertools.product(KINDS, KINDS))
PAIRS_OF_CODECS = list(itertools.product(CODECS, CODECS))
CLUSTERS = [(kind, "cluster") for kind in (*KINDS, "cluster")] + [
    ("cluster", kind) for kind in KINDS
]


@pytest.mark.parametrize("codecs", PAIRS_OF_CODECS, ids="-".join)
@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
def test_a_copy_has_the_same_records(
    kinds: tuple[str, str], codecs: tuple[str, str], make: Make, clock: FrozenDateTimeFactory
) -> None:
    """Each record is there with its fields, lifetime and deadlines, exact to a millisecond."""
    source = make(kinds[0], CODECS[codecs[0]], "source")
    target = make(kinds[1], CODECS[codecs[1]], "target")
    fill(source)
    before = payloads(source)
    clock.tick(60)
    done = copy_sessions(source, target)

    assert CopyResult(copied=4) == done
    assert (view(source), lefts(source)) == (view(target), lefts(target))
    assert before == payloads(source)
    clock.tick(30)
    assert (view(source), lefts(source)) == (view(target), lefts(target))


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_codec_of_memory_is_copied(
    kind: str, make: Make, clock: FrozenDateTimeFactory
) -> None:
    """From memory with the codec of its own, and back to such a one, records stay the same."""
    source, between, target = MemoryStorage(), make(kind, JSONCodec(), "between"), MemoryStorage()
    fill(source)
    done = [copy_sessions(source, between), copy_sessions(between, target)]

    assert [CopyResult(copied=4)] * 2 == done
    assert (view(source), lefts(source)) == (view(target), lefts(target))
    assert CopyResult(same=4) == copy_sessions(source, target)


@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
def test_the_same_record_twice_is_no_error(
    kinds: tuple[str, str], make: Make, clock: FrozenDateTimeFactory
) -> None:
    """A second copy finds all records in the target, and writes nothing."""
    source = make(kinds[0], CODECS["pickle"], "source")
    target = make(kinds[1], CODECS["encrypted"], "target")
    fill(source)
    copy_sessions(source, target)
    before = payloads(target)
    clock.tick(60)
    again = [copy_sessions(source, target), copy_sessions(source, target, overwrite=True)]

    assert [CopyResult(same=4)] * 2 == again
    assert before == payloads(target)


@pytest.mark.parametrize("kinds", CLUSTERS, ids="-".join)
def test_a_cluster_is_copied(kinds: tuple[str, str], make: Make) -> None:
    """To and from a cluster, records keep their fields, and end when they would have ended."""
    source = make(kinds[0], CODECS["json"], "source")
    target = make(kinds[1], CODECS["encrypted"], "target")
    fill(source)
    begun = time.monotonic()
    done = copy_sessions(source, target)
    seen, theirs = ends(source), ends(target)
    slack = time.monotonic() - begun + 0.002

    assert CopyResult(copied=4) == done
    assert CopyResult(same=4) == copy_sessions(source, target)
    assert {key: fields for key, (fields, _) in view(source).items()} == {
        key: fields for key, (fields, _) in view(target).items()
    }
    assert set(seen) == set(theirs)
    assert [True, True] == [
        theirs[key][0] - slack <= seen[key][1] and seen[key][0] - slack <= theirs[key][1]
        for key in seen
    ]


@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
def test_any_key_is_copied(kinds: tuple[str, str], make: Make) -> None:
    """A key may hold any character, and no two keys are the same one."""
    source = make(kinds[0], CODECS["json"], "source")
    target = make(kinds[1], CODECS["json"], "target")
    for number, key in enumerate(HOSTILE_KEYS):
        source.set(key, JSONCodec().encode({"fields": {"number": number}}, key))

    assert CopyResult(copied=len(HOSTILE_KEYS)) == copy_sessions(source, target)
    assert payloads(source) == payloads(target)


def test_a_prefix_chooses_records(make: Make) -> None:
    """With a prefix, only the records whose keys begin with it are copied."""
    source, target = MemoryStorage(), MemoryStorage()
    fill(source)
    done = copy_sessions(source, target, prefix="@cart:")

    assert CopyResult(copied=1) == done
    assert ["@cart:bob \ud800"] == list(target.keys())


@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
def test_a_dry_run_writes_nothing(kinds: tuple[str, str], make: Make) -> None:
    """A dry run gives the numbers of the copy that would be made, and writes nothing."""
    source = make(kinds[0], CODECS["pickle"], "source")
    target = make(kinds[1], CODECS["json"], "target")
    fill(source)
    with Sessions(storage=source).open("carol") as session:
        session.value = frozenset([len])
    dry = copy_sessions(source, target, dry_run=True)
    there = list(target.keys())
    done = copy_sessions(source, target)

    assert ([], CopyResult(copied=4, refused=1, refused_keys=("carol",))) == (there, dry)
    assert dry == done


def test_a_storage_of_five_methods_cannot_tell_lifetimes() -> None:
    """Its copies live for ever, and the result counts them, until a session is used again."""
    source, target = FiveMethods(), MemoryStorage()
    sessions = Sessions(storage=source, lifetime=60)
    with sessions.open("ada") as session:
        session.counter = 1
    done = copy_sessions(source, target)
    copied = lefts(target)
    with Sessions(storage=target, lifetime=60).open("ada") as session:
        assert {"counter": 1} == session
    used = target.get_record("ada")

    assert CopyResult(copied=1, unknown_lifetimes=1) == done
    assert {"ada": None} == copied
    assert used is not None
    assert isinstance(used.left, float)


@pytest.mark.parametrize("kind", KINDS)
def test_a_storage_of_five_methods_gets_lifetimes(
    kind: str, make: Make, clock: FrozenDateTimeFactory
) -> None:
    """A storage that cannot tell the rest of a lifetime keeps the one that a copy gives it."""
    source, target = make(kind, CODECS["json"], "source"), FiveMethods()
    fill(source)
    copy_sessions(source, target)
    clock.tick(2999)
    before = set(target.keys())
    clock.tick(1)

    assert {"ada"} == before - set(target.keys())
