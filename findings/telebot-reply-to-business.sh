#!/usr/bin/env bash
# telebot's `reply_to` answers a customer of a business in the bot's own chat.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: a message that reaches a business account has a `business_connection_id`, and an answer needs it.
# `reply_to` has the whole message and sends only the numbers of its chat and of itself. Without the connection,
# that chat is the private chat of the customer and the bot, and the message is in another chat.
#
# Output seen:
#   reply_to(message, ...): chat 7, reply to message 40, connection None
#   reply_to(message, ..., business_connection_id=...): chat 7, reply to message 40, connection 'shop'
#
# For a bot author: the customer sees no answer of the business. Pass
# `business_connection_id=message.business_connection_id` each time.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import json
import sys

import telebot
from telebot.types import Update
from telebot.util import CustomRequestResponse

BUSINESS_MESSAGE = {
    "message_id": 40,
    "date": 1,
    "chat": {"id": 7, "type": "private", "first_name": "Ada"},
    "from": {"id": 7, "is_bot": False, "first_name": "Ada"},
    "business_connection_id": "shop",
    "text": "Are you open today?",
}
seen = []


def answer(method, url, params, **other):
    reply = json.loads(params["reply_parameters"])["message_id"]
    seen.append((params["chat_id"], reply, params.get("business_connection_id")))
    return CustomRequestResponse(json.dumps({"ok": True, "result": BUSINESS_MESSAGE}))


telebot.apihelper.CUSTOM_REQUEST_SENDER = answer
bot = telebot.TeleBot("1:token", threaded=False)


@bot.business_message_handler()
def open_today(message):
    bot.reply_to(message, "Yes.")
    bot.reply_to(message, "Yes.", business_connection_id=message.business_connection_id)


bot.process_new_updates([Update.de_json({"update_id": 1, "business_message": BUSINESS_MESSAGE})])
names = ("reply_to(message, ...)", "reply_to(message, ..., business_connection_id=...)")
for name, (chat, reply, connection) in zip(names, seen, strict=True):
    print(f"{name}: chat {chat}, reply to message {reply}, connection {connection!r}")
if seen != [("7", 40, None), ("7", 40, "shop")]:
    sys.exit("CHANGED: reply_to sends other parameters")
PYTHON
