"""What telebot's own storage of states returns and leaves, returned and left by ours."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from telebot.states import State, StatesGroup
from telebot.storage import StateMemoryStorage

from support.bots import CHAT, USER
from support.clocks import examples
from telesession import MemoryStorage, SessionStateStorage, Storage

if TYPE_CHECKING:
    from collections.abc import Callable


class Order(StatesGroup):
    pizza = State()
    number = State()


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
    @settings(max_examples=examples(150))
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
        assert ["@telebot-states::::" + f"{CHAT}:{USER}"] == list(storage.keys())
        states.delete_state(CHAT, USER)
        a_state_deleted_in_a_block(states)
        assert [] == list(storage.keys())

    def test_a_missing_state_says_what_to_do(self, states_in_memory: SessionStateStorage) -> None:
        """Adding data where there is no state names the record and the remedy."""
        with pytest.raises(RuntimeError, match=r"for ':::-100:42'.*call set_state first"):
            states_in_memory.set_data(CHAT, USER, "a", 1)
