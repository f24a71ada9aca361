"""Typed sessions: the injected session is an instance of the user's own dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest
from telebot import types  # noqa: TC002 -- with_session resolves annotations

from support.sessions import (
    Cart,
    GiftCart,
    Marked,
    assign,
    make_unannounced,
    stored_untyped,
    typed_sessions,
)
from support.updates import ANNA, BORIS, message_of
from support.values import Doubled, Item, Seeded
from telesession import (
    MemoryStorage,
    SessionClosedError,
    Sessions,
    as_dict,
    forget,
    save,
    session_key,
    ttl,
    ttl_left,
    with_session,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


T = TypeVar("T")


# An instance of the dataclass


def make_cart(message: types.Message) -> Cart:
    """A cart that knows its owner."""
    return Cart(message.from_user.first_name)


@pytest.mark.parametrize("initial", [Cart, make_cart, make_unannounced])
def test_a_handler_gets_an_instance(storage: MemoryStorage, initial: Any) -> None:
    """When `initial` is a dataclass or returns an instance, the injected session is one."""
    handler_got: list[Any] = []

    @with_session(initial=initial, storage=storage)
    def handler(message: types.Message, session: Cart) -> int:
        handler_got.append(isinstance(session, Cart))
        session.add("apple")
        return session.total

    assert [1, 2, 1] == [handler(message_of(person)) for person in (ANNA, ANNA, BORIS)]
    assert [True, True, True] == handler_got


def test_an_instance_is_of_a_generated_subclass_with_the_name(storage: MemoryStorage) -> None:
    """The class is a generated subclass that looks like the dataclass itself."""
    with typed_sessions(Cart, storage).open(1) as session:
        kind = type(session)
    assert (True, "Cart", Cart.__module__, Cart.__doc__) == (
        issubclass(kind, Cart),
        kind.__name__,
        kind.__module__,
        kind.__doc__,
    )


def test_methods_work(storage: MemoryStorage) -> None:
    """Methods, class methods and static methods are those of the dataclass, `super()` included."""
    with typed_sessions(GiftCart, storage).open(1) as session:
        item = session.add("apple")
        of_class = session.of("Anna")
        assert (2, True, "EUR") == (item.count, item is session.items[0], session.currency())
    assert (GiftCart("Anna"), GiftCart) == (of_class, type(of_class))


def test_properties_work(storage: MemoryStorage) -> None:
    """A property is computed from the fields, and its setter changes them."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.total = 5
        assert (5, [Item("all", 5)]) == (session.total, session.items)
    with typed_sessions(Cart, storage).open(1) as session:
        assert 5 == session.total


def test_a_property_without_a_setter_stays_read_only(storage: MemoryStorage) -> None:
    """A read-only property refuses assignment, as it does in the dataclass."""

    @dataclass
    class Square:
        side: int = 2

        @property
        def area(self) -> int:
            return self.side**2

    with typed_sessions(Square, storage).open(1) as session:
        with pytest.raises(AttributeError, match="area"):
            session.area = 9
        assert (4, {"side": 2}) == (session.area, as_dict(session))


def test_a_cached_property_lasts_for_one_handler(storage: MemoryStorage) -> None:
    """A cached property is computed once in a handler, and is no part of the record."""
    sessions = typed_sessions(Cart, storage)
    with sessions.open(1) as session:
        session.add("apple")
        first = session.names
        session.add("pear")
        assert (["apple"], True) == (session.names, session.names is first)
    with sessions.open(1) as session:
        assert ["apple", "pear"] == session.names
    assert {"owner", "items", "color", "_hidden"} == (stored_untyped(storage) or {}).keys()


def test_class_variables_are_of_the_class(storage: MemoryStorage) -> None:
    """A `ClassVar` can be read, is never stored, and cannot be assigned through a session."""
    with typed_sessions(Cart, storage).open(1) as session:
        assert (3, False) == (session.limit, "limit" in as_dict(session))
        with pytest.raises(AttributeError, match="declares no field 'limit'"):
            session.limit = 4
    assert 3 == Cart.limit


def test_a_parameter_that_is_no_field_is_used_once(storage: MemoryStorage) -> None:
    """An `InitVar` goes to `__post_init__` of the new session and is not stored."""
    for _ in range(2):
        with typed_sessions(Seeded, storage).open(1) as session:
            assert (4, {"count": 4}) == (session.count, as_dict(session))


def test_post_init_runs_when_a_session_begins(storage: MemoryStorage) -> None:
    """`__post_init__` runs when the session is made from `initial`, not when it is loaded."""
    with typed_sessions(Doubled, storage).open(1) as session:
        session.count = 5
    with typed_sessions(Doubled, storage).open(1) as session:
        assert (5, 2) == (session.count, session.double)


def test_keyword_only_and_inherited_fields_are_fields(storage: MemoryStorage) -> None:
    """Inherited fields and those after `KW_ONLY` are stored like any other."""
    with typed_sessions(GiftCart, storage).open(1) as session:
        session.wrapped, session.owner = True, "Anna"
    with typed_sessions(GiftCart, storage).open(1) as session:
        assert GiftCart("Anna", wrapped=True) == session


def test_a_name_with_an_underscore_is_a_field_if_declared(storage: MemoryStorage) -> None:
    """A declared field is an attribute whatever it is named."""
    with typed_sessions(Cart, storage).open(1) as session:
        session._hidden += 1
    with typed_sessions(Cart, storage).open(1) as session:
        assert (1, 1) == (session._hidden, (stored_untyped(storage) or {})["_hidden"])


def test_fields_may_be_named_like_methods_of_a_mapping(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A field always wins: in a typed session `items`, `keys` and the like are fields, too."""
    names = [name for name in dir(dict) if not name.startswith("_")]
    kind = dataclasses.make_dataclass("Names", [(name, int, 0) for name in names])
    sessions = typed_sessions(kind, storage)
    with sessions.open(1) as session:
        for name in names:
            setattr(session, name, getattr(session, name) + 1)
        session.pop = ttl(session.pop, 60)
    with sessions.open(1) as session:
        assert dict.fromkeys(names, 1) == dataclasses.asdict(session) == as_dict(session)


def test_a_generic_dataclass_can_be_a_session(storage: MemoryStorage) -> None:
    """A dataclass with a type variable is one whose field takes plain data of any type."""

    @dataclass
    class Box(Generic[T]):
        value: T | None = None

    sessions = typed_sessions(Box, storage)
    assign(sessions, ["a"])
    with sessions.open(1) as session:
        assert ["a"] == session.value


# Undeclared attributes


def test_an_undeclared_attribute_is_refused(storage: MemoryStorage) -> None:
    """Assigning what the dataclass does not declare is refused, naming what it has."""
    with typed_sessions(Cart, storage).open(1) as session:
        with pytest.raises(AttributeError, match=r"Cart declares no field 'ownr'.*which has owner"):
            session.ownr = "Anna"
        with pytest.raises(AttributeError):
            del session.ownr
        assert Cart() == session


def test_an_undeclared_attribute_is_refused_in_methods(storage: MemoryStorage) -> None:
    """What a method would set on the side is refused as well, for it would not be saved."""

    @dataclass
    class Forgetful:
        count: int = 0

        def visit(self) -> None:
            self.last = self.count

    with (
        typed_sessions(Forgetful, storage).open(1) as session,
        pytest.raises(AttributeError, match="declares no field 'last'"),
    ):
        session.visit()


# The functions on a session, and its end


def test_the_functions_on_a_session_take_typed_ones(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """`session_key`, `as_dict`, `ttl_left`, `save` and `forget` work on typed sessions."""
    sessions = Sessions(initial=Marked, storage=storage, prefix="shop-")
    with sessions.open("anna") as session:
        assert ("anna", 60, None) == (
            session_key(session),
            ttl_left(session, "code"),
            ttl_left(session, "plain"),
        )
        snapshot = as_dict(session)
        session.plain = 1
        save(session)
        saved = as_dict(sessions.peek("anna"))
        forget(session)
    assert {"code": "none", "tries": [], "plain": 0} == snapshot
    assert ({"code": "none", "tries": [], "plain": 1}, None) == (saved, sessions.peek("anna"))


def test_as_dict_of_a_typed_session_is_a_snapshot(storage: MemoryStorage) -> None:
    """`as_dict` shares no object with the session."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
        snapshot = as_dict(session)
        session.items[0].count = 9
    assert ([Item("apple", 1)], dict) == (snapshot["items"], type(snapshot))


CHANGES: dict[str, Callable[[Any], Any]] = {
    "set": lambda session: setattr(session, "owner", "Boris"),
    "mark": lambda session: setattr(session, "owner", ttl("Boris", 60)),
    "delete": lambda session: delattr(session, "owner"),
    "property": lambda session: setattr(session, "total", 5),
    "save": save,
    "forget": forget,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_closed_session_cannot_be_changed(
    storage: MemoryStorage, change: Callable[[Any], Any]
) -> None:
    """After the handler returned, writing to its session raises; reading still works."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.owner = "Anna"
    with pytest.raises(SessionClosedError):
        change(session)
    assert (Cart("Anna"), 0, "1") == (session, session.total, session_key(session))


def test_a_handler_that_raises_changes_nothing(storage: MemoryStorage) -> None:
    """All or nothing: after an exception the record is what it was, byte by byte."""

    @with_session(initial=Cart, storage=storage)
    def handler(message: types.Message, session: Cart) -> None:
        session.add("apple").count += 1
        session.owner = "Anna"
        if len(session.items) > 1:
            raise ZeroDivisionError

    handler(message_of(ANNA))
    before = storage.get(str(ANNA["id"]))
    with pytest.raises(ZeroDivisionError):
        handler(message_of(ANNA))
    assert before == storage.get(str(ANNA["id"]))


def test_a_typed_session_without_fields_is_empty(storage: MemoryStorage) -> None:
    """A dataclass without fields makes sessions that are never stored."""

    @dataclass
    class Nothing:
        pass

    with typed_sessions(Nothing, storage).open(1) as session:
        assert "<Nothing '1': no fields>" == repr(session)
    assert [] == list(storage.keys())


def test_class_patterns_match_a_session(storage: MemoryStorage) -> None:
    """A `match` statement takes a session for an instance, by position and by name."""
    with typed_sessions(Item, storage).open(1) as session:
        session.count = 5
        match session:
            case Item("tea", count=count):
                matched = count
    assert 5 == matched
