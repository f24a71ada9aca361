#!/usr/bin/env bash
# telebot's `skip_pending=True` skips all waiting updates but the newest, which is handled.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: telebot asks for the last update (getUpdates with offset -1), which makes Telegram forget the
# older ones, and throws the answer away without confirming it. The following getUpdates asks from offset 1
# and gets that last update again. A Bot API on the loopback interface follows the documented meaning of
# the offset; three updates wait when the bot starts.
#
# Output seen:
#   offsets asked for: -1, 1, 4
#   handled: [3]
#
# For a bot author: `skip_pending` is there to forget the "/pay" of yesterday, and the newest "/pay" is
# carried out. Call `bot.delete_webhook(drop_pending_updates=True)` before polling instead.
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

ME = {"id": 1, "is_bot": True, "first_name": "B", "username": "b_bot"}
offsets = []


def update(number):
    message = {
        "message_id": number,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "A"},
        "text": "/pay",
    }
    return {"update_id": number, "message": message}


class Request(BaseHTTPRequestHandler):
    queue = [update(number) for number in (1, 2, 3)]

    def do_GET(self):
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        fields = parse_qs(url.query) | parse_qs(self.rfile.read(length).decode())
        result = ME if url.path.endswith("getMe") else self.updates(int(fields["offset"][0]))
        body = json.dumps({"ok": True, "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def updates(self, offset):
        offsets.append(offset)
        if offset < 0:
            Request.queue = Request.queue[offset:]
        else:
            Request.queue = [u for u in Request.queue if u["update_id"] >= offset]
        return Request.queue

    do_POST = do_GET

    def log_message(self, *args):
        pass


api = ThreadingHTTPServer(("127.0.0.1", 0), Request)
threading.Thread(target=api.serve_forever, daemon=True).start()
telebot.apihelper.API_URL = f"http://127.0.0.1:{api.server_port}/bot{{0}}/{{1}}"
bot = telebot.TeleBot("1:token", threaded=False)
handled = []


@bot.message_handler(commands=["pay"])
def pay(message):
    handled.append(message.message_id)
    bot.stop_polling()


bot.infinity_polling(skip_pending=True, timeout=5, long_polling_timeout=0)
bot.get_updates(offset=bot.last_update_id + 1, timeout=5, long_polling_timeout=0)
api.shutdown()
api.server_close()
print("offsets asked for:", ", ".join(map(str, offsets)))
print("handled:", handled)
if (offsets, handled) != ([-1, 1, 4], [3]):
    sys.exit("CHANGED: other updates are skipped")
PYTHON
