#!/usr/bin/env bash
# Behind a webhook, an error in a handler of telebot leaves no trace, and Telegram is told "200".
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, Flask 3.1.3, Werkzeug 3.1.9, CPython 3.11.7.
#
# Behaviour: `process_new_updates` puts the update into telebot's pool and returns. An error is kept in
# `worker_pool.exception_info` for the polling loop, which raises it. With a webhook there is no polling
# loop: the error is neither raised nor logged (telebot logs it at level DEBUG only, and its level is
# ERROR). The web server has answered 200 before the handler is done, so Telegram does not send again.
#
# Output seen:
#   threaded=True:  status 200, on stderr: nothing, kept in the pool: ZeroDivisionError
#   threaded=False: status 500, on stderr: a traceback
#
# For a bot author: the bot "does not answer sometimes", and its log is empty. Pass an `exception_handler`
# that logs, or threaded=False, which also makes Telegram send the update again.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20' 'Flask==3.1.3' 'Werkzeug==3.1.9' 'Jinja2==3.1.6' \
    'MarkupSafe==3.0.4' 'itsdangerous==2.2.0' 'click==8.5.1' 'blinker==1.9.0'
cat > "$work/bot.py" <<'PYTHON'
import sys

import flask
import telebot

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

threaded = sys.argv[1] == "True"
bot = telebot.TeleBot("1:token", threaded=threaded)
bot.register_message_handler(lambda message: 1 / 0)
app = flask.Flask(__name__)


@app.post("/")
def webhook():
    bot.process_new_updates([telebot.types.Update.de_json(flask.request.get_json())])
    return ""


status = app.test_client().post("/", json=UPDATE).status_code
kept = None
if threaded:
    bot.worker_pool.exception_event.wait(20)
    kept = type(bot.worker_pool.exception_info).__name__
    bot.stop_bot()
print(status, kept)
PYTHON
"$work/venv/bin/python" - "$work/bot.py" <<'PYTHON'
import subprocess
import sys

seen = []
for threaded in (True, False):
    command = [sys.executable, sys.argv[1], str(threaded)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50)
    status, kept = run.stdout.split()
    stderr = "a traceback" if "ZeroDivisionError" in run.stderr else run.stderr.strip() or "nothing"
    seen.append((status, stderr, kept))
    end = f", kept in the pool: {kept}" if threaded else ""
    print(f"{f'threaded={threaded}:':15} status {status}, on stderr: {stderr}{end}")
if seen != [("200", "nothing", "ZeroDivisionError"), ("500", "a traceback", "None")]:
    sys.exit("CHANGED: the error shows in other places")
PYTHON
