"""Coins that move between users at random: their sum never changes, whatever fails."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot, types

from support.bots import close_pool
from support.clocks import PATIENCE
from support.servers import patient_url
from support.storages import FiveMethods, SpyStore, WithoutLocks, fields_by_key
from support.updates import TOKEN, message, private, user
from telesession import (
    DeadlockError,
    LockLostError,
    LockTimeoutError,
    MemoryStorage,
    PostgresStorage,
    RedisStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    locks,
    save,
    use_sequential_workers,
)
from telesession.locks import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from support.servers import Server
    from telesession.storage.base import Change, Hold

WORKERS = 8
USERS = tuple(range(11, 17))
COINS = 100


class Refused(Exception):
    """Raised by handlers in the middle of a transfer."""


def give_way() -> None:
    """Let other threads run."""
    threading.Event().wait(0)


@cache
def users() -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """Users and their private chats by id."""
    made = {number: user(number, f"User {number}") for number in USERS}
    return {number: (person, private(person)) for number, person in made.items()}


def transfer_of(sender: int, text: str) -> types.Update:
    """A message of a user that asks for a transfer."""
    person, chat = users()[sender]
    payload = message(chat, person, text=text)
    return types.Update.de_json({"update_id": 583920140, "message": payload})


def transfers(count: int, seed: int = 1) -> list[types.Update]:
    """Transfers of coins between users at random, in every way, some of which are refused."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        sender, receiver = rng.sample(USERS, 2)
        way, coins = rng.choice(list(WAYS)), rng.randrange(1, 10)
        # Where a handler raises: after so many steps, or not at all.
        refused_at = rng.choice([0, 0, 0, 1, 2, 3])
        made.append(transfer_of(sender, f"{way} {receiver} {coins} {refused_at} {number}"))
    return made


class Desk:
    """
    Handlers that move coins from the sender of a message to another user, in three ways.

    Attributes:
        sessions: The sessions, which begin with `COINS` coins.
        done: The number of transfers that were done, by way.
    """

    def __init__(self, storage: Storage, sessions_class: type[Sessions[Any]] = Sessions) -> None:
        options: Any = {"initial": {"coins": COINS}, "storage": storage, "prefix": ""}
        self.sessions: Sessions[Session] = sessions_class(lock_timeout=PATIENCE, **options)
        self.receivers: Sessions[Session] = sessions_class(
            name="receiver",
            lock_timeout=PATIENCE,
            get_storage_key=lambda message: message.text.split()[1],
            **options,
        )
        self.done: Counter[str] = Counter()
        self._mutex = threading.Lock()
        with self.sessions.open_all(USERS):
            pass
        self.one_inside = self.sessions.with_session(self._one_inside)
        self.stacked = self.sessions.with_session(self.receivers.with_session(self._stacked))

    def handle(self, message: types.Message) -> None:
        """Move coins the way that the message asks for."""
        way = message.text.split()[0]
        WAYS[way](self, message)
        with self._mutex:
            self.done[way] += 1

    def _one_inside(self, message: types.Message, session: Session) -> None:
        """The sender's session by the decorator, and the receiver's by `open`."""
        _, receiver, coins, refused_at, _ = message.text.split()
        self._step(1, refused_at)
        with self.sessions.open(receiver) as other:
            self._move(session, other, coins, refused_at)
        give_way()
        self._step(3, refused_at)

    def both_open(self, message: types.Message) -> None:
        """Both sessions by `open(a, b)`."""
        _, receiver, coins, refused_at, _ = message.text.split()
        self._step(1, refused_at)
        with self.sessions.open(message.from_user.id, receiver) as (session, other):
            self._move(session, other, coins, refused_at)
            self._step(3, refused_at)

    def _stacked(self, message: types.Message, receiver: Session, session: Session) -> None:
        """Both sessions by decorators."""
        _, _, coins, refused_at, _ = message.text.split()
        self._step(1, refused_at)
        self._move(session, receiver, coins, refused_at)
        self._step(3, refused_at)

    def _move(self, session: Session, other: Session, coins: str, refused_at: str) -> None:
        had = session.coins, other.coins
        give_way()
        session.coins = had[0] - int(coins)
        self._step(2, refused_at)
        other.coins = had[1] + int(coins)

    @staticmethod
    def _step(step: int, refused_at: str) -> None:
        if step == int(refused_at):
            raise Refused


WAYS: dict[str, Callable[[Desk, types.Message], None]] = {
    "one_inside": lambda desk, message: desk.one_inside(message),
    "both_open": Desk.both_open,
    "stacked": lambda desk, message: desk.stacked(message),
}


class BusyBot(TeleBot):
    """
    A bot of 8 workers, which sends an update again whose handler got a `DeadlockError`.

    Attributes:
        raised: The exceptions of handlers, by class.
    """

    def __init__(self, handle: Callable[[types.Message], None], in_order: bool) -> None:
        super().__init__(TOKEN, num_threads=WORKERS)
        if in_order:
            use_sequential_workers(self, num_threads=WORKERS)
        self.raised: Counter[type[Exception]] = Counter()
        self._handle = handle
        self._mutex = threading.Lock()
        self._handled = threading.Semaphore(0)
        self.register_message_handler(self.try_to_handle)

    def try_to_handle(self, message: types.Message) -> None:
        """Handle a message, again and again while it closes a circle of waits."""
        try:
            while not self._is_over(message):
                pass
        finally:
            self._handled.release()

    def _is_over(self, message: types.Message) -> bool:
        try:
            self._handle(message)
        except Exception as error:
            with self._mutex:
                self.raised[type(error)] += 1
            return not isinstance(error, DeadlockError)
        return True

    def run(self, updates: list[types.Update]) -> None:
        """Hand updates to the workers and wait until all are handled."""
        self.process_new_updates(updates)
        for _ in updates:
            assert self._handled.acquire(timeout=PATIENCE)


@pytest.fixture(params=["memory", "five methods"])
def storage_in_memory(request: pytest.FixtureRequest) -> Storage:
    """A storage of one process."""
    return MemoryStorage() if request.param == "memory" else FiveMethods()


def coins_in(storage: Storage) -> dict[str, int]:
    """The saved coins of all users."""
    fields = fields_by_key(Sessions(storage=storage))
    return {key: each["coins"] for key, each in fields.items()}


def expected_coins(updates: list[types.Update]) -> dict[str, int]:
    """The coins of all users when all transfers that are not refused are done."""
    coins = Counter({str(number): COINS for number in USERS})
    for update in updates:
        _, receiver, number, refused_at, _ = update.message.text.split()
        if refused_at == "0":
            coins[str(update.message.from_user.id)] -= int(number)
            coins[receiver] += int(number)
    return dict(coins)


@pytest.mark.parametrize("in_order", [False, True], ids=["telebot's pool", "in order"])
@pytest.mark.parametrize("count", [400, pytest.param(4_000, marks=pytest.mark.long)])
def test_no_coin_is_lost_or_made(storage_in_memory: Storage, count: int, in_order: bool) -> None:
    """Each transfer is done once or not at all; no wait reaches its time-out."""
    desk = Desk(storage_in_memory)
    bot = BusyBot(desk.handle, in_order)
    updates = transfers(count)

    bot.run(updates)
    close_pool(bot.worker_pool)

    refused = sum(update.message.text.split()[3] != "0" for update in updates)
    assert {Refused, DeadlockError} | set(bot.raised) == {Refused, DeadlockError}
    assert (refused, 0) == (bot.raised[Refused], bot.raised[LockTimeoutError])
    assert count - refused == sum(desk.done.values())
    assert expected_coins(updates) == coins_in(storage_in_memory)
    assert (0, {}, {}) == (
        len(storage_in_memory.process_state.locks),
        locks._waits.get(locks._WaitTable)._waits,
        units,
    )


def test_circles_do_occur(storage_in_memory: Storage) -> None:
    """Two users who pay each other by decorator and `open` close a circle, and both are paid."""
    desk = Desk(storage_in_memory)
    both_hold_one = threading.Barrier(2)
    first_time = {"11": True, "12": True}

    def meet(message: types.Message) -> None:
        @desk.sessions.with_session
        def pay(message: types.Message, session: Session) -> None:
            sender, receiver = str(message.from_user.id), message.text.split()[1]
            if first_time.pop(sender, False):
                both_hold_one.wait(PATIENCE)
            with desk.sessions.open(receiver) as other:
                session.coins -= 1
                other.coins += 1

        pay(message)

    bot = BusyBot(meet, in_order=False)
    bot.run([transfer_of(11, "pay 12"), transfer_of(12, "pay 11")])
    close_pool(bot.worker_pool)

    assert {DeadlockError: 1} == bot.raised
    assert dict.fromkeys(map(str, USERS), COINS) == coins_in(storage_in_memory)


class OneByOne(Sessions[Any]):
    """The control: each session is a unit of its own, as if there were no units."""

    def open(self, key: Any, /, *more: Any, **options: Any) -> Any:
        return super().open(key, *more, **{**options, "independent": not more})


def test_control_without_units_coins_are_lost() -> None:
    """Where the receiver's session is saved on its own, a refused transfer makes coins."""
    storage = MemoryStorage()
    desk = Desk(storage, OneByOne)

    for update in transfers(100):
        with contextlib.suppress(Refused):
            desk.handle(update.message)

    assert len(USERS) * COINS < sum(coins_in(storage).values())


class UnlockedFiveMethods(WithoutLocks, FiveMethods):
    """A storage whose holds keep no thread out."""


def test_control_without_locks_coins_are_lost() -> None:
    """Two transfers that read the same session before either writes it: one is lost."""
    storage = UnlockedFiveMethods()
    sessions: Sessions[Session] = Sessions(initial={"coins": COINS}, storage=storage)
    with sessions.open_all(USERS):
        pass
    all_have_read = threading.Barrier(2)

    def pay(message: types.Message) -> None:
        with sessions.open(11, message.from_user.id) as (receiver, sender):
            had = receiver.coins, sender.coins
            all_have_read.wait(PATIENCE)
            receiver.coins, sender.coins = had[0] + 1, had[1] - 1

    bot = BusyBot(pay, in_order=False)
    bot.run([transfer_of(12, "pay"), transfer_of(13, "pay")])
    close_pool(bot.worker_pool)

    assert len(USERS) * COINS - 1 == sum(coins_in(storage).values())


# Fault injection: the storage fails at its n-th call, for every n.


class FailsAt:
    """
    The first base class of a storage whose n-th call raises a `StorageError`.

    Attributes:
        left: The number of calls up to the one that fails; none fails if it is 0.
    """

    left = 0

    def fail_at(self, number: int) -> None:
        """Let the n-th call from now on fail."""
        self.left = number

    def get(self, key: str) -> bytes | None:
        self._count("read", key)
        return super().get(key)  # type: ignore[misc, no-any-return]

    def set(self, key: str, payload: bytes, lifetime: float | None = None) -> None:
        self._count("write", key)
        super().set(key, payload, lifetime)  # type: ignore[misc]

    def touch(self, key: str, lifetime: float | None) -> bool:
        self._count("touch", key)
        return super().touch(key, lifetime)  # type: ignore[misc, no-any-return]

    def delete(self, key: str) -> bool:
        self._count("delete", key)
        return super().delete(key)  # type: ignore[misc, no-any-return]

    def hold(self, key: str, timeout: float | None = None) -> Any:
        self._count("lock", key)
        return super().hold(key, timeout)  # type: ignore[misc]

    def hold_beside(self, hold: Hold, key: str, timeout: float | None = None) -> Any:
        if isinstance(self, PostgresStorage):
            self._count("lock", key)
        return super().hold_beside(hold, key, timeout)  # type: ignore[misc]

    def commit(self, holds: Sequence[Hold], also: Sequence[Change] = ()) -> None:
        self._count("commit", holds[0].key)
        super().commit(holds, also)  # type: ignore[misc]

    def _count(self, action: str, key: str | None) -> None:
        self.left -= 1
        if not self.left:
            raise StorageError(action, key, "the disk is full")


class FailingMemory(FailsAt, MemoryStorage):
    """A storage in memory that fails."""


class FailingFile(FailsAt, SQLiteStorage):
    """A storage in a file that fails."""


class FailingServer(FailsAt, RedisStorage):
    """A storage on a server that fails."""


class FailingDatabase(FailsAt, PostgresStorage):
    """A storage in a database that fails."""


class FailingStore(SpyStore):
    """A store whose n-th operation raises, whichever it is."""

    left = 0

    def _fail_if(self, operation: str) -> None:
        self.left -= 1
        if not self.left:
            raise OSError(f"cannot {operation}")


class MemoryOnAFailingStore(MemoryStorage):
    """A storage in memory whose mapping fails, in the middle of a commit too."""

    def __init__(self) -> None:
        self.failing = FailingStore()
        super().__init__(self.failing)

    def fail_at(self, number: int) -> None:
        self.failing.left = number


@pytest.fixture(params=["memory", "store", "sqlite", "redis", "postgres"])
def failing_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A storage of each kind of ours that fails at a call."""
    storage: Any
    if request.param == "memory":
        storage = FailingMemory()
    elif request.param == "store":
        storage = MemoryOnAFailingStore()
    elif request.param == "sqlite":
        storage = FailingFile(tmp_path / "sessions.db")
    elif request.param == "postgres":
        storage = FailingDatabase(request.getfixturevalue("postgres").socket_conninfo())
    else:
        storage = FailingServer(patient_url(request.getfixturevalue("server")))
    with storage:
        yield storage


def update_three(sessions: Sessions[Session]) -> None:
    """An update of three sessions: one changes, one is new and one is deleted."""
    with sessions.open(1) as first:
        first.coins -= 1
        with sessions.open(2) as second:
            second.coins += 1
        sessions.delete(3)


BEFORE = {"1": {"coins": COINS}, "3": {"coins": COINS}}
AFTER = {"1": {"coins": COINS - 1}, "2": {"coins": COINS + 1}}


def test_a_storage_that_fails_at_any_call_does_all_or_nothing(failing_storage: Any) -> None:
    """For every n: the n-th call fails, and the update has done all of its writes or none."""
    sessions = Sessions(initial={"coins": COINS}, storage=failing_storage)
    outcomes = []
    for number in range(1, 100):
        for key in "123":
            sessions.delete(key)
        with sessions.open(1, 3):
            pass
        failing_storage.fail_at(number)
        try:
            update_three(sessions)
        except StorageError:
            failing_storage.fail_at(0)
            assert fields_by_key(sessions) in (BEFORE, AFTER), number
            outcomes.append(number)
        else:
            failing_storage.fail_at(0)
            assert AFTER == fields_by_key(sessions)
            break
        assert 0 == len(failing_storage.process_state.locks)
        # The sessions are free, and the update can be done again.
        for key in "123":
            sessions.delete(key)

    # There were calls to fail, and at last an update without a failure.
    assert list(range(1, len(outcomes) + 1)) == outcomes
    assert (True, number) == (len(outcomes) > 2, len(outcomes) + 1)


@pytest.mark.parametrize("key", ["1", "2", "3"])
def test_a_file_that_refuses_any_of_the_records_has_none(key: str, tmp_path: Path) -> None:
    """If SQLite refuses one write of an update, in the middle too, it has done none of them."""
    path = tmp_path / "sessions.db"
    with SQLiteStorage(path) as storage:
        sessions: Sessions[Session] = Sessions(initial={"coins": COINS}, storage=storage)
        with sessions.open(1, 3):
            pass
        before = coins_in(storage)
        with closing(sqlite3.connect(path)) as connection, connection:
            for write, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                connection.execute(
                    f"CREATE TRIGGER refuse_{write} BEFORE {write} ON sessions "
                    f"WHEN {row}.key = '{key}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
                )
        with pytest.raises(StorageError) as caught:
            update_three(sessions)

        assert ((), before) == (caught.value.written, coins_in(storage))


@pytest.mark.parametrize("key", ["1", "2", "3"])
def test_a_server_that_has_lost_any_of_the_locks_writes_nothing(key: str, server: Server) -> None:
    """If the lease of one session is over at the commit, no session of the update is written."""
    with RedisStorage(patient_url(server)) as storage, server.client() as client:
        sessions: Sessions[Session] = Sessions(initial={"coins": COINS}, storage=storage)
        with sessions.open(1, 3):
            pass
        before = coins_in(storage)

        def handle() -> None:
            with sessions.open("other"):
                update_three(sessions)
                assert 1 == client.delete(storage.server.names(key).lock)

        with pytest.raises(LockLostError) as caught:
            handle()

        assert (key, (), before) == (caught.value.key, caught.value.written, coins_in(storage))


def test_a_lost_lock_of_a_session_that_was_only_read_counts(server: Server) -> None:
    """What a handler has read decides what it writes, so its lock must be there, too."""
    with RedisStorage(patient_url(server)) as storage, server.client() as client:
        sessions: Sessions[Session] = Sessions(initial={"coins": COINS}, storage=storage)
        with sessions.open(1, 2):
            pass
        before = coins_in(storage)

        def handle() -> None:
            with sessions.open(1, 2) as (read, written):
                written.coins += read.coins
                assert 1 == client.delete(storage.server.names("1").lock)

        with pytest.raises(LockLostError) as caught:
            handle()

        assert ("1", before) == (caught.value.key, coins_in(storage))


def test_control_records_written_one_by_one_are_torn_apart() -> None:
    """A storage of five methods, which promises less, leaves a part of an update somewhere."""

    class FailingFiveMethods(FailsAt, FiveMethods):
        pass

    torn = []
    for number in range(1, 50):
        storage = FailingFiveMethods()
        sessions = Sessions(initial={"coins": COINS}, storage=storage)
        with sessions.open(1, 3):
            pass
        storage.fail_at(number)
        try:
            update_three(sessions)
        except StorageError as error:
            storage.fail_at(0)
            left = fields_by_key(sessions)
            if left not in (BEFORE, AFTER):
                torn.append((error.written, left))

    assert {("1",), ("1", "2")} == {written for written, _ in torn}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_was_saved_before_a_failure_stays(number: int) -> None:
    """A `save` in the middle is a write of its own, which a later failure leaves."""
    storage = FailingMemory()
    sessions = Sessions(initial={"coins": COINS}, storage=storage)

    def handle() -> None:
        with sessions.open_all([1, 2, 3]) as opened:
            for session in opened:
                session.coins += 1
            save(opened[number - 1])
            storage.fail_at(1)

    with pytest.raises(StorageError):
        handle()
    storage.fail_at(0)

    assert {str(number): {"coins": COINS + 1}} == fields_by_key(sessions)
