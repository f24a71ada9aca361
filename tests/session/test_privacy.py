"""No `repr`, no message and no traceback shows a value of a session."""

from __future__ import annotations

import pickle
import pprint
import reprlib
from collections import UserDict
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import pytest
from cachetools import LRUCache, TTLCache
from hypothesis import given, settings, strategies as st

from support.clocks import examples
from support.sessions import FIELD_NAMES, FIELD_VALUES
from support.values import logged_failure
from telesession import (
    DecodeError,
    EncodeError,
    LockTimeoutError,
    MemoryStorage,
    NoSessionKeyError,
    Session,
    SessionClosedError,
    SessionError,
    Sessions,
    StorageError,
    as_dict,
    save,
    ttl,
    with_session,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

pytestmark = pytest.mark.usefixtures("frozen_module")


@settings(max_examples=examples(40))
@given(fields=st.dictionaries(FIELD_NAMES, FIELD_VALUES), lifetime=st.sampled_from([0, 60]))
def test_repr_depends_on_the_names_alone(fields: dict[str, Any], lifetime: int) -> None:
    """`repr` shows the key and field names, never values: other values change nothing in it."""
    session = Session({name: ttl(value, lifetime) for name, value in fields.items()})
    blank = Session({name: ttl(None, lifetime) for name in fields})
    for show in (
        repr,
        str,
        ascii,
        format,
        pprint.pformat,
        reprlib.repr,
        "{!r}".format,
        "%s".__mod__,
    ):
        assert show(blank) == show(session)


def test_repr_shows_key_and_names(clock: FrozenDateTimeFactory) -> None:
    """`repr` shows the key and the names of the live fields, and whether the session is closed."""
    with Sessions(storage=MemoryStorage(), prefix="shop-").open("anna") as session:
        session.update(name="Anna", code=ttl("1234", 10), items=[])
        live = repr(session)
        clock.tick(10)
        expired = repr(session)
        session.clear()
        empty = repr(session)
    assert "<Session 'anna': name, code, items>" == live
    assert "<Session 'anna': name, items>" == expired
    assert "<Session 'anna': no fields>" == empty
    assert "<Session 'anna' (closed): no fields>" == repr(session)


@settings(max_examples=examples(40))
@given(value=FIELD_VALUES, lifetime=st.integers(0, 10**6))
def test_the_repr_of_a_ttl_mark_shows_no_value(value: Any, lifetime: int) -> None:
    """A `ttl(...)` on its way shows its lifetime and the type of its value, but not the value."""
    mark: Any = ttl(value, lifetime)
    expected = f"ttl(<{type(value).__name__}>, {lifetime:g})"
    assert (expected, expected, expected) == (repr(mark), str(mark), f"{mark}")


@pytest.mark.parametrize(
    "make_store",
    [dict, lambda: LRUCache(10), lambda: TTLCache(10, 60), UserDict],
    ids=["dict", "LRUCache", "TTLCache", "UserDict"],
)
def test_the_repr_of_a_storage_shows_no_value(
    make_store: Callable[[], MutableMapping[str, bytes]],
) -> None:
    """The `repr` of storages and of `Sessions` are the same whatever the records hold."""

    def shown(value: str) -> tuple[str, str]:
        storage = MemoryStorage(make_store())
        sessions = Sessions(initial={"text": value}, storage=storage, prefix="shop-")
        with sessions.open(1) as session:
            session.other = value
        return repr(storage), repr(sessions)

    storage_repr, sessions_repr = shown("a private message")
    assert shown("") == (storage_repr, sessions_repr)
    assert (True, True) == ("MemoryStorage" in storage_repr, "'shop-'" in sessions_repr)


class Loud:
    """A value that quotes itself in every exception of its own, as a careless class does."""

    def __init__(self, text: str, kind: type[Exception]) -> None:
        self.text = text
        self.kind = kind

    def __reduce__(self) -> Any:
        raise self.kind(self.text)


class LoudWhenLoaded:
    """A value that can be stored once, and quotes itself when it is loaded after that."""

    broken = False

    def __init__(self, text: str, kind: type[Exception]) -> None:
        self.text = text
        self.kind = kind

    def __setstate__(self, state: dict[str, Any]) -> None:
        if LoudWhenLoaded.broken:
            raise state["kind"](state["text"])
        vars(self).update(state)


def closed_session(**fields: Any) -> Session:
    """A session whose handler has returned."""
    with Sessions(storage=MemoryStorage()).open(1) as session:
        session.update(fields)
    return session


def commit(value: Any) -> None:
    """Save a session with this value, below some others."""
    with Sessions(storage=MemoryStorage()).open(1) as session:
        session.log = [1, {"deep": value}]


def load_loud(value: str, kind: type[Exception]) -> None:
    """Load a session with an object that can no longer be loaded."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.loud = LoudWhenLoaded(value, kind)
    try:
        LoudWhenLoaded.broken = True
        sessions.peek(1)
    finally:
        LoudWhenLoaded.broken = False


def load_damaged(value: str, damage: Callable[[bytes], bytes]) -> None:
    """Load a session whose record was damaged."""
    storage = MemoryStorage()
    with Sessions(storage=storage).open(1) as session:
        session.text = value
    payload = storage.get("1")
    assert payload is not None
    storage.set("1", damage(payload))
    with Sessions(storage=storage).open(1):
        pass


def lock_twice(value: str) -> None:
    """Wait in vain for a session that somebody holds."""
    storage = MemoryStorage()
    sessions = Sessions(initial={"text": value}, storage=storage)
    with sessions.open(1), storage.hold("1", 0):
        pass


def fill_up(value: str) -> None:
    """Store a record that the store refuses."""
    with Sessions(storage=MemoryStorage(LRUCache(1, getsizeof=len))).open(1) as session:
        session.text = value


FAILURES: dict[str, tuple[type[Exception], Callable[[str], Any]]] = {
    "no attribute": (AttributeError, lambda value: Session(text=value).code),
    "no item": (KeyError, lambda value: Session(text=value)["code"]),
    "no pop": (KeyError, lambda value: Session(text=value).pop("code")),
    "underscore": (AttributeError, lambda value: Session(_text=value)._text),
    "set underscore": (AttributeError, lambda value: setattr(Session(), "_text", value)),
    "set closed": (SessionClosedError, lambda value: setattr(closed_session(), "text", value)),
    "clear closed": (SessionClosedError, lambda value: closed_session(text=value).clear()),
    "save closed": (SessionClosedError, lambda value: save(closed_session(text=value))),
    "name": (TypeError, lambda value: Session({(value,): value})),
    "nested name": (TypeError, lambda value: Session(text=value).update({1: value})),
    "pairs": (ValueError, lambda value: Session([(value, value, value)])),
    "unsavable": (EncodeError, lambda value: commit([value, (letter for letter in value)])),
    "loud": (EncodeError, lambda value: commit(Loud(value, ValueError))),
    "loud import": (EncodeError, lambda value: commit(Loud(value, ImportError))),
    "nested mark": (EncodeError, lambda value: commit(ttl(value, 5))),
    "another session": (EncodeError, lambda value: commit(Session(text=value))),
    "truncated": (DecodeError, lambda value: load_damaged(value, lambda payload: payload[:-1])),
    "foreign": (DecodeError, lambda value: load_damaged(value, lambda payload: payload[2:])),
    "loud value": (DecodeError, lambda value: load_loud(value, ValueError)),
    "loud attribute": (DecodeError, lambda value: load_loud(value, AttributeError)),
    "loud module": (DecodeError, lambda value: load_loud(value, ImportError)),
    "by hand": (SessionError, lambda value: save(Session(text=value))),
    "pickled": (TypeError, lambda value: pickle.dumps(Session(text=value))),
    "pickled mark": (TypeError, lambda value: pickle.dumps(ttl(value))),
    "two marks": (TypeError, lambda value: ttl(ttl(value))),
    "lifetime": (TypeError, lambda value: ttl(value, value)),  # type: ignore[arg-type]
    "negative": (ValueError, lambda value: ttl(value, -1)),
    "no session": (TypeError, lambda value: as_dict({"text": value})),
    "initial": (TypeError, lambda value: Sessions(initial=value)),  # type: ignore[call-overload]
    "initial returns": (
        TypeError,
        lambda value: Sessions(initial=lambda: value, storage=MemoryStorage()).open(1).__enter__(),
    ),  # type: ignore[arg-type, return-value]
    "key": (TypeError, lambda value: Sessions().peek((value,))),  # type: ignore[arg-type]
    "no key": (
        NoSessionKeyError,
        lambda value: with_session(get_storage_key=lambda _: (value,))(
            lambda update, session: None
        )(1),
    ),  # type: ignore[arg-type, return-value]
    "locked": (LockTimeoutError, lock_twice),
}


@pytest.mark.parametrize("failure", FAILURES)
@settings(max_examples=10)
@given(value=st.text(min_size=1))
def test_no_message_and_no_traceback_shows_a_value(failure: str, value: str) -> None:
    """No message shows a stored value: the whole traceback is the same whatever it was."""
    kind, fail = FAILURES[failure]
    assert logged_failure(kind, fail, "a") == logged_failure(kind, fail, value)


def test_a_storage_error_says_nothing_of_the_value(storage: MemoryStorage) -> None:
    """The message of a `StorageError` names the action, the key and the kind of failure only."""

    def message_for(value: str) -> str:
        with pytest.raises(StorageError) as caught:
            fill_up(value)
        return str(caught.value)

    assert message_for("a") == message_for("a private message")
