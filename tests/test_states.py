"""telebot's states on our storages, compared with telebot's own, over a real bot and in threads."""

from __future__ import annotations

import copy
import inspect
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from stages import Stage, Terminal, on_stage
from telebot import TeleBot
from telebot.custom_filters import IsDigitFilter, StateFilter
from telebot.states import State, StatesGroup
from telebot.states.sync import StateContext, StateMiddleware
from telebot.storage import StateMemoryStorage, StatePickleStorage, StateStorageBase
from telebot.types import InlineKeyboardButton, InlineKeyboardMarkup

from telesession import (
    EncodeError,
    LockTimeoutError,
    MemoryStorage,
    Sessions,
    SessionStateStorage,
    SQLiteStorage,
    Storage,
    StorageError,
)
from telesession.bot.states import place_key
from telesession.testing import OFFLINE_TOKEN, BotAPI, Group, run_polling

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory


CHAT, USER = -100, 42


@pytest.fixture
def states(storage: Storage) -> SessionStateStorage:
    """States in an empty storage."""
    return SessionStateStorage(storage)


@pytest.fixture
def in_memory() -> SessionStateStorage:
    """States in memory, for what no storage sees."""
    return SessionStateStorage(MemoryStorage())


class Order(StatesGroup):
    pizza = State()
    number = State()


class TestInterface:
    def test_it_has_every_method_of_telebots_storages(self) -> None:
        """A method that a later telebot adds to its storages is missed here, and so are ours."""
        telebots = public_methods(StateStorageBase) | public_methods(StateMemoryStorage)
        assert telebots == public_methods(SessionStateStorage)

    @pytest.mark.parametrize(
        "method",
        [name for name in dir(StateStorageBase) if not name.startswith("_")],
    )
    def test_every_method_takes_what_telebots_takes(self, method: str) -> None:
        """The parameters have the names, the order, the kinds and the defaults of telebot's."""
        expected, actual = (
            [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]
            for function in (
                getattr(StateMemoryStorage, method),
                getattr(SessionStateStorage, method),
            )
        )
        assert expected == actual

    def test_it_is_a_storage_of_telebots(self, in_memory: SessionStateStorage) -> None:
        """telebot may ask whether it is one of its storages."""
        assert isinstance(in_memory, StateStorageBase)

    def test_repr_shows_no_state(self, in_memory: SessionStateStorage) -> None:
        """Its text says where the states are, and nothing of what they are."""
        in_memory.set_state(CHAT, USER, "secret")
        shown = "<SessionStateStorage 'state:' in <MemoryStorage in a dict>>"
        assert (shown, shown) == (repr(in_memory), str(in_memory))

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"storage": None}, TypeError),
            ({"storage": {}}, TypeError),
            ({"storage": StateMemoryStorage()}, TypeError),
            ({"lifetime": 0}, ValueError),
            ({"lifetime": "1"}, TypeError),
            ({"lock_timeout": -1}, ValueError),
            ({"prefix": None}, TypeError),
        ],
    )
    def test_wrong_options_are_refused_at_once(
        self, options: dict[str, Any], error: type[Exception]
    ) -> None:
        """An option that makes no sense does not wait for the first state."""
        with pytest.raises(error):
            SessionStateStorage(**{"storage": MemoryStorage(), **options})


def public_methods(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


def result_of(call: Callable[[], Any]) -> Any:
    """What a call returns, on its own, or the class of what it raises."""
    try:
        return copy.deepcopy(call())
    except (KeyError, RuntimeError) as error:
        return type(error)


PLACE = {
    "business_connection_id": "AbC_1",
    "message_thread_id": 7,
    "bot_id": 1,
}


def everything_of_nobody(states: Any) -> list[Any]:
    return [
        result_of(lambda: states.get_state(CHAT, USER)),
        result_of(lambda: states.get_data(CHAT, USER)),
        result_of(lambda: states.set_data(CHAT, USER, "a", 1)),
        result_of(lambda: states.reset_data(CHAT, USER)),
        result_of(lambda: states.delete_state(CHAT, USER)),
        result_of(lambda: states.save(CHAT, USER, {"a": 1})),
        result_of(lambda: states.get_data(CHAT, USER)),
    ]


def a_life(states: Any) -> list[Any]:
    return [
        states.set_state(CHAT, USER, "first"),
        states.get_state(CHAT, USER),
        result_of(lambda: states.get_data(CHAT, USER)),
        states.set_data(CHAT, USER, "a", 1),
        states.set_data(CHAT, USER, "b", {"c": [1, 2.5, None, True]}),
        states.set_state(CHAT, USER, "second"),
        states.get_state(CHAT, USER),
        result_of(lambda: states.get_data(CHAT, USER)),
        states.reset_data(CHAT, USER),
        states.get_state(CHAT, USER),
        result_of(lambda: states.get_data(CHAT, USER)),
        states.save(CHAT, USER, {"d": 2}),
        result_of(lambda: states.get_data(CHAT, USER)),
        states.delete_state(CHAT, USER),
        states.delete_state(CHAT, USER),
        states.get_state(CHAT, USER),
        states.get_data(CHAT, USER),
        states.set_state(CHAT, USER, "again"),
        states.get_data(CHAT, USER),
    ]


def objects_and_numbers_as_states(states: Any) -> list[Any]:
    found = []
    for state in (Order.pizza, Order.number, State(), 1, 0, "", "x:y", None):
        states.set_state(CHAT, USER, state)
        found += [states.get_state(CHAT, USER), states.set_data(CHAT, USER, "a", 1)]
    return found


def a_block(states: Any) -> list[Any]:
    states.set_state(CHAT, USER, "first")
    states.set_data(CHAT, USER, "a", [1])
    with states.get_interactive_data(CHAT, USER) as data:
        seen = copy.deepcopy(data)
        data["a"].append(2)
        data["b"] = 3
    with states.get_interactive_data(CHAT, USER) as data:
        seen_again = copy.deepcopy(data)
        data.clear()
    return [seen, seen_again, states.get_state(CHAT, USER), states.get_data(CHAT, USER)]


def a_block_of_nobody(states: Any) -> list[Any]:
    with states.get_interactive_data(CHAT, USER) as data:
        seen = copy.deepcopy(data)
        data["a"] = 1
    return [seen, states.get_state(CHAT, USER), states.get_data(CHAT, USER)]


def a_state_set_in_a_block(states: Any) -> list[Any]:
    states.set_state(CHAT, USER, "first")
    with states.get_interactive_data(CHAT, USER) as data:
        data["a"] = 1
        results = [states.set_state(CHAT, USER, "second"), states.get_state(CHAT, USER)]
        data["b"] = 2
    return [*results, states.get_state(CHAT, USER), states.get_data(CHAT, USER)]


def a_state_set_in_a_block_of_nobody(states: Any) -> list[Any]:
    with states.get_interactive_data(CHAT, USER) as data:
        data["a"] = 1
        results = [states.set_state(CHAT, USER, "first"), states.get_state(CHAT, USER)]
        data["b"] = 2
    return [*results, states.get_state(CHAT, USER), states.get_data(CHAT, USER)]


def a_state_deleted_in_a_block(states: Any) -> list[Any]:
    states.set_state(CHAT, USER, "first")
    states.set_data(CHAT, USER, "a", 1)
    with states.get_interactive_data(CHAT, USER) as data:
        results = [states.delete_state(CHAT, USER), states.delete_state(CHAT, USER)]
        results += [states.get_state(CHAT, USER), states.get_data(CHAT, USER)]
        results += [result_of(lambda: states.set_data(CHAT, USER, "b", 1)), dict(data)]
        data["b"] = 2
    return [*results, states.get_state(CHAT, USER), states.get_data(CHAT, USER)]


def a_state_deleted_and_set_in_a_block(states: Any) -> list[Any]:
    states.set_state(CHAT, USER, "first")
    states.set_data(CHAT, USER, "a", 1)
    with states.get_interactive_data(CHAT, USER) as data:
        results = [states.delete_state(CHAT, USER), states.set_state(CHAT, USER, "second")]
        data["b"] = 2
    return [*results, states.get_state(CHAT, USER), states.get_data(CHAT, USER)]


def everything_after_a_block(states: Any) -> list[Any]:
    states.set_state(CHAT, USER, "first")
    with states.get_interactive_data(CHAT, USER) as data:
        data["a"] = 1
    data["b"] = 2
    results = [states.set_data(CHAT, USER, "c", 3), states.set_state(CHAT, USER, "second")]
    results += [states.reset_data(CHAT, USER), states.get_data(CHAT, USER)]
    results += [states.delete_state(CHAT, USER), states.get_state(CHAT, USER)]
    return results


def blocks_of_two_users(states: Any) -> list[Any]:
    for user in (1, 2):
        states.set_state(user, user, "here")
    with states.get_interactive_data(1, 1) as one, states.get_interactive_data(2, 2) as two:
        one["a"], two["a"] = 1, 2
    return [states.get_data(1, 1), states.get_data(2, 2)]


def places_apart(states: Any) -> list[Any]:
    found = []
    places: list[dict[str, Any]] = [{}] + [{name: value} for name, value in PLACE.items()] + [PLACE]
    for number, place in enumerate(places):
        states.set_state(CHAT, USER, number, **place)
        states.set_data(CHAT, USER, "a", number, **place)
        with states.get_interactive_data(CHAT, USER, **place) as data:
            data["b"] = number
    for place in places:
        found += [states.get_state(CHAT, USER, **place), states.get_data(CHAT, USER, **place)]
    found += [
        states.delete_state(CHAT, USER, "AbC_1", 7, 1),
        states.reset_data(CHAT, USER, None, 7),
    ]
    found += [states.save(CHAT, USER, {"c": 1}, "AbC_1")]
    for place in places:
        found += [states.get_state(CHAT, USER, **place), states.get_data(CHAT, USER, **place)]
    return found


def ids_that_are_none(states: Any) -> list[Any]:
    states.set_state(CHAT, None, "counted", bot_id=1)
    states.set_state(None, USER, "inline", bot_id=1)
    return [states.get_state(CHAT, None, bot_id=1), states.get_state(None, USER, bot_id=1)]


def falsy_parts(states: Any) -> list[Any]:
    states.set_state(CHAT, USER, "here", "", 0, 0)
    return [states.get_state(CHAT, USER), states.get_state(CHAT, USER, None, 0)]


SCRIPTS = [
    everything_of_nobody,
    a_life,
    objects_and_numbers_as_states,
    a_block,
    a_block_of_nobody,
    a_state_set_in_a_block,
    a_state_set_in_a_block_of_nobody,
    a_state_deleted_in_a_block,
    a_state_deleted_and_set_in_a_block,
    everything_after_a_block,
    blocks_of_two_users,
    places_apart,
    ids_that_are_none,
    falsy_parts,
]

WHO = st.sampled_from([(1, 1, {"bot_id": 1}), (CHAT, 1, {"bot_id": 1}), (CHAT, 1, PLACE)])
NAMES, VALUES = st.sampled_from("ab"), st.integers(0, 9) | st.lists(st.integers(0, 9), max_size=2)
CALLS = st.one_of(
    st.tuples(st.just("set_state"), WHO, st.tuples(st.sampled_from(["x", "y", Order.pizza]))),
    st.tuples(st.just("delete_state"), WHO, st.just(())),
    st.tuples(st.just("get_state"), WHO, st.just(())),
)
CALLS_OUTSIDE = st.one_of(
    CALLS,
    st.tuples(st.just("get_data"), WHO, st.just(())),
    st.tuples(st.just("reset_data"), WHO, st.just(())),
    st.tuples(st.just("set_data"), WHO, st.tuples(NAMES, VALUES)),
    st.tuples(st.just("save"), WHO, st.tuples(st.dictionaries(NAMES, VALUES))),
)
BLOCKS = st.tuples(
    st.just("block"), WHO, st.lists(CALLS | st.tuples(st.just("put"), NAMES, VALUES), max_size=5)
)


def run_program(states: Any, program: list[Any]) -> list[Any]:
    """Run calls and blocks, and return all results and what is there in the end."""
    results = []
    for name, who, arguments in program:
        if name != "block":
            results.append(call(states, name, who, arguments))
            continue
        chat, user, place = who
        with states.get_interactive_data(chat, user, **place) as data:
            results.append(copy.deepcopy(data))
            for inner, *rest in arguments:
                if inner == "put":
                    data[rest[0]] = copy.deepcopy(rest[1])
                else:
                    results.append(call(states, inner, *rest))
    for who in ((1, 1, {"bot_id": 1}), (CHAT, 1, {"bot_id": 1}), (CHAT, 1, PLACE)):
        results += [call(states, "get_state", who, ()), call(states, "get_data", who, ())]
    return results


def call(states: Any, name: str, who: tuple[Any, ...], arguments: tuple[Any, ...]) -> Any:
    chat, user, place = who
    given = copy.deepcopy(arguments) if name != "set_state" else arguments
    return result_of(lambda: getattr(states, name)(chat, user, *given, **place))


class TestLikeTelebots:
    @pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
    def test_results_are_those_of_telebots_memory(
        self, script: Callable[[Any], list[Any]], states: SessionStateStorage
    ) -> None:
        """The same calls return and raise the same, on every storage."""
        assert script(StateMemoryStorage()) == script(states)

    @given(st.lists(CALLS_OUTSIDE | BLOCKS, max_size=12))
    @settings(max_examples=150, deadline=None, derandomize=True)
    def test_results_of_any_program_are_those_of_telebots_memory(self, program: list[Any]) -> None:
        """Calls in any order, inside of blocks and outside, return and leave the same."""
        expected = run_program(StateMemoryStorage(), program)
        assert expected == run_program(SessionStateStorage(MemoryStorage()), program)

    def test_nothing_is_stored_for_who_has_no_state(
        self, storage: Storage, states: SessionStateStorage
    ) -> None:
        """Asking, failing and retrieving without a state leaves no record behind."""
        everything_of_nobody(states)
        a_block_of_nobody(states)
        assert [] == list(storage.keys())

    def test_deleting_a_state_leaves_no_record(
        self, storage: Storage, states: SessionStateStorage
    ) -> None:
        """A record goes with its state, inside of a block and outside."""
        states.set_state(CHAT, USER, "here")
        assert ["state:::" + f":{CHAT}:{USER}"] == list(storage.keys())
        states.delete_state(CHAT, USER)
        a_state_deleted_in_a_block(states)
        assert [] == list(storage.keys())

    def test_a_missing_state_says_what_to_do(self, in_memory: SessionStateStorage) -> None:
        """Adding data where there is no state names the record and the remedy."""
        with pytest.raises(RuntimeError, match=r"for ':::-100:42'.*call set_state first"):
            in_memory.set_data(CHAT, USER, "a", 1)


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

    def test_what_is_given_is_a_copy(self, states: SessionStateStorage) -> None:
        """Changing what `get_data` gave changes nothing stored; in telebot's memory it does."""
        kept = []
        for each in (states, StateMemoryStorage()):
            each.set_state(CHAT, USER, "here")
            each.set_data(CHAT, USER, "a", [1])
            each.get_data(CHAT, USER)["a"].append(2)
            kept.append(each.get_data(CHAT, USER))
        assert [{"a": [1]}, {"a": [1, 2]}] == kept

    def test_what_is_given_in_a_block_is_a_copy(self, in_memory: SessionStateStorage) -> None:
        """Inside a block, too, `get_data` gives what belongs to the caller."""
        in_memory.set_state(CHAT, USER, "here")
        with in_memory.get_interactive_data(CHAT, USER) as data:
            data["a"] = [1]
            in_memory.get_data(CHAT, USER)["a"].append(2)
        assert {"a": [1]} == in_memory.get_data(CHAT, USER)

    def test_what_cannot_come_back_is_refused(self, storage: Storage) -> None:
        """A value that the codec cannot bring back names the record and its place, not itself."""
        states = SessionStateStorage(storage)
        states.set_state(CHAT, USER, "here", bot_id=1)
        with pytest.raises(EncodeError) as raised:
            states.set_data(CHAT, USER, "a", {"b": (n for n in "secret")}, bot_id=1)
        assert ("state:1:::-100:42", "data['a']['b']") == (raised.value.key, raised.value.path)
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
        with ThreadPoolExecutor(1) as others, states.get_interactive_data(CHAT, USER) as data:
            data["b"] = 1
            raised = [type(others.submit(each).exception()) for each in calls]
        assert [LockTimeoutError] * 6 == raised
        assert ("here", {"b": 1}) == (states.get_state(CHAT, USER), states.get_data(CHAT, USER))

    def test_reading_waits_for_nobody(self, storage: Storage) -> None:
        """While a thread has a record in a block, others read it as it was before."""
        states = SessionStateStorage(storage, lock_timeout=0)
        states.set_state(CHAT, USER, "here")
        with ThreadPoolExecutor(1) as others, states.get_interactive_data(CHAT, USER) as data:
            data["a"] = 1
            states.set_state(CHAT, USER, "there")
            state = others.submit(states.get_state, CHAT, USER).result()
            read = others.submit(states.get_data, CHAT, USER).result()
        assert ("here", {}) == (state, read)
        assert ("there", {"a": 1}) == (states.get_state(CHAT, USER), states.get_data(CHAT, USER))

    def test_other_users_are_not_held_up(self, storage: Storage) -> None:
        """While a thread has a record in a block, others have theirs."""
        states = SessionStateStorage(storage, lock_timeout=0)
        with ThreadPoolExecutor(1) as others, states.get_interactive_data(CHAT, USER):
            done = others.submit(states.set_state, CHAT, USER + 1, "here").result()
        assert (True, "here") == (done, states.get_state(CHAT, USER + 1))

    def test_no_increment_is_lost(self, states: SessionStateStorage) -> None:
        """800 increments by 8 threads through `bot.retrieve_data` end at 800, one at a time."""
        crowd = Crowd()
        assert 800 == count(TeleBot(OFFLINE_TOKEN, state_storage=states), 8, 100, crowd)
        assert 1 == crowd.most

    @pytest.mark.parametrize("kind", ["memory", "pickle"])
    def test_telebots_storages_lose_increments(self, kind: str, tmp_path: Path) -> None:
        """A control: where nothing is locked, 8 threads that meet in the block count as one."""
        path = tmp_path / "states" / "states.pkl"
        states = StateMemoryStorage() if kind == "memory" else StatePickleStorage(str(path))
        bot = TeleBot(OFFLINE_TOKEN, state_storage=states)
        assert 10 == count(bot, 8, 10, threading.Barrier(8))

    def test_no_message_is_lost(self, states: SessionStateStorage, bot_api: BotAPI) -> None:
        """Messages that arrive together at a bot with 8 threads are all counted."""
        bot = TeleBot(OFFLINE_TOKEN, state_storage=states, num_threads=8)

        @bot.message_handler()
        def handle(message: Any) -> None:
            with bot.retrieve_data(message.from_user.id) as data:
                data["n"] = data.get("n", 0) + 1

        for user in (1, 2):
            bot.set_state(user, "counting")
        with run_polling(bot) as polling:
            for _ in range(25):
                for user in (1, 2):
                    bot_api.user(user).send("hi")
            polling.wait_idle()
        assert [{"n": 25}, {"n": 25}] == [states.get_data(n, n, bot_id=1) for n in (1, 2)]


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


def count(bot: Any, threads: int, rounds: int, meeting: Any) -> int:
    """Let threads count in the data of one user, and return what it comes to."""

    def increment() -> None:
        for _ in range(rounds):
            with bot.retrieve_data(USER) as data:
                number = data["n"]
                meeting.wait()
                data["n"] = number + 1

    bot.set_state(USER, "counting")
    bot.add_data(USER, n=0)
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(increment) for _ in range(threads)]:
            done.result()
    with bot.retrieve_data(USER) as data:
        total: int = data["n"]
        return total


def retrieve(states: Any) -> None:
    with states.get_interactive_data(CHAT, USER):
        pass


class TestLifetime:
    def test_a_state_is_gone_after_its_lifetime(self, frozen_time: FrozenDateTimeFactory) -> None:
        """A state that nobody uses is gone with its data when its lifetime is over."""
        states = SessionStateStorage(MemoryStorage(), lifetime=60)
        states.set_state(CHAT, USER, "here")
        states.set_data(CHAT, USER, "a", 1)
        frozen_time.tick(59)
        assert ("here", {"a": 1}) == (states.get_state(CHAT, USER), states.get_data(CHAT, USER))
        frozen_time.tick(1)
        assert (None, {}) == (states.get_state(CHAT, USER), states.get_data(CHAT, USER))

    @pytest.mark.parametrize(
        ("use", "expected"),
        [
            (lambda states: states.set_state(CHAT, USER, "here"), "here"),
            (lambda states: states.set_data(CHAT, USER, "a", 1), "here"),
            (lambda states: states.reset_data(CHAT, USER), "here"),
            (retrieve, "here"),
            (lambda states: states.get_state(CHAT, USER), None),
            (lambda states: states.get_data(CHAT, USER), None),
        ],
        ids=["set_state", "set_data", "reset_data", "retrieve", "get_state", "get_data"],
    )
    def test_using_a_state_renews_it(
        self, use: Callable[[Any], object], expected: str, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """A state lives on when it is set, added to or retrieved, and not when it is looked at."""
        states = SessionStateStorage(MemoryStorage(), lifetime=60)
        states.set_state(CHAT, USER, "here")
        frozen_time.tick(30)
        use(states)
        frozen_time.tick(45)
        assert expected == states.get_state(CHAT, USER)


IDS = st.sampled_from([None, 0, 7, -7, 3, 73])
TEXTS = st.none() | st.text(":%37A-", max_size=4)
PLACES = st.tuples(IDS, IDS, TEXTS, IDS, IDS)


class TestKeys:
    @given(PLACES, PLACES)
    @settings(max_examples=500, deadline=None, derandomize=True)
    def test_no_two_places_meet(self, one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
        """Places have one key if and only if they are one, and absent parts are falsy ones."""
        same = normal(one) == normal(other)
        assert same == (place_key(*one) == place_key(*other))

    @given(PLACES)
    @settings(max_examples=200, deadline=None, derandomize=True)
    def test_the_parts_can_be_told(self, place: tuple[Any, ...]) -> None:
        """A key has five parts, from which the place can be worked out."""
        parts = [
            part.replace("%3A", ":").replace("%25", "%") for part in place_key(*place).split(":")
        ]
        chat, user, business, thread, bot = place
        expected = [bot or "", business or "", thread or "", chat, user]
        assert [str(part) for part in expected] == parts

    def test_what_meets_in_telebots_storages_does_not(self, in_memory: SessionStateStorage) -> None:
        """A topic and a business connection of one text are two places; to telebot they are one."""
        found = []
        for each in (in_memory, StateMemoryStorage()):
            each.set_state(CHAT, USER, "topic", message_thread_id=7, bot_id=1)
            each.set_state(CHAT, USER, "business", business_connection_id="7", bot_id=1)
            found.append(each.get_state(CHAT, USER, message_thread_id=7, bot_id=1))
        assert ["topic", "business"] == found

    def test_states_and_sessions_share_a_storage(self, storage: Storage) -> None:
        """Sessions and states of the same user are apart, and so are states of two prefixes."""
        one, other = SessionStateStorage(storage), SessionStateStorage(storage, prefix="other:")
        one.set_state(CHAT, USER, "one")
        other.set_state(CHAT, USER, "other")
        with Sessions(storage=storage).open(USER) as session:
            session.state = "session"
        found = one.get_state(CHAT, USER), other.get_state(CHAT, USER)
        assert ("one", "other", {"state": "session"}) == (
            *found,
            Sessions(storage=storage).peek(USER),
        )


def normal(place: tuple[Any, ...]) -> tuple[Any, ...]:
    chat, user, *optional = place
    return chat, user, *(part or None for part in optional)


class TestFailures:
    def test_a_failed_read_is_no_missing_state(self) -> None:
        """A storage that fails raises, rather than telling that there is no state."""
        states = SessionStateStorage(MemoryStorage(Failing()))
        with pytest.raises(StorageError):
            states.get_state(CHAT, USER)

    def test_a_failed_write_leaves_the_state(self) -> None:
        """A state that cannot be written stays what it was."""
        store = Failing(reads=True)
        states = SessionStateStorage(MemoryStorage(store))
        states.set_state(CHAT, USER, "here")
        store.writes = False
        with pytest.raises(StorageError):
            states.set_state(CHAT, USER, "there")
        assert "here" == states.get_state(CHAT, USER)


class Failing(dict[str, bytes]):
    """A store whose reads, and later its writes, fail."""

    def __init__(self, reads: bool = False) -> None:
        super().__init__()
        self.reads, self.writes = reads, True

    def __getitem__(self, key: str) -> bytes:
        if not self.reads:
            raise OSError
        return super().__getitem__(key)

    def __setitem__(self, key: str, payload: bytes) -> None:
        if not self.writes:
            raise OSError
        super().__setitem__(key, payload)


class Survey(StatesGroup):
    name = State()
    age = State()
    done = State()


def survey(states: StateStorageBase) -> Any:  # noqa: C901 -- a bot is many small handlers
    """A bot that does what telebot's documentation shows for states."""
    bot = TeleBot(OFFLINE_TOKEN, state_storage=states, use_class_middlewares=True)
    bot.add_custom_filter(StateFilter(bot))
    bot.add_custom_filter(IsDigitFilter())
    bot.setup_middleware(StateMiddleware(bot))
    button = InlineKeyboardButton("again", callback_data="again")

    @bot.message_handler(commands=["start"])
    def start(message: Any, state: StateContext) -> None:
        state.set(Survey.name)
        bot.reply_to(message, f"name? ({state.get()})")

    @bot.message_handler(commands=["cancel"], state="*")
    def cancel(message: Any, state: StateContext) -> None:
        bot.reply_to(message, f"cancelled {state.get()}: {state.delete()} {state.delete()}")

    @bot.message_handler(commands=["reset"], state=[Survey.age, Survey.done])
    def reset(message: Any, state_context: StateContext) -> None:
        done = state_context.reset_data()
        with state_context.data() as data:
            bot.reply_to(message, f"reset {state_context.get()}: {done} {data}")

    @bot.message_handler(state=Survey.name)
    def take_name(message: Any, state: StateContext) -> None:
        state.add_data(name=message.text)
        state.set(Survey.age)
        bot.reply_to(message, "age?")

    @bot.message_handler(state=Survey.age, is_digit=True)
    def take_age(message: Any, state: StateContext) -> None:
        with state.data() as data:
            data["age"] = int(message.text)
            data.setdefault("log", []).append(message.text)
            text = f"{data.get('name')}, {data['age']}"
        bot.set_state(
            message.from_user.id,
            Survey.done,
            message.chat.id,
            message_thread_id=message.message_thread_id if message.is_topic_message else None,
        )
        markup = InlineKeyboardMarkup([[button]])
        bot.send_message(message.chat.id, text, reply_markup=markup)

    @bot.message_handler(state="survey over")
    def greet(message: Any, state: StateContext) -> None:
        with bot.retrieve_data(message.from_user.id, message.chat.id) as data:
            bot.reply_to(message, f"over: {data}")

    @bot.message_handler(state=Survey.age)
    def complain(message: Any) -> None:
        bot.reply_to(message, "a number")

    @bot.message_handler()
    def other(message: Any, state: StateContext) -> None:
        bot.reply_to(message, f"no handler for {state.get()}")

    @bot.callback_query_handler(func=None, state=Survey.done)
    def again(query: Any, state: StateContext) -> None:
        user, chat = query.from_user.id, query.message.chat.id
        bot.add_data(user, chat, again=True)
        state.set("survey over")
        bot.send_message(chat, f"again, {bot.get_state(user, chat)}")

    return bot


def take_survey(states: StateStorageBase, api: BotAPI) -> list[str]:
    """What the bot answers two users, in private, in a group and in a topic of a forum."""
    group, forum = api.group(-100), api.group(-200, forum=True)
    one, two = api.user(1), api.user(2)
    with run_polling(survey(states), api) as polling:

        def say(user: Any, text: str, chat: Group | None = None, topic: int | None = None) -> None:
            user.send(text, chat=chat, topic=topic)
            polling.wait_idle()

        for text in ("hi", "/reset", "/cancel", "/start", "Ada", "old", "/reset", "36", "/reset"):
            say(one, text)
        say(one, "/start", group)
        say(two, "Bob", group)
        say(one, "Ada in a group", group)
        say(one, "37", group)
        for topic in (5, 6):
            say(one, "/start", forum, topic)
        say(one, "Ada in a topic", forum, 5)
        say(one, "38", forum, 5)
        say(one, "/cancel", forum, 6)
        say(one, "hi", forum, 5)
        say(one, "hi", forum, 6)
        one.press(next(m for m in api.messages if m.chat_id == 1 and m.buttons), "again")
        polling.wait_idle()
        for text in ("hi", "/cancel", "/cancel", "hi"):
            say(one, text)
    return [message.text for message in api.messages]


ANSWERS = [
    "no handler for None",
    "no handler for None",
    "no handler for None",
    "name? (Survey:name)",
    "age?",
    "a number",
    "reset Survey:age: True {}",
    "None, 36",
    "reset Survey:done: True {}",
    "name? (Survey:name)",
    "no handler for None",
    "age?",
    "Ada in a group, 37",
    "name? (Survey:name)",
    "name? (Survey:name)",
    "age?",
    "Ada in a topic, 38",
    "cancelled Survey:name: True False",
    "no handler for Survey:done",
    "no handler for None",
    "again, survey over",
    "over: {'again': True}",
    "cancelled survey over: True False",
    "no handler for None",
    "no handler for None",
]


class TestBot:
    def test_it_answers_as_on_telebots_storage(self, states: SessionStateStorage) -> None:
        """A bot with filters, contexts and groups of states answers the same on every storage."""
        answers = []
        for each in (StateMemoryStorage(), states):
            with BotAPI() as api:
                answers.append(take_survey(each, api))
        assert [ANSWERS, ANSWERS] == answers

    def test_states_survive_a_restart(self, bot_api: BotAPI, tmp_path: Path) -> None:
        """A new bot on a new storage of the same file goes on where the former was."""
        answers = []
        for text in ("/start", "Ada", "36", "/reset"):
            with SQLiteStorage(tmp_path / "states.db") as storage:
                with run_polling(survey(SessionStateStorage(storage))) as polling:
                    bot_api.user(1).send(text)
                    polling.wait_idle()
                answers.append(bot_api.messages[-1].text)
        assert ["name? (Survey:name)", "age?", "Ada, 36", "reset Survey:done: True {}"] == answers

    def test_a_handler_that_raises_in_its_block_has_changed_nothing(
        self, states: SessionStateStorage, bot_api: BotAPI
    ) -> None:
        """When Telegram refuses the answer inside the block, the message does not count."""
        bot: Any = TeleBot(OFFLINE_TOKEN, state_storage=states)

        @bot.message_handler()
        def handle(message: Any) -> None:
            with bot.retrieve_data(1) as data:
                data["n"] = data.get("n", 0) + 1
                bot.reply_to(message, data["n"])

        bot.set_state(1, "counting")
        with run_polling(bot) as polling:
            for _ in range(3):
                bot_api.fail_next("sendMessage", 403)
                for _ in range(2):
                    bot_api.user(1).send("hi")
                    polling.wait_idle()
            raised = [type(error).__name__ for error in polling.exceptions]
            polling.exceptions.clear()
        assert (["ApiTelegramException"] * 3, ["1", "2", "3"]) == (
            raised,
            [message.text for message in bot_api.messages],
        )

    def test_two_bots_share_a_storage(self, states: SessionStateStorage) -> None:
        """Each bot has its own state of the same user."""
        bots = [TeleBot(f"{number}:token", state_storage=states) for number in (1, 2)]
        for bot in bots:
            bot.set_state(USER, f"of bot {bot.bot_id}")
        assert ["of bot 1", "of bot 2"] == [bot.get_state(USER) for bot in bots]


class TestStates:
    example = "states"

    def test_an_order_is_taken(self, stage: Stage) -> None:
        """The steps come in order, each user has their own, and a wrong answer is asked again."""
        assert ["send /order to order"] == stage.say(1, "/cancel")
        assert ["which pizza, funghi or napoli?"] == stage.say(1, "/order")
        assert ["send /order to order"] == stage.say(2, "funghi")
        assert ["how many?"] == stage.say(1, "funghi")
        numbers = [stage.say(1, text) for text in ("0", "10", "many", "9")]
        assert [["a number from 1 to 9, please"]] * 3 + [["9 funghi, and where to?"]] == numbers
        assert ["9 funghi are on the way to Rome"] == stage.say(1, "Rome")
        assert [] == list(stage.module.storage.keys())

    def test_an_order_is_cancelled(self, stage: Stage) -> None:
        """A cancelled order is forgotten at every step."""
        steps: list[str] = []
        for step in ("/order", "napoli", "2"):
            steps.append(step)
            for each in steps:
                stage.say(1, each)
            assert ["nothing is ordered"] == stage.say(1, "/cancel")
            assert ["send /order to order"] == stage.say(1, "2")

    def test_an_order_begun_again_is_a_new_one(self, stage: Stage) -> None:
        """Ordering in the middle of an order starts from the first question."""
        for text in ("/order", "napoli", "/order"):
            stage.say(1, text)
        assert ["how many?"] == stage.say(1, "funghi")
        assert ["2 funghi, and where to?"] == stage.say(1, "2")

    def test_it_goes_on_after_a_restart(self, tmp_path: Path) -> None:
        """A new process waits for the step that the former had come to."""
        steps = {
            "/order": "which pizza, funghi or napoli?",
            "funghi": "how many?",
            "2": "2 funghi, and where to?",
            "Rome": "2 funghi are on the way to Rome",
        }
        printed = [Terminal("states", f"{step}\n", tmp_path).result() for step in steps]
        assert [(f"{answer}\n", "", 0) for answer in steps.values()] == printed

    def test_it_uses_the_file_that_it_is_told(
        self, monkeypatch: pytest.MonkeyPatch, bot_api: BotAPI, tmp_path: Path
    ) -> None:
        """The orders are in the file that `BOT_DATABASE` names."""
        monkeypatch.setenv("BOT_DATABASE", str(tmp_path / "other.db"))
        with on_stage("states", bot_api) as stage:
            stage.say(1, "/order")
        assert (True, False) == (
            (tmp_path / "other.db").exists(),
            os.path.lexists(tmp_path / "orders.db"),
        )
