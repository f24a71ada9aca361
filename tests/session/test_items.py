"""A loop over all sessions: `items`, which reads them one after the other."""

from __future__ import annotations

import gc
import pickle
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pytest

from telesession import (
    DecodeError,
    MemoryStorage,
    SessionClosedError,
    SessionError,
    Sessions,
    Storage,
    StorageError,
    forget,
    save,
    session_key,
    ttl,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory

    from support.storages import SpyStorage


@dataclass
class Cart:
    """A typed session."""

    items: list[str] = field(default_factory=list)
    coupon: str = "none"

    def count(self) -> int:
        return len(self.items)


def store(sessions: Sessions[Any], *keys: str | int, **fields: Any) -> None:
    for key in keys:
        with sessions.open(key) as session:
            session.update(fields or {"number": key})


# What it gives


def test_it_gives_every_session_with_its_key(moved_storage: Storage) -> None:
    """`items()` gives a pair for each stored session: its key, and the session as it was saved."""
    sessions = Sessions(storage=moved_storage)
    store(sessions, 1, 2, "anna")
    assert {"1": {"number": 1}, "2": {"number": 2}, "anna": {"number": "anna"}} == dict(
        sessions.items()
    )


def test_it_gives_sessions_of_the_class_that_handlers_get(moved_storage: Storage) -> None:
    """Where handlers get a dataclass, so does the loop, with its methods and defaults."""
    carts = Sessions(initial=Cart, storage=moved_storage)
    store(Sessions(storage=moved_storage), 1, items=["tea", "milk"])
    pairs = [(key, cart.count(), cart.coupon) for key, cart in carts.items()]
    assert [("1", 2, "none")] == pairs
    assert [True] == [isinstance(cart, Cart) for _, cart in carts.items()]


def test_a_prefix_chooses_keys(moved_storage: Storage) -> None:
    """`items(prefix)` gives the sessions whose keys begin with it; so does `keys(prefix)`."""
    sessions = Sessions(storage=moved_storage, prefix="shop:")
    store(sessions, "a1", "a2", "b1", "shop:a3")
    assert (["a1", "a2"], ["a1", "a2"], ["shop:a3"]) == (
        sorted(key for key, _ in sessions.items("a")),
        sorted(sessions.keys("a")),
        [key for key, _ in sessions.items("shop:")],
    )


def test_it_sees_one_room(moved_storage: Storage) -> None:
    """Sessions of another name or prefix in the same storage are left out."""
    plain, carts = Sessions(storage=moved_storage), Sessions(name="cart", storage=moved_storage)
    store(plain, 1, "@cart:7")
    store(carts, 2)
    assert ([["1", "@cart:7"], ["2"]]) == [
        sorted(key for key, _ in sessions.items()) for sessions in (plain, carts)
    ]


def test_its_keys_go_round(moved_storage: Storage) -> None:
    """A key of the loop opens the session that came with it, and so does `session_key` of it."""
    sessions = Sessions(storage=moved_storage, prefix="shop:")
    store(sessions, 1, "shop:1", "@a")
    for key, session in sessions.items():
        assert key == session_key(session)
        with sessions.open(key, create=False) as same:
            assert session == same


def test_fields_that_expired_are_left_out(clock: FrozenDateTimeFactory, storage: Storage) -> None:
    """A field is gone at its deadline, also from a session of the loop that was kept."""
    sessions = Sessions(storage=storage)
    store(sessions, 1, code=ttl("1234", 10), name="Anna")
    ((_, session),) = sessions.items()
    before = dict(session)
    clock.tick(10)
    assert ({"code": "1234", "name": "Anna"}, {"name": "Anna"}) == (before, session)


# What it does to the sessions


WRITES: dict[str, Callable[[Any], object]] = {
    "attribute": lambda session: setattr(session, "items", ["milk"]),
    "delete": lambda session: delattr(session, "items"),
    "save": save,
    "forget": forget,
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("initial", [dict, Cart], ids=["mapping", "dataclass"])
def test_its_sessions_are_closed(
    storage: Storage, initial: Any, write: Callable[[Any], object]
) -> None:
    """A session of the loop cannot be changed, and the error says how to change it."""
    sessions: Sessions[Any] = Sessions(initial=initial, storage=storage)
    store(Sessions(storage=storage), 1, items=["tea"])
    ((_, session),) = sessions.items()
    with pytest.raises(SessionClosedError) as caught:
        write(session)
    assert ["tea"] == session.items
    expected = (
        "of session '1': it was only read, by peek or items, and the session is closed, so the "
        "change would be lost; let with_session give the handler its session, or open it with "
        "Sessions.open(key)"
    )
    assert expected == str(caught.value)[-len(expected) :]
    again = pickle.loads(pickle.dumps(caught.value))
    assert (vars(caught.value), str(caught.value)) == (vars(again), str(again))
    assert {"1": {"items": ["tea"]}} == dict(Sessions(storage=storage).items())


def test_it_takes_no_lock_and_writes_nothing(storage: SpyStorage) -> None:
    """The loop lists keys and reads each record once, also of a session that is held; no more."""
    sessions = Sessions(storage=storage, lifetime=10, lock_timeout=0)
    store(sessions, 1, 2)
    with sessions.open(1) as held:
        held.number = 5
        storage.calls.clear()
        assert [("1", 1), ("2", 2)] == [(key, session.number) for key, session in sessions.items()]
    assert 2 == storage.calls["get"]
    assert Counter(keys=1) == storage.calls - Counter(get=2, set=1)


def test_it_renews_no_lifetime(clock: FrozenDateTimeFactory, storage: Storage) -> None:
    """A session that is only read by the loop ends when it would have ended."""
    sessions = Sessions(storage=storage, lifetime=10)
    store(sessions, 1)
    clock.tick(9)
    assert 1 == len(list(sessions.items()))
    clock.tick(1)
    assert [] == list(sessions.items())


def test_a_session_that_vanishes_is_left_out(moved_storage: Storage) -> None:
    """A session that is deleted between the listing of its key and its turn is left out."""
    sessions = Sessions(storage=moved_storage)
    store(sessions, *range(5))
    seen = []
    for pair in sessions.items():
        key = pair[0]
        seen.append(key)
        if len(seen) == 1:
            deleted = [other for other in "01234" if other != key]
            assert [True] * 4 == [sessions.delete(other) for other in deleted]
    assert 1 == len(seen)


# Damaged records


def damage(storage: Storage, *keys: str) -> None:
    for key in keys:
        storage.set(key, b"damaged")


def test_damaged_records_are_raised_together_at_the_end(moved_storage: Storage) -> None:
    """One `ExceptionGroup` has a `DecodeError` for each record that cannot be read."""
    sessions = Sessions(storage=moved_storage, prefix="shop:")
    store(sessions, 1, 2, 3, 4)
    damage(moved_storage, "shop:2", "shop:4")
    seen = []
    with pytest.raises(ExceptionGroup) as caught:
        seen.extend(sessions.items())
    kinds = [type(error) for error in caught.value.exceptions]
    keys = sorted(getattr(error, "key", "") for error in caught.value.exceptions)
    assert ([DecodeError] * 2, ["2", "4"]) == (kinds, keys)
    assert [("1", {"number": 1}), ("3", {"number": 3})] == sorted(seen)
    assert [b"damaged"] * 2 == [moved_storage.get(key) for key in ("shop:2", "shop:4")]


def test_records_of_another_shape_are_damaged(storage: Storage) -> None:
    """A record that does not fit the dataclass is in the group as well."""
    store(Sessions(storage=storage), 1, items="tea")
    store(Sessions(storage=storage), 2, items=["milk"])
    seen = []
    with pytest.raises(ExceptionGroup) as caught:
        seen.extend(Sessions(initial=Cart, storage=storage).items())
    assert (["1"], ["2"]) == (
        [getattr(error, "key", "") for error in caught.value.exceptions],
        [key for key, _ in seen],
    )


def test_a_storage_that_fails_ends_the_loop(storage: SpyStorage) -> None:
    """A `StorageError` is raised at once, because the storage may have nothing more to give."""
    sessions = Sessions(storage=storage)
    store(sessions, 1, 2)
    storage.fail("get")
    with pytest.raises(StorageError):
        list(sessions.items())


def test_an_initial_that_fails_ends_the_loop(storage: Storage) -> None:
    """If only a call of `initial` tells the class of the sessions, its failure is an error."""

    def initial() -> Any:
        raise ZeroDivisionError

    store(Sessions(storage=storage), 1)
    with pytest.raises(SessionError, match="initial raised ZeroDivisionError"):
        list(Sessions(initial=initial, storage=storage).items())


# Memory


class Payload(bytes):
    """A payload that counts how many of its kind exist."""

    alive = 0

    def __new__(cls, payload: bytes) -> Self:
        cls.alive += 1
        return super().__new__(cls, payload)

    def __del__(self) -> None:
        Payload.alive -= 1


class CountedPayloads(MemoryStorage):
    """A storage whose payloads are counted from reading to their end."""

    def get(self, key: str) -> bytes | None:
        payload = super().get(key)
        return None if payload is None else Payload(payload)


class Witness:
    """A value of a field that counts how many of its kind exist."""

    alive = 0

    def __init__(self) -> None:
        Witness.alive += 1

    def __reduce__(self) -> Any:
        return Witness, ()

    def __del__(self) -> None:
        Witness.alive -= 1


@pytest.fixture
def many() -> Sessions[Any]:
    """Fifty stored sessions, and none in memory."""
    sessions = Sessions(storage=CountedPayloads())
    for key in range(50):
        store(sessions, key, witness=Witness())
    gc.collect()
    assert (0, 0) == (Witness.alive, Payload.alive)
    return sessions


def test_it_has_no_more_than_two_sessions_in_memory(many: Sessions[Any]) -> None:
    """While a session is read, the one before it may still be in use, and no other exists."""
    alive = [(Witness.alive, Payload.alive) for _ in many.items()]
    assert (50, True, True) == (
        len(alive),
        max(witnesses for witnesses, _ in alive) <= 2,
        max(payloads for _, payloads in alive) <= 2,
    )


def test_more_sessions_in_memory_would_be_noticed(many: Sessions[Any]) -> None:
    """Control: a list of the sessions has them all in memory."""
    kept = list(many.items())
    assert (50, 50) == (len(kept), Witness.alive)


def test_damaged_records_leave_no_payload_in_memory(many: Sessions[Any]) -> None:
    """The errors that wait for the end of the loop hold keys and reasons, and no payloads."""
    storage = many._kind.storage
    damage(storage, *map(str, range(40)))
    with pytest.raises(ExceptionGroup) as caught:
        assert 10 == sum(Payload.alive <= 2 for _ in many.items())
    assert (40, True) == (len(caught.value.exceptions), Payload.alive <= 2)
