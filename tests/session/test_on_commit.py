"""`on_commit`: calls that are made once the sessions of a handler are saved."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from support.sessions import KEY, UPDATE
from support.storages import SECRET, SpyStorage, is_free
from support.threads import Interrupt, in_thread
from support.updates import said
from telesession import EncodeError, Session, Sessions, Storage, StorageError, on_commit, save

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.bots import Host


class Undone(Exception):
    """Raised by handlers and blocks to undo what they did."""


@pytest.fixture
def counting(each_storage: Storage) -> Sessions[Session]:
    """Sessions with a counter in a storage of each kind."""
    return Sessions(initial={"counter": 0}, storage=each_storage)


def test_a_call_is_made_once_the_sessions_are_saved_and_free(counting: Sessions[Session]) -> None:
    """The call sees the saved record and a free lock, and gets its arguments."""
    seen: list[Any] = []

    def note(*args: Any, **kwargs: Any) -> None:
        free = is_free(counting._kind.storage, "1")
        seen.append((args, kwargs, counting.peek(1), free, threading.get_ident()))

    with counting.open(1) as session:
        on_commit(note, 1, "two", three=3)
        session.counter = 5
        before = list(seen)

    expected = ((1, "two"), {"three": 3}, {"counter": 5}, True, threading.get_ident())
    assert ([], [expected]) == (before, seen)


def test_calls_are_made_in_order(counting: Sessions[Session]) -> None:
    """Calls of the handler and of its blocks are made in the order in which they were given."""
    seen: list[int] = []

    with counting.open(1):
        on_commit(seen.append, 1)
        with counting.open(2):
            on_commit(seen.append, 2)
        on_commit(seen.append, 3)

    assert [1, 2, 3] == seen


def test_outside_of_a_unit_a_call_is_made_at_once() -> None:
    """Without a handler or a block there is nothing to wait for, and exceptions go on."""
    seen: list[int] = []

    on_commit(seen.append, 1)
    with pytest.raises(ZeroDivisionError):
        on_commit(lambda: 1 / 0)

    assert [1] == seen


@pytest.mark.parametrize("commit_on_error", [False, True])
def test_if_the_handler_raised_no_call_is_made(
    each_storage: Storage, commit_on_error: bool
) -> None:
    """No call is made, even where the sessions are kept."""
    seen: list[int] = []

    @Sessions(storage=each_storage, commit_on_error=commit_on_error).with_session
    def handle(message: Any, session: Session) -> None:
        session.counter = 1
        on_commit(seen.append, 1)
        raise Undone

    with pytest.raises(Undone):
        handle(UPDATE.message)

    assert [] == seen


def test_if_the_save_failed_no_call_is_made() -> None:
    """No call is made after an `EncodeError` or a `StorageError`."""
    storage = SpyStorage()
    sessions = Sessions(storage=storage)
    seen: list[int] = []

    def handle(value: Any) -> None:
        with sessions.open(1) as session:
            session.value = value
            on_commit(seen.append, 1)

    storage.fail("set")
    for error, value in ((StorageError, 1), (EncodeError, (n for n in ()))):
        with pytest.raises(error):
            handle(value)

    assert [] == seen


def test_calls_of_a_block_that_raised_are_dropped(counting: Sessions[Session]) -> None:
    """Those of blocks inside it are dropped, too; those before and after it are made."""
    seen: list[str] = []

    with counting.open(1):
        on_commit(seen.append, "before")
        with suppress(Undone), counting.open(2):
            on_commit(seen.append, "in the block")
            with counting.open(3):
                on_commit(seen.append, "in a block of the block")
            raise Undone
        on_commit(seen.append, "after")

    assert ["before", "after"] == seen


def test_calls_are_dropped_though_their_session_is_kept(each_storage: Storage) -> None:
    """A block that raises drops its calls, also if `commit_on_error` keeps its session."""
    kept = Sessions(storage=each_storage, commit_on_error=True)
    seen: list[int] = []

    with kept.open(1), suppress(Undone), kept.open(2) as session:
        session.counter = 1
        on_commit(seen.append, 1)
        raise Undone

    assert ([], {"counter": 1}) == (seen, kept.peek(2))


def test_an_independent_block_makes_its_calls_at_its_end(counting: Sessions[Session]) -> None:
    """Its calls are made when it is saved, whatever becomes of the handler around it."""
    seen: list[Any] = []

    def handle() -> None:
        with counting.open(1):
            on_commit(seen.append, "of the handler")
            with counting.open(2, independent=True) as session:
                session.counter = 1
                on_commit(lambda: seen.append(counting.peek(2)))
            seen.append("after the block")
            raise Undone

    with pytest.raises(Undone):
        handle()

    assert [{"counter": 1}, "after the block"] == seen


def test_save_makes_no_call(counting: Sessions[Session]) -> None:
    """`save` is no commit: the calls wait for the end of the handler."""
    seen: list[int] = []

    with counting.open(1) as session:
        on_commit(seen.append, 1)
        save(session)
        before = list(seen)

    assert ([], [1]) == (before, seen)


class TestCallsThatRaise:
    """A call that raises undoes nothing, and stops no other call."""

    @pytest.fixture
    def calls(self) -> list[str]:
        """What the calls have done."""
        return []

    @staticmethod
    def handle(sessions: Sessions[Session], *functions: Callable[[], object]) -> None:
        with sessions.open(1) as session:
            session.counter = 1
            for function in functions:
                on_commit(function)

    def test_the_first_exception_goes_on(
        self, counting: Sessions[Session], calls: list[str]
    ) -> None:
        """The sessions are saved, all calls are made, and the first exception goes on as it is."""
        errors = [Undone("first"), ValueError("second")]

        def fail(number: int) -> None:
            calls.append(f"failed {number}")
            raise errors[number]

        with pytest.raises(Undone) as caught:
            self.handle(counting, lambda: fail(0), lambda: fail(1), lambda: calls.append("made"))

        assert errors[0] is caught.value
        assert (["failed 0", "failed 1", "made"], {"counter": 1}) == (calls, counting.peek(1))

    def test_other_exceptions_are_logged_without_their_text(
        self, counting: Sessions[Session], caplog: pytest.LogCaptureFixture
    ) -> None:
        """An exception that does not go on is a log record that names its type only."""

        def fail(error: Exception) -> None:
            raise error

        with pytest.raises(Undone):
            self.handle(counting, lambda: fail(Undone(SECRET)), lambda: fail(ValueError(SECRET)))

        assert [(logging.ERROR, "telesession")] == [
            (record.levelno, record.name) for record in caplog.records
        ]
        assert (True, False) == ("ValueError" in caplog.text, SECRET in caplog.text)

    def test_an_interrupt_goes_on_at_once(
        self, counting: Sessions[Session], calls: list[str]
    ) -> None:
        """An exception that is no `Exception` ends the calls; the sessions stay saved."""

        def interrupt() -> None:
            raise Interrupt

        with pytest.raises(Interrupt):
            self.handle(counting, interrupt, lambda: calls.append("made"))

        assert ([], {"counter": 1}) == (calls, counting.peek(1))


class TestCallsThatUseSessions:
    """A call runs outside of the unit, so it may open sessions as any code."""

    def test_it_opens_the_session_of_its_handler(self, counting: Sessions[Session]) -> None:
        """The lock is free, and the call's own changes are saved at its end."""

        def count() -> None:
            with counting.open(1) as session:
                session.counter += 1

        with counting.open(1) as session:
            session.counter = 1
            on_commit(count)

        assert {"counter": 2} == counting.peek(1)

    def test_it_is_a_unit_of_its_own(self, counting: Sessions[Session]) -> None:
        """A call that raises in a block undoes the block, and not its handler."""

        def fail() -> None:
            with counting.open(1) as session:
                session.counter = 7
                raise Undone

        def handle() -> None:
            with counting.open(1) as session:
                session.counter = 1
                on_commit(fail)

        with pytest.raises(Undone):
            handle()

        assert {"counter": 1} == counting.peek(1)

    def test_on_commit_in_a_call_is_at_once(self, counting: Sessions[Session]) -> None:
        """There is no unit around a call, except for those that it opens."""
        seen: list[str] = []

        def call() -> None:
            on_commit(seen.append, "at once")
            seen.append("in the call")
            with counting.open(2):
                on_commit(seen.append, "after the block")
                seen.append("in the block")

        with counting.open(1):
            on_commit(call)

        assert ["at once", "in the call", "in the block", "after the block"] == seen


def test_a_thread_of_a_handler_calls_at_once(counting: Sessions[Session]) -> None:
    """A thread that a handler starts has none of its unit."""
    seen: list[int] = []

    with counting.open(1):
        in_thread(on_commit, seen.append, 1)
        during = list(seen)

    assert [1] == during


def test_a_reply_is_sent_after_the_save(host: Host) -> None:
    """A user gets the reply if the session was saved, and none if it was not."""
    storage = SpyStorage()
    sessions = Sessions(initial={"counter": 0}, storage=storage)
    sent: list[Any] = []

    @host.bot.message_handler()
    @sessions.with_session
    def handle(message: Any, session: Session) -> None:
        session.counter += 1
        on_commit(lambda: sent.append((message.text, sessions.peek(KEY))))

    host.deliver(said("one"))
    storage.fail("set")
    host.deliver(said("two"), said("three"))

    assert [StorageError] == list(map(type, host.raised))
    assert [("one", {"counter": 1}), ("three", {"counter": 2})] == sent


def test_the_result_of_a_call_is_no_function() -> None:
    """`on_commit(f(x))` calls `f` at once, so it is a `TypeError` that says what to write."""
    with pytest.raises(TypeError, match=r"not an object of type int; write on_commit\(bot\."):
        on_commit(len("sent already"))  # type: ignore[arg-type]
