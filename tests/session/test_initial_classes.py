"""`initial` decides once as what sessions appear: as mappings, or as instances of one dataclass."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from telesession import MemoryStorage, Session, Sessions, sessions as sessions_module
from telesession.typed.views import Typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass
class User:
    """The session of a user."""

    name: str = "nobody"


@dataclass
class Admin(User):
    """The session of an admin."""

    rights: str = "none"


@dataclass
class Guest:
    """The session of a guest."""

    name: str = "guest"


MADE: dict[str, Callable[[], Any]] = {
    "User": User,
    "Admin": Admin,
    "Guest": Guest,
    "mapping": lambda: {"name": "mapped"},
}


def making(storage: MemoryStorage) -> Sessions[Any]:
    """Sessions whose `initial` makes what the update says."""
    return Sessions(initial=lambda update: MADE[update](), storage=storage, lock_timeout=0)


def open_with(sessions: Sessions[Any], key: int, update: str) -> Any:
    with sessions.open(key, update=update) as session:
        return session


PAIRS = [
    pytest.param(
        "User", "Admin", "an instance of Admin, but these sessions are instances of User",
        id="a subclass"
    ),
    pytest.param(
        "Admin", "User", "an instance of User, but these sessions are instances of Admin",
        id="a base class"
    ),
    pytest.param(
        "User", "Guest", "an instance of Guest, but these sessions are instances of User",
        id="an unrelated class"
    ),
    pytest.param(
        "User", "mapping", "a mapping, but these sessions are instances of User", id="a mapping"
    ),
    pytest.param(
        "mapping", "User", "an instance of User, but these sessions are mappings",
        id="after a mapping"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "message"), PAIRS)
def test_a_second_class_is_refused_when_it_turns_up(
    storage: MemoryStorage, first: str, second: str, message: str
) -> None:
    """Another class than before is a `TypeError` that names both, and nothing is stored."""
    sessions = making(storage)
    open_with(sessions, 1, first)
    with pytest.raises(TypeError, match=f"initial gave {message}"):
        sessions.open(2, update=second).__enter__()
    assert ["1"] == list(sessions.keys())


@pytest.mark.parametrize(("first", "second", "_message"), PAIRS)
def test_no_session_changes_its_class(
    storage: MemoryStorage, first: str, second: str, _message: str
) -> None:
    """After a second class was refused, every session is of the first class, stored or new."""
    sessions = making(storage)
    open_with(sessions, 1, first)
    with pytest.raises(TypeError):
        sessions.open(2, update=second).__enter__()
    kind = type(MADE[first]()) if first != "mapping" else Session
    opened = [open_with(sessions, key, first) for key in (1, 3)]
    assert [True, True, True] == [isinstance(s, kind) for s in (*opened, sessions.peek(1))]


def test_the_rights_of_an_admin_reach_no_user(storage: MemoryStorage) -> None:
    """A user whose session was stored as `User` never gets the fields of `Admin`."""
    sessions = making(storage)
    open_with(sessions, 1, "User")
    with pytest.raises(TypeError):
        sessions.open(2, update="Admin").__enter__()
    with sessions.open(1) as session, pytest.raises(AttributeError):
        session.rights = "all"
    assert [False, {"name": "nobody"}] == [
        hasattr(session, "rights"),
        Sessions(storage=storage).peek(1),
    ]


def test_another_class_than_the_declared_one_is_refused(storage: MemoryStorage) -> None:
    """Sessions are of the class that `initial` says it returns, before it was ever called."""

    def declared() -> User:
        return Guest()  # type: ignore[return-value]

    sessions = Sessions(initial=declared, storage=storage)
    with pytest.raises(TypeError, match="an instance of Guest, but these sessions are instances"):
        sessions.open(1).__enter__()
    assert [] == list(sessions.keys())


# Two first updates at the same time


def first_of_two(sessions: Sessions[Any], updates: Iterable[str]) -> list[str]:
    """What two threads that open two new sessions get: the class of the session or an error."""

    def opened(pair: tuple[int, str]) -> str:
        try:
            return type(open_with(sessions, *pair)).__name__
        except TypeError as error:
            return type(error).__name__

    with ThreadPoolExecutor(2) as threads:
        return sorted(threads.map(opened, enumerate(updates)))


@pytest.fixture
def meeting() -> threading.Barrier:
    """The point at which two threads meet."""
    return threading.Barrier(2)


class Settled(dict[str, Any]):
    """The settled class of sessions, before whose look-up two threads meet."""

    def __init__(self, meeting: threading.Barrier) -> None:
        super().__init__()
        self._meeting = meeting

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        self._meeting.wait(PATIENCE)
        return super().setdefault(key, default)


class EveryoneWins(Settled):
    """The same, and each thread believes that it was the first."""

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        super().setdefault(key, default)
        return default


def test_two_first_sessions_of_two_classes(
    storage: MemoryStorage, meeting: threading.Barrier
) -> None:
    """Of two threads that make the first sessions at the same time, one settles the class."""
    sessions = making(storage)
    sessions._kind.initial._first_class = Settled(meeting)
    results = first_of_two(sessions, ["User", "Admin"])
    kind = results[0] if results[0] != "TypeError" else results[1]
    assert (sorted(["TypeError", kind]), 1) == (results, len(sessions))
    assert [kind] == [type(session).__name__ for _, session in sessions.items()]


def test_two_first_sessions_of_one_class(
    storage: MemoryStorage, meeting: threading.Barrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads that both make the `Typed` of one class give instances of the very same class."""

    class MeetingTyped(Typed):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            meeting.wait(PATIENCE)

    monkeypatch.setattr(sessions_module, "Typed", MeetingTyped)
    sessions = making(storage)
    assert ["User", "User"] == first_of_two(sessions, ["User", "User"])
    assert 1 == len({type(session) for _, session in sessions.items()})


def test_two_winners_would_be_noticed(storage: MemoryStorage, meeting: threading.Barrier) -> None:
    """Control: if both threads settle a class, neither is refused."""
    sessions = making(storage)
    sessions._kind.initial._first_class = EveryoneWins(meeting)
    assert "TypeError" not in first_of_two(sessions, ["User", "Admin"])
