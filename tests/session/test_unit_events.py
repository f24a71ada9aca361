"""The option `on_event`: one event with the figures of each unit of work."""

from __future__ import annotations

import dataclasses
import logging
import sys
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.processes import run_program
from support.sessions import fail_in, set_fields
from support.threads import Waits, began, in_thread
from support.updates import message_from
from telesession import (
    EncodeError,
    LockTimeoutError,
    MemoryStorage,
    Session,
    Sessions,
    Storage,
    StorageError,
    UnitEvent,
    forget,
    on_commit,
    save,
    ttl,
    with_session,
)
from telesession.testing import FaultyStorage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

pytestmark = pytest.mark.usefixtures("frozen_module")


class Events(list[UnitEvent]):
    """The events of a test, in their order."""

    def last(self, *names: str) -> tuple[Any, ...]:
        """Attributes of the last event."""
        return tuple(getattr(self[-1], name) for name in names)


@pytest.fixture
def events() -> Events:
    """No event yet."""
    return Events()


@pytest.fixture
def watched(each_storage: Storage, events: Events) -> Sessions[Session]:
    """Sessions in a storage of each kind whose events are collected."""
    return Sessions(storage=each_storage, on_event=events.append)


@pytest.fixture
def in_memory(events: Events) -> Sessions[Session]:
    """Sessions in memory whose events are collected."""
    return Sessions(storage=MemoryStorage(), on_event=events.append)


def size(storage: Storage, key: str) -> int:
    return len(storage.get(key) or b"")


class TestFigures:
    """The figures say what a unit did."""

    def test_a_handler_is_one_event(self, events: Events) -> None:
        """The event of a handler has its key, its name and its outcome."""

        @with_session(storage=MemoryStorage(), on_event=events.append)
        def count(message: Any, session: Session) -> None:
            session.count = session.get("count", 0) + 1

        count(message_from(7))
        found = events.last("keys", "handler", "changed", "outcome", "error")
        assert (("7",), f"{__name__}.{count.__qualname__}", True, "saved", None) == found
        assert 1 == len(events)

    def test_a_block_has_no_handler(self, watched: Sessions[Session], events: Events) -> None:
        """Outside of handlers the name is `None`."""
        set_fields(watched, "1", count=1)
        assert (("1",), None) == events.last("keys", "handler")

    def test_the_bytes_are_those_of_the_records(
        self, watched: Sessions[Session], each_storage: Storage, events: Events
    ) -> None:
        """Loaded and saved are the sizes of the payloads, on every storage."""
        set_fields(watched, "1", text="a" * 100)
        first = size(each_storage, "1")
        set_fields(watched, "1", text="b" * 300)
        second = size(each_storage, "1")
        with watched.open("1"):
            pass
        with watched.open("1") as session:
            forget(session)

        figures = [(each.loaded, each.saved, each.changed) for each in events]
        assert [
            (0, first, True),
            (first, second, True),
            (second, 0, False),
            (second, 0, True),
        ] == figures

    def test_the_seconds_are_those_of_the_clock(
        self, clock: FrozenDateTimeFactory, in_memory: Sessions[Session], events: Events
    ) -> None:
        """Held counts from the first lock until all are free."""
        with in_memory.open("1"):
            clock.tick(2)
            with in_memory.open("2"):
                clock.tick(3)
        assert (("1", "2"), 0.0, 5.0) == events.last("keys", "waited", "held")

    def test_a_wait_counts(
        self,
        clock: FrozenDateTimeFactory,
        in_memory: Sessions[Session],
        events: Events,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Waited are the seconds for which another handler had the session."""
        waits = Waits.watch(monkeypatch)
        with ExitStack() as first:
            first.enter_context(in_memory.open("1"))
            with began(partial(set_fields, in_memory, "1", count=1)):
                waits.next()
                clock.tick(4)
                first.close()
        assert [(0.0, 4.0), (4.0, 0.0)] == sorted((each.waited, each.held) for each in events)

    def test_a_renewed_lifetime_is_no_change(self, events: Events) -> None:
        """A handler that only reads has changed nothing, even if it touches the record."""
        sessions = Sessions(storage=MemoryStorage(), lifetime=60, on_event=events.append)
        set_fields(sessions, "1", count=1)
        with sessions.open("1"):
            pass
        assert (False, 0) == events.last("changed", "saved")

    def test_save_counts_too(
        self, watched: Sessions[Session], each_storage: Storage, events: Events
    ) -> None:
        """The bytes that `save` has written count, also if the handler raises afterwards."""
        with pytest.raises(ZeroDivisionError):
            fail_in(watched, 1, lambda session: (session.update(count=1), save(session)))
        expected = (size(each_storage, "1"), True, "raised", "ZeroDivisionError")
        assert expected == events.last("saved", "changed", "outcome", "error")

    def test_a_deleted_session_is_a_change(
        self, watched: Sessions[Session], events: Events
    ) -> None:
        """`delete` and `move` are units like the blocks of `open`."""
        set_fields(watched, "1", count=1)
        watched.move("1", "2")
        assert (("1", "2"), True) == events.last("keys", "changed")
        watched.delete("2")
        assert (("2",), True, 0) == events.last("keys", "changed", "saved")

    def test_the_event_has_no_value(self, in_memory: Sessions[Session], events: Events) -> None:
        """Keys, a name and numbers are all that an event has, and it cannot be changed."""
        set_fields(in_memory, "1", secret="hunter2", code=ttl("hunter2", 60))
        assert "hunter2" not in repr(events)
        with pytest.raises(dataclasses.FrozenInstanceError):
            events[0].keys = ()  # type: ignore[misc]


class TestUnits:
    """One event for each unit, and for each function."""

    def test_blocks_inside_belong_to_the_unit(
        self, in_memory: Sessions[Session], events: Events
    ) -> None:
        """A handler and the blocks inside are one event; an independent block is another one."""
        with in_memory.open("1"):
            with in_memory.open("2"):
                pass
            with in_memory.open("3", independent=True):
                pass
        assert [("3",), ("1", "2")] == [event.keys for event in events]

    def test_an_independent_block_has_the_handler_around_it(self, events: Events) -> None:
        """The event of an independent block names the handler that has opened it."""
        sessions = Sessions(storage=MemoryStorage(), on_event=events.append)

        @sessions.with_session
        def handler(message: Any, session: Session) -> None:
            set_later()

        def set_later() -> None:
            with sessions.open("2", independent=True) as other:
                other.count = 1

        handler(message_from(7))
        name = f"{__name__}.{handler.__qualname__}"
        assert [("2",), ("7",)] == [event.keys for event in events]
        assert {name} == {event.handler for event in events}

    def test_stacked_decorators_are_one_event(self, events: Events) -> None:
        """Two kinds of sessions with one function are one event with both keys."""
        options: Any = {"storage": MemoryStorage(), "on_event": events.append}

        @with_session(**options)
        @with_session(name="cart", get_storage_key=lambda message: "cart", **options)
        def handler(message: Any, session: Session, cart: Session) -> None:
            session.count = cart.count = 1

        handler(message_from(7))
        assert [{"7", "cart"}] == [set(event.keys) for event in events]

    def test_each_function_gets_the_figures_of_its_sessions(self, events: Events) -> None:
        """Sessions with another function, or with none, are not in the event."""
        storage, others = MemoryStorage(), Events()
        one = Sessions(storage=storage, on_event=events.append)
        two = Sessions(storage=storage, on_event=others.append, prefix="two:")
        quiet = Sessions(storage=storage, prefix="quiet:")
        with one.open("1") as session, two.open("2"), quiet.open("3") as hidden:
            session.count = hidden.count = 1
        assert [(("1",), True)] == [(event.keys, event.changed) for event in events]
        assert [(("2",), False)] == [(event.keys, event.changed) for event in others]

    def test_it_comes_with_free_locks_and_before_the_calls(self, each_storage: Storage) -> None:
        """The locks are free when the function is called, and `on_commit` calls come later."""
        quiet = Sessions(storage=each_storage)

        def write(event: UnitEvent) -> None:
            in_thread(partial(set_fields, quiet, "1", other=2))

        sessions, seen = Sessions(storage=each_storage, on_event=write), []
        with sessions.open("1") as session:
            session.count = 1
            on_commit(lambda: seen.append(quiet.peek("1")))
        assert [{"count": 1, "other": 2}] == seen

    def test_a_forked_child_tells_nothing(self, tmp_path: Path) -> None:
        """A child that was forked inside a handler leaves the event to its parent."""
        program = [sys.executable, "-c", FORKING, str(tmp_path / "bot.db")]
        assert (0, "0 1\n", "") == run_program(program)


# The parent prints the number of events of its child, and its own.
FORKING = """
import os, sys
from telesession import Sessions, SQLiteStorage

events = []
sessions = Sessions(storage=SQLiteStorage(sys.argv[1]), on_event=events.append)
with sessions.open("1") as session:
    session.count = 1
    child = os.fork()
if child == 0:
    os._exit(len(events))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(events))
"""


class TestOutcomes:
    """The outcome says how the unit ended."""

    def test_a_handler_that_raises(self, watched: Sessions[Session], events: Events) -> None:
        """Nothing is saved, and the class of the exception is there."""
        with pytest.raises(ZeroDivisionError):
            fail_in(watched, 1, lambda session: session.update(count=1))
        assert ("raised", "ZeroDivisionError", 0, False) == events.last(
            "outcome", "error", "saved", "changed"
        )

    def test_commit_on_error_saves(self, events: Events) -> None:
        """The changes that `commit_on_error` keeps count as saved."""
        storage = MemoryStorage()
        sessions = Sessions(storage=storage, on_event=events.append, commit_on_error=True)
        with pytest.raises(ZeroDivisionError):
            fail_in(sessions, 1, lambda session: session.update(count=1))
        assert ("raised", size(storage, "1"), True) == events.last("outcome", "saved", "changed")

    def test_a_session_that_stays_busy(self, events: Events) -> None:
        """A unit that gets no lock fails, with the key that it asked for."""
        storage = MemoryStorage()
        sessions = Sessions(storage=storage, on_event=events.append, lock_timeout=0)
        with storage.hold("2"), pytest.raises(LockTimeoutError), sessions.open("1", "2"):
            pass
        expected = (("1", "2"), "failed", "LockTimeoutError", False)
        assert expected == events.last("keys", "outcome", "error", "changed")

    @pytest.mark.parametrize("method", ["hold", "commit"])
    def test_a_storage_that_fails(self, method: str, events: Events) -> None:
        """A storage that cannot be read or written fails the unit, and nothing counts as saved."""
        storage = FaultyStorage(MemoryStorage())
        storage.fail(method)
        sessions = Sessions(storage=storage, on_event=events.append)
        with pytest.raises(StorageError):
            set_fields(sessions, "1", count=1)
        expected = ("failed", "StorageError", 0, False)
        assert expected == events.last("outcome", "error", "saved", "changed")

    def test_fields_that_cannot_be_stored(
        self, in_memory: Sessions[Session], events: Events
    ) -> None:
        """An `EncodeError` fails the unit of its handler."""
        with pytest.raises(EncodeError):
            set_fields(in_memory, "1", numbers=(n for n in "12"))
        assert ("failed", "EncodeError") == events.last("outcome", "error")

    def test_an_initial_that_raises(self, events: Events) -> None:
        """A session that cannot be made fails the unit."""

        def initial() -> dict[str, Any]:
            raise ValueError

        sessions = Sessions(storage=MemoryStorage(), initial=initial, on_event=events.append)
        with pytest.raises(Exception, match="initial raised"):
            set_fields(sessions, "1", count=1)
        assert ("failed", "SessionError", 0, False) == events.last(
            "outcome", "error", "saved", "changed"
        )

    def test_a_function_that_raises_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """The sessions are saved all the same, and only the class of the exception is logged."""

        def fail(event: UnitEvent) -> None:
            raise ValueError("hunter2")

        sessions = Sessions(storage=MemoryStorage(), on_event=fail)
        set_fields(sessions, "1", count=1)
        assert {"count": 1} == sessions.peek("1")
        assert [
            ("telesession", logging.ERROR, "a function given as on_event raised ValueError")
        ] == caplog.record_tuples


@pytest.mark.parametrize("value", [1, "print", lambda: None], ids=["int", "str", "no argument"])
def test_a_bad_function_is_refused_at_construction(value: Any) -> None:
    """A value that cannot be called with an event raises, naming the option."""
    with pytest.raises(TypeError, match="on_event"):
        Sessions(storage=MemoryStorage(), on_event=value)


def test_without_a_function_no_figures_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of sessions without `on_event` makes no object for figures."""
    made: list[Callable[..., object]] = []
    monkeypatch.setattr("telesession.unit.unit.Watch", made.append)
    set_fields(Sessions(storage=MemoryStorage()), "1", count=1)
    assert [] == made
