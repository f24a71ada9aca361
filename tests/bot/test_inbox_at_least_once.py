"""Functions and storages whose commit does not end a stored update, so a kill repeats them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from support.inboxes import (
    APART,
    Journal,
    Life,
    MakeLife,
    Snapshot,
    add_notes,
    effects,
    fail_commits,
    leave,
    note_commits,
    noting,
    records,
    send,
    states_with,
    text_update,
)
from support.storages import FiveMethods, SpyOfFiveMethods
from telesession import (
    MemoryStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    on_commit,
    save,
)

if TYPE_CHECKING:
    from pathlib import Path

    from telesession.testing import BotAPI


class TestAtLeastOnce:
    """Functions whose commit does not end the update."""

    def test_a_decorator_above_ours(self, make_life: MakeLife, bot_api: BotAPI) -> None:
        """A decorated function below another decorator commits before the update ends."""
        storage = MemoryStorage()
        life = make_life(storage)
        sessions: Sessions[Any] = Sessions(storage=storage)

        def handle(message: Any, session: Session) -> None:
            noting(session, message.text)

        decorated = sessions.with_session(handle)

        @life.bot.message_handler()
        @functools.wraps(decorated)
        def above(message: Any) -> Any:
            return decorated(message)

        assert APART == states_with(life, storage, bot_api)

    def test_open_in_a_function_without_decorator(
        self, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A session of `open` in a handler without a decorator is saved before the update ends."""
        storage = MemoryStorage()
        life = make_life(storage)
        sessions: Sessions[Any] = Sessions(storage=storage)

        @life.bot.message_handler()
        def handle(message: Any) -> None:
            with sessions.open(message.from_user.id) as session:
                noting(session, message.text)

        assert APART == states_with(life, storage, bot_api)

    @pytest.mark.parametrize("way", ["save", "independent"])
    def test_written_before_the_handler_returns(
        self, way: str, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """`save` and `independent=True` write before the update ends."""
        storage = MemoryStorage()
        life = make_life(storage)
        sessions: Sessions[Any] = Sessions(storage=storage)

        carts: Sessions[Any] = Sessions(storage=storage, name="cart")
        journal = Journal(storage)

        @life.bot.message_handler()
        @carts.with_session
        def handle(message: Any, cart: Session) -> None:
            cart.count = 1
            with sessions.open(message.from_user.id, independent=way == "independent") as session:
                noting(session, message.text)
                if way == "save":
                    save(session)
            journal.note()

        send(bot_api, "tea")
        life.run()
        assert APART == journal.states

    def test_another_storage_object(
        self, tmp_path: Path, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """Sessions in another object for the same file are saved before the update ends."""
        with SQLiteStorage(tmp_path / "bot.db") as inbox, SQLiteStorage(tmp_path / "bot.db") as own:
            life = make_life(inbox)
            add_notes(life, own)
            journal = Journal(own)
            send(bot_api, "tea")
            life.run()

            assert (["tea"], 1) in journal.states
            assert [] == records(inbox)


class TestTwoStorages:
    """Handlers with sessions in the inbox's storage and in another one."""

    @staticmethod
    def add(life: Life, inbox: Storage, other: Storage) -> None:
        """Let the handler note each message in both, the other one first."""
        carts: Sessions[Any] = Sessions(storage=other, name="cart")
        sessions: Sessions[Any] = Sessions(storage=inbox)

        @life.bot.message_handler()
        @carts.with_session
        @sessions.with_session
        def handle(message: Any, session: Session, cart: Session) -> None:
            noting(session, message.text)
            noting(cart, message.text)

    @pytest.mark.parametrize("inbox_first", [True, False])
    def test_the_inbox_is_written_last(
        self, inbox_first: bool, tmp_path: Path, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """The session in another persistent storage is saved first; the inbox ends the update."""
        paths = [tmp_path / "a.db", tmp_path / "b.db"]
        with SQLiteStorage(paths[0]) as one, SQLiteStorage(paths[1]) as two:
            inbox, other = (one, two) if inbox_first else (two, one)
            life = make_life(inbox)
            self.add(life, inbox, other)
            order: list[str] = []
            for name, storage in (("inbox", inbox), ("other", other)):
                note_commits(storage, name, order)
            send(bot_api, "tea")
            life.run()

        assert ["other", "inbox"] == order

    def test_memory_is_written_after_the_inbox(
        self, tmp_path: Path, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """A session in memory, which a kill loses anyway, is saved after the end of the update."""
        memory = MemoryStorage()
        with SQLiteStorage(tmp_path / "bot.db") as inbox:
            life = make_life(inbox)
            self.add(life, inbox, memory)
            order: list[str] = []
            for name, storage in (("inbox", inbox), ("memory", memory)):
                note_commits(storage, name, order)
            send(bot_api, "tea")
            life.run()

        assert ["inbox", "memory"] == order

    def test_another_storage_that_fails_leaves_the_inbox_as_it_was(
        self, tmp_path: Path, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """If the other storage fails, the session of the inbox's storage is not saved."""
        with SQLiteStorage(tmp_path / "a.db") as inbox, SQLiteStorage(tmp_path / "b.db") as other:
            life = make_life(inbox)
            self.add(life, inbox, other)
            fail_commits(other, times=1)
            send(bot_api, "tea")
            life.run()

            assert ([], []) == (effects(inbox), effects(other, name="cart"))
            assert [StorageError] == [type(error) for error in life.errors]


def test_calls_of_on_commit_are_made_at_most_once(
    local_storage: Storage, snapshot: Snapshot, make_life: MakeLife, bot_api: BotAPI
) -> None:
    """After a kill between the commit and a call of `on_commit`, the call is not made."""
    calls: list[str] = []

    def add(life: Life, storage: Storage, name: str) -> None:
        sessions: Sessions[Any] = Sessions(storage=storage)

        @life.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            noting(session, message.text)
            on_commit(snapshot.take if name == "former" else lambda: calls.append(name))

    life = make_life(local_storage)
    add(life, local_storage, "former")
    send(bot_api, "tea")
    life.run()
    with snapshot.open() as left:
        later = make_life(left)
        add(later, left, "later")
        later.run()

        assert (["tea"], []) == (effects(left), calls)


class TestFiveMethods:
    """A storage of the base class alone, which writes one record after the other."""

    @pytest.mark.parametrize("way", ["poll", "receive"])
    def test_without_kills_each_effect_is_there_once(
        self, way: str, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """Leftovers, new updates and repetitions have their effects once."""
        storage = FiveMethods()
        leave(storage, text_update("old", update_id=10**6))
        life = make_life(storage)
        add_notes(life, storage)
        send(bot_api, "1", "2")
        for _ in range(2):
            if way == "poll":
                life.poll(offset=0)
            else:
                life.receive(*bot_api.unconfirmed)
        life.wait()

        assert (["old", "1", "2"], []) == (effects(storage), records(storage))

    def test_a_failure_between_the_writes_is_told(
        self, make_life: MakeLife, bot_api: BotAPI
    ) -> None:
        """If the session is saved and the end of the update fails, the error says so."""
        storage = SpyOfFiveMethods()
        life = make_life(storage)
        add_notes(life, storage)
        life.run()
        storage.fail("delete")
        send(bot_api, "tea")
        life.run()

        (error,) = life.errors
        assert isinstance(error, StorageError)
        assert (["tea"], [], ("412587349",)) == (effects(storage), records(storage), error.written)
