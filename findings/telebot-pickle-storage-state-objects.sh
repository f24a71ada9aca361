#!/usr/bin/env bash
# With telebot's `StatePickleStorage`, a state set as a `State` object matches no handler.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: the memory storage and the Redis storage keep the name of a `State`, and the filter compares
# names. The pickle storage keeps the object itself. The filter then compares an object with a name, so
# `bot.set_state(user, Order.size)` succeeds, and the handler with `state=Order.size` is never called.
# `get_state` returns an object too, although it is documented to return a string.
#
# Output seen:
#   StateMemoryStorage: get_state 'Order:size', handler called True
#   StatePickleStorage: get_state is a State, handler called False
#
# For a bot author: a bot that works in memory goes silent when its states are saved to a file. Pass the
# name: `bot.set_state(user, Order.size.name)`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys
import tempfile

import telebot
from telebot.custom_filters import StateFilter
from telebot.states import State, StatesGroup
from telebot.storage import StateMemoryStorage, StatePickleStorage
from telebot.types import Update

UPDATE = {
    "update_id": 1,
    "message": {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "A"},
        "text": "44",
    },
}


class Order(StatesGroup):
    size = State()


def run(storage):
    bot = telebot.TeleBot("1:token", threaded=False, state_storage=storage)
    bot.add_custom_filter(StateFilter(bot))
    calls = []
    bot.message_handler(state=Order.size)(calls.append)
    bot.set_state(7, Order.size)
    bot.process_new_updates([Update.de_json(UPDATE)])
    return bot.get_state(7), bool(calls)


memory_state, memory_called = run(StateMemoryStorage())
with tempfile.TemporaryDirectory() as folder:
    pickle_state, pickle_called = run(StatePickleStorage(f"{folder}/states.pkl"))
print(f"StateMemoryStorage: get_state {memory_state!r}, handler called {memory_called}")
print(f"StatePickleStorage: get_state is a {type(pickle_state).__name__}, handler called {pickle_called}")
if (memory_state, memory_called) != ("Order:size", True):
    sys.exit("CHANGED: the memory storage does not match")
if (type(pickle_state), pickle_called) != (State, False):
    sys.exit("CHANGED: the pickle storage matches")
PYTHON
