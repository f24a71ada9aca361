"""Kinds of sessions that must all behave alike, and every way to read one."""

from __future__ import annotations

import copy
from collections import ChainMap, UserDict, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from hypothesis import strategies as st

from telesession import MemoryStorage, Session, Sessions, as_dict, ttl

METHOD_NAMES = sorted(name for name in dir(dict) if not name.startswith("_"))

Make = Callable[[FrozenDateTimeFactory, dict[str, Any]], Session]


def make_plain(_clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session in which no field has a lifetime."""
    return Session(fields)


def make_with_ttl(_clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session of these fields, all of which will expire some day."""
    return Session({name: ttl(value, 10**9) for name, value in fields.items()})


def make_with_expired(clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session in which another field has expired and nobody has looked since."""
    session = Session(expired=ttl("1234", 10), **fields)
    clock.tick(10)
    return session


def make_stored(clock: FrozenDateTimeFactory, fields: dict[str, Any]) -> Session:
    """A session that was stored and loaded before another field expired; it is closed."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.update(fields, expired=ttl("1234", 10))
    with sessions.open(1) as session:
        pass
    clock.tick(10)
    return session


MAKERS = [make_plain, make_with_ttl, make_with_expired, make_stored]

every_make = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


def collect(**fields: Any) -> dict[str, Any]:
    """The fields as a function gets them from `f(**session)`."""
    return fields


def updated(session: Session) -> dict[str, Any]:
    """The fields as `dict.update` and `|=` get them."""
    fields: dict[str, Any] = {}
    fields.update(session)
    fields |= session
    return fields


READINGS: dict[str, Callable[[Session], Any]] = {
    "dict": dict,
    "displayed": lambda session: {**session},
    "passed": lambda session: collect(**session),
    "copied": copy.copy,
    "deepcopied": copy.deepcopy,
    "as_dict": as_dict,
    "or": lambda session: session | {},
    "ror": lambda session: {} | session,
    "updated": updated,
    "a session": lambda session: dict(Session(session)),
    "a defaultdict": lambda session: dict(defaultdict(int, session)),
    "a defaultdict or": lambda session: dict(defaultdict(int) | session),
    "a UserDict": lambda session: dict(UserDict(session)),
    "a ChainMap": lambda session: dict(ChainMap(session)),
    "listed": lambda session: {name: session[name] for name in list(session)},
    "sorted": lambda session: {name: session[name] for name in sorted(session)},
    "iterated": lambda session: {name: session[name] for name in iter(session)},
    "reversed": lambda session: dict([(name, session[name]) for name in reversed(session)][::-1]),
    "class items": lambda session: dict(type(session).items(session)),
    "class values": lambda session: dict(
        zip(type(session).keys(session), type(session).values(session), strict=True)
    ),
}

every_reading = pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)


VALUES = st.recursive(
    st.text(max_size=10) | st.integers() | st.binary(max_size=10) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=3,
)

NAMES = st.text(max_size=8) | st.sampled_from([*METHOD_NAMES, "_hidden", "code"])
