"""Which classes can be typed sessions, and what makes their instances."""

from __future__ import annotations

import dataclasses
from dataclasses import InitVar, dataclass, field
from typing import Any

import pytest
from telebot import types  # noqa: TC002 -- with_session resolves annotations

from support.sessions import (
    Cart,
    Login,
    holder_of,
    make_unannounced,
    stored_untyped,
    typed_sessions,
)
from support.updates import ANNA, BORIS, message_of
from support.values import Item
from telesession import MemoryStorage, SessionError, Sessions, with_session


@dataclass(frozen=True)
class Frozen:
    """A dataclass that cannot change."""

    count: int = 0


@dataclass(slots=True)
class WithSlots:
    """A dataclass without room."""

    count: int = 0


@dataclass
class BelowSlots(WithSlots):
    """A dataclass without room in its base."""

    more: int = 0


def make_frozen() -> Frozen:
    """Say that it makes one."""
    return Frozen()


def make_with_slots(message: types.Message) -> WithSlots:
    """Say that it makes one."""
    return WithSlots()


def make_unannounced_frozen() -> Any:
    """Do not say what it makes."""
    return Frozen()


@pytest.mark.parametrize(
    ("initial", "reason"),
    [
        (Frozen, "Frozen is frozen"),
        (make_frozen, "Frozen is frozen"),
        (WithSlots, "WithSlots has slots"),
        (make_with_slots, "WithSlots has slots"),
        (BelowSlots, "BelowSlots has slots"),
    ],
    ids=["frozen", "returns frozen", "slots", "returns slots", "base with slots"],
)
def test_frozen_and_slotted_dataclasses_are_refused(initial: Any, reason: str) -> None:
    """Frozen or slotted dataclasses: `TypeError` at decoration."""
    with pytest.raises(TypeError, match=reason):
        with_session(initial=initial)


def test_a_frozen_dataclass_that_nobody_announced_is_refused_when_made(
    storage: MemoryStorage,
) -> None:
    """Where `initial` does not say what it returns, the first update is when it turns out."""
    sessions = Sessions(initial=make_unannounced_frozen, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(TypeError, match="Frozen is frozen"):
            sessions.open(1).__enter__()
    assert None is storage.get("1")


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        ([("user", str), ("code", str, "")], "user"),
        ([("user", str), ("code", str)], "user, code"),
        ([("seed", InitVar[int])], "seed"),
        ([("user", str, field(kw_only=True))], "user"),
    ],
    ids=["one", "two", "InitVar", "keyword"],
)
def test_a_class_with_required_fields_is_refused(fields: list[Any], missing: str) -> None:
    """A dataclass that needs arguments: `TypeError` at decoration, saying which."""
    kind = dataclasses.make_dataclass("Needy", fields)
    with pytest.raises(TypeError, match=f"initial=Needy .* it requires {missing};"):
        with_session(initial=kind)


def test_a_function_may_fill_required_fields(storage: MemoryStorage) -> None:
    """A function, which may take the update, makes instances of any dataclass."""

    @with_session(
        initial=lambda message: Login(message.from_user.first_name, "0000"), storage=storage
    )
    def handler(message: types.Message, session: Login) -> str:
        return session.user

    assert ["Anna", "Boris"] == [handler(message_of(person)) for person in (ANNA, BORIS)]


@pytest.mark.parametrize("annotation", ["Item.Missing", "not an expression", "int | 'str'"])
def test_annotations_that_cannot_be_read_are_refused(annotation: str) -> None:
    """An annotation that is no type: `TypeError` at decoration, naming the dataclass."""
    with pytest.raises(TypeError, match="Vague has annotations that cannot be read"):
        with_session(initial=vague(annotation))


@pytest.mark.parametrize("nested", [False, True], ids=["own", "nested"])
@pytest.mark.parametrize("annotation", ["Missing", "list[Missing]"])
def test_annotations_that_name_nothing_are_refused_at_first_use(
    storage: MemoryStorage, annotation: str, nested: bool
) -> None:
    """A name that is not defined yet may come; if it has not, the first use is a `TypeError`."""
    kind = holder_of(vague(annotation) | None, None) if nested else vague(annotation)
    sessions = Sessions(initial=kind, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(
            TypeError,
            match="'Missing' is not defined, in an annotation of Vague; define or import the name",
        ):
            sessions.open(1).__enter__()
    assert None is storage.get("1")


def vague(annotation: str) -> Any:
    """A dataclass with one field, whose annotation is text."""
    return dataclasses.make_dataclass(
        "Vague", [("value", annotation, None)], namespace={"__module__": __name__}
    )


def test_a_function_may_return_a_shared_instance(storage: MemoryStorage) -> None:
    """An instance that `initial` returns is copied deeply, so nothing leaks between users."""
    template = Cart(items=[Item("gift", 1)])
    sessions = typed_sessions(lambda: template, storage)
    for key in (1, 2):
        with sessions.open(key) as session:
            session.items[0].count += 1
            session.add("apple")
            assert [Item("gift", 2), Item("apple", 1)] == session.items
    assert Cart(items=[Item("gift", 1)]) == template


def test_a_function_that_raises_leaves_nothing(storage: MemoryStorage) -> None:
    """A dataclass whose `__post_init__` raises: `SessionError`, nothing stored, lock released."""

    @dataclass
    class Broken:
        count: int = 0

        def __post_init__(self) -> None:
            raise ZeroDivisionError

    sessions = Sessions(initial=Broken, storage=storage, lock_timeout=0)
    for _ in range(2):
        with pytest.raises(SessionError, match="initial raised ZeroDivisionError"):
            sessions.open(1).__enter__()
    assert None is stored_untyped(storage)


def test_a_stored_session_is_typed_before_initial_was_ever_called(storage: MemoryStorage) -> None:
    """After a restart, an `initial` that does not say what it returns still gives instances."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.owner = "Anna"
    with typed_sessions(make_unannounced, storage).open(1) as session:
        assert Cart("Anna") == session
