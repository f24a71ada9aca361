#!/usr/bin/env bash
# One value of one user empties the whole file of telebot's `StatePickleStorage`.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: the storage opens its only file for writing, which empties it, and pickles afterwards. A
# value that pickle refuses raises TypeError and leaves 0 bytes. `dict.keys()` is such a value, and works
# in telebot's `StateMemoryStorage`. From then on every call for every user raises EOFError, also after a
# restart.
#
# Output seen:
#   before: 100 users have a state
#   add_data(choices=menu.keys()) of user 1: TypeError
#   file: 0 bytes
#   get_state of user 2: EOFError
#   set_state of user 3 after a restart: EOFError
#
# For a bot author: a one-line change in one dialogue loses the dialogues of all users, and the bot stays
# broken until the file is deleted. Store plain lists and dicts, or use a storage that encodes a value
# before it touches the stored one.
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
from pathlib import Path

import telebot
from telebot.storage import StatePickleStorage


def outcome(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as error:
        return type(error).__name__
    return "no error"


def make_bot(path):
    return telebot.TeleBot("1:token", threaded=False, state_storage=StatePickleStorage(str(path)))


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "states.pkl"
    bot = make_bot(path)
    for user in range(1, 101):
        bot.set_state(user, "ordering")
    users = sum(bot.get_state(user) == "ordering" for user in range(1, 101))
    menu = {"tea": 2, "coffee": 3}
    refused = outcome(bot.add_data, 1, choices=menu.keys())
    size = path.stat().st_size
    other = outcome(bot.get_state, 2)
    restarted = outcome(make_bot(path).set_state, 3, "ordering")

print(f"before: {users} users have a state")
print("add_data(choices=menu.keys()) of user 1:", refused)
print(f"file: {size} bytes")
print("get_state of user 2:", other)
print("set_state of user 3 after a restart:", restarted)
if (users, refused, size, other, restarted) != (100, "TypeError", 0, "EOFError", "EOFError"):
    sys.exit("CHANGED: the file survives a value that pickle refuses")
PYTHON
