#!/usr/bin/env bash
# telebot's handler for `state=None` is called for users in any state; `state=[None]` is the exact one.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: telebot removes every filter whose value is None when a handler is registered. `state=None`,
# which reads as "the user has no state", becomes "no filter". A list is kept, and `None` in it matches
# users without a state.
#
# Output seen:
#   state=None, user without a state: called True
#   state=None, user in state "ordering": called True
#   state=[None], user without a state: called True
#   state=[None], user in state "ordering": called False
#
# For a bot author: a welcome handler with `state=None` that stands first takes the answers of every
# dialogue. Write `state=[None]`, or register it last.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys

import telebot
from telebot.custom_filters import StateFilter
from telebot.storage import StateMemoryStorage
from telebot.types import Update

UPDATE = {
    "update_id": 1,
    "message": {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "A"},
        "text": "hi",
    },
}


def called(wanted, state):
    bot = telebot.TeleBot("1:token", threaded=False, state_storage=StateMemoryStorage())
    bot.add_custom_filter(StateFilter(bot))
    calls = []
    bot.message_handler(state=wanted)(calls.append)
    if state is not None:
        bot.set_state(7, state)
    bot.process_new_updates([Update.de_json(UPDATE)])
    return bool(calls)


seen = []
for wanted in (None, [None]):
    for state in (None, "ordering"):
        seen.append(called(wanted, state))
        user = "user without a state" if state is None else f'user in state "{state}"'
        print(f"state={wanted}, {user}: called {seen[-1]}")
if seen != [True, True, True, False]:
    sys.exit("CHANGED: None matches other states")
PYTHON
