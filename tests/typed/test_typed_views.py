"""One session, or one record, seen through several types."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from support.forms import FORMS
from support.sessions import (
    Basket,
    Cart,
    GiftCart,
    holder_of,
    store_untyped,
    stored_untyped,
    typed_sessions,
)
from support.storages import SpyStore
from support.values import Color, Item
from telesession import DecodeError, EncodeError, MemoryStorage, Session, Sessions, ttl, ttl_left

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


# Two types, one session


def test_the_same_type_gives_the_same_object(storage: MemoryStorage) -> None:
    """A handler that calls another one for the same key and type shares the very object."""
    outer, inner = typed_sessions(Cart, storage), typed_sessions(Cart, storage)
    with outer.open(1) as session, inner.open(1) as same:
        assert session is same


def test_another_type_gives_another_view(storage: MemoryStorage) -> None:
    """Another type, a subclass too, is another view of the same fields; lists are the same."""
    with typed_sessions(Cart, storage).open(1) as cart:
        cart.add("apple")
        with (
            typed_sessions(Basket, storage).open(1) as basket,
            typed_sessions(GiftCart, storage).open(1) as gift,
            Sessions(storage=storage).open(1) as plain,
        ):
            assert (True, True, True, True) == (
                isinstance(basket, Basket),
                isinstance(gift, GiftCart),
                isinstance(plain, Session),
                cart is not gift,
            )
            assert (True, True, True) == (
                cart.items is basket.items,
                cart.items is gift.items,
                cart.items is plain.items,
            )
            assert cart.items[0] is basket.items[0]


def test_views_see_each_others_changes_and_all_are_saved(storage: MemoryStorage) -> None:
    """Two views show the same fields, nested dataclasses and enums too; the outermost commits."""
    with typed_sessions(Cart, storage).open(1) as cart:
        cart.add("apple")
        with typed_sessions(Basket, storage).open(1) as basket:
            basket.items[0].count += 1
            basket.color = Color.BLUE
            basket.coupon = "TEA10"
        cart.items[0].count += 1
        assert (3, Color.BLUE) == (cart.items[0].count, cart.color)
        during = stored_untyped(storage)
    with typed_sessions(Basket, storage).open(1) as basket:
        expected = Basket(items=[Item("apple", 3)], color=Color.BLUE, coupon="TEA10")
        assert (None, expected) == (during, basket)


def test_lists_stay_the_very_same_objects(storage: MemoryStorage) -> None:
    """What is right already stays the object it is: an outer handler may be changing it."""
    kind = dataclasses.make_dataclass(
        "Plain", [("log", list[str]), ("counts", dict[str, float]), ("seen", set[int])]
    )
    log, counts, seen = ["a"], {"a": 1}, {1}
    with Sessions(storage=storage).open(1) as session:
        session.update(log=log, counts=counts, seen=seen)
        with typed_sessions(lambda: kind([], {}, set()), storage).open(1) as typed:
            assert (True, True, True) == (
                typed.log is log,
                typed.counts is counts,
                typed.seen is seen,
            )
        log.append("b")
    assert {"log": ["a", "b"], "counts": {"a": 1}, "seen": {1}} == stored_untyped(storage)


def test_a_view_that_does_not_fit_changes_nothing(storage: MemoryStorage) -> None:
    """A nested call whose type does not fit is a `DecodeError` that leaves the fields alone."""

    @dataclass
    class Misfit:
        item: Item = field(default_factory=Item)
        number: int = 0

    store_untyped(storage, item={"name": "apple", "count": 1}, number="one")
    before = storage.get("1")
    with Sessions(storage=storage).open(1) as session:
        with pytest.raises(DecodeError, match="'number'"):
            typed_sessions(Misfit, storage).open(1).__enter__()
        assert {"item": {"name": "apple", "count": 1}, "number": "one"} == dict(session)
    assert before == storage.get("1")


def test_every_view_must_fit_at_commit(storage: MemoryStorage) -> None:
    """What a typed view showed must still fit at the commit, whoever changed it."""

    def change(session: Session) -> None:
        with typed_sessions(Item, storage).open(1) as item:
            item.count = 5
        session.count = "many"

    with pytest.raises(EncodeError) as caught, Sessions(storage=storage).open(1) as session:
        change(session)
    assert ("count", "str", None) == (
        caught.value.path,
        caught.value.type_name,
        stored_untyped(storage),
    )


@pytest.mark.parametrize(
    "kind",
    [
        "Enum",
        "Flag",
        "IntFlag, several",
        "list of dataclasses",
        "set of dataclasses",
        "NamedTuple",
        "two dataclasses",
        "deque",
    ],
)
def test_a_view_shows_what_another_has_just_set(storage: MemoryStorage, kind: str) -> None:
    """A second view takes values as they are, before they were ever stored."""
    hint, value = FORMS[kind].hint | None, FORMS[kind].value
    with typed_sessions(holder_of(hint, None), storage).open(1) as one:
        one.value = copy.deepcopy(value)
        with typed_sessions(holder_of(hint, None), storage).open(1) as other:
            assert (value, True) == (other.value, other.value is one.value)


# Older and newer programs


def test_extra_stored_fields_survive(storage: MemoryStorage) -> None:
    """Stored fields that the dataclass does not declare stay, through reads and writes."""
    store_untyped(storage, owner="Anna", retired={"since": [2024]})
    with typed_sessions(Cart, storage).open(1) as session:
        undeclared = hasattr(session, "retired")
        session.owner = "Boris"
    assert (False, {"owner": "Boris", "retired": {"since": [2024]}}) == (
        undeclared,
        stored_untyped(storage),
    )


def test_extra_stored_fields_keep_their_lifetime(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A field that the dataclass does not declare keeps its TTL, too."""
    store_untyped(storage, owner="Anna", retired=ttl(1, 60))
    clock.tick(30)
    with typed_sessions(Cart, storage).open(1) as session:
        session.owner = "Boris"
        left = ttl_left(session, "retired")
    clock.tick(30)
    assert (30, {"owner": "Boris"}) == (left, stored_untyped(storage))


OLDER: dict[str, tuple[Any, Any, Any, Any]] = {
    "a field more": (Item, Item(), {"name": "apple"}, Item("apple")),
    "a field less": (
        Item,
        Item(),
        {"name": "apple", "count": 1, "retired": True},
        Item("apple", 1),
    ),
}


@pytest.mark.parametrize(("hint", "default", "value", "expected"), OLDER.values(), ids=OLDER)
def test_reading_a_record_of_another_program_writes_nothing(
    hint: Any, default: Any, value: Any, expected: Any
) -> None:
    """A handler that only reads writes nothing, also where the nested classes were others."""
    records = SpyStore()
    storage = MemoryStorage(records)
    store_untyped(storage, value=value)
    with typed_sessions(holder_of(hint, default), storage).open(1) as session:
        assert expected == session.value
    assert (1, {"value": value}) == (records.writes, stored_untyped(storage))


@pytest.mark.parametrize(("hint", "default", "value", "expected"), OLDER.values(), ids=OLDER)
def test_changing_a_record_of_another_program_keeps_the_other_fields(
    storage: MemoryStorage, hint: Any, default: Any, value: Any, expected: Any
) -> None:
    """A nested value that nobody changed is stored as it was, extra keys included."""
    store_untyped(storage, value=value, count=1)
    made = field(default_factory=lambda: default)
    kind = dataclasses.make_dataclass("Both", [("value", hint, made), ("count", int, 0)])
    with typed_sessions(kind, storage).open(1) as session:
        session.count += 1
        assert expected == session.value
    assert {"value": value, "count": 2} == stored_untyped(storage)


def test_a_record_stored_untyped_can_be_read_typed(storage: MemoryStorage) -> None:
    """A bot that goes from plain to typed sessions keeps its records."""
    store_untyped(
        storage,
        owner="Anna",
        items=[{"name": "apple", "count": 2}],
        color="blue",
        other=["kept"],
    )
    with typed_sessions(Cart, storage).open(1) as session:
        assert Cart("Anna", [Item("apple", 2)], Color.BLUE) == session
        session.add("pear")
    with Sessions(storage=storage).open(1) as session:
        assert {
            "owner": "Anna",
            "items": [{"name": "apple", "count": 2}, {"name": "pear", "count": 1}],
            "color": "blue",
            "other": ["kept"],
        } == session
