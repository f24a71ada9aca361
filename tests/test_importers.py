"""What telebot's storages of states have written, brought over: whole, safely, and once."""

from __future__ import annotations

import datetime
import enum
import json
import os
import pickle
import subprocess
import sys
import tempfile
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import redis
from hypothesis import given, settings, strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis_server import Monitor, Server
from telebot import TeleBot
from telebot.states import State, StatesGroup
from telebot.storage import StateMemoryStorage, StatePickleStorage, StateRedisStorage

from telesession import (
    EncodeError,
    JSONCodec,
    MemoryStorage,
    RedisStorage,
    SessionError,
    SessionStateStorage,
    Storage,
    StorageError,
    import_telebot_pickle,
    import_telebot_redis,
)
from telesession.bot import plain_pickle
from telesession.testing import OFFLINE_TOKEN

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory

Place = dict[str, Any]

# What telebot tells apart, and what might be mistaken for something else.
PLACES: list[Place] = [
    {"chat_id": 42, "user_id": 42, "bot_id": 1},
    {"chat_id": -100, "user_id": 42, "bot_id": 1},
    {"chat_id": -100, "user_id": 43, "bot_id": 1},
    {"chat_id": -100, "user_id": 42, "bot_id": 2},
    {"chat_id": -100, "user_id": 42, "message_thread_id": 7, "bot_id": 1},
    {"chat_id": 42, "user_id": 42, "business_connection_id": "AbC_1-x", "bot_id": 1},
    {
        "chat_id": -100,
        "user_id": 42,
        "business_connection_id": "AbC_1-x",
        "message_thread_id": 7,
        "bot_id": 1,
    },
    {"chat_id": 42, "user_id": 42},
    {"chat_id": 42, "user_id": 42, "business_connection_id": "AbC_1-x"},
    {"chat_id": -100, "user_id": None, "bot_id": 1},
]


class Order(StatesGroup):
    pizza = State()


class Size(enum.Enum):
    BIG = 1


@pytest.fixture
def client(server: Server) -> Iterator[redis.Redis]:
    """A client of the empty server."""
    with server.client() as client:
        yield client


@pytest.fixture
def memory() -> MemoryStorage:
    """An empty storage with the codec of those that outlive a process."""
    return MemoryStorage(codec=JSONCodec())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file of telebot's will be."""
    (tmp_path / ".state-save").mkdir()
    return tmp_path / ".state-save" / "states.pkl"


def fill(states: Any, places: list[Place] = PLACES) -> None:
    """Let one of telebot's storages write a state and data for each place."""
    for number, place in enumerate(places):
        states.set_state(state=f"Group:state{number}", **place)
        states.set_data(key="number", value=number, **place)
        states.set_data(key="nested", value={"list": [number, None, True, 2.5]}, **place)


def read(states: Any, places: list[Place] = PLACES) -> list[Any]:
    """The state and the data of each place."""
    return [(states.get_state(**place), states.get_data(**place)) for place in places]


def write(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def record(**data: Any) -> dict[str, Any]:
    return {"state": "here", "data": data}


class TestPickleFile:
    def test_what_telebot_wrote_is_what_is_read(self, path: Path, storage: Storage) -> None:
        """Every state in a file of `StatePickleStorage` is there, with its data."""
        theirs = StatePickleStorage(str(path))
        fill(theirs)
        assert len(PLACES) == import_telebot_pickle(path, storage)
        assert read(theirs) == read(SessionStateStorage(storage))
        assert len(PLACES) == len(list(storage.keys()))

    def test_a_bot_finds_its_states(self, path: Path, memory: MemoryStorage) -> None:
        """A bot that is given the new storage goes on where it was."""
        before = TeleBot(OFFLINE_TOKEN, state_storage=StatePickleStorage(str(path)))
        before.set_state(42, "here", -100)
        before.add_data(42, -100, a=1)
        assert 1 == import_telebot_pickle(str(path), memory)
        after: Any = TeleBot(OFFLINE_TOKEN, state_storage=SessionStateStorage(memory))
        with after.retrieve_data(42, -100) as data:
            assert ("here", {"a": 1}) == (after.get_state(42, -100), data)

    def test_the_bots_own_options_count(
        self, path: Path, memory: MemoryStorage, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """Imported into a `SessionStateStorage`, states have its prefix and its lifetime."""
        states = SessionStateStorage(MemoryStorage(), prefix="shop:", lifetime=60)
        fill(StatePickleStorage(str(path)), PLACES[:1])
        assert 1 == import_telebot_pickle(path, states)
        assert "Group:state0" == states.get_state(42, 42, bot_id=1)
        frozen_time.tick(60)
        assert None is states.get_state(42, 42, bot_id=1)

    @pytest.mark.parametrize("prefix", ["telebot", "my.bot", "a:b", ""])
    @pytest.mark.parametrize("separator", [":", "-", "_", "::", "."])
    def test_other_prefixes_and_separators_are_understood(
        self, prefix: str, separator: str, path: Path, memory: MemoryStorage
    ) -> None:
        """A file that was written with other settings is read with them."""
        theirs = StatePickleStorage(str(path), prefix=prefix, separator=separator)
        places = [place for place in PLACES if separator not in "-_" or no_business(place)]
        fill(theirs, places)
        count = import_telebot_pickle(path, memory, prefix=prefix, separator=separator)
        assert len(places) == count
        assert read(theirs, places) == read(SessionStateStorage(memory), places)

    @given(
        st.integers(1, 2**40),
        st.integers(-(2**52), 2**52),
        st.integers(-(2**52), 2**52) | st.none(),
        st.none() | st.from_regex(r"[A-Za-z_-][A-Za-z0-9_-]{0,9}", fullmatch=True),
        st.none() | st.integers(0, 2**31),
    )
    @settings(max_examples=200, deadline=None, derandomize=True)
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
        fill(theirs, [place])
        with file_with(pickle.dumps(theirs.data)) as path:
            assert 1 == import_telebot_pickle(path, storage)
        assert read(theirs, [place]) == read(SessionStateStorage(storage), [place])

    def test_the_older_format_is_read(self, path: Path, storage: Storage) -> None:
        """Of a file of telebot 4.22.0, all users of every chat are there, for the bot that asks."""
        write(path, {-100: {1: record(a=1), 2: record(a=2), 3: record()}, 42: {42: record(a=4)}})
        assert 4 == import_telebot_pickle(path, storage, bot_id=1)
        bot: Any = TeleBot(OFFLINE_TOKEN, state_storage=SessionStateStorage(storage))
        found = []
        for user, chat in [(1, -100), (2, -100), (3, -100), (42, None)]:
            with bot.retrieve_data(user, chat) as data:
                found.append((bot.get_state(user, chat), data))
        assert [("here", data) for data in ({"a": 1}, {"a": 2}, {}, {"a": 4})] == found

    def test_the_older_format_needs_the_bot(self, path: Path, memory: MemoryStorage) -> None:
        """Records that do not say whose they are, are not imported without the bot's id."""
        fill(StatePickleStorage(str(path)), PLACES[:1])
        content = pickle.loads(path.read_bytes())
        write(path, {**content, -100: {1: record()}, -200: {}})
        with pytest.raises(ValueError, match=r"pass bot_id=, the number before the colon"):
            import_telebot_pickle(path, memory)
        assert [] == list(memory.keys())

    def test_of_both_formats_the_newer_counts(self, path: Path, memory: MemoryStorage) -> None:
        """Where a file has a record in both formats, the bot has written the newer one since."""
        theirs = StatePickleStorage(str(write(path, {42: {42: record(), 43: record()}, -1: {}})))
        theirs.set_state(42, 42, "there", bot_id=1)
        assert 2 == import_telebot_pickle(path, memory, bot_id=1)
        states = SessionStateStorage(memory)
        assert ["there", "here"] == [states.get_state(42, user, bot_id=1) for user in (42, 43)]

    def test_an_empty_file_is_fine(self, path: Path, memory: MemoryStorage) -> None:
        """A file without a state, as telebot makes it, brings nothing."""
        StatePickleStorage(str(path))
        assert 0 == import_telebot_pickle(path, memory)

    def test_the_file_is_only_read(self, path: Path, memory: MemoryStorage) -> None:
        """The file stays as it is, and nothing comes to be beside it."""
        fill(StatePickleStorage(str(path)))
        before = path.read_bytes(), path.stat().st_mtime_ns
        import_telebot_pickle(path, memory)
        assert before == (path.read_bytes(), path.stat().st_mtime_ns)
        assert [path.name] == os.listdir(path.parent)


def no_business(place: Place) -> bool:
    return "business_connection_id" not in place


@contextmanager
def file_with(content: bytes) -> Iterator[Path]:
    """The path of a file with this content, of which the tests have no other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states.pkl"
        path.write_bytes(content)
        yield path


class TestRepeating:
    def test_a_second_import_changes_nothing(self, path: Path, storage: Storage) -> None:
        """What the bot did since the first import stays, and nothing is imported again."""
        fill(StatePickleStorage(str(path)))
        import_telebot_pickle(path, storage)
        states = SessionStateStorage(storage)
        states.set_state(state="later", **PLACES[0])
        states.set_data(key="later", value=1, **PLACES[1])
        states.reset_data(**PLACES[2])
        expected = read(states)
        assert (0, expected) == (import_telebot_pickle(path, storage), read(states))

    def test_what_was_deleted_comes_back(self, path: Path, memory: MemoryStorage) -> None:
        """A second import cannot know what the bot has deleted since the first."""
        fill(StatePickleStorage(str(path)))
        import_telebot_pickle(path, memory)
        SessionStateStorage(memory).delete_state(**PLACES[0])
        assert 1 == import_telebot_pickle(path, memory)

    def test_an_interrupted_import_is_taken_up(self, path: Path) -> None:
        """After a failure what is there is whole, and another import brings the rest."""
        theirs = StatePickleStorage(str(path))
        fill(theirs)
        store = Filling(room=3)
        storage = MemoryStorage(store)
        with pytest.raises(StorageError):
            import_telebot_pickle(path, storage)
        assert read(theirs)[:3] == read(SessionStateStorage(storage))[:3]
        assert 3 == len(store)
        store.room = 100
        assert len(PLACES) - 3 == import_telebot_pickle(path, storage)
        assert read(theirs) == read(SessionStateStorage(storage))

    def test_what_comes_in_between_is_left_alone(self, path: Path) -> None:
        """A state that the bot sets while it is being imported is the bot's."""
        fill(StatePickleStorage(str(path)), PLACES[:1])
        storage = Racing(lambda: SessionStateStorage(storage).set_state(42, 42, "now", bot_id=1))
        assert 0 == import_telebot_pickle(path, storage)
        assert ("now", {}) == read(SessionStateStorage(storage), PLACES[:1])[0]

    def test_a_second_import_renews_no_lifetime(
        self, path: Path, frozen_time: FrozenDateTimeFactory
    ) -> None:
        """States that are there already expire as if nothing had been imported again."""
        states = SessionStateStorage(MemoryStorage(), lifetime=60)
        fill(StatePickleStorage(str(path)), PLACES[:1])
        import_telebot_pickle(path, states)
        frozen_time.tick(59)
        assert 0 == import_telebot_pickle(path, states)
        frozen_time.tick(1)
        assert None is states.get_state(**PLACES[0])

    def test_a_value_without_a_place_names_its_record(
        self, path: Path, memory: MemoryStorage
    ) -> None:
        """A value that the new storage's codec refuses names the record and where it is in it."""
        zone = datetime.UTC
        write(path, {"telebot:1:1:1": record(a=1), "telebot:1:2:2": record(tz=[zone])})
        with pytest.raises(EncodeError) as raised:
            import_telebot_pickle(path, memory)
        assert ("state:1:::2:2", "data['tz'][0]") == (raised.value.key, raised.value.path)
        assert ["state:1:::1:1"] == list(memory.keys())


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


WHEN = datetime.datetime(2024, 2, 29, 12, 30, 15, 5)
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
        self, value: Any, protocol: int, path: Path, memory: MemoryStorage
    ) -> None:
        """Plain data comes with its types, of whatever Python wrote the file."""
        content = {"telebot:1:42:42": record(value=value)}
        path.write_bytes(pickle.dumps(content, protocol))
        assert 1 == import_telebot_pickle(path, memory)
        found = SessionStateStorage(memory).get_data(42, 42, bot_id=1)["value"]
        assert (value, type(value)) == (found, type(found))

    def test_a_state_comes_by_its_name(self, path: Path, memory: MemoryStorage) -> None:
        """`State` objects, which `StatePickleStorage` keeps as they are, come as their names."""
        theirs = StatePickleStorage(str(path))
        theirs.set_state(42, 42, Order.pizza, bot_id=1)
        theirs.set_data(42, 42, "next", [Order.pizza, {Order.pizza}], bot_id=1)
        import_telebot_pickle(path, memory)
        states = SessionStateStorage(memory)
        found = states.get_state(42, 42, bot_id=1), states.get_data(42, 42, bot_id=1)
        assert ("Order:pizza", {"next": ["Order:pizza", {"Order:pizza"}]}) == found

    def test_the_class_of_a_state_need_not_be_there(
        self, path: Path, memory: MemoryStorage
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
        script = path.with_name("bot_of_somebody.py")
        script.write_text(
            "\n".join(line.strip() for line in program.splitlines()).replace("pizza =", "  pizza =")
        )
        runner = "import sys, bot_of_somebody"
        subprocess.run(
            [sys.executable, "-c", runner, str(path)], check=True, cwd=script.parent, timeout=60
        )
        import_telebot_pickle(path, memory)
        assert "Order:pizza" == SessionStateStorage(memory).get_state(42, 42, bot_id=1)
        assert "bot_of_somebody" not in sys.modules

    def test_an_ordered_dict_comes_as_a_dict(self, path: Path, memory: MemoryStorage) -> None:
        """An `OrderedDict` keeps its order and is a dict."""
        write(path, {"telebot:1:42:42": record(value=OrderedDict(b=1, a=2))})
        import_telebot_pickle(path, memory)
        found = SessionStateStorage(memory).get_data(42, 42, bot_id=1)["value"]
        assert (dict, [("b", 1), ("a", 2)]) == (type(found), list(found.items()))


class Running:
    """Pickles as a call of something."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Plain:
    """An object of somebody's class."""


def touching(path: Path) -> dict[str, Any]:
    """Values that would make a file when loaded, by the name that is refused."""
    return {
        "posix.system": Running(os.system, f"touch {path}"),
        "builtins.exec": Running(exec, f"open({str(path)!r}, 'w')"),
        "builtins.eval": Running(eval, f"open({str(path)!r}, 'w')"),
        # Where Python 3.13 says that it is.
        f"{open.__module__}.open": Running(open, str(path), "w"),
        "subprocess.Popen": Running(subprocess.Popen, ["touch", str(path)]),
        "builtins.getattr": Running(getattr, os, "system"),
    }


class TestMalice:
    @pytest.mark.parametrize("name", list(touching(Path())))
    @pytest.mark.parametrize("where", ["value", "key", "state", "whole"])
    def test_nothing_is_run(
        self, name: str, where: str, path: Path, tmp_path: Path, memory: MemoryStorage
    ) -> None:
        """A file that calls a function when loaded is refused, names it, and runs nothing."""
        target = tmp_path / "touched"
        bad = touching(target)[name]
        if name == "builtins.getattr":
            # A module cannot be pickled; a class can, and its methods are as good.
            bad = Running(getattr, datetime.datetime, "now")
        whole = {
            "value": {"telebot:1:1:1": record(), "telebot:1:42:42": record(value=bad)},
            "key": {"telebot:1:42:42": record(), bad: record()},
            "state": {"telebot:1:42:42": {"state": bad, "data": {}}},
            "whole": bad,
        }[where]
        write(path, whole)
        with pytest.raises(SessionError, match=f"asks for {name}, .* nothing of it was run"):
            import_telebot_pickle(path, memory)
        assert (False, []) == (target.exists(), list(memory.keys()))

    def test_the_attack_is_real(self, path: Path, tmp_path: Path) -> None:
        """A control: telebot's own storage runs what such a file says."""
        target = tmp_path / "touched"
        write(path, {"telebot:1:42:42": record(value=touching(target)["posix.system"])})
        StatePickleStorage(str(path)).get_state(42, 42, bot_id=1)
        assert target.exists() is True

    @pytest.mark.parametrize(
        ("value", "name"),
        [
            (Plain(), f"{__name__}.Plain"),
            (Size.BIG, f"{__name__}.Size"),
            (Counter("aa"), "collections.Counter"),
            (Plain, f"{__name__}.Plain"),
            ([{"a": (Plain,)}], f"{__name__}.Plain"),
            (datetime.date, "date"),
            (os.system, "posix.system"),
            (State, "telebot.states.State"),
            (getattr, "builtins.getattr"),
        ],
        ids=repr,
    )
    def test_other_classes_are_refused_by_name(
        self, value: Any, name: str, path: Path, memory: MemoryStorage
    ) -> None:
        """What is no plain data is named, with what to do, and nothing is imported."""
        write(path, {"telebot:1:1:1": record(), "telebot:1:42:42": record(value=value)})
        with pytest.raises(SessionError, match=rf"asks for {name}, which is no plain data.*again"):
            import_telebot_pickle(path, memory)
        assert [] == list(memory.keys())

    @pytest.mark.parametrize(
        "name",
        [
            "datetime datetime",
            "decimal Decimal",
            "uuid UUID",
            "zoneinfo ZoneInfo",
            "builtins set",
            "telebot.states State",
            "collections OrderedDict",
            "builtins getattr",
        ],
    )
    @pytest.mark.parametrize(
        "state", [b"(dVchanged\nI1\ns", b"(N(dVchanged\nI1\nst"], ids=["dict", "slots"]
    )
    def test_what_is_admitted_cannot_be_changed(
        self, name: str, state: bytes, path: Path, memory: MemoryStorage
    ) -> None:
        """A file that sets attributes of a class sets none of those that the program uses."""
        path.write_bytes(b"\x80\x03c" + name.replace(" ", "\n").encode() + b"\n" + state + b"b.")
        with pytest.raises(SessionError):
            import_telebot_pickle(path, memory)
        ours = [value for value in vars(plain_pickle).values() if callable(value)]
        used = [datetime.datetime, Decimal, uuid.UUID, ZoneInfo, set, State, OrderedDict, getattr]
        assert [] == [kind for kind in ours + used if hasattr(kind, "changed")]


GOOD = pickle.dumps({"telebot:1:42:42": record(when=WHEN), "telebot:1:1:1": record(a=[1])})


class TestBadFiles:
    def test_a_truncated_file_is_refused(self, path: Path, memory: MemoryStorage) -> None:
        """A file that ends too early, wherever, is refused as a whole."""
        for length in range(len(GOOD)):
            path.write_bytes(GOOD[:length])
            with pytest.raises(SessionError, match=r"^could not import states from .*damaged"):
                import_telebot_pickle(path, memory)
        assert [] == list(memory.keys())
        path.write_bytes(GOOD)
        assert 2 == import_telebot_pickle(path, memory)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"no pickle", "damaged or no pickle"),
            (b'{"telebot:1:42:42": {"state": "here", "data": {}}}', "damaged or no pickle"),
            (b"SQLite format 3\x00", "damaged or no pickle"),
            (pickle.dumps([1]), "holds a list, and no states"),
            (pickle.dumps(None), "holds a NoneType, and no states"),
            (pickle.dumps({"telebot:1:42:42": "secret"}), "chat 42, user 42 it has no state"),
            (pickle.dumps({"telebot:1:42:42": {"state": "secret"}}), "it has no state with its"),
            (pickle.dumps({"telebot:1:42:42": {"data": {}}}), "it has no state with its data"),
            (
                pickle.dumps({"telebot:1:42:42": {"state": "x", "data": ["secret"]}}),
                "it has no state with its data",
            ),
            (pickle.dumps({42: {"state": "secret", "data": {}}}), "user state it has no state"),
            (pickle.dumps({42: "secret"}), "has as 42 is no chat with its users"),
            (pickle.dumps({(1, 2): {}}), r"has as \(1, 2\) is no chat with its users"),
            (pickle.dumps({"mybot:1:42:42": record()}), "does not begin with 'telebot:'.* pass"),
            (pickle.dumps({"telebot:1:42": record(), "telebot:1": record()}), "end with a chat"),
            (pickle.dumps({"telebot:1:42:@me": record()}), "end with a chat and a user"),
            (pickle.dumps({"telebot42:42": record()}), "does not begin with 'telebot:'"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_anything_else_is_refused(
        self, content: bytes, reason: str, path: Path, memory: MemoryStorage
    ) -> None:
        """A file of something else says what it is, shows no value, and imports nothing."""
        path.write_bytes(content)
        with pytest.raises(SessionError, match=reason) as raised:
            import_telebot_pickle(path, memory, bot_id=1)
        assert (True, False, []) == (
            str(raised.value).startswith(f"could not import states from {str(path)!r}: "),
            "secret" in str(raised.value),
            list(memory.keys()),
        )

    @pytest.mark.parametrize("depth", [2000, 200_000])
    def test_data_without_a_bottom_is_refused(
        self, depth: int, path: Path, memory: MemoryStorage
    ) -> None:
        """Data that is nested without measure is refused, and does not end the program."""
        path.write_bytes(b"\x80\x03" + b"(" * depth + b"t" * depth + b".")
        with pytest.raises(SessionError):
            import_telebot_pickle(path, memory)
        assert [] == list(memory.keys())

    def test_data_that_holds_itself_is_refused(self, path: Path, memory: MemoryStorage) -> None:
        """A list that is in itself is refused."""
        endless: list[Any] = []
        endless.append(endless)
        write(path, {"telebot:1:42:42": record(endless=endless)})
        with pytest.raises(SessionError, match="RecursionError"):
            import_telebot_pickle(path, memory)
        assert [] == list(memory.keys())

    def test_a_missing_file_says_so(self, path: Path, memory: MemoryStorage) -> None:
        """Where there is no file, the error says which one, and makes none."""
        with pytest.raises(SessionError, match=r"FileNotFoundError; pass the file_path") as raised:
            import_telebot_pickle(path, memory)
        assert (FileNotFoundError, False) == (type(raised.value.__cause__), path.exists())

    def test_a_folder_is_no_file(self, path: Path, memory: MemoryStorage) -> None:
        """The folder of the file, given instead of it, is refused."""
        with pytest.raises(SessionError, match="IsADirectoryError"):
            import_telebot_pickle(path.parent, memory)

    def test_an_empty_separator_is_refused(self, path: Path, memory: MemoryStorage) -> None:
        """Without a separator nobody can tell the parts of a key."""
        with pytest.raises(ValueError, match="separator must not be empty"):
            import_telebot_pickle(path, memory, separator="")


@pytest.fixture(params=[False, True], ids=["bytes", "decode_responses"])
def reader(request: pytest.FixtureRequest, server: Server) -> Iterator[redis.Redis]:
    """A client to import with, either way."""
    with server.client(decode_responses=request.param) as client:
        yield client


@pytest.fixture
def theirs(client: redis.Redis) -> StateRedisStorage:
    """telebot's storage on the empty server."""
    return StateRedisStorage(connection_pool=client.connection_pool)


OLDER = {-100: {"1": record(a=1), "2": record(a=2), "3": record()}, 42: {"42": record(a=4)}, 7: {}}


def write_older(client: redis.Redis, prefix: str = "telebot_") -> None:
    """What telebot 4.22.0 keeps on a server."""
    for chat, users in OLDER.items():
        client.set(f"{prefix}{chat}", json.dumps(users))


class Vanishing(redis.Redis):
    """A client of a server on which what was listed is deleted at once."""

    def scan_iter(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        names = list(super().scan_iter(*arguments, **options))
        self.delete(*names)
        return iter(names)


class TestRedisServer:
    def test_what_telebot_wrote_is_what_is_read(
        self, theirs: StateRedisStorage, reader: redis.Redis, memory: MemoryStorage
    ) -> None:
        """Every state on the server is there, with its data, with replies decoded or not."""
        fill(theirs)
        assert len(PLACES) == import_telebot_redis(reader, memory)
        assert read(theirs) == read(SessionStateStorage(memory))
        assert 0 == import_telebot_redis(reader, memory)

    def test_the_new_storage_may_be_on_the_same_server(
        self, theirs: StateRedisStorage, reader: redis.Redis, server: Server
    ) -> None:
        """Records that go to the server that they come from do not get in each other's way."""
        fill(theirs)
        write_older(reader)
        with RedisStorage(server.url) as storage:
            counts = [import_telebot_redis(reader, storage, bot_id=1) for _ in range(2)]
            assert [len(PLACES) + 3, 0] == counts
            assert read(theirs) == read(SessionStateStorage(storage))

    def test_the_older_format_is_read(self, client: redis.Redis, reader: redis.Redis) -> None:
        """Of what telebot 4.22.0 left, all users of every chat are there, for the bot that asks."""
        write_older(client)
        storage = MemoryStorage()
        assert 4 == import_telebot_redis(reader, storage, bot_id=1)
        bot: Any = TeleBot(OFFLINE_TOKEN, state_storage=SessionStateStorage(storage))
        found = []
        for user, chat in [(1, -100), (2, -100), (3, -100), (42, None)]:
            with bot.retrieve_data(user, chat) as data:
                found.append((bot.get_state(user, chat), data))
        assert [("here", data) for data in ({"a": 1}, {"a": 2}, {}, {"a": 4})] == found

    def test_telebots_own_migration_loses_users(
        self, client: redis.Redis, theirs: StateRedisStorage
    ) -> None:
        """A control: telebot brings over the first user of a chat and deletes the others."""
        client.set("telebot_-100", json.dumps(OLDER[-100]))
        theirs.migrate_format(bot_id=1)
        found = [theirs.get_state(-100, user, bot_id=1) for user in (1, 2, 3)]
        assert (["here", None, None], [b"telebot:1:-100:1"]) == (found, client.keys())

    def test_the_older_format_needs_the_bot(
        self, client: redis.Redis, theirs: StateRedisStorage, memory: MemoryStorage
    ) -> None:
        """Where records do not say whose they are, nothing is imported without the bot's id."""
        fill(theirs)
        write_older(client)
        with pytest.raises(ValueError, match=r"pass bot_id=, the number before the colon"):
            import_telebot_redis(client, memory)
        assert [] == list(memory.keys())

    def test_of_both_formats_the_newer_counts(
        self, client: redis.Redis, theirs: StateRedisStorage, memory: MemoryStorage
    ) -> None:
        """Where the server has a record in both formats, the newer one is imported."""
        write_older(client)
        theirs.set_state(-100, 1, "there", bot_id=1)
        assert 4 == import_telebot_redis(client, memory, bot_id=1)
        states = SessionStateStorage(memory)
        found = [states.get_state(-100, user, bot_id=1) for user in (1, 2)]
        assert ["there", "here"] == found

    @pytest.mark.parametrize("prefix", ["my.bot", "b[o]t*?\\", "a:b", "telebot_"])
    def test_other_settings_are_understood(
        self, prefix: str, client: redis.Redis, reader: redis.Redis, memory: MemoryStorage
    ) -> None:
        """Records of other prefixes and separators are read with them, and with nothing else."""
        pool = client.connection_pool
        theirs = StateRedisStorage(connection_pool=pool, prefix=prefix, separator="/")
        fill(theirs)
        fill(StateRedisStorage(connection_pool=pool, prefix="botx", separator="/"))
        write_older(client, prefix)
        options = {"prefix": prefix, "separator": "/", "older_prefix": prefix}
        assert len(PLACES) + 3 == import_telebot_redis(reader, memory, bot_id=1, **options)
        assert read(theirs) == read(SessionStateStorage(memory))

    def test_what_is_not_telebots_is_not_read(
        self, client: redis.Redis, theirs: StateRedisStorage, memory: MemoryStorage
    ) -> None:
        """Keys that telebot would not name so are left alone, whatever they are."""
        fill(theirs, PLACES[:2])
        for name in ("telebot:lock", "telebot:1:42:x", "telebot_cache", "telebot_1_2", "telebot"):
            client.set(name, "something")
        client.set(b"telebot:\xff", "something")
        client.hset("telebot:5:5", "other", "field")
        assert 2 == import_telebot_redis(client, memory)

    def test_data_without_a_state_comes(
        self, theirs: StateRedisStorage, memory: MemoryStorage
    ) -> None:
        """A record without a state, which telebot makes of a reset, has none afterwards either."""
        theirs.reset_data(42, 42, bot_id=1)
        theirs.save(-100, 42, {"a": 1}, bot_id=1)
        assert 2 == import_telebot_redis(theirs.redis, memory)
        assert read(theirs, PLACES[:2]) == read(SessionStateStorage(memory), PLACES[:2])

    def test_what_goes_in_between_is_gone(
        self, client: redis.Redis, server: Server, memory: MemoryStorage
    ) -> None:
        """Records that are deleted after they were listed are not imported."""
        fill(StateRedisStorage(connection_pool=client.connection_pool))
        write_older(client)
        with Vanishing(port=server.port) as vanishing:
            assert 0 == import_telebot_redis(vanishing, memory, bot_id=1)

    def test_the_server_is_only_read(
        self, theirs: StateRedisStorage, server: Server, memory: MemoryStorage
    ) -> None:
        """An import sends nothing but `SCAN`, `HGETALL` and `GET`, and leaves all as it was."""
        fill(theirs)
        write_older(theirs.redis)
        before = {name: theirs.redis.dump(name) for name in theirs.redis.scan_iter()}
        with Monitor(server) as monitor:
            import_telebot_redis(theirs.redis, memory, bot_id=1)
            commands = set(monitor.so_far())
        after = {name: theirs.redis.dump(name) for name in theirs.redis.scan_iter()}
        assert ({"SCAN", "HGETALL", "GET"}, before) == (commands, after)

    def test_more_than_a_page_of_records_comes(
        self, client: redis.Redis, memory: MemoryStorage
    ) -> None:
        """A server with more records than it gives at once is read to the end."""
        users = {str(number): record() for number in range(3)}
        client.mset({f"telebot_{chat}": json.dumps(users) for chat in range(700)})
        assert 2100 == import_telebot_redis(client, MemoryStorage(), bot_id=1)

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        [
            ("telebot:1:42:42", {"state": "x", "data": '{"secret'}, "is no JSON text"),
            ("telebot:1:42:42", {"state": "x", "data": '["secret"]'}, "it has no state with its"),
            ("telebot:1:42:42", "secret", "'telebot:1:42:42' raised ResponseError"),
            ("telebot_42", {"secret": "x"}, "'telebot_42' raised ResponseError"),
            ("telebot_42", '{"secret', "'telebot_42' is no JSON text"),
            ("telebot_42", '["secret"]', "as 42 is no chat with its users"),
            ("telebot_42", '{"42": "secret"}', "of chat 42, user 42 it has no state"),
        ],
    )
    def test_what_is_damaged_is_named(
        self, name: str, value: Any, reason: str, client: redis.Redis, memory: MemoryStorage
    ) -> None:
        """Something else by a name of telebot's is an error that shows no value."""
        if isinstance(value, dict):
            client.hset(name, mapping=value)
        else:
            client.set(name, value)
        with pytest.raises(SessionError, match=reason) as raised:
            import_telebot_redis(client, memory, bot_id=1)
        assert (False, []) == ("secret" in str(raised.value), list(memory.keys()))

    def test_a_server_that_is_gone_is_named(self, memory: MemoryStorage) -> None:
        """A server that cannot be reached is an error with the client's as its cause."""
        with Server() as gone:
            client = gone.client(retry=Retry(NoBackoff(), 0))
        with client, pytest.raises(SessionError, match="list of its keys raised") as raised:
            import_telebot_redis(client, memory)
        assert redis.ConnectionError is type(raised.value.__cause__)

    def test_redis_is_not_imported(self) -> None:
        """The importers work without the package redis, as long as nobody has a client."""
        program = (
            "import sys; sys.modules['redis'] = None; from telesession import import_telebot_redis;"
            "print([name for name in sys.modules if name.startswith('redis.')])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
        )
        assert ("[]\n", "", 0) == (done.stdout, done.stderr, done.returncode)
