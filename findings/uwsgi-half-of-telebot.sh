#!/usr/bin/env bash
# Under uWSGI without --master, a telebot webhook handles the updates of one process and drops the others.
#
# Versions: pyuwsgi 2.0.30.post1 (uWSGI 2.0.30), pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7,
# Linux.
#
# Behaviour: `TeleBot(token)` starts the two threads of its pool at once, in the process that loads the bot.
# Without --master, uWSGI makes this process its first worker and forks the others from it. So the first worker
# has the threads and handles its updates; a forked worker has none, and its updates are answered with 200 and
# never handled. With --master all workers are forked, and no update at all is handled.
#
# Output seen (40 updates; how many each worker gets differs from run to run):
#   uwsgi --processes 2: 40 answered with 200, handled: all of worker 1, none of worker 2
#   uwsgi --processes 2 --master: 40 answered with 200, handled: none of worker 1, none of worker 2
#
# For a bot author: with one worker everything works, with two about half of the messages vanish without an
# error. Pass threaded=False, or load the bot in each worker (--lazy-apps).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20' 'pyuwsgi==2.0.30.post1'
cat > "$work/bot.py" <<'PYTHON'
import json
import os
import threading

import telebot
import uwsgi

bot = telebot.TeleBot("1:token")
handled = threading.Semaphore(0)
bot.register_message_handler(lambda message: handled.release())


def application(environ, start_response):
    update = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    bot.process_new_updates([telebot.types.Update.de_json(update)])
    # Longer than any handler takes that only releases a semaphore.
    was_handled = handled.acquire(timeout=0.5)
    with open(os.environ["REPORT"], "a") as report:
        report.write(f"{uwsgi.worker_id()} {was_handled}\n")
    start_response("200 OK", [("Content-Length", "0")])
    return []
PYTHON
PYTHONPATH="$work" "$work/venv/bin/python" - "$work" <<'PYTHON'
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
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


def connected(path):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            return connection
        except OSError:
            connection.close()
            time.sleep(0.05)
    sys.exit("CHANGED: uWSGI does not listen")


def post(path):
    client = http.client.HTTPConnection("localhost")
    client.sock = connected(path)
    client.request("POST", "/", json.dumps(UPDATE))
    return client.getresponse().status


def run(number, options):
    path, report = WORK / f"socket{number}", WORK / f"report{number}"
    command = [WORK / "venv/bin/pyuwsgi", "--module", "bot:application", "--http-socket", path]
    with open(WORK / "log", "wb") as log:
        server = subprocess.Popen(
            [*command, "--processes", "2", *options],
            stdout=log, stderr=log, env={**os.environ, "REPORT": str(report)},
            start_new_session=True,
        )
    try:
        with ThreadPoolExecutor(40) as senders:
            answers = list(senders.map(post, [path] * 40))
    finally:
        # Without a master nobody else ends the second worker.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)
    lines = report.read_text().splitlines()
    return answers.count(200), *(
        {line.split()[1] for line in lines if line.startswith(worker)} for worker in "12"
    )


WORDS = {"True": "all", "False": "none"}
seen = []
for number, options in enumerate(([], ["--master"])):
    answered, *workers = run(number, options)
    words = ["/".join(sorted(WORDS[each] for each in worker)) for worker in workers]
    seen.append((answered, *words))
    name = " ".join(("uwsgi --processes 2", *options))
    print(f"{name}: {answered} answered with 200, handled: {words[0]} of worker 1, {words[1]} of worker 2")
if seen != [(40, "all", "none"), (40, "none", "none")]:
    sys.exit("CHANGED: other updates are handled")
PYTHON
