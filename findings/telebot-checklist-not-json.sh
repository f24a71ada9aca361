#!/usr/bin/env bash
# telebot sends a checklist as the text "<telebot.types.InputChecklist object at ...>".
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: `send_checklist` and `edit_message_checklist` put the InputChecklist itself into the parameters,
# where all other objects are converted to JSON. requests writes it with `str()`. The request leaves without an
# error, and Telegram gets no checklist. A server on the loopback interface shows the parameter that arrives.
#
# Output seen:
#   sendChecklist, InputChecklist: arrives as '<telebot.types.InputChecklist object at 0x...>'
#   editMessageChecklist, InputChecklist: arrives as '<telebot.types.InputChecklist object at 0x...>'
#   sendChecklist, its JSON: arrives as '{"title": "Party", "tasks": [{"id": 1, "text": "cake"}]}'
#
# For a bot author: the documented call can never work. Pass `checklist.to_json()` to both methods, against
# their annotation.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
"$work/venv/bin/python" - <<'PYTHON'
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import telebot
from telebot.types import InputChecklist, InputChecklistTask

MESSAGE = {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}}


class Request(BaseHTTPRequestHandler):
    arrived = []

    def do_GET(self):
        url = urlsplit(self.path)
        checklist = parse_qs(url.query)["checklist"][0]
        checklist = re.sub("0x[0-9a-f]+", "0x...", checklist)
        Request.arrived.append((url.path.rpartition("/")[2], checklist))
        answer = json.dumps({"ok": True, "result": MESSAGE}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


api = ThreadingHTTPServer(("127.0.0.1", 0), Request)
threading.Thread(target=api.serve_forever, daemon=True).start()
telebot.apihelper.API_URL = f"http://127.0.0.1:{api.server_port}/bot{{0}}/{{1}}"
bot = telebot.TeleBot("1:token", threaded=False)
party = InputChecklist(title="Party", tasks=[InputChecklistTask(1, "cake")])
bot.send_checklist("connection", 7, party)
bot.edit_message_checklist("connection", 7, 1, party)
bot.send_checklist("connection", 7, party.to_json())
api.shutdown()
api.server_close()

for (method, checklist), argument in zip(
    Request.arrived, ["InputChecklist", "InputChecklist", "its JSON"], strict=True
):
    print(f"{method}, {argument}: arrives as {checklist!r}")
printed = "<telebot.types.InputChecklist object at 0x...>"
if Request.arrived != [
    ("sendChecklist", printed),
    ("editMessageChecklist", printed),
    ("sendChecklist", party.to_json()),
]:
    sys.exit("CHANGED: the checklist arrives as something else")
PYTHON
