#!/usr/bin/env bash
# telebot's `register_message_handler` gets every kind of message, the decorator only text.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: `@bot.message_handler()` without `content_types` takes text messages only. The function
# `bot.register_message_handler(f)` documents the same default, but sets none, so `f` also gets photos
# and service messages such as "a member has joined". `message.text` is None in them.
#
# Output seen:
#   decorator: ['text']
#   register:  ['text', 'photo', 'new_chat_members', 'pinned_message']
#
# For a bot author: `message.text.lower()` raises when a member joins a group, after a decorator was
# replaced by its "equal" function. Always pass `content_types=["text"]`.
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
from telebot.types import Update

USER = {"id": 7, "is_bot": False, "first_name": "A"}
BASE = {"message_id": 1, "date": 1, "chat": {"id": -5, "type": "group", "title": "G"}, "from": USER}
PHOTO = [{"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}]
MESSAGES = [
    {**BASE, "text": "hi"},
    {**BASE, "photo": PHOTO},
    {**BASE, "new_chat_members": [USER]},
    {**BASE, "pinned_message": {**BASE, "text": "hi"}},
]


def kinds(register):
    bot = telebot.TeleBot("1:token", threaded=False)
    seen = []
    register(bot, lambda message: seen.append(message.content_type))
    updates = [{"update_id": n, "message": m} for n, m in enumerate(MESSAGES, 1)]
    bot.process_new_updates([Update.de_json(update) for update in updates])
    return seen


decorated = kinds(lambda bot, handler: bot.message_handler()(handler))
registered = kinds(lambda bot, handler: bot.register_message_handler(handler))
print("decorator:", decorated)
print("register: ", registered)
if decorated != ["text"] or registered != ["text", "photo", "new_chat_members", "pinned_message"]:
    sys.exit("CHANGED: the two ways of registration take other kinds of messages")
PYTHON
