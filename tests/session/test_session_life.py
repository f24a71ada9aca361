"""The life of a session: made from `initial`, stored, loaded, written if it changed, deleted."""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict, UserDict
from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from telebot import types

from support.clocks import examples
from support.sessions import FIELD_NAMES, FIELD_VALUES
from support.storages import SpyStore
from support.updates import ANNA, BORIS, message_of
from telesession import (
    MemoryStorage,
    Session,
    SessionError,
    Sessions,
    as_dict,
    forget,
    ttl,
    ttl_left,
    with_session,
)

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

pytestmark = pytest.mark.usefixtures("frozen_module")


# initial

Handler = Callable[[types.Message], Any]


def appender(**options: Any) -> Handler:
    """A handler that adds to the list every session begins with, and returns all of it."""

    @with_session(**{"storage": MemoryStorage(), **options})
    def handler(message: types.Message, session: Session) -> list[Any]:
        session.log.append(message.from_user.first_name)
        return list(session.log)

    return handler


SHARED: dict[str, Any] = {"log": []}

INITIALS: dict[str, Any] = {
    "mapping": {"log": []},
    "read-only mapping": MappingProxyType({"log": []}),
    "session": Session(log=[]),
    "with a mark": {"log": ttl([], 10**6)},
    "nested": {"log": [], "other": {"deep": [[]]}},
    "callable": lambda: {"log": []},
    "callable with a shared object": lambda: SHARED,
    "callable with a shared value": lambda: {"log": SHARED["log"]},
    "callable with a shared mark": functools.partial(dict, SHARED, log=ttl(SHARED["log"], 10**6)),
}


@pytest.mark.parametrize("initial", INITIALS.values(), ids=INITIALS)
def test_users_share_nothing_of_initial(initial: Any) -> None:
    """`initial` is copied for each new session, deeply, so nothing leaks between users."""
    handler = appender(initial=initial)
    results = [handler(message_of(person)) for person in (ANNA, BORIS, ANNA)]
    assert [["Anna"], ["Boris"], ["Anna", "Anna"]] == results
    assert {"log": []} == SHARED


def test_initial_gets_the_update_if_it_takes_a_required_argument() -> None:
    """A callable with a required argument gets the update."""

    @with_session(
        initial=lambda message: {"name": message.from_user.first_name}, storage=MemoryStorage()
    )
    def handler(message: types.Message, session: Session) -> str:
        return str(session.name)

    assert ["Anna", "Boris"] == [handler(message_of(person)) for person in (ANNA, BORIS)]


def take_keyword(*, counter: int = 3) -> dict[str, int]:
    """An `initial` that requires nothing, by keyword."""
    return {"counter": counter}


class Template:
    """An object that makes the first fields."""

    def __call__(self, *_args: Any, counter: int = 3) -> dict[str, int]:
        return {"counter": counter}


@pytest.mark.parametrize(
    "initial",
    [
        lambda counter=3: {"counter": counter},
        lambda *_args, **_more: {"counter": 3},
        take_keyword,
        Template(),
        functools.partial(lambda _message, counter: {"counter": counter}, None, 3),
    ],
    ids=["default", "variadic", "keyword", "object", "partial"],
)
def test_initial_gets_nothing_if_it_requires_nothing(initial: Any) -> None:
    """A callable without a required argument is called without any."""
    with Sessions(initial=initial, storage=MemoryStorage()).open(1, update="update") as session:
        assert {"counter": 3} == dict(session)


@pytest.mark.parametrize("initial", [dict, OrderedDict, Session, UserDict])
def test_a_mapping_class_makes_an_empty_session(initial: Any) -> None:
    """A class such as `dict` is called without the update."""
    with Sessions(initial=initial, storage=MemoryStorage()).open(1, update=[("a", 1)]) as session:
        assert {} == dict(session)


@pytest.mark.parametrize(
    "initial",
    [3, "text", ["a"], None, int, object, lambda one, two: {}, lambda *, one: {}],
    ids=["int", "str", "list", "None", "type", "object", "two arguments", "required keyword"],
)
def test_another_initial_is_refused_at_decoration(initial: Any) -> None:
    """`initial` that is neither mapping, dataclass nor callable: `TypeError` at decoration."""
    with pytest.raises(TypeError, match="initial must"):
        with_session(initial=initial)


@pytest.mark.parametrize("made", [3, None, ["a"], [("a", 1)]], ids=lambda made: type(made).__name__)
def test_initial_must_return_a_mapping(made: Any) -> None:
    """`initial` that returns something else is a `TypeError` that names the option and type."""
    sessions = Sessions(initial=lambda: made, storage=MemoryStorage())
    with pytest.raises(TypeError, match=f"initial must return .* not {type(made).__name__}"):
        sessions.open(1).__enter__()
    assert [] == list(sessions.keys())


def test_an_initial_that_raises_leaves_nothing() -> None:
    """A raising `initial`: an error naming key and option, nothing stored, the lock released."""
    answers = iter([ZeroDivisionError("no"), None])

    def initial() -> dict[str, int]:
        if error := next(answers):
            raise error
        return {"counter": 1}

    sessions = Sessions(initial=initial, storage=MemoryStorage(), lock_timeout=0)
    with pytest.raises(SessionError, match="session 'anna': initial raised ZeroDivision") as caught:
        sessions.open("anna").__enter__()
    assert (ZeroDivisionError, None) == (type(caught.value.__cause__), sessions.peek("anna"))
    with sessions.open("anna") as session:
        assert 1 == session.counter


@pytest.mark.parametrize(
    ("initial", "error"),
    [({1: 2}, TypeError), ({"lock": (x for x in "a")}, SessionError)],
    ids=["name", "value"],
)
def test_an_initial_that_cannot_be_kept_leaves_nothing(
    initial: Any, error: type[Exception]
) -> None:
    """An `initial` with a bad name or value is refused, and the lock is released."""
    sessions = Sessions(initial=lambda: initial, storage=MemoryStorage(), lock_timeout=0)
    for _ in range(2):
        with pytest.raises(error), sessions.open(1):
            pass
    assert [] == list(sessions.keys())


def test_initial_is_asked_only_for_a_new_session() -> None:
    """The first update of a key makes the session from `initial`; later ones load it."""
    numbers = itertools.count(1)
    sessions = Sessions(initial=lambda: {"number": next(numbers)}, storage=MemoryStorage())
    seen = []
    for key in (1, 1, 2, 1):
        with sessions.open(key) as session:
            seen.append(session.number)
    assert [1, 1, 2, 1] == seen


# Its life


def test_a_new_session_is_stored_untouched() -> None:
    """It is stored when that handler returns, touched or not: what `initial` computed stays."""
    sessions = Sessions(initial={"counter": 0}, storage=MemoryStorage())
    with sessions.open(1):
        pass
    assert {"counter": 0} == sessions.peek(1)


def test_an_empty_new_session_is_not_stored(storage: MemoryStorage) -> None:
    """A new session that stays empty is not stored."""
    with Sessions(storage=storage).open(1) as session:
        assert {} == dict(session)
    assert [] == list(storage.keys())


def empty_by_clear(session: Session) -> None:
    """Leave no field."""
    session.clear()


def empty_by_deleting(session: Session) -> None:
    """Leave no field, one by one."""
    for name in list(session):
        del session[name]


def empty_by_popping(session: Session) -> None:
    """Leave no field, youngest first."""
    while session:
        session.popitem()


@pytest.mark.parametrize("empty", [empty_by_clear, empty_by_deleting, empty_by_popping, forget])
def test_a_session_left_empty_is_deleted(
    storage: MemoryStorage, empty: Callable[[Session], None]
) -> None:
    """A session that a handler leaves empty is deleted; the next one starts from `initial`."""
    sessions = Sessions(initial={"counter": 0, "code": ttl("1234", 10**6)}, storage=storage)
    with sessions.open(1) as session:
        session.counter = 5
    with sessions.open(1) as session:
        empty(session)
    keys = list(storage.keys())
    with sessions.open(1) as session:
        assert ([], 0) == (keys, session.counter)


def test_a_session_whose_last_field_expired_is_deleted(
    clock: FrozenDateTimeFactory, storage: MemoryStorage
) -> None:
    """A session of which nothing is left but an expired field is empty."""
    sessions = Sessions(storage=storage)
    with sessions.open(1) as session:
        session.code = ttl("1234", 10)
    clock.tick(10)
    with sessions.open(1) as session:
        assert {} == dict(session)
    assert [] == list(storage.keys())


@pytest.mark.parametrize(
    "read",
    [
        lambda session: None,
        as_dict,
        repr,
        dict,
        lambda session: (session.log, session.get("none"), "code" in session, list(session)),
        lambda session: session.setdefault("log", []),
        lambda session: session.update(),
        lambda session: session.update(log=["a"]),
        lambda session: ttl_left(session, "code"),
    ],
    ids=["nothing", "as_dict", "repr", "dict", "fields", "setdefault", "update", "same", "left"],
)
def test_a_handler_that_only_reads_writes_nothing(read: Callable[[Session], Any]) -> None:
    """Later handlers write only what changed; one that only reads writes nothing."""
    store = SpyStore()
    sessions = Sessions(
        initial={"log": ["a"], "code": ttl("1234", 10**6)}, storage=MemoryStorage(store)
    )
    with sessions.open(1):
        pass
    with sessions.open(1) as session:
        read(session)
    assert 1 == store.writes


def test_nested_changes_count(sessions: Sessions[Session]) -> None:
    """`session.cart["apple"] += 1` and `session.log.append(x)` are saved."""
    with sessions.open(1) as session:
        session.update(cart={"apple": 1}, log=[])
    with sessions.open(1) as session:
        session.cart["apple"] += 1
        session.log.append({"deep": []})
    with sessions.open(1) as session:
        session.log[0]["deep"].append("x")
    assert {"cart": {"apple": 2}, "log": [{"deep": ["x"]}]} == sessions.peek(1)


@settings(max_examples=examples(40))
@given(fields=st.dictionaries(FIELD_NAMES, FIELD_VALUES, min_size=1))
def test_what_is_saved_comes_back(fields: dict[str, Any]) -> None:
    """What was saved is what comes back, in the order it was set."""
    sessions = Sessions(storage=MemoryStorage())
    with sessions.open(1) as session:
        session.update(fields)
    with sessions.open(1) as session:
        assert list(fields.items()) == list(type(session).items(session))
