#!/usr/bin/env bash
# With `gunicorn --max-requests`, a telebot webhook loses the updates of its pool at each restart of the worker.
#
# Versions: gunicorn 27.0.1, pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7, Linux.
#
# Behaviour: a telebot webhook answers 200 as soon as the update is in the queue of the pool. gunicorn restarts a worker
# after --max-requests requests, and waits for the requests that run. It knows nothing of the pool, whose threads are
# daemons: the process ends in the middle of their handlers, and their queue is gone. No signal and no deployment is
# needed. Here a worker gets five updates, the handlers take longer than these requests, and the sixth update goes to
# the next worker.
#
# Output seen:
#   sync: 6 answered with 200, handlers started for [1, 2, 6], ended for [6]
#   gthread: 6 answered with 200, handlers started for [1, 2, 6], ended for [6]
#   sync, threaded=False: 6 answered with 200, handlers started for [1, 2, 3, 4, 5, 6], ended for [1, 2, 3, 4, 5, 6]
#
# For a bot author: a setting against memory leaks loses a few messages a day and leaves orders half done, and Telegram
# does not send them again. Pass threaded=False, or wait in gunicorn's `worker_exit` until `bot.worker_pool.tasks` is
# empty, and then call `bot.worker_pool.close()`, which waits for the handlers.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20' 'gunicorn==27.0.1' 'packaging==26.4'
cat > "$work/bot.py" <<'PYTHON'
import json
import os
import time

import telebot

bot = telebot.TeleBot("1:token", threaded=os.environ["THREADED"] == "True")


def note(word, number):
    with open(os.environ["REPORT"], "a") as report:
        report.write(f"{word} {number}\n")


@bot.message_handler()
def order(message):
    note("started", message.message_id)
    while not os.path.exists(os.environ["MAY_END"]):
        time.sleep(0.02)
    note("ended", message.message_id)


def application(environ, start_response):
    update = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    bot.process_new_updates([telebot.types.Update.de_json(update)])
    start_response("200 OK", [("Content-Length", "0"), ("X-Worker", str(os.getpid()))])
    return []
PYTHON
"$work/venv/bin/python" - "$work" <<'PYTHON'
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

WORK = Path(sys.argv[1])


def update(number):
    message = {
        "message_id": number,
        "date": 1,
        "chat": {"id": 7, "type": "private"},
        "from": {"id": 7, "is_bot": False, "first_name": "A"},
        "text": "tea",
    }
    return {"update_id": number, "message": message}


def post(path, number):
    """The status and the worker of an update; Telegram sends it again if there is no answer."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        client = http.client.HTTPConnection("localhost")
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.settimeout(30)
        try:
            client.sock.connect(str(path))
            client.request("POST", "/", json.dumps(update(number)), {"Connection": "close"})
            answer = client.getresponse()
            return answer.status, answer.headers["X-Worker"]
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            client.close()
    sys.exit("CHANGED: gunicorn does not answer")


def numbers(report, word):
    lines = report.read_text().splitlines() if report.exists() else []
    return sorted({int(line.split()[1]) for line in lines if line.startswith(f"{word} ")})


def wait_for(report, word, number):
    deadline = time.monotonic() + 60
    while number not in numbers(report, word):
        if time.monotonic() > deadline:
            sys.exit(f"CHANGED: no handler has {word} for update {number}")
        time.sleep(0.02)


def wait_for_end(process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    sys.exit("CHANGED: the worker goes on")


def run(worker_class, threaded):
    folder = WORK / f"{worker_class}-{threaded}"
    folder.mkdir()
    path, report, may_end = folder / "socket", folder / "report", folder / "may_end"
    if not threaded:
        may_end.touch()
    command = [WORK / "venv/bin/gunicorn", "--chdir", WORK, "--bind", f"unix:{path}", "--workers", "1"]
    options = ["--worker-class", worker_class, "--max-requests", "5", "--no-control-socket"]
    variables = {"THREADED": str(threaded), "REPORT": str(report), "MAY_END": str(may_end)}
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [*command, *options, "bot:application"],
            stdout=log, stderr=log, env={**os.environ, **variables},
        )
    try:
        answers = []
        for number in range(1, 7):
            answers.append(post(path, number))
            if number in (1, 2):
                wait_for(report, "started", number)
            if number == 5:
                # A gthread worker can still accept a request while it ends.
                wait_for_end(int(answers[-1][1]))
        workers = [worker for _, worker in answers]
        if len(set(workers[:5])) != 1 or workers[5] == workers[0]:
            sys.exit("CHANGED: a worker has another number of requests")
        may_end.touch()
        wait_for(report, "ended", 6)
    finally:
        server.terminate()
        server.wait(60)
    answered = [status for status, _ in answers].count(200)
    return answered, numbers(report, "started"), numbers(report, "ended")


EVERY = [1, 2, 3, 4, 5, 6]
seen = {
    "sync": run("sync", True),
    "gthread": run("gthread", True),
    "sync, threaded=False": run("sync", False),
}
for name, (answered, started, ended) in seen.items():
    print(f"{name}: {answered} answered with 200, handlers started for {started}, ended for {ended}")
if list(seen.values()) != [(6, [1, 2, 6], [6])] * 2 + [(6, EVERY, EVERY)]:
    sys.exit("CHANGED: other updates are handled")
PYTHON
