#!/usr/bin/env bash
# telebot runs neither class middlewares nor update listeners for a message that a next step takes.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: with use_class_middlewares=True, `pre_process` and `post_process` surround every handler. A
# callback of `register_next_step_handler` or `register_for_reply` is called before that, bare. A next
# step also takes the message away from the listeners of `set_update_listener`; a reply does not.
#
# Output seen:
#   ordinary message: middleware called True, listener called True
#   next step: middleware called False, listener called False
#   answer to register_for_reply: middleware called True, listener called True
#   ... and its callback ran before the middleware: True
#
# For a bot author: a translation, a database connection or a statistic that a middleware sets up is
# missing in every second message of a dialogue. Do such work in a decorator of the callbacks too.
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
from telebot.handler_backends import BaseMiddleware
from telebot.types import Update

MESSAGE = {
    "message_id": 2,
    "date": 1,
    "chat": {"id": 7, "type": "private"},
    "from": {"id": 7, "is_bot": False, "first_name": "A"},
    "text": "hi",
}
REPLY = {**MESSAGE, "reply_to_message": {**MESSAGE, "message_id": 1}}


class Middleware(BaseMiddleware):
    def __init__(self, calls):
        self.update_types = ["message"]
        self.calls = calls

    def pre_process(self, message, data):
        self.calls.append("middleware")

    def post_process(self, message, data, exception):
        pass


def calls(prepare, message):
    seen = []
    bot = telebot.TeleBot("1:token", threaded=False, use_class_middlewares=True)
    bot.setup_middleware(Middleware(seen))
    bot.set_update_listener(lambda messages: seen.extend("listener" for _ in messages))
    bot.register_message_handler(lambda message: seen.append("handler"), content_types=["text"])
    prepare(bot, lambda message: seen.append("callback"))
    bot.process_new_updates([Update.de_json({"update_id": 1, "message": message})])
    return seen


def shown(seen):
    return ", ".join(f"{name} called {name in seen}" for name in ("middleware", "listener"))


ordinary = calls(lambda bot, callback: None, MESSAGE)
step = calls(lambda bot, callback: bot.register_next_step_handler_by_chat_id(7, callback), MESSAGE)
reply = calls(lambda bot, callback: bot.register_for_reply_by_message_id(1, callback), REPLY)
print("ordinary message:", shown(ordinary))
print("next step:", shown(step))
print("answer to register_for_reply:", shown(reply))
print("... and its callback ran before the middleware:", reply[0] == "callback")
if ordinary != ["listener", "middleware", "handler"] or step != ["callback"]:
    sys.exit("CHANGED: a next step meets other calls")
if reply != ["callback", "listener", "middleware", "handler"]:
    sys.exit("CHANGED: a reply meets other calls")
PYTHON
