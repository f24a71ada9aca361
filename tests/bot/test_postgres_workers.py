"""The round trips to PostgreSQL of a bot with an inbox, and its connections."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.clocks import PATIENCE
from support.inboxes import Life, MakeLife, add_notes, send, text_update
from support.postgres_backends import backends
from support.postgres_storages import make_pool, storage_by
from support.wires import Wire
from telesession import (
    PostgresStorage,
    Session,
    Sessions,
    SessionStateStorage,
    ask,
    save,
    use_questions,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.postgres import PostgresServer
    from telesession import Storage
    from telesession.testing import BotAPI


@pytest.fixture
def wire(postgres: PostgresServer) -> Iterator[Wire]:
    """A way to the server that counts turns."""
    with Wire(postgres) as wire:
        yield wire


@pytest.fixture
def wired(postgres: PostgresServer, wire: Wire) -> Iterator[PostgresStorage]:
    """A storage behind it."""
    with storage_by(wire, postgres) as storage:
        yield storage


def add_reader(life: Life, storage: Storage) -> None:
    """Let the handler read the session of the sender, and change nothing."""
    sessions: Sessions[Any] = Sessions(storage=storage)

    @life.bot.message_handler()
    @sessions.with_session
    def read(message: Any, session: Session) -> None:
        session.get("texts")


def add_bare(life: Life, _: Storage) -> None:
    """Let the handler have no session."""
    life.bot.register_message_handler(bool)


@pytest.mark.parametrize(
    ("add", "expected"),
    [(add_notes, 3), (add_bare, 2), (add_reader, 4)],
    ids=["write", "no-session", "read"],
)
def test_an_update_of_a_webhook(
    add: Callable[..., object],
    expected: int,
    wired: PostgresStorage,
    wire: Wire,
    make_life: MakeLife,
) -> None:
    """
    One stores it, one locks and reads the session, and one writes both and commits.

    Without a session one ends it. After a handler that only reads, one ends the transaction, too.
    """
    life = make_life(wired)
    add(life, wired)
    life.receive(text_update("first"))
    life.wait()
    before = wire.round_trips
    life.receive(text_update("second"))
    life.wait()

    assert expected == wire.round_trips - before


def test_a_batch_takes_one_more(
    wired: PostgresStorage, wire: Wire, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """A poll that brings ten updates stores them in one, and each takes two more."""
    life = make_life(wired)
    add_notes(life, wired)
    send(bot_api, "first")
    life.run()
    send(bot_api, *map(str, range(10)))
    before = wire.round_trips
    life.run()

    assert 1 + 2 * 10 == wire.round_trips - before


def count_busy(postgres: PostgresServer) -> int:
    """How many connections are in a transaction."""
    return sum(state == "idle in transaction" for state in backends(postgres).values())


def test_a_worker_has_one_connection(
    postgres: PostgresServer, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """With an inbox, states and questions, one connection for each of two workers is enough."""
    busy, both = list[int](), threading.Barrier(2, timeout=PATIENCE)
    with make_pool(postgres, max_size=2) as pool, PostgresStorage(pool) as storage:
        life = make_life(storage, num_threads=2, state_storage=SessionStateStorage(storage))
        sessions: Sessions[Any] = Sessions(storage=storage)

        def step(message: Any, session: Session) -> None:
            both.wait()
            life.bot.set_state(message.from_user.id, "asked", message.chat.id)
            session.answer = message.text
            session.state = life.bot.get_state(message.from_user.id, message.chat.id)
            session.other = sessions.peek("another")
            busy.append(count_busy(postgres))
            both.wait()

        @life.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            both.wait()
            ask(life.bot, message, "well?", step)
            busy.append(count_busy(postgres))
            both.wait()

        use_questions(life.bot, sessions, steps=[step])
        for text in ("hi", "tea"):
            for user in (1, 2):
                bot_api.user(user).send(text)
            life.run()
        states = [sessions.peek(user) for user in (1, 2)]

    assert ([2] * 4, []) == (busy, life.errors)
    assert [{"answer": "tea", "state": "asked", "other": None}] * 2 == states


def test_control_a_save_needs_one_more(postgres: PostgresServer, make_life: MakeLife) -> None:
    """With a connection for the only worker, its handler cannot save, and the bot is told so."""
    with make_pool(postgres, max_size=1) as pool, PostgresStorage(pool) as storage:
        life = make_life(storage)
        sessions: Sessions[Any] = Sessions(storage=storage)

        @life.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            session.text = message.text
            save(session)

        life.receive(text_update("tea"))
        life.wait()

    assert ["StorageError"] == [type(error).__name__ for error in life.errors]
