"""The value of a default that a handler saw is the value that the next one gets."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import store_untyped, stored_untyped, typed_sessions
from support.storages import SpyStore
from telesession import MemoryStorage, Storage, ttl, ttl_left

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory

NUMBERS = itertools.count(1)


@dataclass
class Stamp:
    """A nested dataclass with a field that was added later."""

    text: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass
class Member:
    """A session with fields that were added later."""

    visits: int = 0
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    number: int = field(default_factory=lambda: next(NUMBERS))
    joined: datetime = field(default_factory=datetime.now)
    stamp: Stamp = field(default_factory=Stamp)
    folder: Path = field(default_factory=lambda: Path(str(next(NUMBERS))))
    log: list[str] = field(default_factory=list)


@pytest.mark.parametrize("name", ["token", "number", "joined", "stamp", "folder"])
def test_a_made_default_that_a_handler_saw_is_kept(storage: Storage, name: str) -> None:
    """A record of an older program lacks a field: the first value that its factory gave stays."""
    store_untyped(storage, visits=1)
    seen = []
    for _ in range(3):
        with typed_sessions(Member, storage).open(1) as session:
            seen.append(getattr(session, name))
    assert [seen[0]] * 3 == seen


@pytest.mark.parametrize("name", ["token", "number", "joined", "stamp", "folder"])
def test_a_made_default_is_kept_with_other_changes(storage: Storage, name: str) -> None:
    """The value is stored with a change of another field, and as the handler saw it."""
    store_untyped(storage, visits=1)
    with typed_sessions(Member, storage).open(1) as session:
        seen = getattr(session, name)
        session.visits += 1
    peeked = typed_sessions(Member, storage).peek(1)
    assert (seen, 2) == (getattr(peeked, name), peeked.visits)


def test_a_made_default_of_a_nested_object_is_kept(storage: Storage) -> None:
    """A field that was added to a nested class gets one value for each stored object."""

    @dataclass
    class Album:
        stamps: list[Stamp] = field(default_factory=list)

    store_untyped(storage, stamps=[{"text": "a"}, {"text": "b"}])
    seen = []
    for _ in range(3):
        with typed_sessions(Album, storage).open(1) as session:
            seen.append([stamp.id for stamp in session.stamps])
    assert ([seen[0]] * 3, 2) == (seen, len(set(seen[0])))


def test_a_made_default_of_an_expired_field_is_kept(
    clock: FrozenDateTimeFactory, storage: Storage
) -> None:
    """An expired field gets one new value, which lives as long as the one before."""
    sessions = typed_sessions(Member, storage)
    with sessions.open(1) as session:
        session.token = ttl("first", 60)
    clock.tick(60)
    seen = []
    for _ in range(2):
        with sessions.open(1) as session:
            seen.append(session.token)
            left = ttl_left(session, "token")
    assert (seen[0], False, 60) == (seen[1], "first" in seen, left)


def test_a_default_that_would_be_the_same_again_is_not_written() -> None:
    """Reading an empty list, or an object that its factory makes again, writes nothing."""

    @dataclass
    class Later:
        visits: int = 0
        log: list[str] = field(default_factory=list)
        pair: tuple[int, int] = (1, 2)
        nested: dict[str, list[int]] = field(default_factory=lambda: {"a": [1]})

    records = SpyStore()
    storage = MemoryStorage(records)
    store_untyped(storage, visits=1)
    with typed_sessions(Later, storage).open(1) as session:
        assert ([], (1, 2), {"a": [1]}) == (session.log, session.pair, session.nested)
    assert (1, {"visits": 1}) == (records.writes, stored_untyped(storage))


READS: dict[str, Callable[[Any], Any]] = {
    "peek": lambda sessions: sessions.peek(1),
    "items": lambda sessions: dict(sessions.items())["1"],
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_session_that_is_only_read_stores_no_default(read: Callable[[Any], Any]) -> None:
    """`peek` and `items` show a made default for as long as the object is kept, and store none."""
    records = SpyStore()
    storage = MemoryStorage(records)
    store_untyped(storage, visits=1)
    member = read(typed_sessions(Member, storage))
    assert (member.token, member.number) == (member.token, member.number)
    assert 1 == records.writes
