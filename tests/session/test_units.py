"""Units of work: all sessions of a handler call are saved together, or none is."""

from __future__ import annotations

import contextvars
import logging
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from telebot.handler_backends import ContinueHandling

from support.sessions import KEY, UPDATE, set_fields
from support.storages import (
    FiveMethods,
    SpyOfFiveMethods,
    SpyStorage,
    fields_by_key,
    is_free,
    is_held,
)
from support.threads import Interrupt, in_thread
from support.updates import said
from telesession import (
    EncodeError,
    LockLostError,
    LockTimeoutError,
    MemoryStorage,
    Session,
    SessionClosedError,
    SessionError,
    Sessions,
    Storage,
    StorageError,
    as_dict,
    by_chat,
    forget,
    save,
    session_key,
)
from telesession.locks import units
from telesession.testing import FaultyStorage
from telesession.unit import unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from freezegun.api import FrozenDateTimeFactory

    from support.bots import Host


def coins_in(storage: Storage, **options: Any) -> Sessions[Session]:
    """Sessions that begin with ten coins."""
    return Sessions(initial={"coins": 10}, storage=storage, **options)


@pytest.fixture
def coins(each_storage: Storage) -> Sessions[Session]:
    """The sessions of users 1 to 3 with ten coins each, in a storage of each kind."""
    sessions = coins_in(each_storage)
    with sessions.open_all([1, 2, 3]):
        pass
    return sessions


def coins_of(sessions: Sessions[Any]) -> dict[str, Any]:
    """The saved coins of all sessions by their keys."""
    return {key: fields["coins"] for key, fields in sorted(fields_by_key(sessions).items())}


TEN_EACH = {"1": 10, "2": 10, "3": 10}


class Undone(Exception):
    """Raised by handlers and blocks to undo what they did."""


def unencodable() -> Any:
    """A value that no codec brings back."""
    return (number for number in range(1))


def fail_inside(sessions: Sessions[Any], key: int, *changes: Callable[[Any], object]) -> None:
    """Open a session, change it, raise and catch the exception."""
    with suppress(Undone), sessions.open(key) as session:
        for change in changes:
            change(session)
        raise Undone


def give(amount: int) -> Callable[[Any], None]:
    def change(session: Any) -> None:
        session.coins += amount

    return change


class TestCommit:
    """The unit ends when the outermost handler or block is left."""

    def test_a_handler_that_returns_saves_all_its_sessions(self, coins: Sessions[Session]) -> None:
        """Blocks inside are saved when the outermost block is left, not before."""
        with coins.open(1) as mine:
            mine.coins -= 5
            with coins.open(2) as theirs:
                theirs.coins += 5
            during = coins_of(coins)

        assert (TEN_EACH, {**TEN_EACH, "1": 5, "2": 15}) == (during, coins_of(coins))

    def test_a_handler_that_raises_saves_none_of_its_sessions(
        self, coins: Sessions[Session]
    ) -> None:
        """A session that was opened inside a handler that raises afterwards is what it was."""

        def handle() -> None:
            with coins.open(1) as mine:
                with coins.open(2) as theirs:
                    theirs.coins += 1
                with coins.open(4):
                    pass
                mine.coins -= 1
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert TEN_EACH == coins_of(coins)

    @pytest.mark.parametrize("bad", ["upper", "lower"])
    def test_a_session_that_cannot_be_encoded_leaves_all_records(
        self, each_storage: Storage, bad: str
    ) -> None:
        """If one of two stacked sessions cannot be encoded, neither of them is saved."""
        upper, lower = (coins_in(each_storage, name=name) for name in ("upper", "lower"))

        @upper.with_session
        @lower.with_session
        def handle(message: Any, upper: Session, lower: Session, bad: str | None = None) -> None:
            upper.coins -= 1
            lower.coins += 1
            if bad is not None:
                {"upper": upper, "lower": lower}[bad].note = unencodable()

        handle(UPDATE.message)
        with pytest.raises(EncodeError) as caught:
            handle(UPDATE.message, bad=bad)

        assert (KEY, "note") == (caught.value.key, caught.value.path)
        assert ({KEY: 9}, {KEY: 11}) == (coins_of(upper), coins_of(lower))

    @pytest.mark.parametrize("bad", [1, 2, 3])
    def test_an_encode_error_of_any_session_leaves_all_records(
        self, coins: Sessions[Session], bad: int
    ) -> None:
        """First everything is encoded, also the sessions of blocks that were left before."""

        def handle() -> None:
            with coins.open(1) as mine:
                for key in (1, 2, 3):
                    with coins.open(key) as session:
                        session.coins += key
                        if key == bad:
                            session.note = unencodable()
                mine.coins += 1

        with pytest.raises(EncodeError) as caught:
            handle()

        assert (str(bad), TEN_EACH) == (caught.value.key, coins_of(coins))

    def test_all_sessions_of_one_storage_are_written_in_one_commit(self) -> None:
        """A unit gives a storage all its writes in one call, whatever `Sessions` they are of."""
        storage = SpyStorage()
        users, carts = coins_in(storage), coins_in(storage, name="cart")

        with users.open(1) as session:
            session.coins += 1
            with carts.open(1) as cart, users.open(2, 3):
                cart.coins += 1

        assert (1, 0) == (storage.calls["commit"], storage.calls["set"])
        assert (["1", "2", "3"], ["1"]) == (sorted(users.keys()), list(carts.keys()))

    def test_decorated_functions_that_a_handler_calls_join_its_unit(
        self, coins: Sessions[Session]
    ) -> None:
        """They have sessions of their own, which are saved with those of the handler or not."""
        chats = coins_in(coins._kind.storage, prefix="chat ", get_storage_key=by_chat)

        @chats.with_session
        def inner(message: Any, session: Session) -> None:
            session.coins += 1

        @coins.with_session
        def outer(message: Any, session: Session, error: Exception | None = None) -> None:
            session.coins -= 1
            inner(message)
            if error is not None:
                raise error

        with pytest.raises(Undone):
            outer(UPDATE.message, error=Undone())
        before = coins.peek(KEY), coins_of(chats)
        outer(UPDATE.message)

        assert (None, {}) == before
        assert ({"coins": 9}, {f"chat:{KEY}": 11}) == (coins.peek(KEY), coins_of(chats))

    def test_a_decorated_handler_and_open_inside_are_one_unit(
        self, coins: Sessions[Session]
    ) -> None:
        """A handler gets its session from a decorator and opens that of another user."""

        @coins.with_session
        def pay(message: Any, session: Session, error: Exception | None = None) -> None:
            with coins.open(2) as other:
                other.coins += 1
            session.coins -= 1
            if error is not None:
                raise error

        with pytest.raises(Undone):
            pay(UPDATE.message, error=Undone())
        before = coins_of(coins)
        pay(UPDATE.message)

        assert (TEN_EACH, {**TEN_EACH, "2": 11, KEY: 9}) == (before, coins_of(coins))

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, Interrupt])
    def test_an_exception_of_any_kind_saves_nothing(
        self, coins: Sessions[Session], error: type[BaseException]
    ) -> None:
        """An exception that is no `Exception` undoes also sessions with `commit_on_error`."""
        kept = coins_in(coins._kind.storage, commit_on_error=True)

        def handle() -> None:
            with kept.open(1) as session, coins.open(2) as other:
                session.coins = other.coins = 0
                raise error

        with pytest.raises(error):
            handle()

        assert TEN_EACH == coins_of(coins)

    def test_commit_on_error_keeps_only_the_sessions_that_say_so(
        self, coins: Sessions[Session]
    ) -> None:
        """If the handler raises, sessions whose own `Sessions` say `commit_on_error` are saved."""
        kept = coins_in(coins._kind.storage, prefix="kept:", commit_on_error=True)

        def handle() -> None:
            with coins.open(1) as session, kept.open(1) as other:
                session.coins = other.coins = 0
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert (10, {"1": 0}) == (coins_of(coins)["1"], coins_of(kept))

    def test_the_locks_of_all_sessions_are_kept_until_the_unit_ends(
        self, coins: Sessions[Session]
    ) -> None:
        """The lock of an inner block stays until the outermost block is left."""
        storage = coins._kind.storage
        with coins.open(1):
            with coins.open(2):
                pass
            during = [in_thread(is_held, storage, key) for key in "123"]

        assert [True, True, False] == during
        assert [True] * 3 == [is_free(storage, key) for key in "123"]

    def test_after_an_error_no_lock_is_left(self, coins: Sessions[Session]) -> None:
        """Locks are free after a handler that raised and after a save that failed."""

        def handle(error: Exception | None, value: Any = None) -> None:
            with coins.open(1), coins.open(2) as session:
                session.note = value
                if error is not None:
                    raise error

        for kind, arguments in {Undone: (Undone(),), EncodeError: (None, unencodable())}.items():
            with pytest.raises(kind):
                handle(*arguments)
            assert [True] * 2 == [is_free(coins._kind.storage, key) for key in "12"]

    def test_the_next_unit_of_the_thread_has_nothing_of_the_last(
        self, coins: Sessions[Session]
    ) -> None:
        """After a unit the same thread begins another one, with sessions from the storage."""
        with coins.open(1) as first:
            first.coins = 1
        with coins.open(1) as second:
            pass

        assert (False, 1) == (first is second, second.coins)


class TestSeveralStorages:
    """Storages are written one after the other, servers before memory."""

    @staticmethod
    def handle(*kinds: Sessions[Session]) -> None:
        """Change the sessions of several storages, the first one outermost."""
        if kinds:
            first, *others = kinds
            with first.open(1) as session:
                session.coins += 1
                TestSeveralStorages.handle(*others)

    @pytest.mark.parametrize("order", [1, -1], ids=["memory first", "memory last"])
    def test_memory_is_written_last(self, order: int) -> None:
        """If a server fails, memory is as it was; the error names no key as written."""
        server, memory = SpyOfFiveMethods(), MemoryStorage()
        kinds = [coins_in(memory), coins_in(server)][::order]
        server.fail("set")

        with pytest.raises(StorageError) as caught:
            self.handle(*kinds)

        assert ((), "1") == (caught.value.written, caught.value.key)
        assert [{}, {}] == [coins_of(sessions) for sessions in kinds]

    @pytest.mark.parametrize("order", [1, -1], ids=["memory first", "memory last"])
    def test_written_lists_the_keys_that_were_written_before(self, order: int) -> None:
        """If memory fails after a server was written, the error lists the server's keys."""
        server, memory = FiveMethods(), SpyStorage()
        kinds = [coins_in(memory), coins_in(server, prefix="shop:")][::order]
        memory.fail("set")

        with pytest.raises(StorageError) as caught:
            self.handle(*kinds)

        assert (("1",), {"1": 11}, {}) == (
            caught.value.written,
            coins_of(kinds[order > 0]),
            coins_of(kinds[order < 0]),
        )

    def test_written_lists_the_keys_before_a_lost_lock(self) -> None:
        """A lock that was lost in one storage: the error lists the keys of the other storage."""
        loses_its_lock = FaultyStorage(FiveMethods())
        loses_its_lock.lose_lock()
        first, second = coins_in(FiveMethods()), coins_in(loses_its_lock)

        with pytest.raises(LockLostError) as caught:
            self.handle(first, second)

        assert ("1", ("1",)) == (caught.value.key, caught.value.written)
        assert ({"1": 11}, {}) == (coins_of(first), coins_of(second))

    def test_written_lists_the_records_that_a_plain_storage_wrote(self) -> None:
        """A storage that writes one record after the other says which ones it wrote."""
        storage = SpyOfFiveMethods()
        sessions = coins_in(storage, prefix="shop:")
        with sessions.open(1, 2, 3):
            pass
        storage.fail("set", at=2)
        with pytest.raises(StorageError) as caught:
            give_to(sessions, 1, 1, 2, 3)

        assert (("1",), "2") == (caught.value.written, caught.value.key)
        assert {"1": 11, "2": 10, "3": 10} == coins_of(sessions)

    def test_a_raise_leaves_all_storages(self) -> None:
        """If the handler raises, no storage is written."""
        kinds = [coins_in(MemoryStorage()), coins_in(FiveMethods())]

        def handle() -> None:
            with kinds[0].open(1) as one, kinds[1].open(1) as other:
                one.coins = other.coins = 0
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert [{}, {}] == [coins_of(sessions) for sessions in kinds]

    def test_an_encode_error_leaves_all_storages(self) -> None:
        """An `EncodeError` of the last session leaves the records of every storage."""
        kinds = [coins_in(FiveMethods()), coins_in(MemoryStorage())]

        def handle() -> None:
            with kinds[0].open(1) as one, kinds[1].open(1) as other:
                one.coins = 0
                other.note = unencodable()

        with pytest.raises(EncodeError):
            handle()

        assert [{}, {}] == [coins_of(sessions) for sessions in kinds]


class TestInnerBlocks:
    """A block inside a unit that raises is undone by itself, as by a savepoint."""

    def test_a_block_that_raises_is_undone_though_the_handler_catches_it(
        self, coins: Sessions[Session]
    ) -> None:
        """The session that it opened first is what it was; the handler's own changes are saved."""
        with coins.open(1) as mine:
            mine.coins -= 1
            fail_inside(coins, 2, give(5))
            mine.coins -= 1

        assert {"1": 8, "2": 10, "3": 10} == coins_of(coins)

    def test_a_session_that_was_open_before_keeps_its_changes(
        self, coins: Sessions[Session]
    ) -> None:
        """A block that raises undoes no session that the handler had open already."""
        with coins.open(1) as mine:
            mine.coins = 1
            fail_inside(coins, 1, give(1))
            fail_inside(coins, 2, lambda _: give(1)(mine))

        assert {"1": 3, "2": 10, "3": 10} == coins_of(coins)

    def test_a_session_of_an_earlier_block_keeps_its_changes(
        self, coins: Sessions[Session]
    ) -> None:
        """A session that an earlier block opened first is undone by no later one."""
        with coins.open(1):
            with coins.open(2) as theirs:
                theirs.coins = 1
            fail_inside(coins, 2, give(1))

        assert 2 == coins_of(coins)["2"]

    def test_blocks_inside_a_block_that_raises_are_undone_with_it(
        self, coins: Sessions[Session]
    ) -> None:
        """A savepoint has all that was done since, in blocks that were left in order, too."""

        def open_another(_: Any) -> None:
            with coins.open(3) as session:
                session.coins = 0

        with coins.open(1) as mine:
            fail_inside(coins, 2, give(5), open_another)
            mine.coins = 0

        assert {"1": 0, "2": 10, "3": 10} == coins_of(coins)

    def test_a_block_inside_is_undone_alone(self, coins: Sessions[Session]) -> None:
        """A block around the one that raised keeps its changes."""
        with coins.open(1), coins.open(2) as theirs:
            theirs.coins = 0
            fail_inside(coins, 3, give(5))

        assert {"1": 10, "2": 0, "3": 10} == coins_of(coins)

    def test_a_session_that_the_block_made_is_not_made(self, coins: Sessions[Session]) -> None:
        """A new session of a block that raises is not stored."""
        with coins.open(1):
            fail_inside(coins, 4, give(5))

        assert TEN_EACH == coins_of(coins)

    def test_a_decorated_call_that_raises_is_undone(self, coins: Sessions[Session]) -> None:
        """A decorated function that the handler calls is such a block, too."""

        @coins.with_session
        def inner(message: Any, session: Session) -> None:
            session.coins = 0
            raise Undone

        with coins.open(1) as mine:
            with pytest.raises(Undone):
                inner(UPDATE.message)
            mine.coins = 1

        assert {"1": 1, "2": 10, "3": 10} == coins_of(coins)

    def test_an_undone_session_can_be_opened_again(self, coins: Sessions[Session]) -> None:
        """It shows the saved fields then, and is saved with the handler."""
        with coins.open(1):
            fail_inside(coins, 2, give(5))
            with coins.open(2) as theirs:
                seen = theirs.coins
                theirs.coins += 1

        assert (10, 11) == (seen, coins_of(coins)["2"])

    def test_an_undone_session_is_closed(self, coins: Sessions[Session]) -> None:
        """The object of a block that raised takes no change, also once its key is open again."""
        undone: list[Session] = []
        with coins.open(1):
            fail_inside(coins, 2, undone.append)
            with coins.open(2), pytest.raises(SessionClosedError):
                undone[0].coins = 0

        assert TEN_EACH == coins_of(coins)

    def test_the_lock_of_an_undone_session_stays(self, coins: Sessions[Session]) -> None:
        """Its lock is free when the unit ends, and another handler waits for it until then."""
        with coins.open(1):
            fail_inside(coins, 2, give(5))
            during = in_thread(is_held, coins._kind.storage, "2")

        assert (True, True) == (during, is_free(coins._kind.storage, "2"))

    def test_commit_on_error_counts_for_a_block_inside(self, coins: Sessions[Session]) -> None:
        """Of a block that raises, sessions whose own `Sessions` say `commit_on_error` are kept."""
        kept = coins_in(coins._kind.storage, prefix="kept:", commit_on_error=True)

        def open_both(_: Any) -> None:
            with kept.open(1) as session:
                session.coins = 0

        with coins.open(1):
            fail_inside(coins, 2, give(5), open_both)

        assert (10, {"1": 0}) == (coins_of(coins)["2"], coins_of(kept))

    def test_a_block_that_cannot_be_entered_is_undone(self, coins: Sessions[Session]) -> None:
        """If one of its sessions cannot be read, the others are not made; the handler goes on."""
        storage = coins._kind.storage
        storage.set("5", b"damaged")
        with coins.open(1) as mine:
            with pytest.raises(SessionError), coins.open(4, 5):
                pass
            mine.coins = 0

        storage.delete("5")
        assert {**TEN_EACH, "1": 0} == coins_of(coins)

    def test_a_block_that_cannot_be_entered_renews_nothing(
        self, clock: FrozenDateTimeFactory, storage: SpyStorage
    ) -> None:
        """A lock that was taken early neither makes nor renews its session."""
        sessions = coins_in(storage, lifetime=10)
        with sessions.open(1):
            pass
        clock.tick(5)
        with pytest.raises(KeyError), sessions.open(1, 2, create=False):
            pass
        with sessions.open(3), pytest.raises(KeyError), sessions.open(1, 2, create=False):
            pass
        clock.tick(5)

        assert ["3"] == list(sessions.keys())

    def test_a_closed_session_can_be_opened_again(self, coins: Sessions[Session]) -> None:
        """After an inner block its session takes no change until it is opened again."""
        with coins.open(1):
            with coins.open(2) as first:
                first.coins = 7
            with pytest.raises(SessionClosedError):
                first.coins = 8
            with coins.open(2) as second:
                shown = as_dict(second)
                second.coins = 9

        assert (True, {"coins": 7}, 9) == (first is second, shown, coins_of(coins)["2"])

    def test_a_session_is_open_until_the_last_of_its_blocks_is_left(
        self, coins: Sessions[Session]
    ) -> None:
        """Leaving an inner block of the same session does not close it for the outer one."""
        with coins.open(1) as outer:
            with coins.open(1) as inner:
                inner.coins = 5
            outer.coins += 1

        assert (True, 6) == (outer is inner, coins_of(coins)["1"])

    def test_peek_shows_the_saved_state(self, coins: Sessions[Session]) -> None:
        """`peek` shows no change of the unit before it is saved, open or closed."""
        seen = []
        with coins.open(1):
            with coins.open(2) as theirs:
                theirs.coins = 0
                seen.append(coins.peek(2))
            seen.append(coins.peek(2))
        seen.append(coins.peek(2))

        assert [{"coins": 10}, {"coins": 10}, {"coins": 0}] == seen


class TestSave:
    """`save` writes one session at once, whatever becomes of its unit."""

    def test_it_stays_if_the_handler_raises(self, coins: Sessions[Session]) -> None:
        """What `save` wrote stays, and nothing else of the unit is written."""

        def handle() -> None:
            with coins.open(1) as mine, coins.open(2) as theirs:
                mine.coins = theirs.coins = 1
                save(theirs)
                theirs.coins = 2
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert {"1": 10, "2": 1, "3": 10} == coins_of(coins)

    def test_it_stays_if_the_block_raises(self, coins: Sessions[Session]) -> None:
        """What `save` wrote in a block that raised is what the block's session goes back to."""
        with coins.open(1):
            fail_inside(coins, 2, give(1), save, give(1))
            with coins.open(2) as theirs:
                seen = theirs.coins
            during = coins_of(coins)["2"]

        assert (11, 11, 11) == (seen, during, coins_of(coins)["2"])

    def test_it_stays_if_the_block_of_a_moved_session_raises(
        self, coins: Sessions[Session]
    ) -> None:
        """A moved session that a block saves before it raises stays as it was saved."""
        with coins.open(1):
            coins.move(2, 4)
            fail_inside(coins, 4, give(1), save, give(1))

        assert {"1": 10, "3": 10, "4": 11} == coins_of(coins)

    def test_a_value_that_cannot_be_encoded_leaves_the_unit(self, coins: Sessions[Session]) -> None:
        """A handler that catches the `EncodeError` of `save` mends its session and is saved."""
        with coins.open(1) as mine, coins.open(2) as theirs:
            mine.coins = theirs.coins = 0
            theirs.note = unencodable()
            with pytest.raises(EncodeError):
                save(theirs)
            del theirs.note
            during = coins_of(coins)

        assert (TEN_EACH, {"1": 0, "2": 0, "3": 10}) == (during, coins_of(coins))


def give_to(sessions: Sessions[Any], key: int, amount: int, *more: int) -> None:
    """Add coins to one session, or to several together."""
    with sessions.open_all([key, *more]) as opened:
        for session in opened:
            session.coins += amount


def forget_of(sessions: Sessions[Any], key: int) -> None:
    with sessions.open(key) as session:
        forget(session)


ACTIONS: dict[str, tuple[Callable[[Sessions[Any]], object], dict[str, int]]] = {
    "delete": (lambda coins: coins.delete(2), {"1": 10, "3": 10}),
    "forget": (lambda coins: forget_of(coins, 2), {"1": 10, "3": 10}),
    "move": (lambda coins: coins.move(2, 4), {"1": 10, "3": 10, "4": 10}),
    "move and delete": (
        lambda coins: (coins.move(2, 4), coins.delete(4)),
        {"1": 10, "3": 10},
    ),
    "move back": (lambda coins: (coins.move(2, 4), coins.move(4, 2)), TEN_EACH),
    "move on": (
        lambda coins: (coins.move(2, 4), coins.move(4, 5)),
        {"1": 10, "3": 10, "5": 10},
    ),
    "delete and begin anew": (
        lambda coins: (give_to(coins, 2, 5), coins.delete(2), give_to(coins, 2, 1)),
        {**TEN_EACH, "2": 11},
    ),
    "change and move": (
        lambda coins: (give_to(coins, 2, 5), coins.move(2, 4)),
        {"1": 10, "3": 10, "4": 15},
    ),
    "begin and move": (
        lambda coins: (give_to(coins, 5, 1), coins.move(5, 4)),
        {**TEN_EACH, "4": 11},
    ),
    "move and change": (
        lambda coins: (coins.move(2, 4), give_to(coins, 4, 5)),
        {"1": 10, "3": 10, "4": 15},
    ),
    "change, move, change": (
        lambda coins: (give_to(coins, 2, 1), coins.move(2, 4), give_to(coins, 4, 5)),
        {"1": 10, "3": 10, "4": 16},
    ),
}

each_action = pytest.mark.parametrize(("act", "after"), ACTIONS.values(), ids=ACTIONS)
CHANGES_NOTHING_ELSE = ("delete", "move", "move and delete", "move back", "move on")


class TestDeleteForgetAndMove:
    """`delete`, `forget` and `move` take part in the unit."""

    @each_action
    def test_they_are_done_when_the_handler_returns(
        self,
        coins: Sessions[Session],
        act: Callable[[Sessions[Any]], object],
        after: dict[str, int],
    ) -> None:
        """Until then all records are what they were."""
        with coins.open(3):
            act(coins)
            during = coins_of(coins)

        assert (TEN_EACH, after) == (during, coins_of(coins))

    @each_action
    def test_they_are_undone_if_the_handler_raises(
        self,
        coins: Sessions[Session],
        act: Callable[[Sessions[Any]], object],
        after: dict[str, int],
    ) -> None:
        """Then all records are what they were."""

        def handle() -> None:
            with coins.open(3):
                act(coins)
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert TEN_EACH == coins_of(coins)

    @each_action
    def test_they_are_undone_with_a_block_that_raises(
        self,
        coins: Sessions[Session],
        act: Callable[[Sessions[Any]], object],
        after: dict[str, int],
    ) -> None:
        """A handler that catches the exception is saved without them, and may do them again."""
        with coins.open(1) as mine:
            fail_inside(coins, 3, give(5), lambda _: act(coins))
            mine.coins = 0
        undone = coins_of(coins)
        with coins.open(1) as mine:
            fail_inside(coins, 3, give(5), lambda _: act(coins))
            act(coins)
            mine.coins = 10

        assert ({**TEN_EACH, "1": 0}, after) == (undone, coins_of(coins))

    @pytest.mark.parametrize("name", CHANGES_NOTHING_ELSE)
    def test_they_leave_changes_from_before_a_block_that_raises(
        self, coins: Sessions[Session], name: str
    ) -> None:
        """A session that the handler had changed and closed before the block is saved so."""
        act, _ = ACTIONS[name]
        with coins.open(1):
            give_to(coins, 2, 7)
            fail_inside(coins, 3, lambda _: act(coins))

        assert {**TEN_EACH, "2": 17} == coins_of(coins)

    def test_a_record_that_was_deleted_is_begun_anew(self, coins: Sessions[Session]) -> None:
        """After `delete` the unit sees a session from `initial`."""
        with coins.open(1):
            give_to(coins, 2, 5)
            deleted = coins.delete(2), coins.delete(2)
            with coins.open(2) as theirs:
                seen = theirs.coins

        assert ((True, False), 10) == (deleted, seen)

    def test_a_moved_session_has_its_new_key(self, coins: Sessions[Session]) -> None:
        """After `move` the unit sees the session under the new key."""
        with coins.open(1):
            give_to(coins, 2, 5)
            moved = coins.move(2, 4), coins.move(2, 4)
            with coins.open(4) as theirs:
                seen = session_key(theirs), theirs.coins

        assert ((True, False), ("4", 15)) == (moved, seen)

    def test_a_move_to_a_session_that_the_unit_made_is_refused(
        self, coins: Sessions[Session]
    ) -> None:
        """A session that is only in the unit so far is in the way like a stored one."""
        with coins.open(1):
            give_to(coins, 4, 5)
            with pytest.raises(SessionError, match="there is one already"):
                coins.move(2, 4)

        assert {**TEN_EACH, "4": 15} == coins_of(coins)

    def test_a_session_that_the_unit_has_open_is_not_moved(self, coins: Sessions[Session]) -> None:
        """A move of an open session is an error, and the session goes on."""
        with coins.open(1) as mine:
            for keys in ((1, 4), (2, 1)):
                with pytest.raises(SessionError, match="the handler that moves it has one of them"):
                    coins.move(*keys)
            mine.coins = 0

        assert {**TEN_EACH, "1": 0} == coins_of(coins)

    def test_a_delete_of_an_open_session_is_kept(self, coins: Sessions[Session]) -> None:
        """A session that was open before a block that raised stays deleted, as any change of it."""
        with coins.open(1) as mine:
            fail_inside(coins, 2, lambda _: coins.delete(1))
            mine.coins = 0

        assert {"2": 10, "3": 10} == coins_of(coins)

    def test_a_move_is_one_write(self) -> None:
        """The old record and the new one are written in one commit."""
        storage = SpyStorage()
        sessions = coins_in(storage)
        set_fields(sessions, "1", coins=1)

        sessions.move(1, 2)

        assert (1, {"2": 1}) == (storage.calls["commit"], coins_of(sessions))


class TestIndependent:
    """`open(key, independent=True)` is a unit of its own."""

    @staticmethod
    def raise_inside(coins: Sessions[Session]) -> None:
        with coins.open(2, independent=True) as theirs:
            theirs.coins = 0
            raise Undone

    def test_it_is_saved_at_its_end(self, coins: Sessions[Session]) -> None:
        """Its session is saved and free when the block is left, and stays if the handler raises."""
        during = []

        def handle() -> None:
            with coins.open(1) as mine:
                mine.coins = 0
                with coins.open(2, independent=True) as theirs:
                    theirs.coins += 1
                during.append((coins_of(coins), is_free(coins._kind.storage, "2")))
                raise Undone

        with pytest.raises(Undone):
            handle()

        after = {**TEN_EACH, "2": 11}
        assert ([(after, True)], after) == (during, coins_of(coins))

    def test_it_raises_alone(self, coins: Sessions[Session]) -> None:
        """If it raises it saves nothing, and a handler that catches it goes on."""
        with coins.open(1) as mine:
            with pytest.raises(Undone):
                self.raise_inside(coins)
            mine.coins = 0

        assert {**TEN_EACH, "1": 0} == coins_of(coins)

    def test_blocks_inside_are_part_of_it(self, coins: Sessions[Session]) -> None:
        """A plain `open` inside it is saved with it, not with the handler."""

        def handle() -> None:
            with coins.open(1):
                with coins.open(2, independent=True), coins.open(3) as third:
                    third.coins = 0
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert {**TEN_EACH, "3": 0} == coins_of(coins)

    def test_the_handler_goes_on_with_its_own_unit(self, coins: Sessions[Session]) -> None:
        """After it, `open` in the handler is part of the handler's unit again."""

        def handle() -> None:
            with coins.open(1):
                with coins.open(2, independent=True):
                    pass
                with coins.open(3) as third:
                    third.coins = 0
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert TEN_EACH == coins_of(coins)

    def test_it_takes_several_keys(self, coins: Sessions[Session]) -> None:
        """`open(a, b)` and `open_all` can be independent, too."""

        def handle() -> None:
            with coins.open(1):
                with coins.open(2, 3, independent=True) as (second, third):
                    second.coins, third.coins = 5, 15
                with coins.open_all([2, 3], independent=True) as both:
                    for session in both:
                        session.coins += 1
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert {"1": 10, "2": 6, "3": 16} == coins_of(coins)

    def test_outside_of_a_handler_it_makes_no_difference(self, coins: Sessions[Session]) -> None:
        """Without a unit around it, it is a unit as any other."""
        with coins.open(1, independent=True) as session:
            session.coins = 0

        assert {**TEN_EACH, "1": 0} == coins_of(coins)


class TestManySessions:
    """A unit of more than 100 sessions is logged once."""

    @pytest.mark.parametrize(("count", "logged"), [(100, 0), (101, 1), (300, 1)])
    def test_it_is_logged_once(
        self, count: int, logged: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log record says how to open each session in a unit of its own."""
        sessions = coins_in(MemoryStorage())

        with sessions.open(0):
            for key in range(1, count):
                with sessions.open(key):
                    pass

        assert [logging.WARNING] * logged == [record.levelno for record in caplog.records]
        assert logged == caplog.text.count("independent=True")

    def test_independent_blocks_are_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """A loop over many sessions that takes `independent=True` holds one lock at a time."""
        storage = MemoryStorage()
        sessions = coins_in(storage)
        most = 0

        with sessions.open(0):
            for key in range(1, 300):
                with sessions.open(key, independent=True):
                    most = max(most, len(storage.process_state.locks))

        assert ([], 2) == (caplog.records, most)


class TestThreads:
    """A thread that a handler starts has none of its unit."""

    def test_a_thread_is_saved_though_its_handler_raises(self, coins: Sessions[Session]) -> None:
        """A session that the thread opens is saved when the thread leaves the block."""

        def handle() -> None:
            with coins.open(1):
                in_thread(give_to, coins, 2, 1)
                raise Undone

        with pytest.raises(Undone):
            handle()

        assert {**TEN_EACH, "2": 11} == coins_of(coins)

    def test_a_thread_waits_for_the_sessions_of_its_handler(self, coins: Sessions[Session]) -> None:
        """It does not get the handler's session, but the lock is busy for it."""
        impatient = coins_in(coins._kind.storage, lock_timeout=0)

        with coins.open(1), pytest.raises(LockTimeoutError) as caught:
            in_thread(give_to, impatient, 1, 1)

        assert "1" == caught.value.key

    def test_threads_that_are_equal_have_a_unit_each(self, coins: Sessions[Session]) -> None:
        """A subclass of `Thread` that compares by its job joins no other thread's unit."""
        impatient = coins_in(coins._kind.storage, lock_timeout=0)
        refused = []

        class Job(threading.Thread):
            def __eq__(self, other: object) -> bool:
                return isinstance(other, Job)

            def __hash__(self) -> int:
                return 1

            def run(self) -> None:
                try:
                    with impatient.open(1):
                        refused.append(None)
                except LockTimeoutError as error:
                    refused.append(error.key)

        class First(Job):
            def run(self) -> None:
                with impatient.open(1):
                    Job.start(second)
                    Job.join(second)

        first, second = First(), Job()
        first.start()
        first.join()

        assert ["1"] == refused

    def test_a_thread_with_the_identifier_of_an_ended_one_has_a_unit_of_its_own(self) -> None:
        """A block that an ended thread left open is not joined by a thread with its identifier."""
        sessions = coins_in(MemoryStorage())
        left_open = sessions.open(1)
        in_thread(left_open.__enter__)
        # The system gives identifiers of ended threads to new ones.
        ((_, abandoned),) = units.items()
        units.clear()
        units[threading.get_ident()] = abandoned
        abandoned.token.thread = threading.get_ident()

        give_to(sessions, 2, 1)
        left_open.__exit__(None, None, None)

        assert ({"1": 10, "2": 11}, {}) == (coins_of(sessions), units)

    def test_another_thread_with_the_context_of_a_handler_has_a_unit_of_its_own(self) -> None:
        """`asyncio.to_thread` copies the context: the function there does not join the unit."""
        sessions = coins_in(MemoryStorage())
        with sessions.open(1):
            in_thread(partial(contextvars.copy_context().run, give_to, sessions, 2, 1))
            during = coins_of(sessions)

        assert {"2": 11} == during

    def test_a_context_that_outlives_its_unit_begins_a_new_one(self) -> None:
        """A callback of an event loop has the context of the handler that has scheduled it."""
        sessions = coins_in(MemoryStorage())
        with sessions.open(1), sessions.open(2):
            context = contextvars.copy_context()

        context.run(give_to, sessions, 2, 1)

        assert ({"1": 10, "2": 11}, {}) == (coins_of(sessions), units)


class TestInitial:
    """`initial` runs in the unit, before the session is open."""

    def test_initial_may_delete_the_session_that_it_makes(self) -> None:
        """The deletion is of what was stored before: the changes of the handler are saved."""
        storage = MemoryStorage()

        def begin() -> dict[str, int]:
            sessions.delete(1)
            return {"coins": 1}

        sessions: Sessions[Session] = Sessions(initial=begin, storage=storage)
        with sessions.open(1) as session:
            session.coins = 5

        stored = sessions.peek(1)
        assert stored is not None
        assert 5 == stored.coins


class TestGenerators:
    """A generator may hold a block open for longer than the handler that began it."""

    @staticmethod
    def holding(sessions: Sessions[Any], **options: Any) -> Iterator[Any]:
        """Yields inside a block of session 2."""
        with sessions.open(2, **options) as session:
            session.coins += 1
            yield session

    def test_a_block_that_outlives_its_unit_does_nothing(self, coins: Sessions[Session]) -> None:
        """Its session is saved and closed with the handler; leaving it later changes nothing."""
        with coins.open(1) as mine:
            generator = self.holding(coins)
            theirs = next(generator)
            mine.coins = 0
        with pytest.raises(SessionClosedError):
            theirs.coins = 0
        after = coins_of(coins)
        generator.close()  # type: ignore[attr-defined]
        give_to(coins, 3, 1)

        assert {"1": 0, "2": 11, "3": 10} == after
        assert {"1": 0, "2": 11, "3": 11} == coins_of(coins)

    def test_a_block_that_is_closed_inside_the_unit_is_undone(
        self, coins: Sessions[Session]
    ) -> None:
        """Closing a generator raises `GeneratorExit` in its block, which undoes it."""
        with coins.open(1) as mine:
            generator = self.holding(coins)
            next(generator)
            generator.close()  # type: ignore[attr-defined]
            mine.coins = 0

        assert {**TEN_EACH, "1": 0} == coins_of(coins)

    def test_an_independent_block_outlives_the_unit_around_it(
        self, coins: Sessions[Session]
    ) -> None:
        """It stays the thread's unit until it is left, and the ended unit does not come back."""
        with coins.open(1) as mine:
            generator = self.holding(coins, independent=True)
            next(generator)
            mine.coins = 0
        during = coins_of(coins)
        list(generator)
        give_to(coins, 3, 1)

        assert ({**TEN_EACH, "1": 0}, {}) == (during, units)
        assert {"1": 0, "2": 11, "3": 11} == coins_of(coins)


class TestRealBots:
    """Several handlers of one update are a unit each, also over a real bot."""

    def test_handlers_that_continue_are_a_unit_each(self, host: Host) -> None:
        """A handler after `ContinueHandling` that raises leaves the first one saved."""
        sessions = coins_in(MemoryStorage())

        @host.bot.message_handler()
        @sessions.with_session
        def first(message: Any, session: Session) -> ContinueHandling:
            session.coins += 1
            return ContinueHandling()

        @host.bot.message_handler()
        @sessions.with_session
        def second(message: Any, session: Session) -> None:
            session.coins += 10
            raise Undone

        host.deliver(said("one"))

        assert ([Undone], {KEY: 11}) == (list(map(type, host.raised)), coins_of(sessions))

    def test_listeners_are_a_unit_each(self, host: Host) -> None:
        """A listener that raises leaves the other listener and the handler saved."""
        sessions = coins_in(MemoryStorage())
        counted = sessions.with_session(lambda message, session: give(1)(session))

        @sessions.with_session
        def fail(message: Any, session: Session) -> None:
            session.coins += 100
            raise Undone

        host.bot.set_update_listener(lambda messages: counted(messages[0]))
        host.bot.set_update_listener(lambda messages: fail(messages[0]))
        host.bot.register_message_handler(counted)
        host.deliver(said("one"))

        assert ([Undone], {KEY: 12}) == (list(map(type, host.raised)), coins_of(sessions))

    def test_reply_handlers_are_a_unit_of_their_own(self, host: Host) -> None:
        """A reply handler that raises leaves the message handler saved, and the other way round."""
        sessions = coins_in(MemoryStorage())
        asked = said("question").message

        @sessions.with_session
        def answer(message: Any, session: Session) -> None:
            session.coins += 100
            raise Undone

        @host.bot.message_handler()
        @sessions.with_session
        def handle(message: Any, session: Session) -> None:
            session.coins += 1

        host.bot.register_for_reply(asked, answer)
        reply = said("answer")
        reply.message.reply_to_message = asked
        host.deliver(reply)

        assert ([Undone], {KEY: 11}) == (list(map(type, host.raised)), coins_of(sessions))

    def test_a_handler_saves_both_users_or_none(self, host: Host) -> None:
        """A payment that raises after the other session was changed moves no coin."""
        sessions = coins_in(MemoryStorage())

        @host.bot.message_handler()
        @sessions.with_session
        def pay(message: Any, session: Session) -> None:
            with sessions.open("shop") as shop:
                shop.coins += 3
            session.coins -= 3
            if message.text == "too much":
                raise Undone

        host.deliver(said("fine"), said("too much"))

        assert ([Undone], {KEY: 7, "shop": 13}) == (
            list(map(type, host.raised)),
            coins_of(sessions),
        )


class TestInterruptions:
    """Exceptions that come at the worst moment, such as a KeyboardInterrupt of Ctrl-C."""

    def test_a_unit_that_was_not_left_does_not_swallow_the_next(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After an interruption before the end of a handler its locks are free, and others save."""
        sessions = Sessions(storage=MemoryStorage(), initial={"n": 0})

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(unit.Unit, "leave", interrupted)
            with pytest.raises(KeyboardInterrupt), sessions.open(1) as session:
                session.n = 1
        assert {} == units
        with sessions.open(1) as session:
            session.n += 2
        assert {"n": 2} == sessions.peek(1)

    def test_a_save_that_failed_is_no_record(self) -> None:
        """After a failed write and a rollback the session is what it was when it was opened."""
        storage = SpyStorage()
        sessions = Sessions(storage=storage, initial={"x": 1})

        with sessions.open(1):
            pass
        with sessions.open(2):
            storage.fail("set")
            with suppress(StorageError), sessions.open(1) as session:
                session.x = 2
                save(session)
            with sessions.open(1) as session:
                session.n = 1
        assert {"x": 1, "n": 1} == sessions.peek(1)

    def test_a_generator_that_outlives_its_handler_opens_nothing_again(self) -> None:
        """After the handler returned, writing to its session raises `SessionClosedError`."""
        sessions = Sessions(storage=MemoryStorage(), initial={"x": 1})

        def block(key: int) -> Iterator[Any]:
            with sessions.open(key) as session:
                yield session

        with sessions.open(1) as session:
            suspended = block(1)
            next(suspended)
        suspended.close()  # type: ignore[attr-defined]
        with pytest.raises(SessionClosedError):
            session.x = 2

    def test_the_options_of_an_undone_block_are_undone(self) -> None:
        """Sessions that an undone block opened first get the options of the next block."""
        storage = MemoryStorage()
        lasting = Sessions(storage=storage, initial={"x": 1})
        failing = Sessions(storage=storage, initial={"x": 1}, commit_on_error=True)
        with suppress(ZeroDivisionError), lasting.open(1):
            with suppress(ValueError), lasting.open(2):
                raise ValueError
            with failing.open(2) as session:
                session.x = 2
            raise ZeroDivisionError
        assert {"x": 2} == lasting.peek(2)
