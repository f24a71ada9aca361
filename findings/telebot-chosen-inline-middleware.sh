#!/usr/bin/env bash
# telebot's class middlewares never see a chosen inline result under the name that Telegram uses.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: the field of the update, `allowed_updates` and `telebot.util.update_types` all say
# "chosen_inline_result". When telebot looks for the middlewares of such an update, it asks for
# "chosen_inline_query". A middleware for all of `update_types`, as telebot's own `StateMiddleware`,
# is passed over, and a handler that takes its data is called without it.
#
# Output seen:
#   update_types=['chosen_inline_result']: middleware called False
#   update_types=['chosen_inline_query']: middleware called True
#   handler with StateMiddleware's `state`: TypeError
#
# For a bot author: a middleware that opens a database or passes a translation on is missing for this
# one kind of update. Use `update_types=[*util.update_types, "chosen_inline_query"]`.
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
from telebot.states.sync.middleware import StateMiddleware
from telebot.types import Update

UPDATE = {
    "update_id": 1,
    "chosen_inline_result": {
        "result_id": "1",
        "from": {"id": 7, "is_bot": False, "first_name": "A"},
        "query": "tea",
    },
}


class Errors(telebot.ExceptionHandler):
    def __init__(self):
        self.seen = []

    def handle(self, exception):
        self.seen.append(type(exception).__name__)
        return True


class Middleware(BaseMiddleware):
    def __init__(self, *update_types):
        self.update_types = list(update_types)
        self.called = False

    def pre_process(self, message, data):
        self.called = True

    def post_process(self, message, data, exception):
        pass


def run(make_middleware, handler):
    errors = Errors()
    bot = telebot.TeleBot(
        "1:token", threaded=False, use_class_middlewares=True, exception_handler=errors
    )
    middleware = make_middleware(bot)
    bot.setup_middleware(middleware)
    bot.register_chosen_inline_handler(handler, func=lambda result: True)
    bot.process_new_updates([Update.de_json(UPDATE)])
    return middleware, errors.seen


called = []
for name in ("chosen_inline_result", "chosen_inline_query"):
    middleware, _ = run(lambda bot: Middleware(name), lambda result: None)
    called.append(middleware.called)
    print(f"update_types={[name]}: middleware called {middleware.called}")
_, errors = run(StateMiddleware, lambda result, state: None)
print("handler with StateMiddleware's `state`:", *errors)
if "chosen_inline_result" not in telebot.util.update_types or called != [False, True]:
    sys.exit("CHANGED: the middleware is chosen by another name")
if errors != ["TypeError"]:
    sys.exit("CHANGED: StateMiddleware passes on its data")
PYTHON
