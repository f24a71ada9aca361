#!/usr/bin/env bash
# telebot's next step never gets the answer of a customer of a business, and takes a later private message.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: `register_next_step_handler` accepts a message of a business account and keeps the step by the
# number of its chat. telebot looks for steps only when an update of the kind "message" comes, so the answer,
# a "business_message", goes to the other handlers. The step stays. The customer's private chat with the
# bot has the same number, and its next message is taken for the answer.
#
# Output seen:
#   business message 'order': handler that asks for the size
#   business message 'XL': handler of all others
#   private message '/start': next step
#
# For a bot author: the dialog stands still, and `/start` becomes a size. Keep the state of a business chat by
# `business_connection_id` and chat, in a `business_message_handler`.
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

ADA = {"id": 7, "is_bot": False, "first_name": "Ada"}
bot = telebot.TeleBot("1:token", threaded=False)
calls = []


@bot.business_message_handler(regexp="order")
def order(message):
    calls.append("handler that asks for the size")
    bot.register_next_step_handler(message, size)


@bot.business_message_handler()
def other(message):
    calls.append("handler of all others")


@bot.message_handler(commands=["start"])
def start(message):
    calls.append("handler of /start")


def size(message):
    calls.append("next step")


def deliver(kind, text, **fields):
    message = {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 7, "type": "private", "first_name": "Ada"},
        "from": ADA,
        "text": text,
        **fields,
    }
    bot.process_new_updates([Update.de_json({"update_id": len(calls) + 1, kind: message})])
    name = "business message" if kind == "business_message" else "private message"
    print(f"{name} {text!r}: {calls[-1]}")


deliver("business_message", "order", business_connection_id="shop")
deliver("business_message", "XL", business_connection_id="shop")
deliver("message", "/start")
if calls != ["handler that asks for the size", "handler of all others", "next step"]:
    sys.exit("CHANGED: other handlers get the messages")
PYTHON
