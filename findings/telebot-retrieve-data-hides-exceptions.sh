#!/usr/bin/env bash
# An exception in the block of telebot's `retrieve_data` vanishes, and the handler goes on behind the block.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: the context manager of `bot.retrieve_data(user)` returns the result of its own `save` from
# `__exit__`. The memory storage and the pickle storage return true there, and Python takes a true result
# as the order to drop the exception. So the handler does not end, no exception handler learns of the
# error, and the code below the block runs with variables that the block has not set.
#
# Output seen:
#   StateMemoryStorage: the block raised KeyError, and the code behind it ran
#   StatePickleStorage: the block raised KeyError, and the code behind it ran
#   exceptions that the bot's exception handler got: 0
#
# For a bot author: do in the block only what cannot fail, or keep a flag that the last line of the block
# sets and the code behind the block asks for.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - "$work" <<'PYTHON'
import sys
import time

import telebot
from telebot import types
from telebot.storage import StateMemoryStorage, StatePickleStorage

told = []


class Told(telebot.ExceptionHandler):
    def handle(self, exception):
        told.append(exception)
        return True


def went_on(storage):
    """Whether a handler whose block raises goes on behind the block."""
    bot = telebot.TeleBot(
        "1:token", threaded=False, state_storage=storage, exception_handler=Told()
    )
    behind = []

    @bot.message_handler()
    def order(message):
        with bot.retrieve_data(message.from_user.id) as data:
            data["total"] = {}["price"]
        behind.append(True)

    user = types.User(7, False, "Ann")
    bot.set_state(7, "ordering")
    message = types.Message(1, user, int(time.time()), types.Chat(7, "private"), "text", {}, "")
    message.text = "tea"
    try:
        bot.process_new_messages([message])
    except KeyError:
        told.append("raised")
    return bool(behind)


results = {}
for storage in (StateMemoryStorage(), StatePickleStorage(f"{sys.argv[1]}/states.pkl")):
    name = type(storage).__name__
    results[name] = went_on(storage)
    end = "ran" if results[name] else "did not run"
    print(f"{name}: the block raised KeyError, and the code behind it {end}")
print("exceptions that the bot's exception handler got:", len(told))
if not all(results.values()) or told:
    sys.exit("CHANGED: an exception of the block was told")
PYTHON
