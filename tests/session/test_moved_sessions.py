"""Sessions that get another key by `Sessions.move`, and those that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import support.clocks
from support.sessions import fields_of, set_fields
from support.storages import (
    ENCRYPTED,
    FIELDS,
    SECRET,
    SpyStorage,
    fields_by_key,
    is_free,
    payloads,
    record_of,
)
from telesession import (
    DecodeError,
    MemoryStorage,
    SessionError,
    Sessions,
    SQLiteStorage,
    Storage,
    ttl,
    ttl_left,
)

if TYPE_CHECKING:
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory


# A session gets another key.


@pytest.mark.parametrize("prefix", ["", "shop:"])
@pytest.mark.parametrize(("old", "new"), [("1", "2"), (2, 1), ("chat:-5", "chat:-1005")])
def test_a_session_moves_with_its_fields(
    old: str | int, new: str | int, prefix: str, moved_storage: Storage
) -> None:
    """All fields come along, with their types, to the other key; others stay where they are."""
    sessions = Sessions(storage=moved_storage, prefix=prefix)
    set_fields(sessions, old, **FIELDS)
    set_fields(sessions, "other", **FIELDS)

    moved = sessions.move(old, new)

    assert (True, FIELDS, {str(new), "other"}) == (
        moved,
        fields_of(sessions, new),
        set(sessions.keys()),
    )
    assert (None, FIELDS) == (sessions.peek(old), sessions.peek("other"))


def test_a_session_moves_back_and_on(moved_storage: Storage) -> None:
    """A key that a session has left is free for the next one."""
    sessions = Sessions(storage=moved_storage)
    set_fields(sessions, "1", counter=1)

    moved = [sessions.move(*keys) for keys in ("12", "21", "13")]
    set_fields(sessions, "1", counter=2)
    moved.append(sessions.move("1", "2"))

    assert ([True] * 4, {"2": {"counter": 2}, "3": {"counter": 1}}) == (
        moved,
        fields_by_key(sessions),
    )


def test_deadlines_move_exactly(
    frozen_moved_storage: Storage, clock: FrozenDateTimeFactory
) -> None:
    """A field with a lifetime ends when it would have ended, also one that is over already."""
    sessions = Sessions(storage=frozen_moved_storage)
    set_fields(sessions, "1", code=ttl("1234", 100), gone=ttl("5678", 10), name="Anna")
    before = record_of(frozen_moved_storage, "1")
    clock.tick(60)

    sessions.move("1", "2")

    assert before == record_of(frozen_moved_storage, "2")
    with sessions.open("2") as session:
        assert (40, {"code": "1234", "name": "Anna"}) == (ttl_left(session, "code"), dict(session))
    clock.tick(40 - support.clocks.MICROSECOND)
    assert {"code": "1234", "name": "Anna"} == sessions.peek("2")
    clock.tick(support.clocks.MICROSECOND)
    assert {"name": "Anna"} == sessions.peek("2")


def test_a_moved_mark_outlives_its_value(
    frozen_moved_storage: Storage, clock: FrozenDateTimeFactory
) -> None:
    """A field that is over when it moves has its full lifetime once it is assigned again."""
    sessions = Sessions(storage=frozen_moved_storage)
    set_fields(sessions, "1", code=ttl("1234", 100), name="Anna")
    clock.tick(100)

    sessions.move("1", "2")
    set_fields(sessions, "2", code="9876")
    clock.tick(99)

    assert {"code": "9876", "name": "Anna"} == sessions.peek("2")
    clock.tick(1)
    assert {"name": "Anna"} == sessions.peek("2")


def test_a_move_is_a_use(frozen_moved_storage: Storage, clock: FrozenDateTimeFactory) -> None:
    """The `lifetime` of a session begins anew when it moves."""
    sessions = Sessions(storage=frozen_moved_storage, lifetime=100)
    set_fields(sessions, "1", counter=1)
    clock.tick(90)

    sessions.move("1", "2")
    clock.tick(99)

    assert {"counter": 1} == sessions.peek("2")
    clock.tick(1)
    assert (None, False) == (sessions.peek("2"), sessions.move("2", "1"))


def test_a_session_whose_lifetime_is_over_does_not_move(
    frozen_moved_storage: Storage, clock: FrozenDateTimeFactory
) -> None:
    """What has expired is not there to be moved, and is not there to be in the way."""
    sessions = Sessions(storage=frozen_moved_storage, lifetime=100)
    set_fields(sessions, "1", counter=1)
    clock.tick(50)
    set_fields(sessions, "2", counter=2)
    clock.tick(50)

    moved = sessions.move("1", "2"), sessions.move("2", "1")

    assert ((False, True), {"counter": 2}) == (moved, sessions.peek("1"))


class SlowStorage(MemoryStorage):
    """A storage whose writes take a minute."""

    def __init__(self, clock: FrozenDateTimeFactory) -> None:
        super().__init__()
        self.clock = clock

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        super().set(key, payload, lifetime)
        self.clock.tick(60)


def test_a_session_that_expires_on_its_way_was_moved(clock: FrozenDateTimeFactory) -> None:
    """There was one to move, even if its old record expires while the new one is written."""
    sessions = Sessions(storage=SlowStorage(clock), lifetime=100)
    set_fields(sessions, "1", counter=1)

    moved = sessions.move("1", "2")

    assert (True, ["2"]) == (moved, list(sessions.keys()))


@pytest.mark.parametrize("version", [1, 2, 3], ids=["newer", "same", "older"])
def test_the_version_of_a_record_stays(version: int, moved_storage: Storage) -> None:
    """A move neither migrates nor stamps: not a record of an older version, nor of a newer one."""

    def rename(fields):
        fields["count"] = fields.pop("counter")

    written = Sessions(storage=moved_storage, version=2)
    set_fields(written, "1", counter=3)
    before = record_of(moved_storage, "1")
    mover = Sessions(
        storage=moved_storage, version=version, migrations={3: rename} if version == 3 else {}
    )

    mover.move("1", "2")

    assert ({"fields": {"counter": 3}, "version": 2}, before) == (
        before,
        record_of(moved_storage, "2"),
    )
    reader = Sessions(storage=moved_storage, version=3, migrations={3: rename})
    assert {"count": 3} == reader.peek("2")


def test_a_payload_is_made_for_its_new_key(tmp_path: Path) -> None:
    """An encrypted payload is bound to its key: a copy of the bytes would not do, a move does."""
    with SQLiteStorage(tmp_path / "sessions.db", codec=ENCRYPTED) as storage:
        sessions = Sessions(storage=storage)
        set_fields(sessions, "1", **FIELDS)
        storage.set("copy", storage.get("1") or b"")

        sessions.move("1", "2")

        assert FIELDS == sessions.peek("2")
        with pytest.raises(DecodeError, match="another storage key"):
            sessions.peek("copy")


# What is not moved.


@pytest.mark.parametrize("there", [False, True], ids=["nothing-there", "one-there"])
def test_where_there_is_none_nothing_happens(there: bool, moved_storage: Storage) -> None:
    """No session to move: false, and one that is under the new key stays as it is."""
    sessions = Sessions(storage=moved_storage)
    if there:
        set_fields(sessions, "2", counter=2)
    before = payloads(moved_storage)

    assert (False, before) == (sessions.move("1", "2"), payloads(moved_storage))


def test_a_move_to_another_session_is_refused(moved_storage: Storage) -> None:
    """Another session under the new key: an error that names both, and neither is changed."""
    sessions = Sessions(storage=moved_storage, prefix="shop:")
    set_fields(sessions, "1", secret=SECRET, code=ttl(SECRET, 1000))
    set_fields(sessions, "2", secret=SECRET)
    before = payloads(moved_storage)

    with pytest.raises(SessionError, match=r"'1' to '2'.*already.*delete") as caught:
        sessions.move("1", "2")

    assert (SessionError, False) == (type(caught.value), SECRET in str(caught.value))
    assert before == payloads(moved_storage)
    assert [True, True] == [is_free(moved_storage, key) for key in before]


@pytest.mark.parametrize("prefix", ["", "shop:"])
@pytest.mark.parametrize("damaged", ["1", "2"])
def test_a_damaged_record_is_not_moved(damaged: str, prefix: str, moved_storage: Storage) -> None:
    """A record that cannot be read, on either side: an error with its key, and all stays."""
    sessions = Sessions(storage=moved_storage, prefix=prefix)
    set_fields(sessions, "1", counter=1)
    moved_storage.set(prefix + damaged, f"\x80\x05{SECRET}".encode("latin-1"))
    before = payloads(moved_storage)

    with pytest.raises(DecodeError) as caught:
        sessions.move("1", "2")

    assert (damaged, False) == (caught.value.key, SECRET in str(caught.value))
    assert before == payloads(moved_storage)
    assert [True, True] == [is_free(moved_storage, prefix + key) for key in "12"]


@pytest.mark.parametrize("name", ["one", "two"])
@pytest.mark.parametrize("opened", ["1", "2"])
def test_a_handler_cannot_move_what_it_has(opened: str, name: str, moved_storage: Storage) -> None:
    """In a handler that has one of the two: an error at once, which no time-out has to end."""
    sessions = Sessions(storage=moved_storage, lock_timeout=0)
    others = {
        "one": sessions,
        "two": Sessions(storage=moved_storage, name="two", prefix="", lock_timeout=0),
    }
    set_fields(sessions, "1", counter=1)

    with sessions.open(opened) as session:
        with pytest.raises(SessionError, match="handler") as caught:
            others[name].move("1", "2")
        session.counter = session.get("counter", 0) + 1

    # Not the LockTimeoutError that waiting would have ended with.
    assert SessionError is type(caught.value)
    expected = {"1": {"counter": 2}} if opened == "1" else {k: {"counter": 1} for k in "12"}
    assert expected == fields_by_key(sessions)


def test_a_handler_can_move_other_sessions(moved_storage: Storage) -> None:
    """A handler that has a third session moves those of others like everybody."""
    sessions = Sessions(storage=moved_storage)
    set_fields(sessions, "1", counter=1)

    with sessions.open("3") as session:
        session.moved = sessions.move("1", "2")

    assert {"2": {"counter": 1}, "3": {"moved": True}} == fields_by_key(sessions)


@pytest.mark.parametrize("key", [5, "5"])
def test_a_move_to_the_same_key_says_whether_there_is_one(key: str | int) -> None:
    """From a key to itself, however it is spelled: nothing is locked or written."""
    storage = SpyStorage()
    sessions = Sessions(storage=storage)

    before = sessions.move(key, 5)
    set_fields(sessions, "5", counter=1)
    with storage.hold("5"):
        calls = storage.calls.copy()
        after = sessions.move(5, key)

    assert (False, True, calls) == (before, after, storage.calls)


@pytest.mark.parametrize("keys", [("", "2"), ("1", ""), (None, "2"), ("1", 2.5), ("1", True)])
def test_what_is_no_key_is_refused(keys: tuple[Any, Any], moved_storage: Storage) -> None:
    """A key is a non-empty `str` or an `int`; anything else is a `TypeError`, and nothing moves."""
    sessions = Sessions(storage=moved_storage)
    set_fields(sessions, "1", counter=1)

    with pytest.raises(TypeError, match="key of a session"):
        sessions.move(*keys)

    assert ["1"] == list(sessions.keys())
