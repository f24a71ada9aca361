"""telebot's states on our storages: their interface, keys, lifetime and failures."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st
from telebot.storage import StateMemoryStorage, StateStorageBase

from support.bots import CHAT, USER
from support.clocks import examples
from support.storages import SpyStore
from telesession import MemoryStorage, Sessions, SessionStateStorage, Storage, StorageError
from telesession.bot.state_records import place_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from freezegun.api import FrozenDateTimeFactory


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

    def test_it_is_a_storage_of_telebots(self, states_in_memory: SessionStateStorage) -> None:
        """telebot may ask whether it is one of its storages."""
        assert isinstance(states_in_memory, StateStorageBase)

    def test_repr_shows_no_state(self, states_in_memory: SessionStateStorage) -> None:
        """Its text says where the states are, and nothing of what they are."""
        states_in_memory.set_state(CHAT, USER, "secret")
        shown = "<SessionStateStorage '@telebot-states:' in <MemoryStorage in a dict>>"
        assert (shown, shown) == (repr(states_in_memory), str(states_in_memory))

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"storage": None}, TypeError),
            ({"storage": {}}, TypeError),
            ({"storage": StateMemoryStorage()}, TypeError),
            ({"lifetime": 0}, ValueError),
            ({"lifetime": "1"}, TypeError),
            ({"lock_timeout": -1}, ValueError),
            ({"prefix": 5}, TypeError),
            ({"prefix": "@states:"}, ValueError),
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


IDS = st.sampled_from([None, 0, 7, -7, 3, 73])
TEXTS = st.none() | st.text(":%37A-", max_size=4)
PLACES = st.tuples(IDS, IDS, TEXTS, IDS, IDS)


class TestKeys:
    @given(PLACES, PLACES)
    @settings(max_examples=examples(500))
    def test_no_two_places_meet(self, one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
        """Places have one key if and only if they are one, and absent parts are falsy ones."""
        same = normal(one) == normal(other)
        assert same == (place_key(*one) == place_key(*other))

    @given(PLACES)
    @settings(max_examples=examples(200))
    def test_the_parts_can_be_told(self, place: tuple[Any, ...]) -> None:
        """A key has five parts, from which the place can be worked out."""
        parts = [
            part.replace("%3A", ":").replace("%25", "%") for part in place_key(*place).split(":")
        ]
        chat, user, business, thread, bot = place
        expected = [bot or "", business or "", thread or "", chat, user]
        assert [str(part) for part in expected] == parts

    def test_what_meets_in_telebots_storages_does_not(
        self, states_in_memory: SessionStateStorage
    ) -> None:
        """A topic and a business connection of one text are two places; to telebot they are one."""
        found = []
        for each in (states_in_memory, StateMemoryStorage()):
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


class TestFailures:
    def test_a_failed_read_is_no_missing_state(self) -> None:
        """A storage that fails raises, rather than telling that there is no state."""
        store = SpyStore()
        store.failing = {"read"}
        states = SessionStateStorage(MemoryStorage(store))
        with pytest.raises(StorageError):
            states.get_state(CHAT, USER)

    def test_a_failed_write_leaves_the_state(self) -> None:
        """A state that cannot be written stays what it was."""
        store = SpyStore()
        states = SessionStateStorage(MemoryStorage(store))
        states.set_state(CHAT, USER, "here")
        store.failing = {"write"}
        with pytest.raises(StorageError):
            states.set_state(CHAT, USER, "there")
        assert "here" == states.get_state(CHAT, USER)
