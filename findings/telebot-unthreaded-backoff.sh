#!/usr/bin/env bash
# With threaded=False, telebot's pause after errors of Telegram doubles without end.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: after an answer such as HTTP 502 both ways of polling pause 0.25 s and double the pause with
# each further error. With threads the pause ends at a minute. Without threads there is no bound: after an
# outage of three hours the bot sleeps for three more, and after a day for a day. A Bot API on the
# loopback interface answers 502 twenty times; `time.sleep` of telebot is recorded instead of slept.
#
# Output seen:
#   threaded=True:  longest pause 60 s, all pauses 13 minutes
#   threaded=False: longest pause 131072 s, all pauses 4369 minutes
#
# For a bot author: the outage is over, every monitor is green, and the bot still sleeps. Restart it when
# it has not polled for minutes, or pass an `exception_handler` whose `handle` returns True, which keeps
# the pause at 0.25 s.
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
from types import SimpleNamespace

import telebot

ERRORS = 20
ME = {"id": 1, "is_bot": True, "first_name": "B", "username": "b_bot"}


class Request(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.split("?")[0].endswith("getMe"):
            self.answer(200, json.dumps({"ok": True, "result": ME}).encode())
        else:
            self.answer(502, b"<html>Bad Gateway</html>")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass


def pauses(threaded):
    bot = telebot.TeleBot("1:token", threaded=threaded)
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == ERRORS:
            bot.stop_polling()

    telebot.time = SimpleNamespace(sleep=sleep)
    bot.polling(non_stop=True, timeout=5, long_polling_timeout=0)
    bot.stop_bot()
    return slept


logging.getLogger("TeleBot").setLevel(logging.CRITICAL)
api = ThreadingHTTPServer(("127.0.0.1", 0), Request)
threading.Thread(target=api.serve_forever, daemon=True).start()
telebot.apihelper.API_URL = f"http://127.0.0.1:{api.server_port}/bot{{0}}/{{1}}"
seen = {threaded: pauses(threaded) for threaded in (True, False)}
api.shutdown()
api.server_close()
for threaded, slept in seen.items():
    name = f"threaded={threaded}:"
    print(f"{name:15} longest pause {max(slept):g} s, all pauses {sum(slept) / 60:.0f} minutes")
if max(seen[True]) != 60 or seen[False] != [0.25 * 2**n for n in range(ERRORS)]:
    sys.exit("CHANGED: the pauses are other ones")
PYTHON
