"""Moves of sessions that fail half-way, and what ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from support.sessions import set_fields
from support.storages import (
    FIELDS,
    SpyOfFiveMethods,
    SpyStorage,
    fields_by_key,
    payloads,
    record_of,
)
from telesession import (
    EncryptedCodec,
    JSONCodec,
    MemoryStorage,
    Session,
    SessionError,
    Sessions,
    Storage,
    StorageError,
    ttl,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


@pytest.mark.parametrize("method", ["get", "commit"])
@pytest.mark.parametrize(("old", "new"), ["12", "21"])
def test_a_move_that_failed_changes_nothing_and_is_done_by_another(
    old: str, new: str, method: str
) -> None:
    """A move is one write: whichever step fails, the session is under its old key only."""
    storage = SpyStorage()
    sessions = Sessions(storage=storage)
    set_fields(sessions, old, **FIELDS)
    storage.fail(method)

    with pytest.raises(StorageError, match="disk is full"):
        sessions.move(old, new)
    between = fields_by_key(sessions)
    moved = sessions.move(old, new)

    assert ({old: FIELDS}, True, {new: FIELDS}) == (between, moved, fields_by_key(sessions))


@pytest.mark.parametrize("method", ["get", "set", "delete"])
@pytest.mark.parametrize(("old", "new"), ["12", "21"])
def test_nothing_is_deleted_before_the_write_has_taken_effect(
    old: str, new: str, method: str
) -> None:
    """Where records are written one after the other, a move that fails loses nothing either."""
    storage = SpyOfFiveMethods()
    sessions = Sessions(storage=storage)
    set_fields(sessions, old, **FIELDS)
    storage.fail(method)

    with pytest.raises(StorageError, match="disk is full"):
        sessions.move(old, new)
    between = fields_by_key(sessions)
    moved = sessions.move(old, new)

    left = "12" if method == "delete" else old
    assert (dict.fromkeys(left, FIELDS), True, {new: FIELDS}) == (
        between,
        moved,
        fields_by_key(sessions),
    )


def interrupt_move(storage: Storage, sessions: Sessions[Session]) -> None:
    """Move from 1 to 2, and leave what a crash between the write and the delete leaves."""
    payload = storage.get("1") or b""
    sessions.move("1", "2")
    storage.set("1", payload)


def test_to_repeat_an_interrupted_move_ends_it(moved_storage: Storage) -> None:
    """What both records say is the same, in whatever bytes: the old one goes, once and for all."""
    sessions = Sessions(storage=moved_storage)
    set_fields(sessions, "1", **FIELDS, code=ttl("1234", 1000))
    before = record_of(moved_storage, "1")
    interrupt_move(moved_storage, sessions)

    moved = [sessions.move("1", "2"), sessions.move("1", "2")]

    assert ([True, False], ["2"]) == (moved, list(sessions.keys()))
    assert before == record_of(moved_storage, "2")


def test_an_interrupted_move_survives_a_new_key_of_the_codec() -> None:
    """A record that was encrypted with an older key says what it says all the same."""
    store: dict[str, bytes] = {}
    old_key, new_key = Fernet.generate_key(), Fernet.generate_key()
    former = MemoryStorage(store, codec=EncryptedCodec(JSONCodec(), keys=[old_key]))
    set_fields(Sessions(storage=former), "1", **FIELDS)
    interrupt_move(former, Sessions(storage=former))
    codec = EncryptedCodec(JSONCodec(), keys=[new_key, old_key])

    sessions = Sessions(storage=MemoryStorage(store, codec=codec))
    moved = sessions.move("1", "2")

    assert (True, ["2"], FIELDS) == (moved, list(store), sessions.peek("2"))


def test_the_end_of_an_interrupted_move_is_a_use(
    frozen_moved_storage: Storage, clock: FrozenDateTimeFactory
) -> None:
    """The `lifetime` begins anew with the move that ends it, not with the one that began it."""
    sessions = Sessions(storage=frozen_moved_storage, lifetime=100)
    set_fields(sessions, "1", counter=1)
    interrupt_move(frozen_moved_storage, sessions)
    clock.tick(90)

    sessions.move("1", "2")
    clock.tick(99)

    assert {"counter": 1} == sessions.peek("2")


def test_an_interrupted_move_does_not_undo_what_came_after(moved_storage: Storage) -> None:
    """Once the new session has changed it is another one: refused, and neither is changed."""
    sessions = Sessions(storage=moved_storage)
    set_fields(sessions, "1", counter=1)
    interrupt_move(moved_storage, sessions)
    set_fields(sessions, "2", counter=2)
    before = payloads(moved_storage)

    with pytest.raises(SessionError, match="already"):
        sessions.move("1", "2")

    assert before == payloads(moved_storage)
