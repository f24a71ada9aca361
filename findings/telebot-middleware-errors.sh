#!/usr/bin/env bash
# telebot's class middlewares swallow the errors of handlers, and are left open by their own.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: use_class_middlewares=True changes what an error does. In a handler it is no longer raised: one
# log line has the text of the error, without its type and without a traceback. In the `pre_process` of the
# second middleware it is raised, and the `post_process` of the first, whose `pre_process` has run, is never
# called. So neither the caller nor the middlewares can count on the other half.
#
# Output seen:
#   handler raises KeyError("size"), no middlewares: KeyError, log []
#   handler raises KeyError("size"), class middlewares: no error, log ["'size'"]
#   calls: ['first pre', 'second pre', 'first post KeyError', 'second post KeyError']
#   second pre_process raises: KeyError, calls: ['first pre']
#
# For a bot author: a bot that adds its first middleware loses its tracebacks and, behind a webhook, its
# status 500. Log the error in `post_process`, and free a resource where it is used, not in `post_process`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import logging
import sys

import telebot
from telebot.handler_backends import BaseMiddleware
from telebot.types import Update

UPDATE = {
    "update_id": 1,
    "message": {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "A"},
        "text": "hi",
    },
}


class Log(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


class Middleware(BaseMiddleware):
    def __init__(self, name, calls, pre_raises=False):
        self.update_types = ["message"]
        self.name, self.calls, self.pre_raises = name, calls, pre_raises

    def pre_process(self, message, data):
        if self.pre_raises:
            raise KeyError("language")
        self.calls.append(f"{self.name} pre")

    def post_process(self, message, data, exception):
        self.calls.append(f"{self.name} post {type(exception).__name__}")


def run(*middlewares):
    log = Log()
    telebot.logger.handlers = [log]
    bot = telebot.TeleBot("1:token", threaded=False, use_class_middlewares=bool(middlewares))
    for middleware in middlewares:
        bot.setup_middleware(middleware)

    @bot.message_handler()
    def handle(message):
        raise KeyError("size")

    try:
        bot.process_new_updates([Update.de_json(UPDATE)])
    except KeyError:
        return "KeyError", log.lines
    return "no error", log.lines


plain = run()
calls = []
middle = run(Middleware("first", calls), Middleware("second", calls))
opened = []
early = run(Middleware("first", opened), Middleware("second", opened, pre_raises=True))
print(f'handler raises KeyError("size"), no middlewares: {plain[0]}, log {plain[1]}')
print(f'handler raises KeyError("size"), class middlewares: {middle[0]}, log {middle[1]}')
print("calls:", calls)
print(f"second pre_process raises: {early[0]}, calls: {opened}")
if plain != ("KeyError", []) or middle != ("no error", ["'size'"]) or early != ("KeyError", []):
    sys.exit("CHANGED: errors end elsewhere")
if calls != ["first pre", "second pre", "first post KeyError", "second post KeyError"]:
    sys.exit("CHANGED: other middlewares are called")
if opened != ["first pre"]:
    sys.exit("CHANGED: the first middleware is closed")
PYTHON
