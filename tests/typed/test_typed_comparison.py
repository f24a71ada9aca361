"""Typed sessions compare, copy, hash and print as their dataclass does, but for `repr`."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.sessions import Cart, Login, stored_untyped, typed_sessions
from support.values import Color, Item, OtherItem, Place, SpecialItem
from telesession import MemoryStorage, ttl

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


def test_the_functions_of_dataclasses_work(storage: MemoryStorage) -> None:
    """`dataclasses.asdict`, `astuple`, `fields` and `is_dataclass` take a session."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
        expected = Cart(items=[Item("apple", 1)])
        assert dataclasses.asdict(expected) == dataclasses.asdict(session)
        assert dataclasses.astuple(expected) == dataclasses.astuple(session)
        assert dataclasses.fields(Cart) == dataclasses.fields(session)
        assert True is dataclasses.is_dataclass(session)


def test_replace_makes_an_instance_that_belongs_to_no_session(storage: MemoryStorage) -> None:
    """`dataclasses.replace` gives a plain instance; what happens to it is not saved."""
    with typed_sessions(Cart, storage).open(1) as session:
        replaced = dataclasses.replace(session, owner="Anna")
        replaced.color = Color.BLUE
        assert (Cart, Cart()) == (type(replaced), session)
    assert Cart("Anna", color=Color.BLUE) == replaced


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])
def test_a_copy_is_a_plain_instance(
    storage: MemoryStorage, make_copy: Callable[[Any], Any]
) -> None:
    """A copy of a session is an instance of the dataclass that belongs to no session."""
    with typed_sessions(Cart, storage).open(1) as session:
        session.add("apple")
        copied = make_copy(session)
        shared = copied.items is session.items
        assert (Cart, session, make_copy is copy.copy) == (type(copied), copied, shared)
    copied.owner = "Anna"
    assert "nobody" == (stored_untyped(storage) or {})["owner"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_typed_session_cannot_be_pickled(storage: MemoryStorage, protocol: int) -> None:
    """Pickling a typed session is refused with what to do instead."""
    with (
        typed_sessions(Cart, storage).open(1) as session,
        pytest.raises(TypeError, match=r"cannot be pickled; store or send as_dict\(session\)"),
    ):
        pickle.dumps(session, protocol)


def test_sessions_compare_with_instances(storage: MemoryStorage) -> None:
    """`==` and `!=` work in both directions, as between two instances of the dataclass."""
    with (
        typed_sessions(Cart, storage).open(1) as session,
        typed_sessions(Cart, storage).open(2) as twin,
    ):
        assert (True, True, True) == (session == Cart(), Cart() == session, session == twin)
        assert (False, False, False) == (session != Cart(), Cart() != session, session != twin)
        session.owner = "Anna"
        assert (False, False, False) == (session == Cart(), Cart() == session, session == twin)
        assert (True, True, True) == (session != Cart(), Cart() != session, session != twin)
        assert (True, False) == (session == session, session == 5)  # noqa: PLR0124


def test_sessions_are_not_equal_to_other_classes(storage: MemoryStorage) -> None:
    """As with any two dataclasses, a session equals instances of its own class only."""
    with typed_sessions(Item, storage).open(1) as session:
        assert (True, False, False) == (
            session == Item(),
            session == OtherItem(),
            session == SpecialItem(),
        )


def test_sessions_that_lack_a_field_compare(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A session of which a field without default has expired is equal to no whole instance."""
    with typed_sessions(lambda: Login("anna", ttl("1234", 300)), storage).open(1) as session:
        before = session == Login("anna", "1234")
        clock.tick(300)
        after = session == Login("anna", "1234"), Login("anna", "1234") == session
    assert (True, (False, False)) == (before, after)


def test_ordered_dataclasses_compare(storage: MemoryStorage) -> None:
    """With `order=True` a session has the methods that compare, in both directions."""

    @dataclass(order=True)
    class Score:
        points: int = 2

    with typed_sessions(Score, storage).open(1) as session:
        assert (True, True, False, False) == (
            session < Score(3),
            session <= Score(2),
            session > Score(2),
            session >= Score(3),
        )
        assert (True, True, False, False) == (
            Score(1) < session,
            Score(2) <= session,
            Score(2) > session,
            Score(1) >= session,
        )
        assert [1, 2, 3] == [score.points for score in sorted([Score(3), session, Score(1)])]


def test_a_hash_is_that_of_the_dataclass(storage: MemoryStorage) -> None:
    """With `unsafe_hash=True` a session has the hash of an equal instance; else it has none."""

    @dataclass(unsafe_hash=True)
    class Hashed:
        points: int = 2

    with typed_sessions(Hashed, storage).open(1) as session:
        session.points = 3
        assert hash(Hashed(3)) == hash(session)
    with (
        typed_sessions(Cart, MemoryStorage()).open(2) as session,
        pytest.raises(TypeError, match="unhashable"),
    ):
        hash(session)


def test_without_eq_a_session_equals_itself_only(storage: MemoryStorage) -> None:
    """With `eq=False` a session is equal to itself only and has a hash, as its instances do."""
    with (
        typed_sessions(Place, storage).open(1) as session,
        typed_sessions(Place, storage).open(2) as other,
    ):
        assert (True, False) == (session == session, session != session)  # noqa: PLR0124
        assert (False, False, False) == (session == Place(), Place() == session, session == other)
        assert {session} == {session, session}


def test_special_methods_of_the_user_work(storage: MemoryStorage) -> None:
    """`__eq__`, `__setattr__`, `__getattr__`, `__len__` and the like are those of the user."""

    @dataclass
    class Own:
        points: int = 1
        other: int = 2

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.points == other.points

        __hash__ = None  # type: ignore[assignment]

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, abs(value))

        def __getattr__(self, name: str) -> str:
            if name.startswith("the_"):
                return name.removeprefix("the_")
            raise AttributeError(name)

        def __len__(self) -> int:
            return self.points

        def __str__(self) -> str:
            return f"{self.points} points"

    with typed_sessions(Own, storage).open(1) as session:
        session.points = -5
        assert (5, "name", "5 points") == (len(session), session.the_name, str(session))
        assert (True, True, True) == (session == Own(5, 9), Own(5, 9) == session, session != Own())
        with pytest.raises(AttributeError, match="missing"):
            _ = session.missing
    assert {"points": 5, "other": 2} == stored_untyped(storage)


def test_repr_is_never_that_of_the_user(storage: MemoryStorage) -> None:
    """`repr` shows the key and field names, never values, even if the dataclass has its own."""

    @dataclass
    class Talkative:
        text: str = "private"

        def __repr__(self) -> str:
            return f"Talkative({self.text})"

    with typed_sessions(Talkative, storage).open("anna") as session:
        assert "<Talkative 'anna': text>" == repr(session)
    assert "<Talkative 'anna' (closed): text>" == repr(session)


@settings(max_examples=examples(30))
@given(owner=st.text(), names=st.lists(st.text(), max_size=3))
def test_repr_depends_on_the_names_alone(owner: str, names: list[str]) -> None:
    """The `repr` of a typed session is the same whatever its values are."""
    with (
        typed_sessions(Cart, MemoryStorage()).open(1) as session,
        typed_sessions(Cart, MemoryStorage()).open(1) as blank,
    ):
        session.owner = owner
        for name in names:
            session.add(name)
        assert repr(blank) == repr(session)
        assert (str(blank), f"{blank}") == (str(session), f"{session}")
