"""Fields of typed sessions that were never stored, or expired, and read as their default."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import (
    Cart,
    Login,
    Marked,
    holder_of,
    store_untyped,
    stored_untyped,
    typed_sessions,
)
from support.storages import SpyStore
from support.values import Color, Item, Money, Note, Place
from telesession import MemoryStorage, Sessions, as_dict, save, ttl_left

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


def test_never_stored_fields_read_as_their_default(storage: MemoryStorage) -> None:
    """New fields of the dataclass read as their declared default where a record is older."""
    store_untyped(storage, owner="Anna")
    with typed_sessions(Cart, storage).open(1) as session:
        assert Cart("Anna") == session


def test_reading_a_default_writes_nothing() -> None:
    """A handler that only reads defaults of an older record writes nothing."""

    @dataclass
    class Defaults:
        number: int = 1
        items: list[Item] = field(default_factory=list)
        place: Place = field(default_factory=Place)
        color: Color = Color.RED

    records = SpyStore()
    storage = MemoryStorage(records)
    store_untyped(storage, owner="Anna")
    with typed_sessions(Defaults, storage).open(1) as session:
        seen = session.number, session.items, session.place.x, session.color
    assert ((1, [], 0, Color.RED), 1) == (seen, records.writes)


def double(items: Any) -> None:
    """Replace the ints of a list by equal floats."""
    items[:] = map(float, items)


def rotate(counts: Any) -> None:
    """Put the first item of a dict last."""
    counts[first] = counts.pop(first := next(iter(counts)))


CHANGED_DEFAULTS: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    "list": (list[int], [], lambda value: value.append(1)),
    "dict": (dict[str, int], {}, lambda value: value.update(a=1)),
    "set": (set[int], set(), lambda value: value.add(1)),
    "dataclass": (Item, Item(), lambda value: setattr(value, "count", 1)),
    "deep": (list[list[int]], [[]], lambda value: value[0].append(1)),
    "to an equal value": (list[float], [1, 2], double),
    "of order": (dict[str, int], {"a": 1, "b": 2}, rotate),
    "beside equality": (Note, Note(), lambda value: setattr(value, "text", "hello")),
    "without equality": (Place, Place(), lambda value: setattr(value, "x", 1)),
    "custom": (Any, Money(1), lambda value: setattr(value, "amount", 2)),
}


@pytest.mark.parametrize("case", CHANGED_DEFAULTS.values(), ids=CHANGED_DEFAULTS)
def test_a_change_inside_a_default_is_saved(
    storage: MemoryStorage, case: tuple[Any, Any, Callable[[Any], Any]]
) -> None:
    """Nested changes count, also in a default that was never stored, whatever `==` says."""
    hint, default, change = case
    expected = copy.deepcopy(default)
    change(expected)
    sessions = typed_sessions(holder_of(hint, default), storage)
    store_untyped(storage, other=1)
    with sessions.open(1) as session:
        change(session.value)
    with sessions.open(1) as session:
        assert pickle.dumps(expected) == pickle.dumps(session.value)


def test_a_default_that_was_changed_and_is_not_yet_stored_is_a_field(
    storage: MemoryStorage,
) -> None:
    """What a handler put into a default shows at once: in `as_dict` and in other views."""
    store_untyped(storage, owner="Anna")
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
        snapshot = as_dict(session)
        with Sessions(storage=storage).open(1) as untyped:
            seen = "items" in untyped
    assert ({"owner": "Anna", "items": [Item("apple", 1)]}, True) == (snapshot, seen)


def test_a_default_that_an_inner_handler_changed_is_a_field(storage: MemoryStorage) -> None:
    """What a nested call put into a default is there for the handler that called it."""
    store_untyped(storage, owner="Anna")
    with Sessions(storage=storage).open(1) as untyped:
        with typed_sessions(Cart, storage).open(1) as session:
            session.add("apple")
        assert [Item("apple", 1)] == untyped["items"]


def test_a_default_is_over_once_its_field_was_deleted(storage: MemoryStorage) -> None:
    """A default that was changed does not come back after the field itself was there."""
    store_untyped(storage, owner="Anna")
    with (
        Sessions(storage=storage).open(1) as untyped,
        typed_sessions(Cart, storage).open(1) as session,
    ):
        session.add("apple")
        untyped["items"] = []
        as_dict(session)
        del untyped["items"]
        assert [] == session.items
    assert {"owner": "Anna"} == stored_untyped(storage)


def test_a_default_is_given_once_in_a_handler(storage: MemoryStorage) -> None:
    """Reading a default again gives the same object, as reading a field does."""
    store_untyped(storage, owner="Anna")
    with typed_sessions(Cart, storage).open(1) as session:
        assert session.items is session.items


def test_deleting_a_field_brings_its_default_back(storage: MemoryStorage) -> None:
    """A deleted field reads as its declared default, a new one, and is not stored any more."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.owner = "Anna"
        session.add("apple")
    with typed_sessions(Cart, storage).open(1) as session:
        del session.owner, session.items
        assert ("nobody", []) == (session.owner, session.items)
    assert {"color": "red", "_hidden": 0} == stored_untyped(storage)


def test_deleting_a_changed_default_brings_a_new_one(storage: MemoryStorage) -> None:
    """A default that was changed and saved can be deleted like any field."""
    store_untyped(storage, owner="Anna")
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
        save(session)
        del session.items
        assert [] == session.items
    assert {"owner": "Anna"} == stored_untyped(storage)


def test_assigning_replaces_a_changed_default(storage: MemoryStorage) -> None:
    """An assignment wins over what was put into the default before."""
    store_untyped(storage, owner="Anna")
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
        session.items = []
    assert {"owner": "Anna", "items": []} == stored_untyped(storage)


SHARED_ITEMS: list[Item] = []


@dataclass
class Sharing:
    """A session whose defaults are objects that exist only once."""

    place: Place = Place()  # noqa: RUF009
    items: list[Item] = field(default_factory=lambda: SHARED_ITEMS)


@pytest.mark.parametrize("older", [False, True], ids=["new session", "older record"])
def test_users_share_no_default(storage: MemoryStorage, older: bool) -> None:
    """A mutable default, or a factory's shared object, does not leak from one user to another."""
    sessions = typed_sessions(Sharing, storage)
    for key in (1, 2) if older else ():
        with Sessions(storage=storage).open(key) as session:
            session.other = 1
    with sessions.open(1) as session:
        session.place.x = 9
        session.items.append(Item())
    with sessions.open(2) as session:
        assert (0, []) == (session.place.x, session.items)
    with sessions.open(1) as session:
        assert (9, [Item()]) == (session.place.x, session.items)
    assert (0, []) == (Sharing().place.x, SHARED_ITEMS)


def test_a_field_without_default_is_missing(storage: MemoryStorage) -> None:
    """A field that was never stored and has no default is an `AttributeError` that says which."""
    store_untyped(storage, user="anna")
    with typed_sessions(lambda: Login("", ""), storage).open(1) as session:
        assert ("anna", False) == (session.user, hasattr(session, "code"))
        with pytest.raises(
            AttributeError,
            match=r"^session '1' has no field 'code', and its declaration has no default; give it "
            "one, or write a migration that sets it$",
        ):
            _ = session.code
        with pytest.raises(AttributeError, match=r"^session '1' has no field 'code'$"):
            del session.code


def test_an_init_false_field_without_value_is_missing(storage: MemoryStorage) -> None:
    """A field that is no parameter and that nobody has set yet is missing, and can be set."""

    @dataclass
    class Later:
        count: int = 1
        result: int = field(init=False)

    with typed_sessions(Later, storage).open(1) as session:
        missing = hasattr(session, "result")
        session.result = 5
    with typed_sessions(Later, storage).open(1) as session:
        assert (False, 5) == (missing, session.result)


def test_assigning_an_expired_field_starts_its_lifetime_again(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """The mark outlives the value: an assignment starts its lifetime again."""
    sessions = typed_sessions(Marked, storage)
    with sessions.open(1):
        pass
    clock.tick(60)
    with sessions.open(1) as session:
        session.code = "9876"
        session.tries.append("2222")
    with sessions.open(1) as session:
        assert (60, 60) == (ttl_left(session, "code"), ttl_left(session, "tries"))
        assert ("9876", ["2222"]) == (session.code, session.tries)
