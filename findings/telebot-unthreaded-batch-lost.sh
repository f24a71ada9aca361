#!/usr/bin/env bash
# With threaded=False, telebot drops the rest of a batch behind a handler that raises.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: telebot notes the highest `update_id` of a batch before the first handler runs. A handler that
# raises ends the batch, and the next getUpdates confirms all of it to Telegram, which then forgets it. A
# Bot API on the loopback interface sends five messages of five users; the handler of the second raises.
#
# Output seen:
#   threaded=False: handled [1, 2], next offset 6, waiting at Telegram []
#   threaded=True:  handled [1, 2, 3, 4, 5], next offset 6, waiting at Telegram []
#
# For a bot author: threaded=False looks like the careful choice, and one user's error silently loses the
# messages of others. Pass an `exception_handler` whose `handle` returns True.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import telebot

ME = {"id": 1, "is_bot": True, "first_name": "B", "username": "b_bot"}


def update(number):
    message = {
        "message_id": number,
        "date": 1,
        "chat": {"id": number, "type": "private"},
        "from": {"id": number, "is_bot": False, "first_name": "A"},
        "text": "hi",
    }
    return {"update_id": number, "message": message}


class BotAPI(ThreadingHTTPServer):
    """Answers getMe and getUpdates, and forgets the updates below the offset, as documented."""

    daemon_threads = True

    def __init__(self):
        self.queue = [update(number) for number in range(1, 6)]
        self.confirmed = threading.Event()
        self.offset = 0
        super().__init__(("127.0.0.1", 0), Request)


class Request(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        fields = parse_qs(url.query) | parse_qs(self.rfile.read(length).decode())
        result = ME if url.path.endswith("getMe") else self.updates(int(fields.get("offset", ["0"])[0]))
        body = json.dumps({"ok": True, "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def updates(self, offset):
        self.server.queue = [u for u in self.server.queue if u["update_id"] >= offset]
        if offset > 1:
            self.server.offset = offset
            self.server.confirmed.set()
        return self.server.queue

    do_POST = do_GET

    def log_message(self, *args):
        pass


def run(threaded):
    api = BotAPI()
    threading.Thread(target=api.serve_forever, daemon=True).start()
    telebot.apihelper.API_URL = f"http://127.0.0.1:{api.server_port}/bot{{0}}/{{1}}"
    bot = telebot.TeleBot("1:token", threaded=threaded, num_threads=1)
    handled = []
    done = threading.Event()

    @bot.message_handler()
    def handle(message):
        handled.append(message.chat.id)
        if message.chat.id == 5:
            done.set()
        if message.chat.id == 2:
            raise ValueError("a mistake in the handler")

    try:
        bot.polling(non_stop=True, interval=0, timeout=5, long_polling_timeout=0, logger_level=None)
    except ValueError:
        pass
    # The bot of the real world is started again, by `infinity_polling` or by its supervisor.
    poller = threading.Thread(
        target=bot.polling,
        kwargs={"non_stop": True, "interval": 0.05, "timeout": 5, "long_polling_timeout": 0},
        daemon=True,
    )
    poller.start()
    if not api.confirmed.wait(20):
        sys.exit("CHANGED: telebot does not confirm the batch")
    if threaded and not done.wait(20):
        sys.exit("CHANGED: the pool does not handle the rest")
    bot.stop_bot()
    poller.join(20)
    api.shutdown()
    api.server_close()
    return handled, api.offset, [u["update_id"] for u in api.queue]


logging.getLogger("TeleBot").setLevel(logging.CRITICAL)
seen = {threaded: run(threaded) for threaded in (False, True)}
for threaded, (handled, offset, waiting) in seen.items():
    name = f"threaded={threaded}:"
    print(f"{name:15} handled {handled}, next offset {offset}, waiting at Telegram {waiting}")
if seen != {False: ([1, 2], 6, []), True: ([1, 2, 3, 4, 5], 6, [])}:
    sys.exit("CHANGED: other messages were handled")
PYTHON
