"""Sessions in a real threaded bot: no update is lost, and nobody jumps the queue."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import pytest
from cachetools import LRUCache, TTLCache
from telebot import TeleBot, types

from support.bots import end_workers
from support.clocks import PATIENCE
from support.storages import UnlockedStorage
from support.threads import Waits
from support.updates import GROUP, OTHER_GROUP, TOKEN, message, private, user
from telesession import (
    DeadlockError,
    LockTimeoutError,
    MemoryStorage,
    Session,
    Sessions,
    Storage,
    by_chat,
    save,
    with_session,
)
from telesession.testing import BotAPI, RecordingExceptionHandler, run_polling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORKERS = 8
USERS = (11, 22, 33, 44)
CROWD = tuple(range(1000, 1050))

Pause = Callable[[], object]


class BusyBot(TeleBot):
    """
    A `TeleBot` of 8 workers that knows how many of its updates are handled.

    `raised` has what the handlers raised.
    """

    def __init__(self) -> None:
        super().__init__(TOKEN, num_threads=WORKERS, exception_handler=self)
        self.raised: list[Exception] = []
        self._handled = threading.Semaphore(0)
        self._put = self.worker_pool.put
        self.worker_pool.put = self._put_counted

    def start(self, updates: Iterable[types.Update]) -> None:
        """Hand updates to the workers."""
        self.process_new_updates(list(updates))

    def wait(self, count: int) -> None:
        """Wait until so many more updates are handled, whether or not their handlers raised."""
        for _ in range(count):
            assert self._handled.acquire(timeout=PATIENCE)

    def run(self, updates: list[types.Update]) -> None:
        """Hand updates to the workers and wait until all are handled."""
        self.start(updates)
        self.wait(len(updates))

    def handle(self, exception: Exception) -> bool:
        """Called by telebot when a handler raised."""
        self.raised.append(exception)
        self._handled.release()
        return True

    def _put_counted(self, task: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        def counted() -> None:
            task(*args, **kwargs)
            self._handled.release()

        self._put(counted)


@pytest.fixture
def bot() -> Iterator[BusyBot]:
    made = BusyBot()
    yield made
    end_workers(made)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture(params=[400, pytest.param(4000, marks=pytest.mark.long)])
def number(request: pytest.FixtureRequest) -> int:
    """The number of updates that the workers get."""
    return request.param


@cache
def update_of(user_id: int, chat_id: int = 0) -> types.Update:
    """A message of a user, in private or in a group."""
    chats = {chat["id"]: chat for chat in (GROUP, OTHER_GROUP)}
    sender = user(user_id, f"User {user_id}")
    payload = message(chats.get(chat_id) or private(sender), sender)
    return types.Update.de_json({"update_id": 583920140, "message": payload})


def in_turn(user_ids: Iterable[int], count: int) -> list[types.Update]:
    """Updates of some users who write in turn."""
    return [update_of(user_id) for user_id in islice(cycle(user_ids), count)]


def at_random(user_ids: tuple[int, ...], count: int) -> list[types.Update]:
    """Updates of some users who write as it comes."""
    return [update_of(user_id) for user_id in random.Random(1).choices(user_ids, k=count)]


def senders(updates: list[types.Update]) -> dict[str, int]:
    """How many of the updates came from each user."""
    return Counter(str(update.message.from_user.id) for update in updates)


def give_way() -> None:
    """Let another thread run."""
    time.sleep(0)


def locks_kept(storage: Storage) -> int:
    return len(storage.process_state.locks)


def counters(storage: Storage, field: str = "counter") -> dict[str, int]:
    """What every session of a storage has counted."""
    sessions = Sessions(storage=storage)
    return {key: sessions.peek(key)[field] for key in list(sessions.keys())}


def count(bot: TeleBot, storage: Storage, pause: Pause) -> None:
    """Register a handler that reads its counter, lets others run, and writes it."""

    @bot.message_handler()
    @with_session(initial={"counter": 0}, storage=storage)
    def handler(message: types.Message, session: Session) -> None:
        read = session.counter
        pause()
        session.counter = read + 1


# Nothing is lost


def test_no_update_of_four_busy_users_is_lost(
    bot: BusyBot, storage: MemoryStorage, number: int
) -> None:
    """Updates of 4 users over 8 workers: every counter is exact, and no lock is left."""
    count(bot, storage, give_way)
    bot.run(in_turn(USERS, number))
    assert {str(user_id): number // 4 for user_id in USERS} == counters(storage)
    assert ([], 0) == (bot.raised, locks_kept(storage))


class NoHolders(dict[str, Any]):
    """The holders of a lock table that keeps none, so that each key is free."""

    def setdefault(self, _key: str, holder: Any = None) -> Any:
        return holder

    def __delitem__(self, _key: str) -> None:
        pass


@pytest.mark.parametrize("control", ["a lock table that does nothing", "a hold that does nothing"])
def test_without_locks_updates_are_lost(bot: BusyBot, control: str, number: int) -> None:
    """The control: with no locks, of 8 updates of 4 users at once at most 4 count."""
    storage = UnlockedStorage() if "hold" in control else MemoryStorage()
    if "table" in control:
        storage.process_state.locks.holders = NoHolders()
    meeting = threading.Barrier(WORKERS)
    count(bot, storage, lambda: meeting.wait(PATIENCE))
    bot.run(in_turn(USERS, number))
    assert ([], {str(user_id) for user_id in USERS}) == (bot.raised, set(counters(storage)))
    assert max(counters(storage).values()) <= number // WORKERS


STORES: dict[str, Callable[[], Any]] = {
    "dict": dict,
    "TTLCache": lambda: TTLCache(100, 3600),
    "LRUCache": lambda: LRUCache(2**20, getsizeof=len),
}


@pytest.mark.parametrize("store", STORES)
def test_no_update_of_a_crowd_is_lost(bot: BusyBot, store: str, number: int) -> None:
    """Updates of 50 users at random: every counter is exact, in every kind of store."""
    storage = MemoryStorage(STORES[store]())
    count(bot, storage, give_way)
    updates = at_random(CROWD, number)
    bot.run(updates)
    assert (senders(updates), [], 0) == (counters(storage), bot.raised, locks_kept(storage))


def test_handlers_that_raise_count_for_nothing_among_others(
    bot: BusyBot, storage: MemoryStorage, number: int
) -> None:
    """Updates whose handler raised leave no trace, and all others count."""
    order = iter(range(number))
    failed = Counter[str]()

    @bot.message_handler()
    @with_session(initial={"counter": 0, "nested": {"counter": 0}}, storage=storage)
    def handler(message: types.Message, session: Session) -> None:
        read = session.counter
        give_way()
        session.counter = read + 1
        session.nested["counter"] += 1
        if next(order) % 3 == 0:
            failed[str(message.from_user.id)] += 1
            session.counter = -1
            session.stray = "a field of a handler that raised"
            raise ZeroDivisionError

    updates = at_random(USERS, number)
    bot.run(updates)
    expected = senders(updates)
    expected.subtract(failed)
    assert expected == counters(storage)
    assert {key: {"counter": n} for key, n in expected.items()} == counters(storage, "nested")
    assert ({ZeroDivisionError}, failed.total()) == (set(map(type, bot.raised)), len(bot.raised))
    assert 0 == locks_kept(storage)


def test_saved_counts_stay_whatever_happens_later(
    bot: BusyBot, storage: MemoryStorage, number: int
) -> None:
    """What `save` wrote stays, what came later only if the handler returned; the lock is kept."""
    order = iter(range(number))
    returned = Counter[str]()

    @bot.message_handler()
    @with_session(initial={"counter": 0, "returns": 0}, storage=storage)
    def handler(message: types.Message, session: Session) -> None:
        read, returns = session.counter, session.returns
        give_way()
        session.counter = read + 1
        save(session)
        session.returns = returns + 1
        if next(order) % 3 == 0:
            raise ZeroDivisionError
        returned[str(message.from_user.id)] += 1

    updates = at_random(USERS, number)
    bot.run(updates)
    assert (senders(updates), returned) == (counters(storage), counters(storage, "returns"))
    assert (number - returned.total(), 0) == (len(bot.raised), locks_kept(storage))


def test_nested_handlers_count_exactly(bot: BusyBot, storage: MemoryStorage, number: int) -> None:
    """A decorated handler that calls another one for the same key shares its session and lock."""
    sessions = Sessions(initial={"counter": 0, "inner": 0}, storage=storage)

    @sessions.with_session
    def step(message: types.Message, session: Session) -> None:
        read = session.inner
        give_way()
        session.inner = read + 1
        session.counter += 1

    @bot.message_handler()
    @sessions.with_session
    def handler(message: types.Message, session: Session) -> None:
        read = session.counter
        give_way()
        session.counter = read + 1
        step(message)
        step(message)

    updates = at_random(USERS, number)
    bot.run(updates)
    sent = senders(updates)
    assert {key: 3 * times for key, times in sent.items()} == counters(storage)
    assert {key: 2 * times for key, times in sent.items()} == counters(storage, "inner")
    assert ([], 0) == (bot.raised, locks_kept(storage))


def test_two_stacked_sessions_count_exactly(
    bot: BusyBot, storage: MemoryStorage, number: int
) -> None:
    """Two stacked decorators with two names give two sessions: the user's and the chat's."""
    groups = (GROUP["id"], OTHER_GROUP["id"])
    options: Any = {"initial": {"counter": 0}, "storage": storage, "prefix": ""}

    @bot.message_handler()
    @with_session(name="of_user", **options)
    @with_session(name="of_chat", get_storage_key=by_chat, **options)
    def handler(message: types.Message, of_user: Session, of_chat: Session) -> None:
        user_read, chat_read = of_user.counter, of_chat.counter
        give_way()
        of_user.counter = user_read + 1
        of_chat.counter = chat_read + 1

    updates = [update_of(u, groups[i % 3 % 2]) for i, u in enumerate(islice(cycle(USERS), number))]
    bot.run(updates)
    by_group = Counter(f"chat:{update.message.chat.id}" for update in updates)
    assert {**senders(updates), **by_group} == counters(storage)
    assert ([], 0) == (bot.raised, locks_kept(storage))


@dataclass
class Tally:
    counter: int = 0


def test_typed_sessions_count_exactly(bot: BusyBot, storage: MemoryStorage) -> None:
    """Sessions whose class only a call of `initial` tells are typed for all threads at once."""
    kinds = set()

    @bot.message_handler()
    @with_session(initial=lambda: Tally(), storage=storage)  # noqa: PLW0108 -- not the class
    def handler(message: types.Message, session: Tally) -> None:
        kinds.add(isinstance(session, Tally))
        read = session.counter
        give_way()
        session.counter = read + 1

    updates = at_random(CROWD, 400)
    bot.run(updates)
    assert (senders(updates), {True}, []) == (counters(storage), kinds, bot.raised)


def test_two_bots_on_one_storage_lose_nothing(bot: BusyBot, storage: MemoryStorage) -> None:
    """Handlers of several bots with one storage see one session, and take turns at it."""
    other = BusyBot()
    for each in (bot, other):
        count(each, storage, give_way)
        each.start(in_turn(USERS, 400))
    for each in (bot, other):
        each.wait(400)
    end_workers(other)
    assert {str(user_id): 200 for user_id in USERS} == counters(storage)
    assert ([], [], 0) == (bot.raised, other.raised, locks_kept(storage))


def test_sessions_opened_outside_handlers_take_turns_with_them(
    bot: BusyBot, storage: MemoryStorage
) -> None:
    """A timer that opens a session by its key waits for handlers, and they for it."""
    sessions = Sessions(initial={"counter": 0}, storage=storage)
    count(bot, storage, give_way)

    def tick(user_id: int) -> None:
        for _ in range(100):
            with sessions.open(user_id) as session:
                read = session.counter
                give_way()
                session.counter = read + 1

    with ThreadPoolExecutor(len(USERS)) as timers:
        ticking = [timers.submit(tick, user_id) for user_id in USERS]
        bot.run(in_turn(USERS, 400))
        for ticks in ticking:
            ticks.result(PATIENCE)
    assert {str(user_id): 200 for user_id in USERS} == counters(storage)
    assert ([], 0) == (bot.raised, locks_kept(storage))


def test_new_user_gets_one_new_session(bot: BusyBot, storage: MemoryStorage) -> None:
    """However many updates of a new user come at once, `initial` is called for the first only."""
    made = []

    @bot.message_handler()
    @with_session(initial=lambda: made.append("a session") or {"counter": 0}, storage=storage)
    def handler(message: types.Message, session: Session) -> None:
        give_way()
        session.counter += 1

    bot.run(in_turn(USERS[:1], 100))
    assert (["a session"], {"11": 100}) == (made, counters(storage))


# Nobody waits in vain, nobody jumps the queue


def test_sessions_of_different_users_do_not_wait_for_each_other(
    bot: BusyBot, storage: MemoryStorage
) -> None:
    """8 handlers of 8 users are inside their sessions at the same time."""
    meeting = threading.Barrier(WORKERS)
    count(bot, storage, lambda: meeting.wait(PATIENCE))
    bot.run(in_turn(CROWD[:WORKERS], WORKERS))
    assert (dict.fromkeys(map(str, CROWD[:WORKERS]), 1), []) == (counters(storage), bot.raised)


def test_busy_session_is_given_to_waiting_handlers_in_arrival_order(
    bot: BusyBot, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiters get a busy session in arrival order: the updates of a user are handled in order."""
    waits = Waits.watch(monkeypatch)
    entered, leave = threading.Event(), threading.Event()

    @bot.message_handler()
    @with_session(initial={"served": []}, storage=storage)
    def handler(message: types.Message, session: Session) -> None:
        entered.set()
        leave.wait(PATIENCE)
        session.served.append(message.message_id)

    def send(message_id: int) -> None:
        payload = message(private(user(11, "Anna")), user(11, "Anna"), message_id=message_id)
        bot.start([types.Update.de_json({"update_id": message_id, "message": payload})])

    send(0)
    assert entered.wait(PATIENCE)
    for message_id in range(1, WORKERS):
        send(message_id)
        waits.next()
    assert 1 == locks_kept(storage)
    leave.set()
    bot.wait(WORKERS)
    assert (list(range(WORKERS)), []) == (counters(storage, "served")["11"], bot.raised)
    assert 0 == locks_kept(storage)


def test_handler_that_gives_up_waiting_changes_nothing(
    bot: BusyBot, storage: MemoryStorage
) -> None:
    """A session that stays busy for longer than lock_timeout is a LockTimeoutError, and no more."""
    entered, leave = threading.Event(), threading.Event()
    ran = []

    @bot.message_handler()
    @with_session(initial={"counter": 0}, storage=storage, lock_timeout=0.01)
    def handler(message: types.Message, session: Session) -> None:
        ran.append(message)
        entered.set()
        leave.wait(PATIENCE)
        session.counter += 1

    bot.start([update_of(11)])
    assert entered.wait(PATIENCE)
    bot.start([update_of(11)])
    bot.wait(1)
    assert [("11", 0.01)] == [(error.key, error.seconds) for error in bot.raised]
    assert ([LockTimeoutError], 1) == ([type(error) for error in bot.raised], len(ran))
    leave.set()
    bot.wait(1)
    bot.run([update_of(11)])
    assert ({"11": 2}, 1, 0) == (counters(storage), len(bot.raised), locks_kept(storage))


def test_two_handlers_that_open_each_others_session_end_at_once(
    bot: BusyBot, storage: MemoryStorage
) -> None:
    """Of two handlers that wait for each other's session one fails at once; the other goes on."""
    sessions = Sessions(initial={"counter": 0}, storage=storage, lock_timeout=PATIENCE)
    both_hold_one = threading.Barrier(2)

    @bot.message_handler()
    @sessions.with_session
    def handler(message: types.Message, session: Session) -> None:
        session.counter += 1
        both_hold_one.wait(PATIENCE)
        with sessions.open(33 - message.from_user.id) as other:
            other.counter += 1

    bot.run(in_turn((11, 22), 2))
    (error,) = bot.raised
    assert (DeadlockError, {"11", "22"}) == (type(error), set(error.keys))
    assert ({"11": 1, "22": 1}, 0) == (counters(storage), locks_kept(storage))


def test_stacked_sessions_in_opposite_orders_wait_in_one_order(
    bot: BusyBot, storage: MemoryStorage
) -> None:
    """Two stacked decorators lock in one order, whichever of them is above."""
    options: Any = {"initial": {"counter": 0}, "storage": storage, "prefix": ""}
    mine = Sessions(name="mine", lock_timeout=PATIENCE, **options)
    others = Sessions(
        name="others",
        lock_timeout=PATIENCE,
        get_storage_key=lambda message: 33 - message.from_user.id,
        **options,
    )

    @bot.message_handler()
    @mine.with_session
    @others.with_session
    def handler(message: types.Message, mine: Session, others: Session) -> None:
        read = mine.counter, others.counter
        give_way()
        mine.counter, others.counter = read[0] + 1, read[1] + 1

    bot.run(in_turn((11, 22), 200))
    assert ([], {"11": 200, "22": 200}) == (bot.raised, counters(storage))
    assert 0 == locks_kept(storage)


# A bot that polls


def test_polling_bot_loses_nothing(storage: MemoryStorage) -> None:
    """A bot that polls with 8 workers tells every user every number, each exactly once."""
    failures = RecordingExceptionHandler()
    with BotAPI() as api:
        bot = TeleBot(TOKEN, num_threads=WORKERS, exception_handler=failures)

        @bot.message_handler(func=lambda message: message.text != "fail")
        @with_session(initial={"counter": 0}, storage=storage)
        def handler(message: types.Message, session: Session) -> None:
            read = session.counter
            give_way()
            session.counter = read + 1
            bot.send_message(message.chat.id, str(session.counter))

        @bot.message_handler()
        @with_session(initial={"counter": 0}, storage=storage)
        def fail(message: types.Message, session: Session) -> None:
            session.counter = -1
            raise ZeroDivisionError

        with run_polling(bot, api, timeout=PATIENCE) as polling:
            for number in range(50):
                for user_id in USERS:
                    api.user(user_id).send("fail" if number % 5 == 0 else "count")
            polling.wait_idle(PATIENCE)
        replies = {
            user_id: sorted(int(sent.text) for sent in api.messages if sent.chat_id == user_id)
            for user_id in USERS
        }
    assert {user_id: list(range(1, 41)) for user_id in USERS} == replies
    assert {str(user_id): 40 for user_id in USERS} == counters(storage)
    assert [ZeroDivisionError] * 40 == [type(error) for error in failures.exceptions]
    assert 0 == locks_kept(storage)
