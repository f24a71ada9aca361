#!/usr/bin/env bash
# Two gunicorns of one user have one control socket: `gunicornc` then commands the one that started last.
#
# Versions: gunicorn 27.0.1, packaging 26.4, CPython 3.11.7, Linux.
#
# Behaviour: each gunicorn opens a control socket, without being asked, at the same path: gunicorn.ctl in
# $XDG_RUNTIME_DIR or in ~/.gunicorn. The second one replaces the file without a word. From then on `gunicornc`
# talks to the second master, whatever the working directory; when that ends, it removes the file, and the first
# one cannot be reached any more.
#
# Output seen:
#   gunicornc reaches the first: True
#   with a second one, gunicornc reaches: the second
#   after the end of the second, gunicornc reaches: nobody, and the first still runs: True
#
# For a bot author: with two bots on one machine, `gunicornc -c "shutdown"` ends the other bot. Give each its own
# with --control-socket PATH, or leave it out with --no-control-socket.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps 'gunicorn==27.0.1' 'packaging==26.4'
cat > "$work/bot.py" <<'PYTHON'
def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]
PYTHON
env -u XDG_RUNTIME_DIR HOME="$work" "$work/venv/bin/python" - "$work" <<'PYTHON'
import re
import subprocess
import sys
import time
from pathlib import Path

WORK = Path(sys.argv[1])


def reached():
    """The process that gunicornc talks to, or `None`."""
    shown = subprocess.run(
        [WORK / "venv/bin/gunicornc", "-c", "show all"], capture_output=True, text=True, timeout=20
    )
    found = re.search(r"ARBITER.*?PID:\s*(\d+)", shown.stdout, re.DOTALL)
    return int(found[1]) if found else None


def waited_for(condition):
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def start(name):
    command = [WORK / "venv/bin/gunicorn", "--chdir", WORK, "--bind", f"unix:{WORK / name}"]
    with open(WORK / "log", "ab") as log:
        return subprocess.Popen([*command, "bot:application"], stdout=log, stderr=log)


first = start("first")
try:
    reaches_first = waited_for(lambda: reached() == first.pid)
    print("gunicornc reaches the first:", reaches_first)
    second = start("second")
    try:
        reaches_second = waited_for(lambda: reached() == second.pid)
    finally:
        second.terminate()
        second.wait(20)
    print("with a second one, gunicornc reaches:", "the second" if reaches_second else "the first")
    after, runs = reached(), first.poll() is None
    who = "nobody" if after is None else "somebody"
    print(f"after the end of the second, gunicornc reaches: {who}, and the first still runs: {runs}")
finally:
    first.terminate()
    first.wait(20)
if (reaches_first, reaches_second, after, runs) != (True, True, None, True):
    sys.exit("CHANGED: each has a control socket of its own")
PYTHON
