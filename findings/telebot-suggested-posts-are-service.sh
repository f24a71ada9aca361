#!/usr/bin/env bash
# A text that a user suggests to a channel is no text for telebot, so no ordinary handler gets it.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: a message in the direct messages of a channel may carry `suggested_post_info` beside its text or photo
# (https://core.telegram.org/bots/api#message). telebot reads that field last and makes it the content type, so
# `message.content_type` is "suggested_post_info", which telebot lists among the service messages, although
# `message.text` has the text. A handler of texts, and one of photos, is not called.
#
# Output seen:
#   a text in the direct messages: content_type 'text', called: text handler
#   the same text, suggested: content_type 'suggested_post_info', called: nothing
#   a suggested photo: content_type 'suggested_post_info', called: nothing
#   listed as a service message: True
#
# For a bot author: a bot that moderates a channel's suggestions stays silent to them. Register a handler for
# content_types=["suggested_post_info"], and look at message.text and message.photo there.
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
from telebot import util
from telebot.types import Update

BASE = {
    "message_id": 1,
    "date": 1,
    "chat": {"id": -100, "type": "supergroup", "title": "t", "is_direct_messages": True},
    "direct_messages_topic": {"topic_id": 7},
    "from": {"id": 7, "is_bot": False, "first_name": "A"},
}
SIZE = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1}
INFO = {"suggested_post_info": {"state": "pending"}}
KINDS = {
    "a text in the direct messages": {"text": "hi"},
    "the same text, suggested": {"text": "hi", **INFO},
    "a suggested photo": {"photo": [SIZE], **INFO},
}

seen = []
for name, content in KINDS.items():
    bot = telebot.TeleBot("1:token", threaded=False)
    called = []
    bot.message_handler()(lambda message: called.append("text handler"))
    bot.message_handler(content_types=["photo"])(lambda message: called.append("photo handler"))
    update = Update.de_json({"update_id": 1, "message": {**BASE, **content}})
    bot.process_new_updates([update])
    kind = update.message.content_type
    print(f"{name}: content_type {kind!r}, called: {', '.join(called) or 'nothing'}")
    seen.append((kind, called))
is_service = "suggested_post_info" in util.content_type_service
print("listed as a service message:", is_service)
hidden = ("suggested_post_info", [])
if seen != [("text", ["text handler"]), hidden, hidden] or not is_service:
    sys.exit("CHANGED: suggested posts are handled otherwise")
PYTHON
