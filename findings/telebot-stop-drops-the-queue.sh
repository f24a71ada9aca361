#!/usr/bin/env bash
# telebot's `stop_bot` lets running handlers finish, and drops the updates that wait behind them.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: telebot hands each update to its pool and confirms it to Telegram (by the next getUpdates, or
# by the answer of the webhook) before a thread takes it. `stop_bot` waits for the handlers that run, and its
# threads then end without looking at the queue. Five users write while one thread is busy, and the bot is
# stopped in the first handler.
#
# Output seen:
#   handled before stop_bot returned: [1]
#   left in the queue of the pool: 4
#
# For a bot author: a clean stop at each deployment loses the messages of a busy moment, without an error.
# Call `stop_polling()`, wait until `bot.worker_pool.tasks.empty()` is true, and only then call `stop_bot()`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import sys
import threading

import telebot
from telebot.types import Update


def update(number):
    message = {
        "message_id": number,
        "date": 1,
        "chat": {"id": number, "type": "private"},
        "from": {"id": number, "is_bot": False, "first_name": "A"},
        "text": "hi",
    }
    return Update.de_json({"update_id": number, "message": message})


bot = telebot.TeleBot("1:token", num_threads=1)
worker = bot.worker_pool.workers[0]
busy, stopping, handled = threading.Event(), threading.Event(), []
stop_worker = worker.stop


def stop():
    stop_worker()
    stopping.set()


worker.stop = stop  # tells the handler that `stop_bot` has come to the pool


@bot.message_handler()
def handle(message):
    busy.set()
    stopping.wait(20)
    handled.append(message.chat.id)


bot.process_new_updates([update(number) for number in range(1, 6)])
busy.wait(20)
bot.stop_bot()
left = bot.worker_pool.tasks.qsize()
print("handled before stop_bot returned:", handled)
print("left in the queue of the pool:", left)
if (handled, left, worker.is_alive()) != ([1], 4, False):
    sys.exit("CHANGED: other updates are handled before the end")
PYTHON
