"""An `initial` that returns one of several dataclasses."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import TypeAliasType

from support.sessions import store_untyped
from telesession import DecodeError, Session, Sessions, Storage, ttl, ttl_left

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


@dataclass
class Account:
    """The base of the others."""

    visits: int = 0


@dataclass
class Basic(Account):
    """One kind of session."""

    ads: bool = True


@dataclass
class Premium(Account):
    """Another kind of session."""

    paid: str = "yearly"

    def greeting(self) -> str:
        return f"welcome, {self.paid} member"


@dataclass
class Guest:
    """A class that no annotation announces."""

    visits: int = 0


KINDS = {"basic": Basic, "premium": Premium, "account": Account, "guest": Guest}


def make_one(update: Any) -> Basic | Premium:
    """Announce two classes."""
    return KINDS[update]()  # type: ignore[return-value]


def make_any(update: Any) -> Account:
    """Announce a class and all its subclasses."""
    return KINDS[update]()  # type: ignore[return-value]


every_initial = pytest.mark.parametrize("initial", [make_one, make_any], ids=["union", "base"])


@every_initial
@pytest.mark.parametrize("kind", ["basic", "premium"])
def test_a_session_keeps_the_class_that_it_began_with(
    storage: Storage, initial: Any, kind: str
) -> None:
    """After a restart, a session is of the class of its record, whatever `initial` would make."""
    with Sessions(initial=initial, storage=storage).open(1, update=kind) as session:
        session.visits = 5
    other = "basic" if kind == "premium" else "premium"
    for _ in range(2):
        with Sessions(initial=initial, storage=storage).open(1, update=other) as session:
            assert (True, 5) == (isinstance(session, KINDS[kind]), session.visits)
            session.visits = 5
    peeked = Sessions(initial=initial, storage=storage).peek(1)
    assert isinstance(peeked, KINDS[kind])


@every_initial
def test_the_methods_are_those_of_the_class(storage: Storage, initial: Any) -> None:
    """A session of a subclass has its methods and defaults."""
    sessions = Sessions(initial=initial, storage=storage)
    with sessions.open(1, update="premium") as session:
        session.paid = "monthly"
    with sessions.open(1, update="basic") as session:
        assert "welcome, monthly member" == session.greeting()


def test_items_gives_each_session_its_class(storage: Storage) -> None:
    """`items` shows the sessions of several classes, after a restart as well."""
    for key, kind in {"1": "basic", "2": "premium"}.items():
        with Sessions(initial=make_one, storage=storage).open(key, update=kind):
            pass
    items = dict(Sessions(initial=make_one, storage=storage).items())
    assert (True, True) == (isinstance(items["1"], Basic), isinstance(items["2"], Premium))


def test_the_record_of_the_announced_class_itself_names_none(storage: Storage) -> None:
    """A record without a name is of the base class, so records of older programs load."""
    store_untyped(storage, visits=7)
    with Sessions(initial=make_any, storage=storage).open(1, update="premium") as session:
        assert ("Account", 7) == (type(session).__name__, session.visits)


def test_a_record_without_a_name_gets_the_class_that_initial_gives(storage: Storage) -> None:
    """A record from before the union becomes one of the class that `initial` makes then."""
    store_untyped(storage, visits=7)
    with Sessions(initial=make_one, storage=storage).open(1, update="premium") as session:
        assert (True, 7) == (isinstance(session, Premium), session.visits)
        session.visits = 8
    with Sessions(initial=make_one, storage=storage).open(1, update="basic") as session:
        assert (True, 8) == (isinstance(session, Premium), session.visits)


@every_initial
def test_an_unannounced_class_is_refused(storage: Storage, initial: Any) -> None:
    """`initial` returns a class that its annotation does not announce: `TypeError`."""
    sessions = Sessions(initial=initial, storage=storage, lock_timeout=0)
    with pytest.raises(TypeError, match=r"initial gave an instance of Guest, but .* annotation"):
        sessions.open(1, update="guest").__enter__()
    assert None is storage.get("1")


def test_a_base_class_is_none_of_a_union(storage: Storage) -> None:
    """The base of two announced classes is not announced by them."""
    with pytest.raises(TypeError, match="instance of Account"):
        Sessions(initial=make_one, storage=storage).open(1, update="account").__enter__()


def test_a_record_of_an_unknown_class_is_refused(storage: Storage) -> None:
    """A record names a class that was renamed or not imported: `DecodeError`, and it stays."""

    def make_basic(update: Any) -> Basic | Guest:
        return Basic()

    with Sessions(initial=make_one, storage=storage).open(1, update="premium"):
        pass
    before = storage.get("1")
    with pytest.raises(DecodeError, match="class Premium, which the annotation of initial does"):
        Sessions(initial=make_basic, storage=storage).open(1, update=None).__enter__()
    assert before == storage.get("1")


def test_a_mapping_shows_and_keeps_the_named_class(storage: Storage) -> None:
    """A handler that wants a mapping changes fields, and the record goes on naming the class."""
    with Sessions(initial=make_one, storage=storage).open(1, update="premium"):
        pass
    with Sessions(storage=storage).open(1) as mapping:
        assert (True, {"visits": 0, "paid": "yearly"}) == (isinstance(mapping, Session), mapping)
        mapping.visits = 3
    with Sessions(initial=make_one, storage=storage).open(1, update="basic") as session:
        assert (True, 3) == (isinstance(session, Premium), session.visits)


def test_a_named_session_may_have_fields_with_lifetimes(
    clock: FrozenDateTimeFactory, storage: Storage
) -> None:
    """The record names the class beside the deadlines of fields."""
    with Sessions(initial=make_one, storage=storage).open(1, update="premium") as session:
        session.paid = ttl("monthly", 60)
    for _ in range(2):
        with Sessions(initial=make_one, storage=storage).open(1, update="basic") as session:
            session.visits += 1
            assert (True, 60) == (isinstance(session, Premium), ttl_left(session, "paid"))


def test_a_named_record_keeps_its_name_through_a_move(storage: Storage) -> None:
    """`move` takes the class along."""
    sessions = Sessions(initial=make_one, storage=storage)
    with sessions.open(1, update="premium"):
        pass
    sessions.move(1, 2)
    assert isinstance(sessions.peek(2), Premium)


def test_a_migration_sees_the_fields_of_each_class(storage: Storage) -> None:
    """Records that name a class pass through migrations like all others."""
    with Sessions(initial=make_one, storage=storage).open(1, update="premium"):
        pass

    def rename(fields: dict[str, Any]) -> None:
        fields["visits"] = 10

    sessions = Sessions(initial=make_one, storage=storage, version=1, migrations={1: rename})
    with sessions.open(1, update="basic") as session:
        assert (True, 10) == (isinstance(session, Premium), session.visits)


def test_a_union_is_related_to_its_classes(storage: Storage) -> None:
    """A union and one of its classes may share records; an unrelated class may not."""
    Sessions(initial=make_one, storage=storage)
    Sessions(initial=Premium, storage=storage)
    with pytest.raises(ValueError, match="would be one record"):
        Sessions(initial=Guest, storage=storage)


def test_one_class_of_the_union_is_a_view_of_any_record(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """`initial=Account` shows the records of its subclasses, and logs none of their fields."""
    with Sessions(initial=make_any, storage=storage).open(1, update="premium") as session:
        session.paid = "monthly"
    with caplog.at_level(logging.WARNING):
        with Sessions(initial=Account, storage=storage).open(1) as account:
            account.visits = 2
        with Sessions(initial=make_any, storage=storage).open(1, update="basic") as session:
            assert (2, "monthly") == (session.visits, session.paid)
    assert [] == caplog.messages


# How the classes are announced


class Announcer:
    """An object that is called, with an annotation."""

    def __call__(self, update: Any) -> Basic | Premium:
        return make_one(update)


Kind = TypeAliasType("Kind", Basic | Premium)


def make_by_alias(update: Any) -> Kind:
    """Announce the classes by the name of a union."""
    return make_one(update)


ANNOUNCERS: dict[str, Any] = {
    "an alias": make_by_alias,
    "a partial": functools.partial(make_one),
    "an object": Announcer(),
    "a method": Announcer().__call__,
}


@pytest.mark.parametrize("initial", ANNOUNCERS.values(), ids=ANNOUNCERS)
def test_every_callable_may_announce_classes(storage: Storage, initial: Any) -> None:
    """The annotation is found behind aliases, partials and objects that are called."""
    for key, kind in {1: "premium", 2: "basic"}.items():
        with Sessions(initial=initial, storage=storage).open(key, update=kind):
            pass
    with Sessions(initial=initial, storage=storage).open(1, update="basic") as session:
        assert isinstance(session, Premium)


class Step:
    """A base without fields, whose dataclasses are defined below the sessions."""


def make_step(update: Any) -> Step:
    """Announce the dataclasses that will extend the base."""
    return STEPS[update]()


EARLY_STEPS = Sessions(initial=make_step, name="step")


@dataclass
class First(Step):
    """A dataclass below the sessions."""

    choice: str = ""


@dataclass
class Second(Step):
    """Another one."""

    count: int = 0


STEPS: dict[str, Any] = {"first": First, "second": Second}


def test_the_classes_below_a_base_may_be_defined_later() -> None:
    """A base without fields announces the dataclasses that are defined after the sessions."""
    for key, kind in {"one": "first", "two": "second"}.items():
        with EARLY_STEPS.open(key, update=kind):
            pass
    with EARLY_STEPS.open("one", update="second") as session:
        assert isinstance(session, First)


def test_two_classes_of_one_name_are_refused(storage: Storage) -> None:
    """Records name a class by its qualified name, so another class of this name is refused."""
    other = dataclass(type("Basic", (), {"__module__": "elsewhere", "visits": 0}))
    other.__qualname__ = Basic.__qualname__

    def make_either(update: Any) -> Any:
        return Basic()

    make_either.__annotations__["return"] = Basic | other
    with pytest.raises(TypeError, match="two classes named Basic, which records could not tell"):
        Sessions(initial=make_either, storage=storage)


@pytest.mark.parametrize("lifetime", [0, 60], ids=["plain", "with a lifetime"])
def test_a_record_without_a_name_keeps_the_class_of_the_first_handler(
    storage: Storage, lifetime: float
) -> None:
    """A handler that only reads a record of no class decides its class for the next one."""
    store_untyped(storage, visits=ttl(7, lifetime))
    seen = []
    for kind in ("premium", "basic"):
        with Sessions(initial=make_one, storage=storage).open(1, update=kind) as session:
            seen.append((isinstance(session, Premium), session.visits))
    assert [(True, 7)] * 2 == seen
