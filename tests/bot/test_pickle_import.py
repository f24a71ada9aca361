"""What telebot's storage in a file has written, brought over: whole, and once."""

from __future__ import annotations

import datetime
import os
import pickle
import subprocess
import sys
import tempfile
import uuid
from collections import OrderedDict
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st
from telebot import TeleBot
from telebot.states import State, StatesGroup
from telebot.storage import StateMemoryStorage, StatePickleStorage

from support.bots import (
    OLDER_STATES,
    STATE_PLACES,
    WHEN,
    StatePlace,
    fill_states,
    read_older_states,
    read_states,
    state_record,
    write_pickle,
)
from support.clocks import PATIENCE, examples
from telesession import (
    EncodeError,
    MemoryStorage,
    SessionStateStorage,
    Storage,
    StorageError,
    import_telebot_pickle,
)
from telesession.testing import OFFLINE_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from freezegun.api import FrozenDateTimeFactory


class Order(StatesGroup):
    pizza = State()


class TestPickleFile:
    def test_what_telebot_wrote_is_what_is_read(self, pickle_path: Path, storage: Storage) -> None:
        """Every state in a file of `StatePickleStorage` is there, with its data."""
        theirs = StatePickleStorage(str(pickle_path))
        fill_states(theirs)
        assert len(STATE_PLACES) == import_telebot_pickle(pickle_path, storage)
        assert read_states(theirs) == read_states(SessionStateStorage(storage))
        assert len(STATE_PLACES) == len(list(storage.keys()))

    def test_a_bot_finds_its_states(self, pickle_path: Path, json_memory: MemoryStorage) -> None:
        """A bot that is given the new storage goes on where it was."""
        before = TeleBot(
            OFFLINE_TOKEN, state_storage=StatePickleStorage(str(pickle_path)), threaded=False
        )
        before.set_state(42, "here", -100)
        before.add_data(42, -100, a=1)
        assert 1 == import_telebot_pickle(str(pickle_path), json_memory)
        states = SessionStateStorage(json_memory)
        after: Any = TeleBot(OFFLINE_TOKEN, state_storage=states, threaded=False)
        with after.retrieve_data(42, -100) as data:
            assert ("here", {"a": 1}) == (after.get_state(42, -100), data)

    def test_the_bots_own_options_count(
        self, pickle_path: Path, json_memory: MemoryStorage, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """Imported into a `SessionStateStorage`, states have its prefix and its lifetime."""
        states = SessionStateStorage(MemoryStorage(), prefix="shop:", lifetime=60)
        fill_states(StatePickleStorage(str(pickle_path)), STATE_PLACES[:1])
        assert 1 == import_telebot_pickle(pickle_path, states)
        assert "Group:state0" == states.get_state(42, 42, bot_id=1)
        frozen_time.tick(60)
        assert None is states.get_state(42, 42, bot_id=1)

    @pytest.mark.parametrize("prefix", ["telebot", "my.bot", "a:b", ""])
    @pytest.mark.parametrize("separator", [":", "-", "_", "::", "."])
    def test_other_prefixes_and_separators_are_understood(
        self, prefix: str, separator: str, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """A file that was written with other settings is read with them."""
        theirs = StatePickleStorage(str(pickle_path), prefix=prefix, separator=separator)
        places = [place for place in STATE_PLACES if separator not in "-_" or no_business(place)]
        fill_states(theirs, places)
        count = import_telebot_pickle(pickle_path, json_memory, prefix=prefix, separator=separator)
        assert len(places) == count
        assert read_states(theirs, places) == read_states(SessionStateStorage(json_memory), places)

    @given(
        st.integers(1, 2**40),
        st.integers(-(2**52), 2**52),
        st.integers(-(2**52), 2**52) | st.none(),
        st.none() | st.from_regex(r"[A-Za-z_-][A-Za-z0-9_-]{0,9}", fullmatch=True),
        st.none() | st.integers(0, 2**31),
    )
    @settings(max_examples=examples(200))
    def test_every_key_of_telebots_is_understood(
        self, bot: int, chat: int, user: int | None, business: str | None, thread: int | None
    ) -> None:
        """Whatever parts `TeleBot` joins to a key, they are told apart again."""
        place = {
            "chat_id": chat,
            "user_id": user,
            "business_connection_id": business,
            "message_thread_id": thread,
            "bot_id": bot,
        }
        theirs, storage = StateMemoryStorage(), MemoryStorage()
        fill_states(theirs, [place])
        with file_with(pickle.dumps(theirs.data)) as path:
            assert 1 == import_telebot_pickle(path, storage)
        assert read_states(theirs, [place]) == read_states(SessionStateStorage(storage), [place])

    def test_the_older_format_is_read(self, pickle_path: Path, storage: Storage) -> None:
        """Of a file of telebot 4.22.0, all users of every chat are there, for the bot that asks."""
        write_pickle(
            pickle_path,
            {
                -100: {1: state_record(a=1), 2: state_record(a=2), 3: state_record()},
                42: {42: state_record(a=4)},
            },
        )
        assert 4 == import_telebot_pickle(pickle_path, storage, bot_id=1)
        assert OLDER_STATES == read_older_states(storage)

    def test_the_older_format_needs_the_bot(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """Records that do not say whose they are, are not imported without the bot's id."""
        fill_states(StatePickleStorage(str(pickle_path)), STATE_PLACES[:1])
        content = pickle.loads(pickle_path.read_bytes())
        write_pickle(pickle_path, {**content, -100: {1: state_record()}, -200: {}})
        with pytest.raises(ValueError, match=r"pass bot_id=, the number before the colon"):
            import_telebot_pickle(pickle_path, json_memory)
        assert [] == list(json_memory.keys())

    def test_of_both_formats_the_newer_counts(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """Where a file has a record in both formats, the bot has written the newer one since."""
        theirs = StatePickleStorage(
            str(write_pickle(pickle_path, {42: {42: state_record(), 43: state_record()}, -1: {}}))
        )
        theirs.set_state(42, 42, "there", bot_id=1)
        assert 2 == import_telebot_pickle(pickle_path, json_memory, bot_id=1)
        states = SessionStateStorage(json_memory)
        assert ["there", "here"] == [states.get_state(42, user, bot_id=1) for user in (42, 43)]

    def test_an_empty_file_is_fine(self, pickle_path: Path, json_memory: MemoryStorage) -> None:
        """A file without a state, as telebot makes it, brings nothing."""
        StatePickleStorage(str(pickle_path))
        assert 0 == import_telebot_pickle(pickle_path, json_memory)

    def test_the_file_is_only_read(self, pickle_path: Path, json_memory: MemoryStorage) -> None:
        """The file stays as it is, and nothing comes to be beside it."""
        fill_states(StatePickleStorage(str(pickle_path)))
        before = pickle_path.read_bytes(), pickle_path.stat().st_mtime_ns
        import_telebot_pickle(pickle_path, json_memory)
        assert before == (pickle_path.read_bytes(), pickle_path.stat().st_mtime_ns)
        assert [pickle_path.name] == os.listdir(pickle_path.parent)


def no_business(place: StatePlace) -> bool:
    return "business_connection_id" not in place


@contextmanager
def file_with(content: bytes) -> Iterator[Path]:
    """The path of a file with this content, of which the tests have no other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states.pkl"
        path.write_bytes(content)
        yield path


class TestRepeating:
    def test_a_second_import_changes_nothing(self, pickle_path: Path, storage: Storage) -> None:
        """What the bot did since the first import stays, and nothing is imported again."""
        fill_states(StatePickleStorage(str(pickle_path)))
        import_telebot_pickle(pickle_path, storage)
        states = SessionStateStorage(storage)
        states.set_state(state="later", **STATE_PLACES[0])
        states.set_data(key="later", value=1, **STATE_PLACES[1])
        states.reset_data(**STATE_PLACES[2])
        expected = read_states(states)
        assert (0, expected) == (import_telebot_pickle(pickle_path, storage), read_states(states))

    def test_what_was_deleted_comes_back(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """A second import cannot know what the bot has deleted since the first."""
        fill_states(StatePickleStorage(str(pickle_path)))
        import_telebot_pickle(pickle_path, json_memory)
        SessionStateStorage(json_memory).delete_state(**STATE_PLACES[0])
        assert 1 == import_telebot_pickle(pickle_path, json_memory)

    def test_an_interrupted_import_is_taken_up(self, pickle_path: Path) -> None:
        """After a failure what is there is whole, and another import brings the rest."""
        theirs = StatePickleStorage(str(pickle_path))
        fill_states(theirs)
        store = Filling(room=3)
        storage = MemoryStorage(store)
        with pytest.raises(StorageError):
            import_telebot_pickle(pickle_path, storage)
        assert read_states(theirs)[:3] == read_states(SessionStateStorage(storage))[:3]
        assert 3 == len(store)
        store.room = 100
        assert len(STATE_PLACES) - 3 == import_telebot_pickle(pickle_path, storage)
        assert read_states(theirs) == read_states(SessionStateStorage(storage))

    def test_what_comes_in_between_is_left_alone(self, pickle_path: Path) -> None:
        """A state that the bot sets while it is being imported is the bot's."""
        fill_states(StatePickleStorage(str(pickle_path)), STATE_PLACES[:1])
        storage = Racing(lambda: SessionStateStorage(storage).set_state(42, 42, "now", bot_id=1))
        assert 0 == import_telebot_pickle(pickle_path, storage)
        assert ("now", {}) == read_states(SessionStateStorage(storage), STATE_PLACES[:1])[0]

    def test_a_second_import_renews_no_lifetime(
        self, pickle_path: Path, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """States that are there already expire as if nothing had been imported again."""
        states = SessionStateStorage(MemoryStorage(), lifetime=60)
        fill_states(StatePickleStorage(str(pickle_path)), STATE_PLACES[:1])
        import_telebot_pickle(pickle_path, states)
        frozen_time.tick(59)
        assert 0 == import_telebot_pickle(pickle_path, states)
        frozen_time.tick(1)
        assert None is states.get_state(**STATE_PLACES[0])

    def test_a_value_without_a_place_names_its_record(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """A value that the new storage's codec refuses names the record and where it is in it."""
        zone = datetime.UTC
        write_pickle(
            pickle_path,
            {"telebot:1:1:1": state_record(a=1), "telebot:1:2:2": state_record(tz=[zone])},
        )
        with pytest.raises(EncodeError) as raised:
            import_telebot_pickle(pickle_path, json_memory)
        assert ("1:::2:2", "data[<str>][0]") == (raised.value.key, raised.value.path)
        assert ["@telebot-states:1:::1:1"] == list(json_memory.keys())


class Filling(dict[str, bytes]):
    """A store with room for so many records."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def __setitem__(self, key: str, payload: bytes) -> None:
        if len(self) >= self.room:
            raise OSError
        super().__setitem__(key, payload)


class Racing(MemoryStorage):
    """A storage in which somebody is faster, once."""

    def __init__(self, rival: Callable[[], object]) -> None:
        super().__init__()
        self._rivals = [rival]

    def hold(self, key: str, timeout: float | None = None) -> Any:
        while self._rivals:
            self._rivals.pop()()
        return super().hold(key, timeout)


PLAIN = {
    "str": "text",
    "int": 2**70,
    "float": 2.5,
    "bool": True,
    "None": None,
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"\x00"),
    "complex": 1 + 2j,
    "list": [1, [2, {"a": 3}]],
    "tuple": (1, (2,)),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "dict": {1: 2, (3,): 4},
    "datetime": WHEN,
    "datetime in UTC": WHEN.replace(tzinfo=datetime.UTC),
    "datetime in a zone": WHEN.replace(tzinfo=ZoneInfo("Europe/Rome")),
    "date": WHEN.date(),
    "time": WHEN.time(),
    "timedelta": datetime.timedelta(1, 2, 3),
    "Decimal": Decimal("1.10"),
    "UUID": uuid.UUID(int=7),
}


class TestPlainData:
    @pytest.mark.parametrize("protocol", [3, 4, 5])
    @pytest.mark.parametrize("value", list(PLAIN.values()), ids=list(PLAIN))
    def test_it_is_what_it_was(
        self, value: Any, protocol: int, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """Plain data comes with its types, of whatever Python wrote the file."""
        content = {"telebot:1:42:42": state_record(value=value)}
        pickle_path.write_bytes(pickle.dumps(content, protocol))
        assert 1 == import_telebot_pickle(pickle_path, json_memory)
        found = SessionStateStorage(json_memory).get_data(42, 42, bot_id=1)["value"]
        assert (value, type(value)) == (found, type(found))

    def test_a_state_comes_by_its_name(self, pickle_path: Path, json_memory: MemoryStorage) -> None:
        """`State` objects, which `StatePickleStorage` keeps as they are, come as their names."""
        theirs = StatePickleStorage(str(pickle_path))
        theirs.set_state(42, 42, Order.pizza, bot_id=1)
        theirs.set_data(42, 42, "next", [Order.pizza, {Order.pizza}], bot_id=1)
        import_telebot_pickle(pickle_path, json_memory)
        states = SessionStateStorage(json_memory)
        found = states.get_state(42, 42, bot_id=1), states.get_data(42, 42, bot_id=1)
        assert ("Order:pizza", {"next": ["Order:pizza", {"Order:pizza"}]}) == found

    def test_the_class_of_a_state_need_not_be_there(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """The group of a `State` in the file may be of a program that cannot be imported."""
        program = """
            from telebot.states import State, StatesGroup
            from telebot.storage import StatePickleStorage
            import sys
            class Order(StatesGroup):
                pizza = State()
            StatePickleStorage(sys.argv[1]).set_state(42, 42, Order.pizza, bot_id=1)
            """
        script = pickle_path.with_name("bot_of_somebody.py")
        script.write_text(
            "\n".join(line.strip() for line in program.splitlines()).replace("pizza =", "  pizza =")
        )
        runner = "import sys, bot_of_somebody"
        subprocess.run(
            [sys.executable, "-c", runner, str(pickle_path)],
            check=True,
            cwd=script.parent,
            timeout=2 * PATIENCE,
        )
        import_telebot_pickle(pickle_path, json_memory)
        assert "Order:pizza" == SessionStateStorage(json_memory).get_state(42, 42, bot_id=1)
        assert "bot_of_somebody" not in sys.modules

    def test_an_ordered_dict_comes_as_a_dict(
        self, pickle_path: Path, json_memory: MemoryStorage
    ) -> None:
        """An `OrderedDict` keeps its order and is a dict."""
        write_pickle(pickle_path, {"telebot:1:42:42": state_record(value=OrderedDict(b=1, a=2))})
        import_telebot_pickle(pickle_path, json_memory)
        found = SessionStateStorage(json_memory).get_data(42, 42, bot_id=1)["value"]
        assert (dict, [("b", 1), ("a", 2)]) == (type(found), list(found.items()))
