#!/usr/bin/env bash
# telebot saves next steps up to two minutes late, and keeps the process from ending until then.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, CPython 3.11.7.
#
# Behaviour: `enable_save_next_step_handlers()` starts a timer of 120 s with the first step and writes the
# file when it fires. Nothing writes it when the bot stops. The timer's thread is no daemon: a bot whose
# `polling` has returned does not exit, and if its supervisor loses patience, the steps are not in the file.
# One step that pickle refuses (a lambda) makes every later file fail as well, for all users.
#
# Output seen:
#   main thread done: file exists False, timer is a daemon False, seconds to go 120
#   killed then, steps found after the restart: 0
#   a step that is a lambda, among 100 users: file refused True, steps found after the restart: 0
#
# For a bot author: `docker stop` waits for 10 s, so each deployment loses all open questions. Call
# `bot.next_step_backend.save_handlers()` and `bot.next_step_backend.timer.cancel()` after polling.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20'
cat > "$work/bot.py" <<'PYTHON'
import os
import signal
import sys

import telebot

path, kind = sys.argv[1:]
bot = telebot.TeleBot("1:token", threaded=False)
bot.enable_save_next_step_handlers(filename=path)


def age(message):
    raise NotImplementedError


if kind == "count":
    bot.load_next_step_handlers(path)
    print(len(bot.next_step_backend.handlers))
else:
    for user in range(1, 101):
        bot.register_next_step_handler_by_chat_id(user, age)
    timer = bot.next_step_backend.timer
    if kind == "lambda":
        bot.register_next_step_handler_by_chat_id(101, lambda message: None)
        try:
            bot.next_step_backend.save_handlers()
        except Exception:
            print(True)
    else:
        print(os.path.exists(path), timer.daemon, timer.interval)
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
PYTHON
"$work/venv/bin/python" - "$work" <<'PYTHON'
import subprocess
import sys
from pathlib import Path

WORK = Path(sys.argv[1])


def bot(name, kind):
    command = [sys.executable, WORK / "bot.py", WORK / name, kind]
    return subprocess.run(command, capture_output=True, text=True, timeout=40).stdout.split()


(exists, daemon, interval), (count,) = bot("steps", "plain"), bot("steps", "count")
print(f"main thread done: file exists {exists}, timer is a daemon {daemon}, seconds to go {interval}")
print(f"killed then, steps found after the restart: {count}")
(refused,), (left,) = bot("lambda", "lambda"), bot("lambda", "count")
print(f"a step that is a lambda, among 100 users: file refused {refused}, steps found after the restart: {left}")
if (exists, daemon, interval, count) != ("False", "False", "120", "0"):
    sys.exit("CHANGED: the steps are saved at another time")
if (refused, left) != ("True", "0"):
    sys.exit("CHANGED: a lambda does not stop the file")
PYTHON
