"""`open` with its options, `in`, `len`, `clear` and a typed `peek`, outside handlers and inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import fail_in
from support.storages import is_free
from telesession import (
    DeadlockError,
    DecodeError,
    LockTimeoutError,
    MemoryStorage,
    Session,
    SessionClosedError,
    Sessions,
    Storage,
    as_dict,
    session_key,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

    from support.storages import SpyStorage

pytestmark = pytest.mark.usefixtures("frozen_module")


@dataclass
class Cart:
    """A typed session."""

    items: list[str] = field(default_factory=list)
    coupon: str = "none"

    def count(self) -> int:
        return len(self.items)


def store(sessions: Sessions[Any], *keys: str | int) -> None:
    for key in keys:
        with sessions.open(key) as session:
            session.number = key


# open(create=False)


def test_open_without_create_needs_a_record(moved_storage: Storage) -> None:
    """`open(key, create=False)` is a `KeyError` without a record; it stores and locks nothing."""
    sessions = Sessions(initial={"counter": 0}, storage=moved_storage, prefix="shop:")
    with pytest.raises(KeyError) as caught:
        sessions.open(1, create=False).__enter__()
    assert (
        "there is no session '1', and create=False makes none; open it without create=False to "
        "make one from initial"
    ) == caught.value.args[0]
    assert ([], True) == (list(moved_storage.keys()), is_free(moved_storage, "shop:1"))


def test_open_without_create_gives_a_stored_session(moved_storage: Storage) -> None:
    """`open(key, create=False)` gives a stored session to change."""
    sessions = Sessions(initial={"counter": 0}, storage=moved_storage)
    with sessions.open(1):
        pass
    with sessions.open(1, create=False) as session:
        session.counter += 1
    assert {"counter": 1} == sessions.peek(1)


def test_open_of_several_without_create_needs_all_records(sessions: Sessions[Session]) -> None:
    """If one of several sessions has no record, none is opened."""
    store(sessions, 1)
    for opening in (sessions.open(1, 2, create=False), sessions.open_all([1, 2], create=False)):
        with pytest.raises(KeyError, match="there is no session '2'"):
            opening.__enter__()
    assert ({"number": 1}, None) == (sessions.peek(1), sessions.peek(2))


def test_a_missing_session_inside_a_handler_leaves_the_handler_whole(
    sessions: Sessions[Session],
) -> None:
    """A handler that catches the `KeyError` goes on, and its own changes are saved."""
    with sessions.open(1) as session:
        session.found = True
        with pytest.raises(KeyError):
            sessions.open(2, create=False).__enter__()
        session.found = False
    assert ({"found": False}, None) == (sessions.peek(1), sessions.peek(2))


# open(renew=False)


def test_open_without_renew_leaves_the_lifetime(
    clock: FrozenDateTimeFactory, frozen_moved_storage: Storage
) -> None:
    """A session without changes ends when it would have ended, and one with changes does not."""
    sessions = Sessions(storage=frozen_moved_storage, lifetime=10)
    store(sessions, "read", "changed", "renewed")
    clock.tick(9)
    with sessions.open("read", renew=False) as session:
        assert "read" == session.number
    with sessions.open("changed", renew=False) as session:
        session.number = 2
    with sessions.open("renewed"):
        pass
    clock.tick(1)
    assert (False, True, True) == tuple(key in sessions for key in ("read", "changed", "renewed"))


def test_a_block_without_renew_takes_nothing_from_its_handler(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A handler renews its session, also if a block inside opens it with `renew=False`."""
    sessions = Sessions(storage=storage, lifetime=10)
    store(sessions, 1)
    clock.tick(9)
    with sessions.open(1), sessions.open(1, renew=False):
        pass
    clock.tick(9)
    assert {"number": 1} == sessions.peek(1)


# in, len and bool


def test_in_says_whether_a_session_is_stored(moved_storage: Storage) -> None:
    """`key in sessions` is true for the keys of stored sessions of this prefix."""
    sessions = Sessions(storage=moved_storage, prefix="shop:")
    store(sessions, 1, "anna")
    store(Sessions(storage=moved_storage), "2")
    assert (True, True, True, False, False) == (
        1 in sessions,
        "1" in sessions,
        "anna" in sessions,
        2 in sessions,
        "shop:1" in sessions,
    )


@pytest.mark.parametrize("key", [None, "", 1.5], ids=repr)
def test_in_takes_keys_only(sessions: Sessions[Session], key: Any) -> None:
    """A value that is no key is a `TypeError`, as for `open`."""
    with pytest.raises(TypeError, match="the key of a session is a non-empty str or an int"):
        _ = key in sessions


def test_in_takes_no_lock_and_renews_nothing(
    clock: FrozenDateTimeFactory, storage: SpyStorage
) -> None:
    """`in` and `len` do nothing to a session."""
    sessions = Sessions(storage=storage, lifetime=10)
    store(sessions, 1)
    clock.tick(9)
    holds = storage.calls["hold"]
    assert (True, 1) == (1 in sessions, len(sessions))
    clock.tick(1)
    assert (False, 0, holds) == (1 in sessions, len(sessions), storage.calls["hold"])


def test_len_is_the_number_of_stored_sessions(moved_storage: Storage) -> None:
    """`len(sessions)` counts the stored sessions of this name or prefix."""
    sessions, carts = (Sessions(storage=moved_storage, name=name) for name in ("session", "cart"))
    before = len(sessions), len(carts)
    store(sessions, 1, 2, 3, "@cart:5")
    store(carts, 1)
    assert ((0, 0), 4, 1) == (before, len(sessions), len(carts))


def test_sessions_are_true_even_if_none_is_stored(sessions: Sessions[Session]) -> None:
    """`bool(sessions)` is true, so that `sessions or other` does not depend on the records."""
    empty = bool(sessions)
    store(sessions, 1)
    assert (True, True) == (empty, bool(sessions))


# clear


def test_clear_deletes_the_sessions_of_a_prefix(moved_storage: Storage) -> None:
    """`clear(prefix)` deletes the sessions whose keys begin with it, and says how many."""
    sessions = Sessions(storage=moved_storage, name="game")
    others = Sessions(storage=moved_storage)
    store(sessions, "a1", "a2", "b1")
    store(others, "a1", "@game:a1")
    assert (2, ["b1"]) == (sessions.clear("a"), list(sessions.keys()))
    assert (1, [], 0) == (sessions.clear(), list(sessions.keys()), sessions.clear())
    assert ["@game:a1", "a1"] == sorted(others.keys())


def test_clear_inside_a_handler_is_not_part_of_it(sessions: Sessions[Session]) -> None:
    """Each session is deleted at once, and stays deleted if the handler raises."""
    store(sessions, 1, 2, 3)

    def change(session: Session) -> None:
        session.cleared = sessions.clear("1"), sessions.clear("2")
        assert ["3"] == list(sessions.keys())

    with pytest.raises(ZeroDivisionError):
        fail_in(sessions, 3, change)
    assert {"3": {"number": 3}} == dict(sessions.items())


def test_clear_waits_for_the_handler_of_a_session(storage: MemoryStorage) -> None:
    """A session that stays busy is a `LockTimeoutError`; those before it are deleted."""
    sessions = Sessions(storage=storage, lock_timeout=0)
    store(sessions, 1, 2, 3)
    with storage.hold("2"), pytest.raises(LockTimeoutError) as caught:
        sessions.clear()
    assert ("2", ["2", "3"]) == (caught.value.key, list(sessions.keys()))


def test_clear_of_the_own_session_is_a_deadlock(sessions: Sessions[Session]) -> None:
    """A handler that clears its own session would wait for itself, and gets an error at once."""
    store(sessions, 1)
    with sessions.open(1) as session:
        with pytest.raises(DeadlockError):
            sessions.clear()
        session.number = 2
    assert {"number": 2} == sessions.peek(1)


def test_clear_deletes_damaged_records(moved_storage: Storage) -> None:
    """A record that cannot be read is deleted like any other."""
    sessions = Sessions(storage=moved_storage)
    moved_storage.set("1", b"damaged")
    assert (1, []) == (sessions.clear(), list(sessions.keys()))


# peek


def test_peek_gives_an_instance_of_the_dataclass(moved_storage: Storage) -> None:
    """`peek` of typed sessions is an instance, with methods and with defaults that are missing."""
    carts = Sessions(initial=Cart, storage=moved_storage)
    unknown = carts.peek(1)
    with Sessions(storage=moved_storage).open(1) as session:
        session["items"] = ["tea"]
    cart = carts.peek(1)
    assert (None, True, 1, "none", "1") == (
        unknown,
        isinstance(cart, Cart),
        cart and cart.count(),
        cart and cart.coupon,
        session_key(cart),
    )


def test_a_peeked_session_is_closed(storage: MemoryStorage) -> None:
    """A change of a peeked session is a `SessionClosedError`, and reaches no record."""
    carts = Sessions(initial=Cart, storage=storage)
    with carts.open(1) as cart:
        cart.items.append("tea")
    peeked, plain = carts.peek(1), Sessions(storage=storage).peek(1)
    assert peeked is not None
    assert plain is not None
    for change in (lambda: setattr(peeked, "coupon", "TEA10"), plain.clear):
        with pytest.raises(SessionClosedError, match="it was only read, by peek or items"):
            change()
    peeked.items.append("milk")
    assert {"items": ["tea"], "coupon": "none"} == as_dict(carts.peek(1))


def test_peek_refuses_what_does_not_fit(storage: MemoryStorage) -> None:
    """A record that does not fit the dataclass is a `DecodeError` with the key as users know it."""
    with Sessions(storage=storage, prefix="shop:").open("shop:1") as session:
        session["items"] = "tea"
    with pytest.raises(DecodeError, match="'items'") as caught:
        Sessions(initial=Cart, storage=storage, prefix="shop:").peek("shop:1")
    assert "shop:1" == caught.value.key


def test_peek_asks_initial_for_the_class_only_once(storage: MemoryStorage) -> None:
    """If only a call tells the class, `peek` of an older record calls `initial`, and one time."""
    calls = []

    def initial():  # type: ignore[no-untyped-def]
        calls.append(1)
        return Cart(["never stored"])

    with Sessions(storage=storage).open(1) as session:
        session["items"] = ["tea"]
    carts = Sessions(initial=initial, storage=storage)
    assert (None, []) == (carts.peek(2), calls)
    assert ([True] * 2, [1]) == ([isinstance(carts.peek(1), Cart) for _ in range(2)], calls)
    assert [("1", ["tea"])] == [(key, cart.items) for key, cart in carts.items()]


def test_peek_does_without_the_update_that_initial_wants(storage: MemoryStorage) -> None:
    """An older record reads as a mapping while such an `initial` has not said what it returns."""

    def declared(update: object) -> Cart:
        return Cart([str(update)])

    with Sessions(storage=storage).open(1) as session:
        session["items"] = ["tea"]
    for initial, kind in ((lambda update: Cart([update]), Session), (declared, Cart)):
        carts: Sessions[Any] = Sessions(initial=initial, storage=storage)
        assert (True, ["tea"]) == (isinstance(carts.peek(1), kind), carts.peek(1).items)
        with carts.open(2, update="milk"):
            pass
        assert True is isinstance(carts.peek(1), Cart)
