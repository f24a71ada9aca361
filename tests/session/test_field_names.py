"""The names of fields: which there can be, and what is said of one that is missing."""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import Make, every_make
from telesession import Session, Sessions, ttl, ttl_left

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

pytestmark = pytest.mark.usefixtures("frozen_module")


class Mood(enum.StrEnum):
    """Names of fields as some bots have them."""

    GOOD = "good"


# Names


@every_make
def test_names_with_an_underscore_are_items_only(clock: FrozenDateTimeFactory, make: Make) -> None:
    """A name that starts with `_` is a field through `[...]` and only there."""
    session = make(clock, {"_hidden": 1, "__class__": "mine"})
    assert (1, "mine") == (session["_hidden"], session["__class__"])
    assert (False, True) == (hasattr(session, "_hidden"), isinstance(session, Session))
    assert {"_hidden": 1, "__class__": "mine"} == dict(session)


UNDERSCORED: dict[str, Callable[[Session], Any]] = {
    "read": lambda session: session._hidden,
    "set": lambda session: setattr(session, "_hidden", 2),
    "delete": lambda session: delattr(session, "_hidden"),
}


@pytest.mark.parametrize("access", UNDERSCORED.values(), ids=UNDERSCORED)
def test_an_attribute_with_an_underscore_says_what_to_write_instead(
    access: Callable[[Session], Any],
) -> None:
    """Reading, setting or deleting `session._hidden` says to use `session['_hidden']`."""
    session = Session(_hidden=1)
    with pytest.raises(AttributeError, match=r"use session\['_hidden'\]"):
        access(session)
    assert {"_hidden": 1} == dict(session)


def test_a_member_of_a_str_enum_names_the_field_of_its_value() -> None:
    """A StrEnum member as a name is its plain string, to set, read, test and delete."""
    session = Session({Mood.GOOD: 1})
    session[Mood.GOOD] += 1
    names = [type(name) for name in session]
    assert (2, 2, True, [str]) == (session.good, session["good"], Mood.GOOD in session, names)
    del session[Mood.GOOD]
    assert {} == dict(session)


def test_a_member_of_a_str_enum_names_a_field_with_a_lifetime(
    clock: FrozenDateTimeFactory,
) -> None:
    """The lifetime of a field that was named by a StrEnum member is that of its plain name."""
    session = Session()
    session[Mood.GOOD] = ttl(1, 10)
    left = ttl_left(session, "good"), ttl_left(session, Mood.GOOD)
    clock.tick(10)
    assert ((10, 10), {}) == (left, dict(session))


NOT_STR: dict[str, Any] = {
    "int": 1,
    "None": None,
    "bytes": b"a",
    "tuple": ("a",),
    "bool": True,
    "member": enum.Enum("Other", "A").A,
}

WAYS_TO_SET: dict[str, Callable[[Session, Any], Any]] = {
    "item": lambda session, name: operator.setitem(session, name, 1),
    "update": lambda session, name: session.update({name: 1}),
    "pairs": lambda session, name: session.update([(name, 1)]),
    "ior": lambda session, name: operator.ior(session, {name: 1}),
    "setdefault": lambda session, name: session.setdefault(name, 1),
    "constructor": lambda _session, name: Session({name: 1}),
    "fromkeys": lambda _session, name: Session.fromkeys([name]),
}


@pytest.mark.parametrize("way", WAYS_TO_SET.values(), ids=WAYS_TO_SET)
def test_names_of_fields_are_str(way: Callable[[Session, Any], Any]) -> None:
    """Field names are `str`; any other is refused at once, naming its type."""
    session = Session(a=1)
    for name in NOT_STR.values():
        with pytest.raises(TypeError, match=f"names of fields are str, not {type(name).__name__}"):
            way(session, name)
        assert {"a": 1} == dict(session)


@pytest.mark.parametrize(
    "name", ["", " ", "two words", "имя", "1", "self", "class", "\n", "\ud800"]
)
def test_any_str_names_a_field(sessions: Sessions[Session], name: str) -> None:
    """Any string can name a field, in every way to set or read one, and comes back."""
    with sessions.open(1) as session:
        setattr(session, name, 1)
        session.update({name: session[name] + 1})
        session.update(**{name: getattr(session, name) + 1})
        assert (3, 3, True) == (getattr(session, name), session[name], hasattr(session, name))
    assert {name: 3} == sessions.peek(1)


# A missing field

MISSING_ATTRIBUTE: dict[str, Callable[[Session], Any]] = {
    "read": lambda session: session.code,
    "delete": lambda session: delattr(session, "code"),
    "add to": lambda session: exec("session.code += 1", {"session": session}),
}

MISSING_ITEM: dict[str, Callable[[Session], Any]] = {
    "read": lambda session: session["code"],
    "delete": lambda session: operator.delitem(session, "code"),
    "pop": lambda session: session.pop("code"),
    "format": "{code}".format_map,
}


MISSING = "give it in initial=..., or read it with session.get('code')"
EXPIRED = "read a field that may expire with session.get('code')"


def said_to(access: Callable[[Session], Any], fault: str, advice: str) -> str:
    """What whoever wants a field is told: who reads it, also what to do."""
    writes = (MISSING_ATTRIBUTE["delete"], MISSING_ITEM["delete"], MISSING_ITEM["pop"])
    return fault if access in writes else f"{fault}; {advice}"


@pytest.mark.parametrize("access", MISSING_ATTRIBUTE.values(), ids=MISSING_ATTRIBUTE)
def test_a_missing_attribute_says_which(
    sessions: Sessions[Session], access: Callable[[Session], Any]
) -> None:
    """A missing field is an `AttributeError` that says which field of which session."""
    with sessions.open("anna") as session, pytest.raises(AttributeError) as caught:
        access(session)
    assert said_to(access, "session 'anna' has no field 'code'", MISSING) == str(caught.value)
    assert ("code", session) == (caught.value.name, caught.value.obj)


@pytest.mark.parametrize("access", MISSING_ITEM.values(), ids=MISSING_ITEM)
def test_a_missing_item_says_which(
    sessions: Sessions[Session], access: Callable[[Session], Any]
) -> None:
    """A missing field is a `KeyError` that says which field of which session."""
    with sessions.open("anna") as session, pytest.raises(KeyError) as caught:
        access(session)
    assert (said_to(access, "session 'anna' has no field 'code'", MISSING),) == caught.value.args


@pytest.mark.parametrize(
    ("access", "kind"),
    [
        *((access, AttributeError) for access in MISSING_ATTRIBUTE.values()),
        *((access, KeyError) for access in MISSING_ITEM.values()),
    ],
    ids=[*MISSING_ATTRIBUTE, *MISSING_ITEM],
)
def test_an_expired_field_says_so(
    clock: FrozenDateTimeFactory,
    sessions: Sessions[Session],
    access: Callable[[Session], Any],
    kind: type[Exception],
) -> None:
    """An expired field is an `AttributeError` or `KeyError` that says which, and that it did."""
    with sessions.open("anna") as session:
        session.code = ttl("1234", 300)
        clock.tick(300)
        with pytest.raises(kind) as caught:
            access(session)
    expected = "field 'code' of session 'anna' expired, 300 s after its update"
    assert (said_to(access, expected, EXPIRED),) == caught.value.args


def test_a_deleted_field_has_not_expired(clock: FrozenDateTimeFactory) -> None:
    """A field that was deleted before its time is missing, not expired."""
    session = Session(code=ttl("1234", 300))
    del session.code
    clock.tick(300)
    with pytest.raises(AttributeError, match="has no field 'code'"):
        _ = session.code
