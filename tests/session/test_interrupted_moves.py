"""Moves of sessions that fail half-way, and what ends them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
from cryptography.fernet import Fernet

from support.sessions import set_fields
from support.storages import FIELDS, SpyStorage, fields_by_key, payloads, record_of
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
from telesession.storage.base import Hold

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory


@pytest.mark.parametrize(
    ("method", "left"), [("get", "1"), ("set", "1"), ("delete", "12")], ids=["get", "set", "delete"]
)
def test_a_move_that_failed_loses_nothing_and_is_ended_by_another(method: str, left: str) -> None:
    """Whichever step fails, the session is there; between write and delete it is there twice."""
    storage = SpyStorage()
    sessions = Sessions(storage=storage)
    set_fields(sessions, "1", **FIELDS)
    storage.failures[method] = 1

    with pytest.raises(StorageError, match="disk is full"):
        sessions.move("1", "2")
    between = fields_by_key(sessions)
    moved = sessions.move("1", "2")

    assert (dict.fromkeys(left, FIELDS), True, {"2": FIELDS}) == (
        between,
        moved,
        fields_by_key(sessions),
    )


class LateHold(Hold):
    """Exclusive use of a key whose writes take effect at `flush` or at its end, as on a server."""

    def __init__(self, storage: Storage, key: str, timeout: float | None) -> None:
        super().__init__(storage, key, timeout)
        self._late: list[Callable[[], object]] = []

    def set(self, payload: bytes, lifetime: float | None = None) -> None:
        self._late.append(functools.partial(super().set, payload, lifetime))

    def delete(self) -> bool:
        self._late.append(super().delete)
        return True

    def flush(self) -> None:
        while self._late:
            self._late.pop(0)()

    def __exit__(self, *error: object) -> None:
        try:
            self.flush()
        finally:
            super().__exit__(*error)


class LateStorage(SpyStorage):
    def hold(self, key: str, timeout: float | None = None) -> LateHold:
        return LateHold(self, key, timeout)


@pytest.mark.parametrize("method", ["set", "delete"])
@pytest.mark.parametrize(("old", "new"), ["12", "21"])
def test_nothing_is_deleted_before_the_write_has_taken_effect(
    old: str, new: str, method: str
) -> None:
    """A storage that writes at the end of a hold loses nothing either, whichever way it goes."""
    storage = LateStorage()
    sessions = Sessions(storage=storage)
    set_fields(sessions, old, **FIELDS)
    storage.failures[method] = 1

    with pytest.raises(StorageError, match="disk is full"):
        sessions.move(old, new)
    between = fields_by_key(sessions)
    moved = sessions.move(old, new)

    left = old if method == "set" else "12"
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
