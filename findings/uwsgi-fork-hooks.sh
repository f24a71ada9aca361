#!/usr/bin/env bash
# uWSGI's workers never call the functions of `os.register_at_fork`.
#
# Versions: pyuwsgi 2.0.30.post1 (uWSGI 2.0.30), CPython 3.11.7, Linux.
#
# Behaviour: uWSGI loads the application once and forks its workers in C. The work that Python does around
# its own `os.fork()` is left out: functions of `os.register_at_fork` are called neither before nor after,
# for any library of the bot, with and without --enable-threads. The option --py-call-uwsgi-fork-hooks turns
# them on; it is off, and absent from the usual examples.
#
# Output seen (calls in the two children):
#   os.fork: [1, 1]
#   uWSGI: [0, 0]
#   uWSGI --enable-threads: [0, 0]
#   uWSGI --enable-threads --py-call-uwsgi-fork-hooks: [1, 1]
#
# For a bot author: locks, tokens and connections that a library renews after a fork are shared by the
# workers, and each takes the lock of the other for its own. Load the bot in each worker (lazy-apps = true),
# or compare `os.getpid()` on use.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps 'pyuwsgi==2.0.30.post1'
cat > "$work/bot.py" <<'PYTHON'
import os

CALLS = []
os.register_at_fork(after_in_child=lambda: CALLS.append(1))


def report(folder):
    """Write the number of calls in this process into a file of its own."""
    path = os.path.join(folder, str(os.getpid()))
    with open(path + ".new", "w") as file:
        file.write(str(len(CALLS)))
    os.rename(path + ".new", path)


def application(environ, start_response):
    start_response("200 OK", [])
    return [b""]


try:
    import uwsgi
except ImportError:
    pass
else:
    uwsgi.post_fork_hook = lambda: report(os.environ["REPORTS"])
PYTHON
PYTHONPATH="$work" "$work/venv/bin/python" - "$work" <<'PYTHON'
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import bot

WORK = Path(sys.argv[1])


def collected(folder):
    deadline = time.monotonic() + 15
    while len(paths := [path for path in folder.iterdir() if not path.suffix]) < 2:
        if time.monotonic() > deadline:
            sys.exit("CHANGED: two processes did not report")
        time.sleep(0.01)
    return [int(path.read_text()) for path in paths]


def forked(folder):
    for _ in range(2):
        child = os.fork()
        if child == 0:
            bot.report(folder)
            os._exit(0)
        os.waitpid(child, 0)
    return collected(folder)


def uwsgi(folder, options):
    command = [WORK / "venv/bin/uwsgi", "--master", "--processes", "2", "--need-app", *options]
    command += ["--socket", folder.with_suffix(".sock"), "--pythonpath", WORK, "--module", "bot"]
    environ = {**os.environ, "REPORTS": str(folder)}
    with open(folder.with_suffix(".log"), "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environ, start_new_session=True)
    try:
        return collected(folder)
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # uWSGI overlooks SIGTERM while it starts
        server.wait()


OPTIONS = ((), ("--enable-threads",), ("--enable-threads", "--py-call-uwsgi-fork-hooks"))
runs = {"os.fork": forked}
runs |= {" ".join(("uWSGI", *options)): lambda f, o=options: uwsgi(f, o) for options in OPTIONS}
seen = []
for number, (name, run) in enumerate(runs.items()):
    folder = WORK / f"reports{number}"
    folder.mkdir()
    seen.append(run(folder))
    print(f"{name}: {seen[-1]}")
if seen != [[1, 1], [0, 0], [0, 0], [1, 1]]:
    sys.exit("CHANGED: other processes call the functions")
PYTHON
