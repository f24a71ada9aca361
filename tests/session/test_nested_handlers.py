"""Decorated handlers that call each other share a session; the outermost commits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.sessions import (
    KEY,
    Handle,
    Order,
    after,
    beginning_fields,
    locks_kept,
    setting,
    store_beginning,
    stored_beginning,
)
from support.storages import SpyStorage, is_held
from telesession import LockTimeoutError, Session, Sessions, as_dict, forget, save

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

pytestmark = pytest.mark.usefixtures("frozen_module")


def test_inner_handler_gets_the_very_session_of_the_outer(
    storage: SpyStorage, handle: Handle
) -> None:
    """A decorated handler called for the same storage and key shares the object itself."""
    assert True is handle(lambda outer: handle(lambda inner: inner is outer))
    assert True is handle(
        lambda outer: handle(lambda inner: inner is outer, initial=Order), initial=Order
    )


@pytest.mark.parametrize("depth", [1, 2, 10])
def test_outermost_call_commits_once(storage: SpyStorage, handle: Handle, depth: int) -> None:
    """However deep handlers call each other, the record is written once, by the outermost."""
    store_beginning(storage, beginning_fields)

    def go(session: Session, left: int) -> None:
        session.counter += 1
        if left:
            handle(lambda inner: go(inner, left - 1))
        session.counter += 1
        assert ([], True) == (storage.writes, is_held(storage, KEY))

    handle(lambda session: go(session, depth))
    assert (1 + 2 * (depth + 1), ["set"]) == (stored_beginning(storage)["counter"], storage.writes)
    assert 0 == locks_kept(storage)


def test_mapping_and_dataclass_are_two_views_of_the_same_fields(
    storage: SpyStorage, handle: Handle
) -> None:
    """Where two handlers want different types, each sees what the other does at once."""

    def as_mapping(session: Session) -> None:
        assert 1 == session.counter
        session.counter = 2
        session.log.append("mapping")
        handle(as_order, initial=Order)
        assert (3, "inner") == (session.counter, session.note)

    def as_order(session: Order) -> None:
        assert isinstance(session, Order)
        assert (2, ["first", "mapping"]) == (session.counter, session.log)
        session.counter, session.note = 3, "inner"
        session.log.append("dataclass")

    store_beginning(storage, beginning_fields)
    handle(as_mapping)
    expected = {
        **beginning_fields(),
        "counter": 3,
        "log": ["first", "mapping", "dataclass"],
        "note": "inner",
    }
    assert (expected, ["set"]) == (stored_beginning(storage), storage.writes)


def test_outer_handler_that_catches_the_inner_exception_commits(
    storage: SpyStorage, handle: Handle
) -> None:
    """The outermost call commits: an exception that it caught is no reason not to."""
    store_beginning(storage, beginning_fields)

    def outer(session: Session) -> None:
        session.log.append("before")
        with pytest.raises(ZeroDivisionError):
            handle(after(setting(counter=2)))
        session.log.append("after")

    handle(outer)
    expected = {**beginning_fields(), "counter": 2, "log": ["first", "before", "after"]}
    assert (expected, ["set"]) == (stored_beginning(storage), storage.writes)


@pytest.mark.parametrize("catches", [True, False], ids=["outer raises", "inner raises"])
def test_nothing_is_stored_if_the_outermost_call_raises(
    storage: SpyStorage, handle: Handle, catches: bool
) -> None:
    """Changes of an inner handler go with those of the outer, wherever the exception came from."""
    before = store_beginning(storage, beginning_fields)

    def outer(session: Session) -> None:
        session.counter = 2
        handle(setting(plain="inner") if catches else after(setting(plain="inner")))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle(outer)
    assert (before, [], 0) == (storage.get(KEY), storage.writes, locks_kept(storage))


def test_inner_save_writes_what_the_outer_did_so_far(storage: SpyStorage, handle: Handle) -> None:
    """`save` in an inner handler writes the shared session, which stays if the outer raises."""
    store_beginning(storage, beginning_fields)

    def call_inner(outer: Session) -> None:
        handle(lambda inner: (setting(plain="inner")(inner), save(inner)))

    with pytest.raises(ZeroDivisionError):
        handle(after(setting(counter=2), call_inner, setting(counter=3)))
    assert {**beginning_fields(), "counter": 2, "plain": "inner"} == stored_beginning(storage)


@pytest.mark.parametrize(
    ("error", "calls"), [(None, ["delete"]), (ZeroDivisionError, [])], ids=["returns", "raises"]
)
def test_inner_forget_is_for_the_outermost_to_do(
    storage: SpyStorage, handle: Handle, error: Any, calls: list[str]
) -> None:
    """`forget` in an inner handler deletes the record when the outermost returns, and only then."""
    before = store_beginning(storage, beginning_fields)

    def outer(session: Session) -> None:
        handle(forget)
        assert before == storage.get(KEY)
        if error:
            raise error

    with pytest.raises(error) if error else nullcontext():
        handle(outer)
    assert (before if error else None, calls) == (storage.get(KEY), storage.writes)


def test_open_inside_its_own_handler_is_the_handlers_session(
    storage: SpyStorage, handle: Handle
) -> None:
    """`sessions.open` of the session in use gives it, and leaves the commit to the handler."""
    store_beginning(storage, beginning_fields)

    def handler(outer: Session) -> None:
        with Sessions(storage=storage).open(KEY) as inner:
            assert inner is outer
            inner.counter = 2
        assert [] == storage.writes
        outer.counter += 1

    handle(handler)
    assert (3, ["set"]) == (stored_beginning(storage)["counter"], storage.writes)


@pytest.mark.parametrize("inner_option", [True, False])
@pytest.mark.parametrize("outer_option", [True, False])
def test_outermost_call_decides_about_commit_on_error(
    storage: SpyStorage, handle: Handle, outer_option: bool, inner_option: bool
) -> None:
    """The outermost call commits, by its own commit_on_error."""
    store_beginning(storage, beginning_fields)

    def call_inner(outer: Session) -> None:
        handle(after(setting(counter=2)), commit_on_error=inner_option)

    with pytest.raises(ZeroDivisionError):
        handle(call_inner, commit_on_error=outer_option)
    assert (2 if outer_option else 1) == stored_beginning(storage)["counter"]


def test_outermost_call_gives_the_lifetime(
    storage: SpyStorage, handle: Handle, clock: FrozenDateTimeFactory
) -> None:
    """The outermost call commits, with its own lifetime."""
    handle(lambda outer: handle(setting(counter=2), lifetime=10), lifetime=60)
    clock.tick(59)
    assert {"counter": 2} == stored_beginning(storage)
    clock.tick(1)
    assert None is stored_beginning(storage)


SEPARATE: dict[str, Callable[[], dict[str, Any]]] = {
    "another prefix": lambda: {"prefix": "other:"},
    "another storage": lambda: {"storage": SpyStorage()},
    "another key": lambda: {"get_storage_key": lambda message: "boris"},
}


@pytest.mark.parametrize("make_options", SEPARATE.values(), ids=SEPARATE)
def test_handlers_for_different_sessions_do_not_share(
    storage: SpyStorage, handle: Handle, make_options: Any
) -> None:
    """With another prefix, storage or key the inner handler has a session of its own."""
    store_beginning(storage, beginning_fields)
    options = make_options()

    def outer(session: Session) -> None:
        session.counter = 2
        assert False is handle(lambda inner: "counter" in inner, **options)
        handle(setting(counter=7), **options)
        assert 2 == session.counter

    handle(outer)
    assert 2 == stored_beginning(storage)["counter"]
    assert {"counter": 7} == handle(as_dict, **options)


@pytest.mark.parametrize("make_options", SEPARATE.values(), ids=SEPARATE)
def test_an_inner_handler_with_another_session_is_part_of_the_outer(
    storage: SpyStorage, handle: Handle, make_options: Any
) -> None:
    """If the outer handler raises, the session of the inner one is what it was, too."""
    before = store_beginning(storage, beginning_fields)
    options = make_options()

    def outer(session: Session) -> None:
        session.counter = 2
        handle(setting(counter=7), **options)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handle(outer)
    assert (before, {}) == (storage.get(KEY), handle(as_dict, **options))


@pytest.mark.parametrize("make_options", SEPARATE.values(), ids=SEPARATE)
def test_inner_exception_takes_nothing_of_another_session_with_it(
    storage: SpyStorage, handle: Handle, make_options: Any
) -> None:
    """An inner handler that raises loses its own changes, and an outer that catches it none."""
    options = make_options()

    def outer(session: Session) -> None:
        session.counter = 2
        with pytest.raises(ZeroDivisionError):
            handle(after(setting(counter=7)), **options)

    handle(outer)
    assert ({"counter": 2}, {}) == (stored_beginning(storage), handle(as_dict, **options))


def test_another_thread_does_not_share(storage: SpyStorage, handle: Handle) -> None:
    """A handler that is called in another thread waits for the session, instead of sharing it."""
    with ThreadPoolExecutor(1) as thread:

        def outer(session: Session) -> type[BaseException]:
            session.counter = 2
            inner = thread.submit(handle, setting(counter=3), lock_timeout=0)
            return type(inner.exception(PATIENCE))

        assert LockTimeoutError is handle(outer)
        thread.submit(handle, lambda session: setting(counter=session.counter + 1)(session)).result(
            PATIENCE
        )
    assert ({"counter": 3}, 0) == (stored_beginning(storage), locks_kept(storage))


def test_thread_is_free_to_take_the_session_again(storage: SpyStorage, handle: Handle) -> None:
    """After a raise, at whatever depth, the next call in the same thread starts afresh."""
    with pytest.raises(ZeroDivisionError):
        handle(lambda outer: handle(after(setting(counter=2))), initial={"counter": 1})
    assert {"counter": 1} == handle(as_dict, initial={"counter": 1})
