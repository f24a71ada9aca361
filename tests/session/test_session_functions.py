"""A session as a whole: the functions on it, how it is marked, pickled and copied."""

from __future__ import annotations

import copy
import operator
import pickle
from collections import UserDict
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import Make, every_make
from support.updates import ANNA, message_of
from telesession import (
    EncodeError,
    MemoryStorage,
    Session,
    SessionError,
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
    from telebot import types

pytestmark = pytest.mark.usefixtures("frozen_module")


# The functions on a session


def test_as_dict_is_a_snapshot(sessions: Sessions[Session]) -> None:
    """`as_dict` is a plain-dict snapshot: it shares no object with the session."""
    with sessions.open(1) as session:
        session.update(log=[["a"]], items=1)
        snapshot = as_dict(session)
        session.log[0].append("b")
        snapshot["log"].append("c")
        snapshot["new"] = 1
    assert (dict, {"log": [["a"], "c"], "items": 1, "new": 1}) == (type(snapshot), snapshot)
    assert {"log": [["a", "b"]], "items": 1} == sessions.peek(1)


def test_as_dict_has_the_live_fields_only(clock: FrozenDateTimeFactory) -> None:
    """An expired field is not in the snapshot, and stays in the one that was made before."""
    session = Session(a=1, code=ttl("1234", 10))
    before = as_dict(session)
    clock.tick(10)
    assert ({"a": 1, "code": "1234"}, {"a": 1}) == (before, as_dict(session))


def test_session_key_is_the_key_that_open_takes(storage: MemoryStorage) -> None:
    """`session_key` gives the key as `Sessions.open` takes it, without the prefix."""

    @with_session(storage=storage, prefix="shop-")
    def handler(message: types.Message, session: Session) -> str:
        session.a = 1
        return session_key(session)

    key = handler(message_of(ANNA))
    assert (str(ANNA["id"]), [f"shop-{key}"]) == (key, list(storage.keys()))


@pytest.mark.parametrize("function", [as_dict, save, forget, session_key])
@pytest.mark.parametrize("value", [{}, None, 1, object], ids=["dict", "None", "int", "class"])
def test_the_functions_take_sessions_only(function: Callable[[Any], Any], value: Any) -> None:
    """What is no session is refused by name of its type."""
    with pytest.raises(TypeError, match=f"of type {type(value).__name__}"):
        function(value)
    with pytest.raises(TypeError, match=f"of type {type(value).__name__}"):
        ttl_left(value, "a")


WAYS_TO_MARK: dict[str, Callable[[Session, Any], Any]] = {
    "attribute": lambda session, mark: setattr(session, "code", mark),
    "item": lambda session, mark: operator.setitem(session, "code", mark),
    "update": lambda session, mark: session.update({"code": mark}),
    "update pairs": lambda session, mark: session.update([("code", mark)]),
    "update keyword": lambda session, mark: session.update(code=mark),
    "update with another": lambda session, mark: session.update(UserDict(code=mark)),
    "setdefault": lambda session, mark: session.setdefault("code", mark),
    "ior": lambda session, mark: operator.ior(session, {"code": mark}),
    "ior pairs": lambda session, mark: operator.ior(session, [("code", mark)]),
}


@pytest.mark.parametrize("way", WAYS_TO_MARK.values(), ids=WAYS_TO_MARK)
@pytest.mark.parametrize("name", ["other", "update", "setdefault"])
def test_a_mark_is_unwrapped_however_it_comes(
    clock: FrozenDateTimeFactory, way: Callable[[Session, Any], Any], name: str
) -> None:
    """`ttl(...)` marks a field in every way to set one, and the field holds the bare value."""
    session = Session({"other": 1})
    way(session, ttl("1234", 10))
    setattr(session, name, 2)
    live = session.code, session["code"], dict(session)["code"], ttl_left(session, "code")
    clock.tick(10)
    assert (("1234", "1234", "1234", 10), False) == (live, "code" in session)


def opened(initial: Any) -> Session:
    """A session that was made from `initial`, after its block."""
    with Sessions(initial=initial, storage=MemoryStorage()).open(1) as session:
        return session


MARKED: dict[str, Callable[[Any], Session]] = {
    "mapping": lambda mark: Session({"code": mark}),
    "pairs": lambda mark: Session([("code", mark)]),
    "keyword": lambda mark: Session(code=mark),
    "fromkeys": lambda mark: Session.fromkeys(["code"], mark),
    "initial": lambda mark: opened({"code": mark}),
    "initial callable": lambda mark: opened(lambda: {"code": mark}),
}


@pytest.mark.parametrize("make_session", MARKED.values(), ids=MARKED)
def test_a_new_session_unwraps_marks(
    clock: FrozenDateTimeFactory, make_session: Callable[[Any], Session]
) -> None:
    """A field that is marked from the beginning holds the bare value and expires."""
    session = make_session(ttl("1234", timedelta(minutes=1)))
    live = session.code, ttl_left(session, "code")
    clock.tick(60)
    assert (("1234", 60), False) == (live, hasattr(session, "code"))


def test_setdefault_returns_the_bare_value() -> None:
    """`setdefault` returns what the field holds, and leaves a live field alone."""
    session = Session()
    made = session.setdefault("code", ttl("1234", 60))
    again = session.setdefault("code", ttl("9876", 600))
    assert ("1234", "1234", True) == (made, again, (ttl_left(session, "code") or 0) <= 60)


def test_a_session_made_by_hand_has_no_storage() -> None:
    """A session that somebody makes works like any other, but there is nowhere to save it."""
    session = Session({"a": 1}, b=2)
    with pytest.raises(SessionError, match="made by hand"):
        save(session)
    assert ({"a": 1, "b": 2}, "(none)") == (dict(session), session_key(session))


# Pickling, copying


@every_make
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_session_cannot_be_pickled(
    clock: FrozenDateTimeFactory, make: Make, protocol: int
) -> None:
    """Pickling a session is refused with what to do instead; it belongs to its handler."""
    with pytest.raises(TypeError, match=r"cannot be pickled; store or send as_dict\(session\)"):
        pickle.dumps(make(clock, {"a": 1}), protocol)


@pytest.mark.parametrize(
    "fields",
    [{}, {"items": []}, {"keys": 3}, {"code": ttl(1, 60)}],
    ids=["", "items", "keys", "ttl"],
)
def test_a_session_inside_a_session_cannot_be_saved(
    sessions: Sessions[Session], fields: dict[str, Any]
) -> None:
    """A session as a value is an `EncodeError` with its path, whatever its fields are."""
    with pytest.raises(EncodeError) as caught, sessions.open(1) as session:
        session.log = [Session(fields)]
    assert ("1", "log[0]", None) == (caught.value.key, caught.value.path, sessions.peek(1))


@every_make
def test_a_copy_is_a_plain_dict(clock: FrozenDateTimeFactory, make: Make) -> None:
    """`copy.copy` is a plain dict of the same values, `copy.deepcopy` one that shares none."""
    session = make(clock, {"log": [["a"]], "copy": 1})
    shallow, deep = copy.copy(session), copy.deepcopy(session)
    assert (dict, dict) == (type(shallow), type(deep))
    assert (True, False) == (shallow["log"] is session["log"], deep["log"] is session["log"])
    deep["log"][0].append("b")
    assert [["a"]] == session["log"]
