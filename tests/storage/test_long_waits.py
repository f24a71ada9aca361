"""Long waits: the log and `LockTimeoutError` say which handler has the session since when."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.processes import open_storage, watched
from support.sessions import set_fields
from support.threads import Log, OtherThread, Waits, began, in_thread
from support.updates import message_from
from telesession import (
    LockTimeoutError,
    MemoryStorage,
    RedisStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    locks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

    from support.servers import Server

HOLDING = """
import sys
from telesession import PostgresStorage, RedisStorage, Sessions, SQLiteStorage

place = sys.argv[1]
kinds = {"redis": RedisStorage, "postgresql": PostgresStorage}
storage = kinds.get(place.partition(":")[0], SQLiteStorage)(place)
with Sessions(storage=storage).open("1") as session:
    print("held", flush=True)
    sys.stdin.read()
"""


class Records(logging.Handler):
    """Collects the log of the library from any thread."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()

    def emit(self, record: logging.LogRecord) -> None:
        self.log.add((record.levelno, record.getMessage()))


@pytest.fixture
def records() -> Iterator[Log]:
    """The log of the library, for tests that wait for a record."""
    handler = Records()
    logging.getLogger("telesession").addHandler(handler)
    yield handler.log
    logging.getLogger("telesession").removeHandler(handler)


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wait counts as a long one, so that no test waits for a second."""
    monkeypatch.setattr(locks, "_LONG_WAIT", 0.0)


@contextmanager
def held_elsewhere(place: str) -> Iterator[None]:
    """A block in which another process has session 1."""
    program = [sys.executable, "-c", HOLDING, place]
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with watched(process):
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        yield


def in_handler(storage: Storage, act: Any) -> str:
    """Do something in a handler that has session 1, and return the name of the handler."""

    @Sessions(storage=storage, get_storage_key=lambda _: "1").with_session
    def checkout(message: Any, session: Session) -> None:
        act()

    checkout(message_from(7))
    return f"{__name__}.{checkout.__qualname__}"


def error_of(storage: Storage, timeout: float = 0.001) -> LockTimeoutError:
    """The error of a block that waits for session 1 in a thread of its own."""
    sessions = Sessions(storage=storage, lock_timeout=timeout)
    with pytest.raises(LockTimeoutError) as caught:
        in_thread(partial(set_fields, sessions, "1", count=1))
    return caught.value


class TestErrors:
    """`LockTimeoutError` names the holder."""

    def test_it_names_the_handler_and_its_seconds(self, clock: FrozenDateTimeFactory) -> None:
        """In memory the holder is a handler of this process, since a known time."""
        storage, errors = MemoryStorage(), []

        def act() -> None:
            clock.tick(75.5)
            errors.append(error_of(storage, 0))

        name = in_handler(storage, act)
        (error,) = errors
        assert (f"handler {name}", 75.5) == (error.holder, error.held)
        assert f"handler {name} has held it for 75.5 s" in str(error)

    @pytest.mark.parametrize("timeout", [0, 0.001])
    def test_it_names_a_handler_of_this_process_on_every_storage(
        self, storage: Storage, timeout: float
    ) -> None:
        """A thread of this process is named, whatever locks the storage has besides."""
        errors: list[LockTimeoutError] = []
        name = in_handler(storage, lambda: errors.append(error_of(storage, timeout)))
        (error,) = errors
        assert f"handler {name}" == error.holder
        assert error.held is not None

    def test_it_names_the_thread_of_a_block(self) -> None:
        """A block outside of handlers is named by its thread."""
        storage = MemoryStorage()
        with Sessions(storage=storage).open("1"):
            error = error_of(storage)
        assert "a block of open in the thread MainThread" == error.holder

    def test_an_independent_block_counts_as_its_handler(self) -> None:
        """The handler around an independent block is named for both of their sessions."""
        storage, errors = MemoryStorage(), []
        sessions = Sessions(storage=storage)

        def act() -> None:
            with sessions.open("2", independent=True):
                errors.append(error_of(storage))

        name = in_handler(storage, act)
        assert [f"handler {name}"] == [error.holder for error in errors]

    def test_a_lock_without_a_unit_is_of_another_thread(self) -> None:
        """A hold that a program has taken itself has no handler."""
        storage = MemoryStorage()
        with storage.hold("1"):
            assert "another thread" == error_of(storage).holder

    @pytest.mark.parametrize("timeout", [0, 0.001])
    def test_another_process_is_no_handler(
        self, timeout: float, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """On a file the error says that another process has the session."""
        path = tmp_path / "bot.db"
        with SQLiteStorage(path) as storage, held_elsewhere(str(path)):
            error = error_of(storage, timeout)
        assert ("another process", None) == (error.holder, error.held)
        assert "another process still holds it" in str(error)

    def test_another_process_of_a_server(self, server: Server) -> None:
        """On a server the error says that another process has the session."""
        with RedisStorage(server.url) as storage, held_elsewhere(server.url):
            error = error_of(storage)
        assert ("another process", None) == (error.holder, error.held)

    def test_a_lock_that_was_handed_over_counts_from_then(
        self, clock: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A handler that has waited holds the session since it got it, not since it asked."""
        waits, storage = Waits.watch(monkeypatch), MemoryStorage()
        with ExitStack() as first, OtherThread() as second:
            hold = storage.hold("1")
            first.enter_context(storage.hold("1"))
            got = second.submit(hold.__enter__)
            waits.next()
            clock.tick(10)
            first.close()
            got.result()
            clock.tick(3)
            error = error_of(storage, 0)
            second.call(hold.__exit__, None, None, None)
        assert 3 == error.held


@pytest.mark.usefixtures("_at_once")
class TestLog:
    """A long wait is one record, with the key and the holder."""

    def test_a_long_wait_is_logged(self, records: Log, clock: FrozenDateTimeFactory) -> None:
        """The record has the key of the storage, the handler and its seconds."""
        storage = MemoryStorage()

        def act() -> None:
            clock.tick(12.25)
            with OtherThread() as other:
                done = other.submit(partial(set_fields, Sessions(storage=storage), "1", count=1))
                records.wait_for(1)
            results.append(done)

        results: list[Any] = []
        name = in_handler(storage, act)
        assert None is results[0].result(30)
        text = f"a handler waits for session '1' for more than 0 s; handler {name}"
        assert [(logging.WARNING, f"{text} has had it for 12.2 s")] == records.entries

    @pytest.mark.parametrize("kind", ["file", "server", "postgres"])
    def test_a_wait_for_another_process_is_logged(
        self, kind: str, records: Log, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        """Only the process is known, and the wait is logged once."""
        if kind == "file":
            place = str(tmp_path / "bot.db")
        elif kind == "postgres":
            place = request.getfixturevalue("postgres").url()
        else:
            place = request.getfixturevalue("server").url
        storage = open_storage(place)
        with storage:
            with held_elsewhere(place):
                error_of(storage, 0.2)
            text = "a handler waits for session '1' for more than 0 s; another process has it"
            assert [(logging.WARNING, text)] == records.entries

    def test_a_wait_without_time_is_not_logged(self, records: Log) -> None:
        """A handler that does not wait has no long wait."""
        storage = MemoryStorage()
        with storage.hold("1"):
            error_of(storage, 0)
        assert [] == records.entries


def test_a_short_wait_is_not_logged(records: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a handler that gets the session within a second logs nothing."""
    waits, storage = Waits.watch(monkeypatch), MemoryStorage()
    with ExitStack() as first:
        first.enter_context(storage.hold("1"))
        with began(partial(set_fields, Sessions(storage=storage), "1", count=1)):
            waits.next()
            first.close()
    assert [] == records.entries


def test_locks_of_other_things_are_not_logged(
    records: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits in lock tables whose keys are no sessions are no record."""
    monkeypatch.setattr(locks, "_LONG_WAIT", 0.0)
    table = locks.LockTable()
    table.acquire("row")
    with pytest.raises(LockTimeoutError):
        in_thread(table.acquire, "row", 0.001)
    assert [] == records.entries
