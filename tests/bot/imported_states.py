"""States that telebot's storages have written, and what is read of them in ours."""

from __future__ import annotations

import datetime
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from telebot import TeleBot

from telesession import JSONCodec, MemoryStorage, SessionStateStorage, Storage
from telesession.testing import OFFLINE_TOKEN

if TYPE_CHECKING:
    from pathlib import Path


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
WHEN = datetime.datetime(2024, 2, 29, 12, 30, 15, 5)


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


# What a bot finds of users of the older format, each with its state.
OLDER_STATES = [("here", data) for data in ({"a": 1}, {"a": 2}, {}, {"a": 4})]


def read_older(storage: Storage) -> list[Any]:
    """What a bot finds of the users whose states are in the older format."""
    states = SessionStateStorage(storage)
    bot: Any = TeleBot(OFFLINE_TOKEN, state_storage=states, threaded=False)
    found = []
    for user, chat in [(1, -100), (2, -100), (3, -100), (42, None)]:
        with bot.retrieve_data(user, chat) as data:
            found.append((bot.get_state(user, chat), data))
    return found
