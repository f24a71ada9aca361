#!/usr/bin/env bash
# `sys.exit()` in a handler, or an error in the exception handler, ends one thread of telebot's pool.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: telebot's pool catches `Exception` only, and calls `exception_handler.handle` from there with
# nothing around it. SystemExit in a handler ends the pool's thread without a word. An error raised by
# `handle` does the same with a traceback. The pool has two threads and never replaces one: after two such
# updates nothing is handled any more, while updates are still fetched and confirmed.
#
# Output seen:
#   sys.exit() in the handler: living threads 2 -> 1 -> 0, messages waiting in the pool 1
#   error in the exception handler: living threads 2 -> 1 -> 0, messages waiting in the pool 1
#
# For a bot author: `/stop` with `sys.exit()` does not stop the bot; sent twice, it makes it deaf. So does
# an exception handler that writes to a user who has blocked the bot. Call `bot.stop_polling()` to stop, and
# put `try` around the whole body of `handle`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import queue
import sys
import threading

import telebot
from telebot.types import Update


def update(text):
    message = {
        "message_id": 1,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "A"},
        "text": text,
    }
    return Update.de_json({"update_id": 1, "message": message})


class Raising(telebot.ExceptionHandler):
    def handle(self, exception):
        raise ConnectionError("the user has blocked the bot")


def living(bot):
    return sum(worker.is_alive() for worker in bot.worker_pool.workers)


def run(exception_handler, raise_error):
    bot = telebot.TeleBot("1:token", num_threads=2, exception_handler=exception_handler)
    callers = queue.SimpleQueue()

    @bot.message_handler()
    def handle(message):
        callers.put(threading.current_thread())
        raise_error()

    counts = [living(bot)]
    for _ in range(2):
        bot.process_new_updates([update("/stop")])
        callers.get(timeout=20).join(20)
        counts.append(living(bot))
    bot.process_new_updates([update("hello")])
    waiting = bot.worker_pool.tasks.qsize()
    return counts, waiting


def mistake():
    raise ValueError("a mistake in the handler")


threading.excepthook = lambda args: None
seen = {
    "sys.exit() in the handler": run(None, sys.exit),
    "error in the exception handler": run(Raising(), mistake),
}
for name, (counts, waiting) in seen.items():
    threads = " -> ".join(map(str, counts))
    print(f"{name}: living threads {threads}, messages waiting in the pool {waiting}")
if any(row != ([2, 1, 0], 1) for row in seen.values()):
    sys.exit("CHANGED: the threads of the pool survive")
PYTHON
