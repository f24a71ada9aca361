#!/usr/bin/env bash
# After a clean stop, telebot handles the updates of its last poll once more at the next start.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: Telegram counts updates as confirmed when a later getUpdates comes with a higher offset. telebot sends
# no getUpdates after `stop_polling`, so nothing ever confirms the updates of its last poll, although their handlers
# have returned. A new process begins with the offset 1, and Telegram delivers them again. Here a small server on the
# loopback interface does what the Bot API says of offsets. Three users write, the bot answers them all and is
# stopped, and a second bot is started.
#
# Output seen:
#   handled by the first bot: ['one', 'two', 'three']
#   offsets of its polls: [1]
#   handled by the second bot: ['one', 'two', 'three']
#
# For a bot author: a counter counts up to a hundred messages twice at each deployment, also without a crash. After the
# stop, call `bot.get_updates(offset=bot.last_update_id + 1, limit=1, long_polling_timeout=0)`, which confirms
# the handled updates; or recognise updates by their update_id in the database that has the effects.
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
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import telebot

pending = {}
offsets = []


class BotAPI(BaseHTTPRequestHandler):
    def do_GET(self):
        split = urlsplit(self.path)
        if split.path.endswith("/getMe"):
            self.answer({"id": 1, "is_bot": True, "first_name": "Bot", "username": "bot"})
            return
        offset = int(parse_qs(split.query)["offset"][0])
        offsets.append(offset)
        for number in [number for number in pending if number < offset]:
            del pending[number]
        self.answer(list(pending.values()))

    do_POST = do_GET

    def answer(self, result):
        body = json.dumps({"ok": True, "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def run_bot():
    bot = telebot.TeleBot("1:token", num_threads=1)
    handled = []

    @bot.message_handler()
    def handle(message):
        handled.append(message.text)
        if len(handled) == 3:
            bot.stop_polling()

    # The poll loop waits as long between two polls, so the stop comes before the second one.
    bot.polling(interval=2, long_polling_timeout=1)
    bot.stop_bot()
    return handled


for number, text in enumerate(("one", "two", "three"), start=1):
    user = {"id": number, "is_bot": False, "first_name": "A"}
    chat = {"id": number, "type": "private"}
    message = {"message_id": number, "date": 1, "chat": chat, "from": user, "text": text}
    pending[number] = {"update_id": number, "message": message}

server = ThreadingHTTPServer(("127.0.0.1", 0), BotAPI)
threading.Thread(target=server.serve_forever, daemon=True).start()
telebot.apihelper.API_URL = f"http://127.0.0.1:{server.server_port}/bot{{0}}/{{1}}"

first = run_bot()
polls = list(offsets)
second = run_bot()
server.shutdown()
print("handled by the first bot:", first)
print("offsets of its polls:", polls)
print("handled by the second bot:", second)
if first != second or first != ["one", "two", "three"] or polls != [1]:
    sys.exit("CHANGED: the second bot does not get the same updates")
PYTHON
