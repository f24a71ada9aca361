#!/usr/bin/env bash
# All bots of a process share one memory of states, so a fresh `TeleBot` remembers old users.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: the default of the parameter `state_storage` is one `StateMemoryStorage` object, made when
# telebot is imported. Its keys hold the number at the start of the token, so bots with different tokens
# stay apart. Two bots with one token do not: the second object has the states and the data of the first.
#
# Output seen:
#   new bot, same token: state 'ordering', data {'size': 44}
#   new bot, other token: state None, data {}
#
# For a bot author: a test that makes a bot of its own starts with the states of the test before, and
# passes or fails by the order of the tests. Pass `state_storage=StateMemoryStorage()` to every bot.
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


def seen_by_new_bot(token):
    bot = telebot.TeleBot(token, threaded=False)
    with bot.retrieve_data(7) as data:
        return bot.get_state(7), dict(data)


first = telebot.TeleBot("1:token", threaded=False)
first.set_state(7, "ordering")
first.add_data(7, size=44)
del first

same, other = seen_by_new_bot("1:token"), seen_by_new_bot("2:token")
print(f"new bot, same token: state {same[0]!r}, data {same[1]}")
print(f"new bot, other token: state {other[0]!r}, data {other[1]}")
if same != ("ordering", {"size": 44}) or other != (None, {}):
    sys.exit("CHANGED: other states are shared")
PYTHON
