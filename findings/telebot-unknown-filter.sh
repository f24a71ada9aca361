#!/usr/bin/env bash
# telebot takes any keyword of a handler for a filter, and a filter that it does not know matches nothing.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: a handler's keywords beyond the five known ones name filters of `add_custom_filter`. telebot never
# compares the names with the filters that were added. A misspelled keyword, or one of telebot's own filters
# that was not added (`state`, `is_digit`, `is_chat_admin`), makes a handler that is never called. Neither the
# decorator nor the update raises, and no warning is logged.
#
# Output seen:
#   is_digit=True: called False, warnings 0
#   command=["start"] for commands: called False, warnings 0
#   is_digit=True after add_custom_filter(IsDigitFilter()): called True, warnings 0
#
# For a bot author: the bot is silent, and no log tells why. At the start, compare the keys of each
# `bot.message_handlers[i]["filters"]` with the five and `bot.custom_filters`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import logging
import sys

import telebot
from telebot.custom_filters import IsDigitFilter
from telebot.types import Update

warnings = []


class Warnings(logging.Handler):
    def emit(self, record):
        warnings.append(record)


telebot.logger.addHandler(Warnings(logging.WARNING))


def deliver(name, text, bot, **filters):
    calls = []
    warnings.clear()
    bot.message_handler(**filters)(calls.append)
    message = {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "Ada"},
        "text": text,
    }
    bot.process_new_updates([Update.de_json({"update_id": 1, "message": message})])
    print(f"{name}: called {bool(calls)}, warnings {len(warnings)}")
    return bool(calls), len(warnings)


def new_bot():
    return telebot.TeleBot("1:token", threaded=False)


complete = new_bot()
complete.add_custom_filter(IsDigitFilter())
seen = [
    deliver("is_digit=True", "5", new_bot(), is_digit=True),
    deliver('command=["start"] for commands', "/start", new_bot(), command=["start"]),
    deliver("is_digit=True after add_custom_filter(IsDigitFilter())", "5", complete, is_digit=True),
]
if seen != [(False, 0), (False, 0), (True, 0)]:
    sys.exit("CHANGED: an unknown filter has another effect")
PYTHON
