"""A handler either finishes and all its changes are saved, or raises and none are."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import (
    BEGINNINGS,
    KEY,
    UPDATE,
    Change,
    Handle,
    Order,
    after,
    beginning_fields,
    each_initial,
    locks_kept,
    removing,
    setting,
    shown_with,
    store_beginning,
    stored_beginning,
)
from support.storages import SpyStorage, is_held
from telesession import (
    EncodeError,
    MemoryStorage,
    Session,
    Sessions,
    as_dict,
    forget,
    save,
    ttl,
    ttl_left,
    with_session,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory
    from telebot import types

pytestmark = pytest.mark.usefixtures("frozen_module")


# A handler that raises leaves no trace

CHANGES: dict[str, Change] = {
    "assign": setting(counter=2),
    "assign an item": lambda session: session.__setitem__("counter", 2),
    "assign a new field": setting(fresh="new"),
    "delete": removing("counter"),
    "delete an item": lambda session: session.__delitem__("counter"),
    "pop": lambda session: session.pop("counter"),
    "popitem": lambda session: session.popitem(),
    "setdefault": lambda session: session.setdefault("fresh", []).append(1),
    "update": lambda session: session.update({"counter": 2}, fresh=3),
    "update in place": lambda session: session.__ior__({"counter": 2}),
    "clear": lambda session: session.clear(),
    "clear and begin anew": lambda session: (session.clear(), session.update(counter=7)),
    "forget": forget,
    "change a nested dict": lambda session: session.cart.update(plum=1),
    "change a nested list": lambda session: session.log.append("second"),
    "change deep inside": lambda session: session.cart["pear"]["ripe"].add("no"),
    "sort in place": lambda session: session.cart["apple"].reverse(),
    "change an object": lambda session: session.basket.fruit.append("fig"),
    "replace a nested value": lambda session: session.cart.__setitem__("apple", None),
    "mark a field": setting(counter=ttl(1, 30)),
    "unmark a field": setting(code=ttl("1234", 0)),
    "mark with another lifetime": setting(code=ttl("1234", 10)),
    "renew a lifetime": setting(code="1234"),
    "change a field with a lifetime": setting(code="9876"),
    "change inside a field with a lifetime": lambda session: session.hints["tries"].append("a"),
    "delete a field with a lifetime": removing("code"),
}


each_change = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)


@each_change
def test_handler_that_raises_leaves_the_stored_bytes_identical(
    storage: SpyStorage, handle: Handle, change: Change
) -> None:
    """A handler that raises after any change leaves the record as it was, byte by byte."""
    before = store_beginning(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(change))
    assert (before, [], 0) == (storage.get(KEY), storage.writes, locks_kept(storage))


@each_change
def test_handler_that_returns_stores_the_very_same_change(
    storage: SpyStorage, handle: Handle, clock: FrozenDateTimeFactory, change: Change
) -> None:
    """The control: each of these changes is written, once, if the handler does not raise."""
    before = store_beginning(storage)
    clock.tick(1)
    handle(change)
    assert (1, True) == (len(storage.writes), before != storage.get(KEY))


@each_change
def test_handler_that_raises_is_as_if_it_had_never_run(
    storage: SpyStorage, handle: Handle, change: Change
) -> None:
    """The next handler gets exactly what the raising one got."""
    store_beginning(storage)
    expected = stored_beginning(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(change))
    assert expected == handle(as_dict)


def test_handler_that_raises_leaves_deadlines_as_they_were(
    storage: SpyStorage, handle: Handle, clock: FrozenDateTimeFactory
) -> None:
    """A handler that raises renews, sets and removes no lifetime."""
    store_beginning(storage)
    clock.tick(1)
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(code="9876", hints=ttl({}, 0), counter=ttl(1, 30), plain=ttl("", 1))))
    names = ["code", "hints", "counter", "plain"]
    assert [299.0, 59.0, None, None] == handle(lambda s: [ttl_left(s, name) for name in names])


TYPED_CHANGES: dict[str, Change] = {
    "assign": setting(counter=2),
    "assign a field at its default": setting(note="something"),
    "delete": removing("counter"),
    "call a method": lambda session: session.add("plum"),
    "change a nested list": lambda session: session.log.append("second"),
    "change a default": lambda session: session.cart.update(plum=1),
    "change a field with a lifetime": setting(code="9876"),
    "unmark a field": setting(code=ttl("1234", 0)),
    "forget": forget,
}


@pytest.mark.parametrize("change", TYPED_CHANGES.values(), ids=TYPED_CHANGES)
@pytest.mark.parametrize("raises", [True, False], ids=["raises", "returns"])
def test_typed_session_is_all_or_nothing(
    storage: SpyStorage, handle: Handle, change: Change, raises: bool
) -> None:
    """Changes through a dataclass are stored if the handler returns, and leave no trace if not."""
    before = store_beginning(
        storage, lambda: {"counter": 1, "log": ["first"], "code": ttl("1234", 300)}
    )
    if raises:
        with pytest.raises(ZeroDivisionError):
            handle(after(change), initial=Order)
    else:
        handle(change, initial=Order)
    assert (raises, 0 if raises else 1) == (before == storage.get(KEY), len(storage.writes))


@each_initial
def test_first_update_that_raises_stores_nothing(
    storage: SpyStorage, handle: Handle, initial: Any, beginning: dict[str, Any]
) -> None:
    """A new session whose handler raised was never there; the next update starts from initial."""
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=9)), initial=initial)
    assert ([], [], 0) == (list(storage.keys()), storage.writes, locks_kept(storage))
    assert beginning == handle(as_dict, initial=initial)


@pytest.mark.parametrize("error", [None, ZeroDivisionError], ids=["returns", "raises"])
def test_changes_never_reach_the_initial_mapping(
    storage: SpyStorage, handle: Handle, error: Any
) -> None:
    """An `initial` mapping is copied for each session, nested values too."""
    initial = {"cart": {"apple": [1]}}

    def change(session: Session) -> None:
        session.cart["apple"].append(2)
        session.other = 1
        if error:
            raise error

    with pytest.raises(error) if error else nullcontext():
        handle(change, initial=initial)
    assert {"cart": {"apple": [1]}} == initial


def test_handler_shares_no_object_with_the_store(storage: SpyStorage, handle: Handle) -> None:
    """What a handler put into its session and kept may change later without touching the record."""
    mine = {"apple": [1]}
    handle(setting(cart=mine))
    before = storage.get(KEY)
    mine["apple"].append(2)
    handle(lambda session: session.cart).clear()
    assert (before, {"cart": {"apple": [1]}}) == (storage.get(KEY), stored_beginning(storage))


def test_two_stacked_sessions_roll_back_together(storage: SpyStorage) -> None:
    """A handler with two sessions that raises leaves both as they were."""

    @with_session(storage=storage, name="mine", prefix="a:")
    @with_session(storage=storage, name="ours", prefix="b:")
    def handler(message: types.Message, mine: Session, ours: Session, fail: bool = False) -> None:
        mine.counter, ours.counter = len(mine), len(ours)
        mine[f"field {len(mine)}"] = ours[f"field {len(ours)}"] = "x"
        if fail:
            raise ZeroDivisionError

    handler(UPDATE.message)
    keys = [f"a:{KEY}", f"b:{KEY}"]
    before = [storage.get(key) for key in keys]
    with pytest.raises(ZeroDivisionError):
        handler(UPDATE.message, fail=True)
    assert (before, 0) == ([storage.get(key) for key in keys], locks_kept(storage))
    assert keys == sorted(storage.keys())


def test_block_that_raises_discards_its_changes(storage: SpyStorage) -> None:
    """`with sessions.open(key)` is under the same rule as a handler."""
    before = store_beginning(storage)
    sessions = Sessions(storage=storage)

    def change(error: type[Exception] | None) -> None:
        with sessions.open(KEY) as session:
            session.counter = 2
            session.log.append("second")
            if error:
                raise error

    with pytest.raises(ZeroDivisionError):
        change(ZeroDivisionError)
    assert (before, [], 0) == (storage.get(KEY), storage.writes, locks_kept(storage))
    change(None)
    assert 2 == sessions.peek(KEY)["counter"]


# What is not an Exception


class Abort(BaseException):
    """What some framework might throw through a handler."""


NOT_EXCEPTIONS = [KeyboardInterrupt, SystemExit, GeneratorExit, Abort]


@pytest.mark.parametrize("commit_on_error", [False, True])
@pytest.mark.parametrize("error", NOT_EXCEPTIONS)
def test_interrupted_handler_does_not_commit(
    storage: SpyStorage, handle: Handle, error: type[BaseException], commit_on_error: bool
) -> None:
    """What is no Exception goes through, commits nothing and releases the lock."""
    before = store_beginning(storage)
    with pytest.raises(error):
        handle(after(setting(counter=2), error=error), commit_on_error=commit_on_error)
    assert (before, [], 0) == (storage.get(KEY), storage.writes, locks_kept(storage))


@pytest.mark.parametrize("method", ["get", "set"])
@pytest.mark.parametrize("error", NOT_EXCEPTIONS)
def test_interrupted_storage_releases_the_lock(
    storage: SpyStorage,
    handle: Handle,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    error: type[BaseException],
) -> None:
    """An interrupt while loading or saving leaves the record whole and the session free."""

    def interrupt(*_: object) -> None:
        raise error

    before = store_beginning(storage)
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStorage, method, interrupt)
        with pytest.raises(error):
            handle(setting(counter=2))
    assert (before, 0) == (storage.get(KEY), locks_kept(storage))
    handle(setting(counter=3))
    assert 3 == stored_beginning(storage)["counter"]


# commit_on_error


@each_change
def test_commit_on_error_keeps_what_a_raising_handler_did(
    storage: SpyStorage, handle: Handle, clock: FrozenDateTimeFactory, change: Change
) -> None:
    """With commit_on_error a handler that raised is saved exactly as one that returned."""
    store_beginning(storage)
    clock.tick(1)
    with pytest.raises(ZeroDivisionError):
        handle(after(change), commit_on_error=True)
    raised = storage.get(KEY)
    clock.tick(-1)
    store_beginning(other := SpyStorage())
    clock.tick(1)
    handle(change, storage=other)
    assert (other.get(KEY), other.writes, 0) == (raised, storage.writes, locks_kept(storage))


def test_commit_on_error_keeps_the_first_session(storage: SpyStorage, handle: Handle) -> None:
    """With commit_on_error even a first handler that raised leaves its session."""
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=9)), initial=beginning_fields, commit_on_error=True)
    assert {**beginning_fields(), "counter": 9} == stored_beginning(storage)


def test_commit_on_error_that_cannot_commit_tells_of_both_failures(
    storage: SpyStorage, handle: Handle
) -> None:
    """An EncodeError is shown together with the handler's own exception that came before it."""
    before = store_beginning(storage)
    with pytest.raises(EncodeError) as caught:
        handle(after(setting(counter=2, bad=lambda: None)), commit_on_error=True)
    assert (before, [], 0) == (storage.get(KEY), storage.writes, locks_kept(storage))
    assert ("bad", True) == (
        caught.value.path,
        ZeroDivisionError in map(type, shown_with(caught.value)),
    )


# save


@pytest.mark.parametrize("begin", BEGINNINGS.values(), ids=BEGINNINGS)
def test_what_was_saved_before_the_raise_stays(
    storage: SpyStorage, handle: Handle, begin: Any
) -> None:
    """What `save` wrote stays when the handler raises later, and nothing that came after it."""
    store_beginning(storage, begin)
    expected = {**stored_beginning(storage), "counter": 2, "log": ["first", "second"]}

    def change(session: Session) -> None:
        session.counter = 2
        session.log.append("second")
        save(session)
        session.counter = 3
        session.log.append("third")
        del session.plain
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle(change)
    assert (expected, ["set"], 0) == (
        stored_beginning(storage),
        storage.writes,
        locks_kept(storage),
    )


def test_saved_first_session_stays(storage: SpyStorage, handle: Handle) -> None:
    """A new session that was saved is there even if its handler raises."""
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=2), save, setting(counter=3)))
    assert {"counter": 2} == stored_beginning(storage)


def test_saved_typed_session_stays(storage: SpyStorage, handle: Handle) -> None:
    """What `save` wrote of a dataclass stays, changed defaults included, and nothing later."""

    def add(session: Order) -> None:
        session.add("apple")

    with pytest.raises(ZeroDivisionError):
        handle(after(add, save, add, setting(note="later")), initial=Order)
    expected = Order(counter=1, cart={"apple": 1}, code="0000")
    assert dataclasses.asdict(expected) == stored_beginning(storage)


def test_handler_goes_on_after_a_save(storage: SpyStorage, handle: Handle) -> None:
    """After `save` the session is open and what follows is stored when the handler returns."""
    handle(lambda s: (setting(a=1)(s), save(s), setting(b=2)(s), save(s), setting(c=3)(s)))
    assert ({"a": 1, "b": 2, "c": 3}, ["set"] * 3) == (stored_beginning(storage), storage.writes)


def test_save_keeps_the_lock(storage: SpyStorage, handle: Handle) -> None:
    """`save` writes now and keeps the lock."""
    assert True is handle(
        lambda session: (setting(a=1)(session), save(session), is_held(storage, KEY))[2]
    )
    assert False is is_held(storage, KEY)


def test_save_of_an_unchanged_session_writes_nothing(storage: SpyStorage, handle: Handle) -> None:
    """`save` writes only what changed, and so does the return after it."""
    before = store_beginning(storage)
    handle(lambda session: (save(session), save(session)))
    assert (before, []) == (storage.get(KEY), storage.writes)


@pytest.mark.parametrize("error", [None, ZeroDivisionError], ids=["returns", "raises"])
def test_save_of_an_empty_new_session_stores_nothing(
    storage: SpyStorage, handle: Handle, error: Any
) -> None:
    """A session without fields is not stored, by `save` as little as by the return."""
    with pytest.raises(error) if error else nullcontext():
        handle(after(save, error=error) if error else save)
    assert ([], []) == (list(storage.keys()), storage.writes)


def test_save_of_an_emptied_session_deletes_it_for_good(
    storage: SpyStorage, handle: Handle
) -> None:
    """A session emptied and saved is deleted, even if the handler raises after setting fields."""
    store_beginning(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(lambda session: session.clear(), save, setting(counter=2)))
    assert (None, ["delete"]) == (stored_beginning(storage), storage.writes)


@pytest.mark.parametrize("refill", [{"counter": 2}, beginning_fields()], ids=["anew", "as it was"])
def test_emptied_and_saved_session_may_be_filled_again(
    storage: SpyStorage, handle: Handle, refill: dict[str, Any]
) -> None:
    """After an empty session was saved, fields set later are stored when the handler returns."""
    store_beginning(storage, beginning_fields)
    handle(lambda session: (session.clear(), save(session), session.update(refill)))
    assert (refill, ["delete", "set"]) == (stored_beginning(storage), storage.writes)


# forget


@each_initial
def test_forgotten_session_is_deleted_when_its_handler_returns(
    storage: SpyStorage, handle: Handle, initial: Any, beginning: dict[str, Any]
) -> None:
    """`forget` deletes the record at commit, whatever else the handler does to the session."""
    before = store_beginning(storage, lambda: {**beginning, "counter": 5})
    during = []

    def change(session: Any) -> None:
        session.counter = 6
        forget(session)
        during.append(storage.get(KEY))
        session.counter = 7

    handle(change, initial=initial)
    assert ([before], None, ["delete"]) == (during, storage.get(KEY), storage.writes)
    assert beginning == handle(as_dict, initial=initial)


def test_forgotten_session_stays_if_its_handler_raises(storage: SpyStorage, handle: Handle) -> None:
    """`forget` then raise keeps the record."""
    before = store_beginning(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=2), forget, setting(counter=3)))
    assert (before, []) == (storage.get(KEY), storage.writes)


def test_forgotten_new_session_is_not_stored(storage: SpyStorage, handle: Handle) -> None:
    """A session that never was stored can be forgotten."""
    handle(forget, initial=beginning_fields)
    assert ([], []) == (list(storage.keys()), storage.writes)


def test_session_saved_and_then_forgotten_is_deleted(storage: SpyStorage, handle: Handle) -> None:
    """`forget` after `save` deletes what was saved, if the handler returns."""
    handle(lambda session: (setting(a=1)(session), save(session), forget(session)))
    assert (None, ["set", "delete"]) == (stored_beginning(storage), storage.writes)


def test_session_saved_and_then_forgotten_stays_as_saved_if_the_handler_raises(
    storage: SpyStorage, handle: Handle
) -> None:
    """`forget` after `save` has no effect if the handler raises."""
    store_beginning(storage)
    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=2), save, forget))
    assert 2 == stored_beginning(storage)["counter"]
