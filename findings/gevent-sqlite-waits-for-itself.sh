#!/usr/bin/env bash
# Under gevent, a handler that waits for SQLite's lock keeps the lock's holder from ever releasing it.
#
# Versions: gevent 26.9.0, greenlet 3.5.6, SQLite 3.40.1 in CPython 3.11.7.
#
# Behaviour: `monkey.patch_all()` does not reach sqlite3. SQLite waits for a lock inside C, and all greenlets
# of the process stand still, the one that holds the lock included. Handler A holds the lock across
# one call that hands over (as any request to Telegram does), and handler B wants it: the whole process stops
# for B's timeout, and B then fails. With threads, the same two handlers take a moment and both succeed.
#
# Output seen (timeout of 5 s):
#   threads:   A committed True, B: done
#   greenlets: A committed True, B: database is locked, the whole process stood still for 5 s
#
# For a bot author: with the usual timeout of 30 s, one slow answer of Telegram stops the bot for all users
# for 30 s. Send no request inside a transaction, or use a server with threads (gunicorn -k gthread).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'gevent==26.9.0' 'greenlet==3.5.6' 'zope.event==6.2' 'zope.interface==8.7'
cat > "$work/bot.py" <<'PYTHON'
import sys

if sys.argv[2] == "greenlets":
    from gevent import monkey

    monkey.patch_all()

import sqlite3
import threading
import time

PATH, KIND = sys.argv[1:]
holding = threading.Event()
committed, outcome = [], []
ticks = [time.monotonic()]


def handler_a():
    db = sqlite3.connect(PATH, timeout=5, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    holding.set()
    time.sleep(0.2)  # a request to Telegram
    db.execute("COMMIT")
    committed.append(True)
    db.close()


def handler_b():
    db = sqlite3.connect(PATH, timeout=5, isolation_level=None)
    holding.wait(20)
    try:
        db.execute("BEGIN IMMEDIATE")
        db.execute("COMMIT")
        outcome.append("done")
    except sqlite3.OperationalError as error:
        outcome.append(str(error))
    db.close()


def other_users():
    while not (committed and outcome):
        time.sleep(0.02)
        ticks.append(time.monotonic())


threads = [threading.Thread(target=target) for target in (other_users, handler_a, handler_b)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
pause = max(later - earlier for earlier, later in zip(ticks, ticks[1:]))
stood = ", the whole process stood still for 5 s" if pause > 4.5 else ""
print(f"{KIND + ':':10} A committed {bool(committed)}, B: {outcome[0]}{stood}")
PYTHON
"$work/venv/bin/python" - "$work" <<'PYTHON'
import subprocess
import sys
from pathlib import Path

WORK = Path(sys.argv[1])
EXPECTED = {
    "threads": "threads:   A committed True, B: done",
    "greenlets": "greenlets: A committed True, B: database is locked, the whole process stood still for 5 s",
}
seen = {}
for kind in EXPECTED:
    command = [sys.executable, WORK / "bot.py", WORK / f"{kind}.db", kind]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=40)
    seen[kind] = run.stdout.strip()
    print(seen[kind])
if seen != EXPECTED:
    sys.exit("CHANGED: the lock is waited for in another way")
PYTHON
