"""A storage that fails is an error, never a new user, and the old record stays whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import (
    KEY,
    UPDATE,
    Change,
    after,
    beginning_fields,
    locks_kept,
    nothing,
    setting,
    store_beginning,
    stored_beginning,
)
from support.storages import SpyStore
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    StorageError,
    forget,
    save,
    ttl,
    ttl_left,
    with_session,
)
from telesession.testing import FaultyStorage

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory
    from telebot import types

pytestmark = pytest.mark.usefixtures("frozen_module")


@pytest.fixture
def flaky() -> SpyStore:
    return SpyStore()


FAILURES: dict[str, tuple[str, Change, dict[str, Any]]] = {
    "read": ("read", nothing, {}),
    "write": ("write", setting(counter=2), {}),
    "write with a lifetime": ("write", setting(counter=2), {"lifetime": 60}),
    "write of save": ("write", lambda session: (setting(counter=2)(session), save(session)), {}),
    "delete of what was cleared": ("delete", lambda session: session.clear(), {}),
    "delete of what was forgotten": ("delete", forget, {}),
    "touch": ("look up", nothing, {"lifetime": 60}),
    "write of a raising handler": (
        "write",
        after(setting(counter=2)),
        {"commit_on_error": True},
    ),
}


@pytest.mark.parametrize(("operation", "change", "options"), FAILURES.values(), ids=FAILURES)
def test_failing_storage_is_an_error_and_leaves_the_old_record_whole(
    flaky: SpyStore, operation: str, change: Change, options: dict[str, Any]
) -> None:
    """A backend's exception leaves as StorageError; the old record is whole, the session free."""
    storage = MemoryStorage(flaky)
    before = store_beginning(storage, beginning_fields)

    @with_session(storage=storage, **options)
    def handler(message: types.Message, session: Session) -> object:
        return change(session)

    flaky.failing = {operation}
    with pytest.raises(StorageError) as caught:
        handler(UPDATE.message)
    flaky.failing = set()
    assert (KEY, OSError) == (caught.value.key, type(caught.value.__cause__))
    assert (before, 0) == (storage.get(KEY), locks_kept(storage))
    with Sessions(storage=storage).open(KEY) as session:
        session.counter += 1
    assert 2 == stored_beginning(storage)["counter"]


def test_failed_read_is_never_a_new_user(flaky: SpyStore) -> None:
    """Where nobody knows whether there is a record, neither `initial` nor the handler runs."""
    storage, ran = MemoryStorage(flaky), []
    store_beginning(storage, beginning_fields)

    @with_session(storage=storage, initial=lambda: ran.append("initial") or {})
    def handler(message: types.Message, session: Session) -> None:
        ran.append("handler")

    flaky.failing = {"read"}
    with pytest.raises(StorageError):
        handler(UPDATE.message)
    assert [] == ran


def test_failed_first_write_stores_nothing(flaky: SpyStore) -> None:
    """A new session that could not be written is made anew by the next update."""
    storage = MemoryStorage(flaky)

    @with_session(storage=storage, initial={"counter": 0})
    def handler(message: types.Message, session: Session) -> int:
        session.counter += 1
        return session.counter

    flaky.failing = {"write"}
    with pytest.raises(StorageError):
        handler(UPDATE.message)
    flaky.failing = set()
    assert ([], 0, 1) == (list(storage.keys()), locks_kept(storage), handler(UPDATE.message))


def test_failed_delete_of_a_session_leaves_it(flaky: SpyStore) -> None:
    """`sessions.delete` that fails is a StorageError, and the record is whole and free."""
    storage = MemoryStorage(flaky)
    before = store_beginning(storage, beginning_fields)
    flaky.failing = {"delete"}
    with pytest.raises(StorageError) as caught:
        Sessions(storage=storage).delete(KEY)
    flaky.failing = set()
    assert (KEY, before, 0) == (caught.value.key, storage.get(KEY), locks_kept(storage))


def test_write_that_fails_after_it_was_done_is_whole_either_way(flaky: SpyStore) -> None:
    """A write is reported as failed and the old record is there, or as done and the new one is."""
    storage = MemoryStorage(flaky)
    before = store_beginning(storage, beginning_fields)
    flaky.failing = {"read back"}
    failed = False
    try:
        with Sessions(storage=storage).open(KEY) as session:
            session.counter = 2
    except StorageError:
        failed = True
    flaky.failing = set()
    assert failed is (before == storage.get(KEY))


def test_handler_may_go_on_after_a_failed_save(flaky: SpyStore) -> None:
    """A `save` that failed changes nothing; the return of the handler writes everything."""
    storage = MemoryStorage(flaky)
    before = store_beginning(storage, beginning_fields)

    @with_session(storage=storage)
    def handler(message: types.Message, session: Session) -> bytes | None:
        session.counter = 2
        flaky.failing = {"write"}
        with pytest.raises(StorageError):
            save(session)
        flaky.failing = set()
        during = storage.get(KEY)
        session.log.append("second")
        return during

    assert before == handler(UPDATE.message)
    assert {**beginning_fields(), "counter": 2, "log": ["first", "second"]} == stored_beginning(
        storage
    )


@pytest.mark.parametrize("value", ["9876", "1234"], ids=["another value", "the same value"])
def test_failed_save_does_not_move_a_deadline(
    flaky: SpyStore, clock: FrozenDateTimeFactory, value: str
) -> None:
    """A field with a lifetime is gone that long after its last update, whatever `save` did."""
    storage = MemoryStorage(flaky)
    store_beginning(storage, lambda: {"code": ttl("1234", 300)})
    clock.tick(50)

    @with_session(storage=storage)
    def handler(message: types.Message, session: Session) -> None:
        session.code = value
        flaky.failing = {"write"}
        with pytest.raises(StorageError):
            save(session)
        flaky.failing = set()
        clock.tick(100)

    handler(UPDATE.message)
    with Sessions(storage=storage).open(KEY) as session:
        assert 200.0 == ttl_left(session, "code")


def test_what_a_failed_save_did_not_write_is_written_at_the_end() -> None:
    """A handler that goes on after a `save` that failed at the flush loses none of its changes."""
    storage = FaultyStorage(MemoryStorage())
    storage.fail("commit")
    sessions = Sessions(storage=storage)

    with sessions.open(1) as session:
        session.counter = 1
        with pytest.raises(StorageError):
            save(session)

    assert {"counter": 1} == sessions.peek(1)
