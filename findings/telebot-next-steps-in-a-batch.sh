#!/usr/bin/env bash
# In one batch of answers of several users, every second answer misses telebot's next step.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: telebot removes a message from the list of new messages when a next step takes it, while
# it loops over that list by index. The loop then passes over the message behind it. Four users are
# asked for their age, and their four answers come in one getUpdates answer. The second and the fourth
# answer go to the ordinary handlers, and these two users' next messages count as the answer.
#
# Output seen:
#   taken by the next step:      user 1: "age 1", user 3: "age 3"
#   taken by ordinary handlers:  user 2: "age 2", user 4: "age 4"
#   still waiting for an answer: user 2, user 4
#
# For a bot author: the more users a bot has, the more answers are lost, and a test with one user never
# shows it. Pass the updates to `process_new_updates` one by one, or keep the question in a session.
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

USERS = (1, 2, 3, 4)


def update(user):
    sender = {"id": user, "is_bot": False, "first_name": "A"}
    chat = {"id": user, "type": "private"}
    message = {"message_id": 1, "date": 1, "chat": chat, "from": sender, "text": f"age {user}"}
    return Update.de_json({"update_id": user, "message": message})


def listed(messages):
    return ", ".join(f'user {m.from_user.id}: "{m.text}"' for m in messages)


bot = telebot.TeleBot("1:token", threaded=False)
steps, ordinary = [], []
bot.register_message_handler(ordinary.append, content_types=["text"])
for user in USERS:
    bot.register_next_step_handler_by_chat_id(user, steps.append)
bot.process_new_updates([update(user) for user in USERS])
waiting = [user for user in USERS if user in bot.next_step_backend.handlers]

print("taken by the next step:     ", listed(steps))
print("taken by ordinary handlers: ", listed(ordinary))
print("still waiting for an answer:", ", ".join(f"user {user}" for user in waiting))
if [m.from_user.id for m in steps] != [1, 3] or [m.from_user.id for m in ordinary] != [2, 4]:
    sys.exit("CHANGED: other answers met their next step")
if waiting != [2, 4]:
    sys.exit("CHANGED: other users still have a next step")
PYTHON
