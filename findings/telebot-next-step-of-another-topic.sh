#!/usr/bin/env bash
# telebot's next step takes the message of another person from another topic of the forum.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: `register_next_step_handler(message, step)` keeps the step under the id of the chat alone. A forum is one
# chat with many topics, so the step gets the next message of any person in any topic. telebot's states do
# know the topic (`message_thread_id`); next steps do not.
#
# Output seen:
#   asked: user 1 in topic 7
#   the step got: user 2 in topic 8
#   user 1 in topic 7 reached: the ordinary handler
#
# For a bot author: a support forum mixes up its customers, with no error anywhere. Compare message.from_user.id and
# message.message_thread_id in the step, and register the step again if they differ.
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

CHAT = {"id": -100, "type": "supergroup", "title": "t", "is_forum": True}


def said(number, user, topic, text):
    sender = {"id": user, "is_bot": False, "first_name": "A"}
    message = {"message_id": number, "date": 1, "chat": CHAT, "from": sender, "text": text}
    message.update(message_thread_id=topic, is_topic_message=True)
    return Update.de_json({"update_id": number, "message": message})


bot = telebot.TeleBot("1:token", threaded=False)
steps, others = [], []


def place(message):
    return f"user {message.from_user.id} in topic {message.message_thread_id}"


@bot.message_handler()
def handle(message):
    if message.text == "begin":
        print("asked:", place(message))
        bot.register_next_step_handler(message, lambda answer: steps.append(place(answer)))
    else:
        others.append(place(message))


bot.process_new_updates([said(1, 1, 7, "begin")])
bot.process_new_updates([said(2, 2, 8, "hello")])
bot.process_new_updates([said(3, 1, 7, "my answer")])
print("the step got:", *steps)
print(*others, "reached: the ordinary handler")
if (steps, others) != (["user 2 in topic 8"], ["user 1 in topic 7"]):
    sys.exit("CHANGED: next steps know the person or the topic")
PYTHON
