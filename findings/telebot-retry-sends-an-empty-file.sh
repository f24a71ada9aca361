#!/usr/bin/env bash
# With RETRY_ON_ERROR, telebot's second attempt to send a file sends it empty.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, urllib3 2.8.0, CPython 3.11.7.
#
# Behaviour: requests reads the whole open file when it builds the body. If the connection breaks, telebot
# builds a new request from the same file object, which now stands at its end, and does not rewind it. A
# Bot API on the loopback interface reads the first attempt and closes the connection without an answer.
#
# Output seen:
#   open file: attempt 1 brought 1000 bytes, attempt 2 brought 0 bytes
#   bytes:     attempt 1 brought 1000 bytes, attempt 2 brought 1000 bytes
#
# For a bot author: the switch for bad networks turns "no answer" into "file must be non-empty", an error
# that cannot be reproduced later. Pass `file.read()` to `send_document` instead of the file.
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
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import telebot

ANSWER = {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}}


class Request(BaseHTTPRequestHandler):
    attempts = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Request.attempts.append(body.count(b"\x00"))
        if len(Request.attempts) == 1:
            self.close_connection = True
            return
        answer = json.dumps({"ok": True, "result": ANSWER}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


def attempts(document):
    Request.attempts.clear()
    bot.send_document(7, document, visible_file_name="backup.bin")
    return list(Request.attempts)


api = ThreadingHTTPServer(("127.0.0.1", 0), Request)
threading.Thread(target=api.serve_forever, daemon=True).start()
telebot.apihelper.API_URL = f"http://127.0.0.1:{api.server_port}/bot{{0}}/{{1}}"
telebot.apihelper.RETRY_ON_ERROR = True
telebot.apihelper.RETRY_TIMEOUT = 0
bot = telebot.TeleBot("1:token", threaded=False)
with tempfile.TemporaryFile() as file:
    file.write(bytes(1000))
    file.seek(0)
    opened = attempts(file)
    file.seek(0)
    whole = attempts(file.read())
api.shutdown()
api.server_close()
for name, seen in (("open file: ", opened), ("bytes:     ", whole)):
    print(name + ", ".join(f"attempt {n} brought {size} bytes" for n, size in enumerate(seen, 1)))
if (opened, whole) != ([1000, 0], [1000, 1000]):
    sys.exit("CHANGED: the attempts bring other files")
PYTHON
