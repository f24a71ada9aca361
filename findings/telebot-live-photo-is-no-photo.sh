#!/usr/bin/env bash
# A live photo is no photo for telebot, and `content_type_media`, its list of all media, does not have it.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: Telegram fills in `photo` of a live photo as well, so that older bots still see a picture (see
# https://core.telegram.org/bots/api#message). telebot gives the message the content type "live_photo" alone,
# and a handler of photos is not called. `telebot.util.content_type_media`, "all media content types",
# has neither "live_photo" nor "rich_message".
#
# Output seen:
#   still photo: content_type 'photo', called: content_types=["photo"]; message.photo has 1 size
#   live photo: content_type 'live_photo', called: nothing; message.photo has 1 size
#   in content_type_media: photo True, live_photo False, rich_message False
#
# For a bot author: some phones send live photos, and the bot seems to ignore the pictures of their owners.
# Write `content_types=["photo", "live_photo"]`, and `func=lambda message: True` without the list for
# "everything" (in `register_message_handler`, since the decorator adds "text").
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
from telebot.util import content_type_media

FILE = {"file_id": "f", "file_unique_id": "u", "width": 90, "height": 60}
STILL = {"photo": [FILE]}
LIVE = {"live_photo": {**FILE, "duration": 3, "photo": [FILE]}, "photo": [FILE]}


def deliver(name, content):
    calls = []
    bot = telebot.TeleBot("1:token", threaded=False)
    for kinds, label in ((["photo"], '["photo"]'), (content_type_media, "content_type_media")):
        bot.register_message_handler(
            lambda message, label=label: calls.append(f"content_types={label}"), content_types=kinds
        )
    message = {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "Ada"},
        **content,
    }
    update = Update.de_json({"update_id": 1, "message": message})
    bot.process_new_updates([update])
    kind, sizes = update.message.content_type, len(update.message.photo)
    print(f"{name}: content_type {kind!r}, called: {', '.join(calls) or 'nothing'}", end="")
    print(f"; message.photo has {sizes} size")
    return kind, calls, sizes


still, live = deliver("still photo", STILL), deliver("live photo", LIVE)
listed = {kind: kind in content_type_media for kind in ("photo", "live_photo", "rich_message")}
print("in content_type_media: " + ", ".join(f"{kind} {there}" for kind, there in listed.items()))
if still != ("photo", ['content_types=["photo"]'], 1) or live != ("live_photo", [], 1):
    sys.exit("CHANGED: other handlers get the photos")
if listed != {"photo": True, "live_photo": False, "rich_message": False}:
    sys.exit("CHANGED: the list has other kinds")
PYTHON
