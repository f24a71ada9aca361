"""`FaultyStorage`: as good as the storage behind it, until a test asks for a fault."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from support.clocks import PATIENCE
from support.storages import FiveMethods, FrozenClockSuite, is_free, is_held, storage_of
from support.threads import OtherThread
from telesession import (
    LockLostError,
    LockTimeoutError,
    MemoryStorage,
    Session,
    Sessions,
    SQLiteStorage,
    Storage,
    StorageError,
    on_commit,
    save,
    use_sequential_workers,
)
from telesession.storage.base import Change
from telesession.testing import (
    OFFLINE_TOKEN,
    BotAPI,
    FaultyStorage,
    began,
    run_polling,
    storage_faults,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from freezegun.api import FrozenDateTimeFactory

CALLS: dict[str, Callable[[Storage], Any]] = {
    "get": lambda storage: storage.get("key"),
    "set": lambda storage: storage.set("key", b"new"),
    "delete": lambda storage: storage.delete("key"),
    "touch": lambda storage: storage.touch("key", None),
    "has": lambda storage: storage.has("key"),
    "get_record": lambda storage: storage.get_record("key"),
    "ping": lambda storage: storage.ping(),
    "keys": lambda storage: list(storage.keys()),
    "hold": lambda storage: storage.hold("key", 0).__enter__(),
    "commit": lambda storage: storage.commit((), [Change("key", b"old", b"new")]),
    "listed": lambda storage: storage.listed("key"),
    "add_once": lambda storage: storage.add_once("@", {1: b""}, pages="+", memory=9),
    "now": lambda storage: storage.now(),
    "close": lambda storage: storage.close(),
}
WRITES = ["set", "delete", "touch", "commit", "add_once"]


class TestWithoutFaults(FrozenClockSuite):
    """A storage of each kind keeps all promises when a `FaultyStorage` stands in front of it."""

    @pytest.fixture(params=["memory", "five methods", "sqlite", "redis", "postgres"])
    def storage(
        self, request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenDateTimeFactory
    ) -> Iterator[Storage]:
        if request.param == "five methods":
            yield FaultyStorage(FiveMethods())
            return
        with storage_of(request.param, tmp_path, request, clock) as storage:
            yield FaultyStorage(storage)


@pytest.fixture
def faulty(storage: Storage) -> FaultyStorage:
    """A storage of each kind, with a `FaultyStorage` in front of it."""
    return FaultyStorage(storage)


@pytest.fixture
def sessions(faulty: FaultyStorage) -> Sessions[Session]:
    """Sessions that count, in a storage of each kind. That of key 1 has counted to 1."""
    sessions: Sessions[Session] = Sessions(initial={"counter": 0}, storage=faulty)
    count(sessions)
    faulty.calls.clear()
    return sessions


def count(sessions: Sessions[Session], *keys: int) -> None:
    with sessions.open_all(keys or (1,)) as opened:
        for session in opened:
            session.counter += 1


def counter(sessions: Sessions[Session], key: int = 1) -> Any:
    fields = sessions.peek(key)
    return None if fields is None else fields["counter"]


class TestCalls:
    def test_an_update_is_a_hold_and_a_commit(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """A session that is used and changed costs two calls, whatever storage is behind."""
        count(sessions)

        assert Counter(hold=1, commit=1) == faulty.calls

    def test_several_sessions_are_one_commit(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """Sessions of one handler are written by one call."""
        count(sessions, 1, 2, 3)

        assert Counter(hold=3, commit=1) == faulty.calls

    def test_a_save_is_a_commit(self, sessions: Sessions[Session], faulty: FaultyStorage) -> None:
        """`save` counts as a commit, and the end of a handler without further changes does not."""
        with sessions.open(1) as session:
            session.counter = 5
            save(session)
        calls = faulty.calls.copy()

        assert (Counter(hold=1, commit=1), 5) == (calls, counter(sessions))

    @pytest.mark.parametrize("method", CALLS)
    def test_each_method_counts_as_itself(self, method: str) -> None:
        """A call of a method is one call of this method and of no other."""
        storage = FaultyStorage(MemoryStorage({"key": b"old"}))
        CALLS[method](storage)

        assert {method: 1} == storage.calls

    def test_a_hold_has_the_time_of_its_storage(self, clock: FrozenDateTimeFactory) -> None:
        """The time of a hold is that of the storage behind, and no call."""
        storage = FaultyStorage(MemoryStorage())
        with storage.hold("key") as held:
            now = held.now()

        assert (time.time(), {"hold": 1}) == (now, storage.calls)

    def test_it_looks_like_the_storage_behind(self, storage: Storage) -> None:
        """Codec, lease and persistence are those of the storage behind, which its `repr` names."""
        faulty = FaultyStorage(storage)
        names = ("codec", "lease", "leases_locks", "holds_connections", "persistent")

        assert [getattr(storage, name) for name in names] == [
            getattr(faulty, name) for name in names
        ]
        assert f"<FaultyStorage in front of {storage!r}>" == repr(faulty)


class TestFailures:
    @pytest.mark.parametrize("method", CALLS)
    def test_a_call_fails_before_it_is_executed(self, method: str) -> None:
        """A failing call is a `StorageError` and changes nothing, and the next one works."""
        store = {"key": b"old"}
        storage = FaultyStorage(MemoryStorage(store))
        storage.fail(method)

        with pytest.raises(StorageError, match="the disk is full") as caught:
            CALLS[method](storage)
        assert (None, {"key": b"old"}) == (caught.value.outcome, store)
        CALLS[method](storage)

        assert {method: 2} == storage.calls

    @pytest.mark.parametrize("method", CALLS)
    def test_a_call_fails_after_it_was_executed(self, method: str) -> None:
        """If the answer is lost, a write has an unknown outcome, a read none."""
        storage = FaultyStorage(MemoryStorage({"key": b"old"}))
        storage.fail(method, after=True)

        with pytest.raises(StorageError, match="the answer was lost") as caught:
            CALLS[method](storage)

        assert ("unknown" if method in WRITES else None) == caught.value.outcome

    @pytest.mark.parametrize(
        ("method", "left"), [("set", b"new"), ("delete", None), ("commit", b"new")]
    )
    def test_a_write_whose_answer_was_lost_was_done(self, method: str, left: bytes | None) -> None:
        """The record is as the write has left it."""
        storage = FaultyStorage(MemoryStorage({"key": b"old"}))
        storage.fail(method, after=True)

        with pytest.raises(StorageError):
            CALLS[method](storage)

        assert left == storage.get("key")

    def test_the_calls_that_fail_are_counted_from_now(self) -> None:
        """`at` is the first call of the method that fails, and `times` how many do."""
        storage = FaultyStorage(MemoryStorage())
        storage.get("key")
        storage.fail("get", at=3, times=2)
        outcomes = []
        for _ in range(6):
            storage.has("key")
            try:
                storage.get("key")
                outcomes.append(True)
            except StorageError:
                outcomes.append(False)

        assert [True, True, False, False, True, True] == outcomes

    def test_an_error_may_be_given(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """A call raises the error that the test has given."""
        faulty.fail("hold", error=LockTimeoutError("1", 5))

        with pytest.raises(LockTimeoutError, match="within 5 s"):
            count(sessions)

        assert 1 == counter(sessions)

    def test_a_failing_commit_writes_nothing(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """All sessions of the handler stay as they were, and their locks are free."""
        faulty.fail("commit")

        with pytest.raises(StorageError) as caught:
            count(sessions, 1, 2)

        assert ("1", None) == (caught.value.key, caught.value.outcome)
        assert (1, None) == (counter(sessions), counter(sessions, 2))
        assert [True, True] == [is_free(faulty, key) for key in "12"]

    def test_a_commit_whose_answer_was_lost_has_written(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """The handler learns that the outcome is unknown, and all sessions are written."""
        faulty.fail("commit", after=True)

        with pytest.raises(StorageError) as caught:
            count(sessions, 1, 2)

        assert ("unknown", 2, 1) == (
            caught.value.outcome,
            counter(sessions),
            counter(sessions, 2),
        )
        assert [True, True] == [is_free(faulty, key) for key in "12"]

    @pytest.mark.parametrize("after", [False, True])
    def test_a_failing_hold_leaves_the_key_free(
        self, sessions: Sessions[Session], faulty: FaultyStorage, after: bool
    ) -> None:
        """The handler does not run, and the next one gets the session."""
        faulty.fail("hold", after=after)

        with pytest.raises(StorageError, match="could not lock"):
            count(sessions)
        count(sessions)

        assert 2 == counter(sessions)

    @pytest.mark.parametrize(("after", "left"), [(False, b"old"), (True, b"new")])
    def test_the_write_at_the_end_of_a_hold_fails(
        self, faulty: FaultyStorage, after: bool, left: bytes
    ) -> None:
        """A hold that writes at the end of its block does so by a commit, and frees its key."""
        faulty.set("key", b"old")
        faulty.fail("commit", after=after)

        with pytest.raises(StorageError), faulty.hold("key") as held:
            held.set(b"new")

        assert (left, True) == (faulty.get("key"), is_free(faulty, "key"))

    def test_a_failed_save_can_be_written_later(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """A handler that catches the error of `save` writes at its end."""
        faulty.fail("commit")
        with sessions.open(1) as session:
            session.counter = 7
            with pytest.raises(StorageError):
                save(session)

        assert 7 == counter(sessions)


class TestKeys:
    def test_a_call_for_another_record_does_not_count(self) -> None:
        """A fault with a key counts the calls for this record alone."""
        storage = FaultyStorage(MemoryStorage({"a": b"old", "b": b"old"}))
        storage.fail("get", key="b", at=2)
        for key in "abaa":
            storage.get(key)

        with pytest.raises(StorageError) as caught:
            storage.get("b")
        assert ("b", Counter()) == (caught.value.key, storage.faults)

    def test_a_commit_of_several_records_counts(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """A commit counts if the record is one of those that it writes, and the error names it."""
        faulty.fail("commit", key="2")
        count(sessions, 1)
        with pytest.raises(StorageError) as caught:
            count(sessions, 1, 2)

        assert ("2", 2, None) == (caught.value.key, counter(sessions), counter(sessions, 2))


class TestLeftFaults:
    def test_faults_that_have_not_happened_are_counted(self) -> None:
        """`faults` counts what is left, so a test can tell whether a fault has happened."""
        storage = FaultyStorage(MemoryStorage())
        storage.fail("get", times=2)
        storage.lose_lock(at=3)
        before = storage.faults
        with pytest.raises(StorageError):
            storage.get("key")

        assert (Counter(get=2, commit=1), Counter(get=1, commit=1)) == (before, storage.faults)

    def test_cleared_faults_do_not_happen(self) -> None:
        """`clear_faults` forgets what an earlier test has left."""
        storage = FaultyStorage(MemoryStorage())
        storage.fail("get", times=2)
        storage.clear_faults()

        assert (None, Counter()) == (storage.get("key"), storage.faults)


class TestOtherFaults:
    def test_an_evicted_session_begins_anew(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """A record that the storage evicts is gone at that call, and at no call before."""
        faulty.evict("hold", at=2)
        count(sessions)
        before = counter(sessions)
        count(sessions)

        assert (2, 1) == (before, counter(sessions))

    def test_a_record_may_be_evicted_under_its_lock(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """The commit of a handler that has the session writes it all the same."""
        faulty.evict("commit")
        count(sessions)

        assert 2 == counter(sessions)

    def test_a_lost_lock_writes_nothing(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """The commit is a `LockLostError`, and the next handler works."""
        faulty.lose_lock(at=2)
        count(sessions)
        with pytest.raises(LockLostError) as caught:
            count(sessions)
        between = counter(sessions)
        count(sessions)

        assert ("1", 2, 3) == (caught.value.key, between, counter(sessions))

    def test_a_delayed_call_takes_longer(self) -> None:
        """A call waits for as many real seconds as the test wants, while the clock stands still."""
        storage = FaultyStorage(MemoryStorage({"key": b"old"}))
        storage.delay("get", 0.02)
        begun = time.monotonic()
        payload = storage.get("key")

        assert (b"old", True) == (payload, time.monotonic() - begun >= 0.02)

    def test_calls_wait_until_the_block_ends(
        self, sessions: Sessions[Session], faulty: FaultyStorage
    ) -> None:
        """A handler waits with its lock at its commit, while other calls go on."""
        with OtherThread() as thread:
            with faulty.waiting("commit") as reached:
                handler = thread.submit(count, sessions)
                keys = reached.wait_for(1)
                during = handler.done(), is_held(faulty, "1"), counter(sessions)
            handler.result(PATIENCE)

        assert (["1"], (False, True, 1), 2) == (keys, during, counter(sessions))

    def test_released_calls_go_on_inside_the_block(self) -> None:
        """`release` ends the waits, so a block inside may wait for its call; later calls pass."""
        storage = FaultyStorage(MemoryStorage({"key": b"old"}))
        with storage.waiting("get") as reached, began(storage.get, "key") as call:
            reached.wait_for(1)
            during = call.done()
            reached.release()
        with storage.waiting("get") as reached:
            reached.release()
            later = storage.get("key")

        assert (False, b"old", b"old", ["key"]) == (during, call.result(), later, reached.entries)

    def test_a_call_of_the_tests_own_thread_does_not_hang(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A call that waits for the end of a block around it is an error that says so."""
        monkeypatch.setattr(storage_faults, "PATIENCE", 0.01)
        storage = FaultyStorage(MemoryStorage())

        with (
            storage.waiting("keys") as reached,
            pytest.raises(TimeoutError, match=r"release\(\).*in another th"),
        ):
            storage.keys()

        assert [""] == reached.entries

    @pytest.mark.parametrize(
        "ask",
        [
            lambda storage: storage.fail("write"),
            lambda storage: storage.delay("__init__", 1),
            lambda storage: storage.waiting("pong").__enter__(),
            lambda storage: storage.evict("keys"),
            lambda storage: storage.fail("get", at=0),
        ],
    )
    def test_a_fault_that_cannot_happen_is_refused(
        self, ask: Callable[[FaultyStorage], object]
    ) -> None:
        """A name that is no method, a call without a record, and call 0 are a `ValueError`."""
        with pytest.raises(ValueError, match=r"has no method|no record|number 0"):
            ask(FaultyStorage(MemoryStorage()))


class TestBots:
    def make_bot(self, storage: Storage, *, has_inbox: bool = False) -> TeleBot:
        bot = TeleBot(OFFLINE_TOKEN)
        sessions: Sessions[Session] = Sessions(initial={"counter": 0}, storage=storage)
        use_sequential_workers(bot, inbox=storage if has_inbox else None)
        sessions.attach(bot)

        @bot.message_handler()
        def count(message: Any, session: Session) -> None:
            session.counter += 1
            on_commit(bot.reply_to, message, f"{session.counter}")

        return bot

    def test_a_reply_after_the_commit_is_not_sent(self, bot_api: BotAPI) -> None:
        """If the session of a user could not be saved, the user gets no reply that it was."""
        storage = FaultyStorage(MemoryStorage())
        storage.fail("commit", at=2)
        with run_polling(self.make_bot(storage)) as polling:
            for _ in range(3):
                bot_api.user(1).send("hi")
                polling.wait_idle()
            errors = list(polling.exceptions)
            polling.exceptions.clear()

        assert [StorageError] == [type(error) for error in errors]
        assert ["1", "2"] == [message.text for message in bot_api.messages]

    def test_the_commits_of_an_inbox_lose_no_lock(self, bot_api: BotAPI) -> None:
        """`lose_lock` is about the session of a handler, and not about the stored update."""
        storage = FaultyStorage(MemoryStorage())
        with run_polling(self.make_bot(storage, has_inbox=True)) as polling:
            ada = bot_api.user(1)
            before = polling.say(ada, "hi").texts
            storage.lose_lock()
            during = polling.say(ada, "hi").texts
            errors = list(polling.exceptions)
            polling.exceptions.clear()
            after = polling.say(ada, "hi").texts

        assert (["1"], [], ["2"]) == (before, during, after)
        assert [("1", LockLostError)] == [(error.key, type(error)) for error in errors]

    def test_a_commit_beside_an_inbox_fails_by_its_key(self, bot_api: BotAPI) -> None:
        """With a key the commit of a session fails, and those of the inbox do not count."""
        storage = FaultyStorage(MemoryStorage())
        storage.fail("commit", key="1", at=2)
        with run_polling(self.make_bot(storage, has_inbox=True)) as polling:
            ada = bot_api.user(1)
            replies = [polling.say(ada, "hi").texts for _ in range(3)]
            errors = list(polling.exceptions)
            polling.exceptions.clear()

        assert ([["1"], [], ["2"]], [StorageError]) == (replies, [type(one) for one in errors])

    def test_an_inbox_finds_out_whether_a_commit_was_done(
        self, bot_api: BotAPI, tmp_path: Path
    ) -> None:
        """A commit whose answer was lost has ended the update, so nothing is raised or repeated."""
        with SQLiteStorage(tmp_path / "bot.db") as behind:
            storage = FaultyStorage(behind)
            with run_polling(self.make_bot(storage, has_inbox=True)) as polling:
                # The first one stores the update.
                storage.fail("commit", at=2, after=True)
                bot_api.user(1).send("hi")
                polling.wait_idle()

        assert ["1"] == [message.text for message in bot_api.messages]
