"""Blocks with the data of a state: what telebot's storages do otherwise, and who waits for them."""

from __future__ import annotations

import copy
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot
from telebot.storage import StateMemoryStorage, StatePickleStorage

from support.bots import CHAT, USER
from support.clocks import PATIENCE
from support.threads import OtherThread, in_threads
from telesession import EncodeError, LockTimeoutError, SessionStateStorage, Storage
from telesession.testing import OFFLINE_TOKEN, BotAPI, run_polling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class TestUnlikeTelebots:
    """What telebot's storages do otherwise, each time with what they do."""

    def test_a_block_that_raises_is_not_saved(self, states: SessionStateStorage) -> None:
        """A block that raises has changed nothing; telebot saves what it did until then."""
        kept = []
        for each in (states, StateMemoryStorage()):
            each.set_state(CHAT, USER, "here")
            with suppress(ZeroDivisionError), each.get_interactive_data(CHAT, USER) as data:
                data["a"] = 1
                each.set_state(CHAT, USER, "there")
                data["b"] = 1 / 0
            kept.append((each.get_state(CHAT, USER), each.get_data(CHAT, USER)))
        assert [("here", {}), ("there", {"a": 1})] == kept

    def test_what_is_added_in_a_block_is_kept(self, states: SessionStateStorage) -> None:
        """Data added inside a block stays; telebot overwrites it with the block's."""
        kept = []
        for each in (states, StateMemoryStorage()):
            each.set_state(CHAT, USER, "here")
            with each.get_interactive_data(CHAT, USER) as data:
                data["a"] = 1
                each.set_data(CHAT, USER, "b", 2)
            kept.append(copy.deepcopy(each.get_data(CHAT, USER)))
        assert [{"a": 1, "b": 2}, {"a": 1}] == kept

    def test_a_block_sees_what_is_added_in_it(self, states: SessionStateStorage) -> None:
        """The block's data and what the methods give in it are the same; telebot's are two."""
        seen = []
        for each in (states, StateMemoryStorage()):
            each.set_state(CHAT, USER, "here")
            with each.get_interactive_data(CHAT, USER) as data:
                data["a"] = 1
                before = copy.deepcopy(each.get_data(CHAT, USER))
                each.set_data(CHAT, USER, "b", 2)
                seen.append((before, dict(data)))
        assert [({"a": 1}, {"a": 1, "b": 2}), ({}, {"a": 1})] == seen

    @pytest.mark.parametrize("how", ["reset_data", "save"])
    def test_what_is_replaced_in_a_block_is_gone(
        self, how: str, states: SessionStateStorage
    ) -> None:
        """Data replaced inside a block does not come back at its end; telebot's does."""
        kept = []
        new = [{"n": 1}] if how == "save" else []
        for each in (states, StateMemoryStorage()):
            each.set_state(CHAT, USER, "here")
            each.set_data(CHAT, USER, "a", 1)
            with each.get_interactive_data(CHAT, USER) as data:
                result = getattr(each, how)(CHAT, USER, *new)
                data["b"] = 2
            kept.append((result, each.get_data(CHAT, USER)))
        expected = {"n": 1, "b": 2} if how == "save" else {"b": 2}
        assert [(True, expected), (True, {"a": 1, "b": 2})] == kept

    def test_a_block_may_save_its_own_data(self, states: SessionStateStorage) -> None:
        """Saving the very dict of the block empties nothing."""
        states.set_state(CHAT, USER, "here")
        with states.get_interactive_data(CHAT, USER) as data:
            data["a"] = 1
            states.save(CHAT, USER, data)
        assert {"a": 1} == states.get_data(CHAT, USER)

    def test_what_is_added_after_a_new_start_in_a_block_is_kept(
        self, states: SessionStateStorage
    ) -> None:
        """Deleted, set and added to in one block, a record has the block's data and what came."""
        kept = []
        for each in (states, StateMemoryStorage()):
            each.set_state(CHAT, USER, "first")
            with each.get_interactive_data(CHAT, USER) as data:
                data["a"] = 1
                each.delete_state(CHAT, USER)
                each.set_state(CHAT, USER, "second")
                each.set_data(CHAT, USER, "b", 2)
            kept.append((each.get_state(CHAT, USER), each.get_data(CHAT, USER)))
        assert [("second", {"a": 1, "b": 2}), ("second", {"a": 1})] == kept

    def test_a_block_in_a_block_is_of_the_same_data(self, states: SessionStateStorage) -> None:
        """Two blocks of one record in one thread share it; telebot's outer one wins."""
        kept = []
        for each in (states, StateMemoryStorage()):
            each.set_state(CHAT, USER, "here")
            with each.get_interactive_data(CHAT, USER) as outer:
                outer["a"] = 1
                with each.get_interactive_data(CHAT, USER) as inner:
                    inner["b"] = 2
                outer["c"] = 3
            kept.append(each.get_data(CHAT, USER))
        assert [{"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 3}] == kept

    def test_blocks_without_a_state_share_one_that_is_set_in_them(
        self, states: SessionStateStorage
    ) -> None:
        """A state that is set in the inner of two blocks keeps the data of both."""
        with states.get_interactive_data(CHAT, USER) as outer:
            outer["a"] = 1
            with states.get_interactive_data(CHAT, USER) as inner:
                inner["b"] = 2
                states.set_state(CHAT, USER, "here")
            outer["c"] = 3
        assert {"a": 1, "b": 2, "c": 3} == states.get_data(CHAT, USER)

    def test_another_user_is_written_at_once_in_a_block(self, states: SessionStateStorage) -> None:
        """Inside a block the states of other users are there at once, those of outer blocks too."""
        states.set_state(CHAT, USER, "here")
        with (
            states.get_interactive_data(CHAT, USER) as outer,
            states.get_interactive_data(CHAT, USER + 1),
        ):
            states.set_state(CHAT, USER + 2, "there")
            states.set_data(CHAT, USER, "a", 1)
            assert ("there", {"a": 1}) == (states.get_state(CHAT, USER + 2), dict(outer))
            states.delete_state(CHAT, USER + 2)
            assert states.get_state(CHAT, USER + 2) is None
        assert {"a": 1} == states.get_data(CHAT, USER)

    def test_what_is_given_is_a_copy(self, states: SessionStateStorage) -> None:
        """Changing what `get_data` gave changes nothing stored; in telebot's memory it does."""
        kept = []
        for each in (states, StateMemoryStorage()):
            each.set_state(CHAT, USER, "here")
            each.set_data(CHAT, USER, "a", [1])
            each.get_data(CHAT, USER)["a"].append(2)
            kept.append(each.get_data(CHAT, USER))
        assert [{"a": [1]}, {"a": [1, 2]}] == kept

    def test_what_is_given_in_a_block_is_a_copy(
        self, states_in_memory: SessionStateStorage
    ) -> None:
        """Inside a block, too, `get_data` gives what belongs to the caller."""
        states_in_memory.set_state(CHAT, USER, "here")
        with states_in_memory.get_interactive_data(CHAT, USER) as data:
            data["a"] = [1]
            states_in_memory.get_data(CHAT, USER)["a"].append(2)
        assert {"a": [1]} == states_in_memory.get_data(CHAT, USER)

    def test_what_cannot_come_back_is_refused(self, storage: Storage) -> None:
        """A value that the codec cannot bring back names the record and its place, not itself."""
        states = SessionStateStorage(storage)
        states.set_state(CHAT, USER, "here", bot_id=1)
        with pytest.raises(EncodeError) as raised:
            states.set_data(CHAT, USER, "a", {"b": (n for n in "secret")}, bot_id=1)
        assert ("1:::-100:42", "data[<str>][<str>]") == (raised.value.key, raised.value.path)
        assert {} == states.get_data(CHAT, USER, bot_id=1)

    def test_types_are_kept(self, states: SessionStateStorage) -> None:
        """Data comes back with its types, which JSON alone does not have."""
        data = {"point": (1, 2), 3: {"a", "b"}, "raw": b"\x00"}
        states.set_state(CHAT, USER, "here")
        states.save(CHAT, USER, data)
        assert data == states.get_data(CHAT, USER)


class TestLocks:
    def test_nobody_changes_what_a_block_has(self, storage: Storage) -> None:
        """While a thread has a record in a block, whoever would change it waits, and is told."""
        states = SessionStateStorage(storage, lock_timeout=0)
        states.set_state(CHAT, USER, "here")
        calls: list[Callable[[], object]] = [
            lambda: states.set_state(CHAT, USER, "there"),
            lambda: states.set_data(CHAT, USER, "a", 1),
            lambda: states.reset_data(CHAT, USER),
            lambda: states.delete_state(CHAT, USER),
            lambda: states.save(CHAT, USER, {}),
            lambda: states.get_interactive_data(CHAT, USER).__enter__(),
        ]
        with OtherThread() as others, states.get_interactive_data(CHAT, USER) as data:
            data["b"] = 1
            raised = [type(others.submit(each).exception(PATIENCE)) for each in calls]
        assert [LockTimeoutError] * 6 == raised
        assert ("here", {"b": 1}) == (states.get_state(CHAT, USER), states.get_data(CHAT, USER))

    def test_reading_waits_for_nobody(self, storage: Storage) -> None:
        """While a thread has a record in a block, others read it as it was before."""
        states = SessionStateStorage(storage, lock_timeout=0)
        states.set_state(CHAT, USER, "here")
        with OtherThread() as others, states.get_interactive_data(CHAT, USER) as data:
            data["a"] = 1
            states.set_state(CHAT, USER, "there")
            state = others.call(states.get_state, CHAT, USER)
            read = others.call(states.get_data, CHAT, USER)
        assert ("here", {}) == (state, read)
        assert ("there", {"a": 1}) == (states.get_state(CHAT, USER), states.get_data(CHAT, USER))

    def test_other_users_are_not_held_up(self, storage: Storage) -> None:
        """While a thread has a record in a block, others have theirs."""
        states = SessionStateStorage(storage, lock_timeout=0)
        with OtherThread() as others, states.get_interactive_data(CHAT, USER):
            done = others.call(states.set_state, CHAT, USER + 1, "here")
        assert (True, "here") == (done, states.get_state(CHAT, USER + 1))

    def test_no_increment_is_lost(self, states: SessionStateStorage) -> None:
        """800 increments by 8 threads through `bot.retrieve_data` end at 800, one at a time."""
        crowd = Crowd()
        assert 800 == count(states, 8, 100, crowd)
        assert 1 == crowd.most

    @pytest.mark.parametrize("kind", ["memory", "pickle"])
    def test_telebots_storages_lose_increments(self, kind: str, tmp_path: Path) -> None:
        """A control: where nothing is locked, 8 threads that meet in the block count as one."""
        path = tmp_path / "states" / "states.pkl"
        states = StateMemoryStorage() if kind == "memory" else StatePickleStorage(str(path))
        assert 10 == count(states, 8, 10, threading.Barrier(8, timeout=PATIENCE))

    def test_no_message_is_lost(self, states: SessionStateStorage, bot_api: BotAPI) -> None:
        """Messages that arrive together at a bot with 8 threads are all counted."""
        bot = TeleBot(OFFLINE_TOKEN, state_storage=states, num_threads=8)

        @bot.message_handler()
        def handle(message: Any) -> None:
            with bot.retrieve_data(message.from_user.id) as data:
                data["n"] = data.get("n", 0) + 1

        for user in (1, 2):
            bot.set_state(user, "counting")
        with run_polling(bot, timeout=PATIENCE) as polling:
            for _ in range(25):
                for user in (1, 2):
                    bot_api.user(user).send("hi")
            polling.wait_idle(PATIENCE)
        assert [{"n": 25}, {"n": 25}] == [states.get_data(n, n, bot_id=bot.bot_id) for n in (1, 2)]


class Crowd:
    """Counts how many threads are in a block at the same time."""

    def __init__(self) -> None:
        self.most = self.inside = 0
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        with self._lock:
            self.inside -= 1


def count(states: Any, threads: int, rounds: int, meeting: Any) -> int:
    """Let threads count in the data of one user of a bot, and return what it comes to."""
    bot: Any = TeleBot(OFFLINE_TOKEN, state_storage=states, threaded=False)

    def increment() -> None:
        for _ in range(rounds):
            with bot.retrieve_data(USER) as data:
                number = data["n"]
                meeting.wait()
                data["n"] = number + 1

    bot.set_state(USER, "counting")
    bot.add_data(USER, n=0)
    in_threads([increment] * threads)
    with bot.retrieve_data(USER) as data:
        total: int = data["n"]
        return total
