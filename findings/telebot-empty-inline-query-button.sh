#!/usr/bin/env bash
# telebot sends a button whose inline query is empty without its action.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: `switch_inline_query` and `switch_inline_query_current_chat` may be empty (see
# https://core.telegram.org/bots/api#inlinekeyboardbutton): the button then inserts only the bot's name.
# telebot tests them for truth and leaves "" out. Only the text of the button stays, but Telegram asks for
# exactly one action. A keyboard that Telegram delivered loses the button in the same way when it is sent again.
#
# Output seen:
#   switch_inline_query='': sent as {'text': 'Search'}
#   switch_inline_query_current_chat='': sent as {'text': 'Search'}
#   switch_inline_query_current_chat='tea': sent as {'text': 'Search', 'switch_inline_query_current_chat': 'tea'}
#   read from a message and sent again: {'text': 'Search'}
#   switch_inline_query_chosen_chat: sent as {'text': 'Search', 'switch_inline_query_chosen_chat': {'query': ''}}
#   keyboard as a JSON text: sent as {'text': 'Search', 'switch_inline_query_current_chat': ''}
#
# For a bot author: the usual "Search" button of an inline bot cannot be made. Pass the keyboard as a text of
# JSON to `reply_markup`.
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
from telebot.types import InlineKeyboardButton, InlineKeyboardMarkup, SwitchInlineQueryChosenChat
from telebot.util import CustomRequestResponse

MESSAGE = {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}, "text": "hi"}
seen = []


def answer(method, url, params, **other):
    seen.append(json.loads(params["reply_markup"])["inline_keyboard"][0][0])
    return CustomRequestResponse(json.dumps({"ok": True, "result": MESSAGE}))


def send(name, keyboard):
    bot.send_message(7, "hi", reply_markup=keyboard)
    print(f"{name} {seen[-1]}")


def button(**action):
    return InlineKeyboardMarkup([[InlineKeyboardButton("Search", **action)]])


telebot.apihelper.CUSTOM_REQUEST_SENDER = answer
bot = telebot.TeleBot("1:token", threaded=False)
raw = {"inline_keyboard": [[{"text": "Search", "switch_inline_query_current_chat": ""}]]}
read = telebot.types.Message.de_json({**MESSAGE, "reply_markup": raw}).reply_markup
send("switch_inline_query='': sent as", button(switch_inline_query=""))
send(
    "switch_inline_query_current_chat='': sent as", button(switch_inline_query_current_chat="")
)
send(
    "switch_inline_query_current_chat='tea': sent as",
    button(switch_inline_query_current_chat="tea"),
)
send("read from a message and sent again:", read)
chosen = SwitchInlineQueryChosenChat(query="")
send("switch_inline_query_chosen_chat: sent as", button(switch_inline_query_chosen_chat=chosen))
send("keyboard as a JSON text: sent as", json.dumps(raw))

bare, text = {"text": "Search"}, {"text": "Search", "switch_inline_query_current_chat": ""}
if [seen[0], seen[1], seen[3], seen[5]] != [bare, bare, bare, text]:
    sys.exit("CHANGED: the button is sent in another way")
PYTHON
