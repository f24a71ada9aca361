#!/usr/bin/env bash
# telebot answers commands that were sent to another bot of the group.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: in a group with several bots, Telegram's apps write `/start@weather_bot` to say which bot is meant. telebot's
# filter `commands` cuts off the name behind the @ and compares the rest alone, so the handler of every telebot in the
# group that sees the message is called. Telegram's own mark of a command, the entity `bot_command`, is not looked at.
#
# Output seen (the bot is @tea_bot):
#   '/start': handler called True
#   '/start@tea_bot': handler called True
#   '/start@weather_bot': handler called True
#
# For a bot author: an administrator bot sees all messages of a group, and resets a game, or leaves a dialog, because a
# user has spoken to another bot. Compare the part behind the @ with `bot.user.username` in a `func` filter.
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
from telebot.types import Update, User

USER = {"id": 7, "is_bot": False, "first_name": "A"}
CHAT = {"id": -100, "type": "supergroup", "title": "t"}

seen = {}
for text in ("/start", "/start@tea_bot", "/start@weather_bot"):
    bot = telebot.TeleBot("1:token", threaded=False)
    bot._user = User(1, True, "Tea", username="tea_bot")
    calls = []
    bot.message_handler(commands=["start"])(calls.append)
    entity = {"type": "bot_command", "offset": 0, "length": len(text)}
    message = {"message_id": 1, "date": 1, "chat": CHAT, "from": USER, "text": text}
    update = Update.de_json({"update_id": 1, "message": {**message, "entities": [entity]}})
    bot.process_new_updates([update])
    seen[text] = bool(calls)
    print(f"{text!r}: handler called {seen[text]}")
if not all(seen.values()):
    sys.exit("CHANGED: telebot looks at the name of the bot")
PYTHON
