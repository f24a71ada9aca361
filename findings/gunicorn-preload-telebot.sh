#!/usr/bin/env bash
# With `gunicorn --preload`, a telebot webhook answers 200 and handles nothing.
#
# Versions: gunicorn 27.0.1, pyTelegramBotAPI 4.37.1, requests 2.34.2, Flask 3.1.3, Werkzeug 3.1.9,
# CPython 3.11.7, Linux.
#
# Behaviour: `TeleBot(token)` starts the two threads of its pool at once. With --preload that happens in
# gunicorn's master, and a fork copies no threads. The worker has a pool object with a queue that no thread
# empties: each update is put into it and acknowledged, without an error or a line in the log.
#
# Output seen:
#   gunicorn: status 200, living threads of the pool 2, updates waiting 0
#   gunicorn --preload: status 200, living threads of the pool 0, updates waiting 1
#
# For a bot author: a switch that saves memory turns the bot mute, and Telegram forgets every update. Make
# the `TeleBot` object in the worker (without --preload, or in gunicorn's `post_fork`), or pass
# threaded=False.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20' 'Flask==3.1.3' 'Werkzeug==3.1.9' 'Jinja2==3.1.6' \
    'MarkupSafe==3.0.4' 'itsdangerous==2.2.0' 'click==8.5.1' 'blinker==1.9.0' 'gunicorn==27.0.1' \
    'packaging==26.4'
cat > "$work/bot.py" <<'PYTHON'
import threading

import flask
import telebot

bot = telebot.TeleBot("1:token")
handled = threading.Event()
bot.register_message_handler(lambda message: handled.set())
app = flask.Flask(__name__)


@app.post("/")
def webhook():
    bot.process_new_updates([telebot.types.Update.de_json(flask.request.get_json())])
    return ""


@app.get("/")
def state():
    pool = bot.worker_pool
    living = sum(worker.is_alive() for worker in pool.workers)
    if living:
        handled.wait(20)
    return [living, pool.tasks.qsize()]
PYTHON
"$work/venv/bin/python" - "$work" <<'PYTHON'
import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

WORK = Path(sys.argv[1])
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


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def opened(request):
    deadline = time.monotonic() + 20
    while True:
        try:
            return urllib.request.urlopen(request, timeout=25)
        except ConnectionRefusedError:
            pass
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
        if time.monotonic() > deadline:
            sys.exit("CHANGED: gunicorn does not listen")
        time.sleep(0.05)


def run(options):
    port = free_port()
    command = [WORK / "venv/bin/gunicorn", "--chdir", WORK, "--bind", f"127.0.0.1:{port}", "--workers", "1"]
    with open(WORK / "log", "wb") as log:
        server = subprocess.Popen([*command, *options, "bot:app"], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/"
        body, kind = json.dumps(UPDATE).encode(), {"Content-Type": "application/json"}
        with opened(urllib.request.Request(url, data=body, headers=kind)) as answer:
            status = answer.status
        with opened(url) as answer:
            return status, *json.load(answer)
    finally:
        server.terminate()
        server.wait(20)


seen = []
for options in ((), ("--preload",)):
    status, living, waiting = run(options)
    seen.append((status, living, waiting))
    name = " ".join(("gunicorn", *options))
    print(f"{name}: status {status}, living threads of the pool {living}, updates waiting {waiting}")
if seen != [(200, 2, 0), (200, 0, 1)]:
    sys.exit("CHANGED: other updates are handled")
PYTHON
