#!/usr/bin/env bash
# telebot keys `register_for_reply` by the message's number alone, so a reply in another chat answers.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: a message id is unique in its chat only. Supergroups count from 1 each. telebot stores the
# callback under the message id without the chat. The bot asks in group A in its message 15, and a member
# of group B replies to message 15 there: the callback of group A runs with a message of group B, and is
# used up. The same reply also goes to the ordinary handlers.
#
# Output seen:
#   asked in chat -1001, message 15
#   reply in chat -1002: callback ran for chat -1002, ordinary handler ran True
#   reply in chat -1001: callback ran for no chat, ordinary handler ran True
#
# For a bot author: two groups that are equally busy mix their answers, and the more groups the more often.
# Compare `message.chat.id` in the callback, and register it again if it differs.
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
from telebot.types import Message, Update


def message(chat, number, text, reply_to=None):
    made = {
        "message_id": number,
        "date": 1,
        "chat": {"id": chat, "type": "supergroup", "title": "G"},
        "from": {"id": 7, "is_bot": False, "first_name": "A"},
        "text": text,
    }
    if reply_to is not None:
        made["reply_to_message"] = reply_to
    return made


bot = telebot.TeleBot("1:token", threaded=False)
callbacks, ordinary = [], []
bot.register_message_handler(lambda m: ordinary.append(m.chat.id), content_types=["text"])
bot.register_for_reply(
    Message.de_json(message(-1001, 15, "Which day?")), lambda m: callbacks.append(m.chat.id)
)
print("asked in chat -1001, message 15")

seen = []
for chat, text in ((-1002, "see above"), (-1001, "Monday")):
    callbacks.clear()
    ordinary.clear()
    reply = message(chat, 16, text, reply_to=message(chat, 15, "?"))
    bot.process_new_updates([Update.de_json({"update_id": 1, "message": reply})])
    ran = f"chat {callbacks[0]}" if callbacks else "no chat"
    print(f"reply in chat {chat}: callback ran for {ran}, ordinary handler ran {ordinary == [chat]}")
    seen.append((list(callbacks), list(ordinary)))
if seen != [([-1002], [-1002]), ([], [-1001])]:
    sys.exit("CHANGED: the reply of another chat meets other calls")
PYTHON
