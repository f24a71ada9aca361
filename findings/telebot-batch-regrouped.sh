#!/usr/bin/env bash
# telebot handles one batch of updates by kind, not in the order of arrival.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: `process_new_updates` sorts the updates of one getUpdates answer into one list for each
# kind, and handles all messages before the first edit and all edits before the first button press.
# One user writes "size 4", edits the text, presses "order" and then writes "cancel". The bot sees
# "cancel" before the order that it should cancel.
#
# Output seen:
#   sent:    message "size 4", edit "size 5", button "order", message "cancel"
#   handled: message "size 4", message "cancel", edit "size 5", button "order"
#
# For a bot author: a bot that was offline for a minute gets such batches, even with threaded=False and
# one user. Compare `update_id`, or pass the updates to `process_new_updates` one by one.
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
CHAT = {"id": 7, "type": "private"}


def message(text):
    return {"message_id": 1, "date": 1, "chat": CHAT, "from": USER, "text": text}


UPDATES = [
    {"update_id": 1, "message": message("size 4")},
    {"update_id": 2, "edited_message": message("size 5")},
    {
        "update_id": 3,
        "callback_query": {
            "id": "1",
            "from": USER,
            "chat_instance": "1",
            "data": "order",
            "message": message("Order?"),
        },
    },
    {"update_id": 4, "message": message("cancel")},
]

bot = telebot.TeleBot("1:token", threaded=False)
handled = []
bot.register_message_handler(lambda m: handled.append(f'message "{m.text}"'))
bot.register_edited_message_handler(lambda m: handled.append(f'edit "{m.text}"'))
bot.register_callback_query_handler(lambda c: handled.append(f'button "{c.data}"'), func=lambda c: True)
bot.process_new_updates([Update.de_json(update) for update in UPDATES])

sent = ['message "size 4"', 'edit "size 5"', 'button "order"', 'message "cancel"']
print("sent:   ", ", ".join(sent))
print("handled:", ", ".join(handled))
if handled != [sent[0], sent[3], sent[1], sent[2]]:
    sys.exit("CHANGED: the updates were handled in another order")
PYTHON
