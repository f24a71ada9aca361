"""Commits of `PostgresStorage` whose connection was lost: each outcome is found, or is unknown."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from support.counts import count, handle, update
from support.postgres_backends import wait_for_waiting
from support.postgres_storages import TABLE, failure, make_storage, storage_by
from support.threads import began, in_threads
from telesession import LockLostError, PostgresStorage, StorageError, on_commit, save
from telesession.storage import postgres_outcome
from telesession.storage.base import Change
from telesession.storage.postgres_link import ASK_PID
from telesession.storage.postgres_server import PING
from telesession.storage.postgres_transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

    from support.postgres import PostgresServer
    from support.wires import Wire
    from telesession.storage.postgres_statements import Statement

    Lose = Callable[..., None]


OLD, NEW = b'{"n": 1}', b'{"n": 2}'


@pytest.fixture
def wired(
    postgres: PostgresServer, storage: PostgresStorage, wire: Wire
) -> Iterator[PostgresStorage]:
    """A storage behind the wire, on a table with records."""
    for key in "acd":
        storage.set(key, OLD)
    with storage_by(wire, postgres) as wired:
        yield wired


def write(storage: PostgresStorage, lose: Lose) -> None:
    """Replace a record."""
    with storage.hold("a") as held:
        held.set(NEW)
        lose()


def write_a_new_record(storage: PostgresStorage, lose: Lose) -> None:
    """Store the record of a new user."""
    with storage.hold("b") as held:
        held.set(NEW)
        lose()


def renew(storage: PostgresStorage, lose: Lose) -> None:
    """Renew a lifetime."""
    with storage.hold("a") as held:
        held.touch(1000)
        lose()


def write_several(storage: PostgresStorage, lose: Lose) -> None:
    """Delete one record, write two, and change two that no hold has."""
    with (
        storage.hold("a") as first,
        storage.hold_beside(first, "b") as second,
        storage.hold_beside(first, "c") as third,
    ):
        first.delete()
        second.set(NEW)
        third.set(NEW)
        lose()
        storage.commit([first, second, third], [Change("d", OLD, NEW), Change("e", None, NEW)])


def change(storage: PostgresStorage, lose: Lose) -> None:
    """Change records that no hold has."""
    lose(about=b"WITH changed")
    storage.commit([], [Change("a", OLD, NEW), Change("b", None, NEW)])


def add(storage: PostgresStorage, lose: Lose) -> None:
    """Store two records of an inbox, and remember their numbers."""
    lose(about=b"INSERT")
    storage.add_once("@in:", {7: NEW, 8: NEW}, pages="@seen:", memory=1000)


def delete(storage: PostgresStorage, lose: Lose) -> None:
    """Only delete."""
    with storage.hold("a") as held:
        held.delete()
        lose()


def delete_unheld(storage: PostgresStorage, lose: Lose) -> None:
    """Only delete, without a hold, as at the end of an update of an inbox."""
    lose(about=b"WITH changed")
    storage.commit([], [Change("a", OLD, None)])


HELD = [write, write_a_new_record, renew, write_several]
UNHELD = [change, add]


def state(storage: PostgresStorage) -> dict[str, tuple[bytes | None, bool]]:
    """By key, the payload of each record, and whether it expires."""
    return {row.key: (row.payload, row.left is not None) for row in storage.rows()}


@pytest.mark.parametrize(
    ("lost", "work"),
    [
        *product(["lose_replies"], [*HELD, *UNHELD]),
        *product(["lose_requests"], [*UNHELD, delete_unheld]),
    ],
)
def test_a_commit_that_was_done_is_no_error(
    wired: PostgresStorage,
    storage: PostgresStorage,
    wire: Wire,
    lost: str,
    work: Callable[..., None],
) -> None:
    """
    If the reply was lost, the token in the rows says that all was written.

    Changes of records that no hold has expect these as they were, so they are sent again if the
    request was lost.
    """
    with make_storage_like(storage, "control") as control:
        for row in storage.rows():
            control.set(row.key, row.payload or b"")
        work(control, lambda **_: None)
        expected = state(control)
    work(wired, getattr(wire, lost))

    assert (1, expected) == (wire.lost, state(storage))


def make_storage_like(storage: PostgresStorage, table: str) -> PostgresStorage:
    """A storage on the same server with another table."""
    return PostgresStorage(storage._pool.conninfo, table=table)


@pytest.mark.parametrize("work", [*HELD, delete])
def test_a_commit_that_was_not_done_is_an_error(
    wired: PostgresStorage, storage: PostgresStorage, wire: Wire, work: Callable[..., None]
) -> None:
    """If the request was lost, nothing was written, and the error says so."""
    before = state(storage)
    error = failure(partial(work, lose=wire.lose_requests), wired)

    assert "the commit was not done" in str(error)
    assert (1, None, before) == (wire.lost, error.outcome, state(storage))


@pytest.mark.parametrize("work", [*HELD, change, delete])
def test_an_outcome_is_unknown_if_all_rows_were_written_since(
    wired: PostgresStorage, storage: PostgresStorage, wire: Wire, work: Callable[..., None]
) -> None:
    """Others have written each record before the question, so no row has the token."""

    def rewrite() -> None:
        for key in [*storage.keys(), "a"]:
            storage.set(key, b"{}")

    error = failure(partial(work, lose=partial(wire.lose_replies, then=rewrite)), wired)

    assert "; the outcome is unknown; read the session to see" in str(error)
    assert (1, "unknown") == (wire.lost, error.outcome)


@pytest.mark.parametrize("work", [delete, delete_unheld])
def test_an_outcome_is_unknown_if_the_commit_only_deleted(
    wired: PostgresStorage, storage: PostgresStorage, wire: Wire, work: Callable[..., None]
) -> None:
    """No row is left that could have a token."""
    error = failure(partial(work, lose=wire.lose_replies), wired)

    assert ("unknown", None) == (error.outcome, storage.get("a"))


def test_an_outcome_is_unknown_if_the_server_is_gone(
    postgres: PostgresServer, wired: PostgresStorage, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that cannot be reached any more is asked for some seconds."""

    def disappear() -> None:
        wire.close()
        postgres.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bot'")

    monkeypatch.setattr(postgres_outcome, "_PATIENCE", 0.02)
    monkeypatch.setattr(wired._pool, "timeout", 0.02)
    error = failure(partial(write, lose=partial(wire.lose_replies, then=disappear)), wired)

    assert "unknown" == error.outcome


@pytest.mark.parametrize("lose", ["lose_replies", "lose_requests"])
def test_a_handler_goes_on_exactly_if_its_changes_are_there(
    wired: PostgresStorage, storage: PostgresStorage, wire: Wire, lose: str
) -> None:
    """Calls by `on_commit` are made after a commit that was done, and a user is never new."""
    called = []

    def work(session: Any) -> None:
        session.n += 1
        on_commit(lambda: called.append(1))
        getattr(wire, lose)()

    update(storage)
    errors = []
    try:
        handle(wired, work)
    except StorageError as error:
        errors.append(error)
    is_done = lose == "lose_replies"

    assert (is_done, is_done) == (bool(called), not errors)
    assert (1 + is_done, 2 + is_done) == (count(storage), update(wired))


@pytest.mark.parametrize("lose", ["lose_replies", "lose_requests"])
def test_a_save_is_sent_again(
    wired: PostgresStorage, storage: PostgresStorage, wire: Wire, lose: str
) -> None:
    """The handler has the lock all the time, so it does not matter whether it was done."""

    def work(session: Any) -> None:
        session.n += 1
        getattr(wire, lose)(about=b"INSERT")
        save(session)
        seen.append(count(storage))
        session.n += 1

    seen: list[int | None] = []
    handle(wired, work)

    assert (1, [1], 2) == (wire.lost, seen, count(storage))


def test_a_save_without_the_lock_writes_nothing(
    wired: PostgresStorage, storage: PostgresStorage, wire: Wire
) -> None:
    """If the connection with the lock is lost, another process may have the session."""

    def work(session: Any) -> None:
        session.n += 1
        wire.lose_requests(about=ASK_PID.query.sql)
        save(session)

    with pytest.raises(LockLostError):
        handle(wired, work)

    assert (1, None) == (wire.lost, count(storage))


@pytest.fixture
def save_late(
    storage: PostgresStorage,
    other: PostgresStorage,
    admin: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """A call of `save` whose process is stopped, loses the lock and goes on after an update."""
    check = Transaction.check

    def save_late(second_look: Statement | None = None) -> None:
        def stop(transaction: Transaction, key: str) -> Statement:
            checked = check(transaction, key)
            query = "SELECT pg_terminate_backend(pid, 30000) FROM pg_locks WHERE locktype = %s"
            admin.execute(query, ["advisory"])
            # This thread would do it in the unit of its handler.
            in_threads([partial(update, other)])
            return second_look or checked

        def work(session: Any) -> None:
            session.n = 10
            save(session)

        monkeypatch.setattr(Transaction, "check", stop)
        handle(storage, work)

    return save_late


def test_a_save_writes_nothing_if_the_lock_is_lost_meanwhile(
    save_late: Callable[..., None], other: PostgresStorage
) -> None:
    """A process that was stopped in the middle of `save` loses no update of another process."""
    with pytest.raises(LockLostError):
        save_late()

    assert 1 == count(other)


def test_control_without_a_second_look_a_save_loses_an_update(
    save_late: Callable[..., None], other: PostgresStorage
) -> None:
    """The control: a write that does not look for the lock replaces the update."""
    save_late(PING)

    assert 10 == count(other)


def cut_in_the_commit(
    postgres: PostgresServer, storage: PostgresStorage, admin: Connection[Any], *, waits: bool
) -> None:
    """
    Lose the connection while the server waits within the commit for a row of another program.

    The row is free when the question waits, too, or has its answer.
    """

    def work() -> None:
        with storage.hold("a") as held:
            held.set(NEW)
            descriptors.append(os.dup(held.transaction._link.connection.pgconn.socket))

    descriptors: list[int] = []
    with ExitStack() as locking:
        locking.enter_context(admin.transaction())
        admin.execute(f"SELECT FROM {TABLE} FOR UPDATE")
        with began(work):
            wait_for_waiting(postgres, 1)
            with socket.socket(fileno=descriptors.pop()) as connection:
                connection.shutdown(socket.SHUT_RDWR)
            if waits:
                wait_for_waiting(postgres, 2)
                locking.close()


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_the_question_waits_for_a_commit_that_goes_on(
    postgres: PostgresServer, storage: PostgresStorage, admin: Connection[Any], level: str
) -> None:
    """The server has not noticed the loss, and commits later; the handler learns that it did."""
    storage.set("a", OLD)
    with (
        postgres.configured(default_transaction_isolation=level),
        make_storage(postgres) as used,
    ):
        cut_in_the_commit(postgres, used, admin, waits=True)

    assert NEW == storage.get("a")


def test_control_without_the_wait_the_answer_is_wrong(
    postgres: PostgresServer,
    storage: PostgresStorage,
    admin: Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A question that takes no lock comes too early, and the commit is done after the error."""
    storage.set("a", OLD)
    monkeypatch.setattr(postgres_outcome, "take_lock", lambda number, timeout: PING)
    with pytest.raises(StorageError, match="the commit was not done"):
        cut_in_the_commit(postgres, storage, admin, waits=False)
    storage.hold("a").__enter__().__exit__(None, None, None)

    assert NEW == storage.get("a")
