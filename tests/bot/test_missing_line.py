"""The hint of a bot on telebot's own pool, whose handlers wait for busy sessions in its threads."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
from telebot.util import WorkerThread

from support.clocks import PATIENCE
from support.threads import Log, Waits, start, wait_for
from support.updates import ANNA, said
from telesession import LockTimeoutError, MemoryStorage, Session, Sessions, locks
from telesession.forks import PerProcess

if TYPE_CHECKING:
    from telebot import TeleBot

    from support.bots import MakeBot

LINE = "write use_sequential_workers(bot) before the bot starts"


class Records(logging.Handler):
    """The hints among the records of the library, for tests that wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()

    def emit(self, record: logging.LogRecord) -> None:
        if LINE in record.getMessage():
            self.log.add(record)


@pytest.fixture
def records() -> Any:
    """Collects records from any thread."""
    handler = Records()
    logging.getLogger("telesession").addHandler(handler)
    yield handler.log
    logging.getLogger("telesession").removeHandler(handler)


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was logged yet, and no test waits for a second."""
    monkeypatch.setattr(locks, "_waits", PerProcess())
    monkeypatch.setattr(locks, "_LONG_WAIT", 0.0)


def counting(bot: TeleBot) -> tuple[Sessions[Session], Log]:
    """Sessions that a handler of the bot counts in, and a log of the texts that it has handled."""
    sessions, handled = Sessions(storage=MemoryStorage()), Log()

    @bot.message_handler()
    @sessions.with_session
    def count(message: Any, session: Session) -> None:
        session.count = session.get("count", 0) + 1
        handled.add(message.text)

    return sessions, handled


def test_a_long_wait_on_telebots_pool_names_the_missing_line(
    make_bot: MakeBot, records: Log
) -> None:
    """A warning says which line to write, shows no key, and the handler then gets the session."""
    bot = make_bot(2)
    sessions, handled = counting(bot)

    with sessions.open(ANNA["id"]):
        bot.process_new_updates([said("hi")])
        (record,) = records.wait_for(1)

    assert ["hi"] == handled.wait_for(1)
    assert (logging.WARNING, True, False) == (
        record.levelno,
        LINE in record.getMessage(),
        str(ANNA["id"]) in record.getMessage(),
    )


def test_it_is_logged_once_for_each_process(
    make_bot: MakeBot, records: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further waits are not logged, in the same thread and in others."""
    waits = Waits.watch(monkeypatch)
    bot = make_bot(2)
    sessions, handled = counting(bot)

    for number in range(1, 4):
        with sessions.open(ANNA["id"]):
            bot.process_new_updates([said("hi")])
            waits.next()
            records.wait_for(1)
        handled.wait_for(number)

    assert 1 == len(records.entries)


def test_two_threads_log_it_once(records: Log) -> None:
    """Of two threads that have waited at the same time one logs it."""
    waits = locks._WaitTable()

    for thread in [start(waits.hint), start(waits.hint)]:
        thread.join(PATIENCE)

    assert 1 == len(records.entries)


def test_sequential_workers_need_no_hint(
    make_sequential: MakeBot, records: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line written, a wait is not logged."""
    waits = Waits.watch(monkeypatch)
    bot = make_sequential(2)
    sessions, handled = counting(bot)

    with sessions.open(ANNA["id"]):
        bot.process_new_updates([said("hi")])
        assert waits.next().startswith("SequentialWorker")

    assert (["hi"], []) == (handled.wait_for(1), records.entries)


def test_other_threads_get_no_hint(records: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait in a thread of the program's own is not logged."""
    waits = Waits.watch(monkeypatch)
    sessions = Sessions(storage=MemoryStorage())

    def wait() -> None:
        with sessions.open("key") as session:
            session.count = 1

    with sessions.open("key"):
        thread = start(wait)
        waits.next()
    thread.join(PATIENCE)

    assert ({"count": 1}, []) == (sessions.peek("key"), records.entries)


class Requests:
    """A lock that never comes, and notes how long it was waited for."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    def acquire(self, timeout: float) -> bool:
        self.timeouts.append(timeout)
        return False


@pytest.mark.parametrize(
    ("seconds", "is_hinted", "expected"),
    [
        (60, False, [1, 59]),
        (-1, False, [1, -1]),
        (1, False, [1]),
        (0.5, False, [0.5]),
        (60, True, [1, 59]),
    ],
)
def test_the_wait_is_as_long_as_ever(
    seconds: float,
    is_hinted: bool,
    expected: list[float],
    make_bot: MakeBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wait of more than a second has two parts, also after the hint. A shorter one has one."""
    monkeypatch.setattr(locks, "_LONG_WAIT", 1)
    lock: Any = Requests()
    waits, is_over = locks._WaitTable(), threading.Event()
    waits.is_hinted = is_hinted

    def wait() -> None:
        locks.LockTable(of_sessions=True)._acquire("key", lock, seconds, waits)
        is_over.set()

    make_bot(1).worker_pool.put(wait)
    wait_for(is_over)

    assert expected == lock.timeouts


def test_an_error_names_the_whole_wait(make_bot: MakeBot, records: Log) -> None:
    """After the hint, `LockTimeoutError` has the seconds of `lock_timeout`."""
    raised = Log()
    sessions = Sessions(storage=MemoryStorage(), lock_timeout=0.01)

    def wait() -> None:
        with pytest.raises(LockTimeoutError) as caught, sessions.open("key"):
            pass
        raised.add(caught.value.seconds)

    with sessions.open("key"):
        make_bot(1).worker_pool.put(wait)
        assert [0.01] == raised.wait_for(1)

    assert 1 == len(records.entries)


def test_the_poll_thread_is_no_worker(make_bot: MakeBot) -> None:
    """telebot's workers are told from its poll thread, which has the same class."""
    seen = Log()
    poller = WorkerThread(name="PollingThread")
    poller.put(lambda: seen.add(locks._is_in_telebots_pool()))
    seen.wait_for(1)
    make_bot(1).worker_pool.put(lambda: seen.add(locks._is_in_telebots_pool()))
    poller.stop()

    assert [False, True] == seen.wait_for(2)
