#!/usr/bin/env bash
# Under freezegun, one thread sees two times: the real one in shallow calls, the frozen one in deep calls.
#
# Versions: freezegun 1.5.5, python-dateutil 4.0.0, CPython 3.11.7.
#
# Behaviour: freezegun lets some modules see the real time, `threading` and `queue` among them, and finds
# out by the last five frames of the call stack. The target of a `Thread` is called by `threading`, so a
# function there that asks for the time gets the real one. The same function, called five levels deeper, gets
# the frozen one. `functools.partial`, a helper or a decorator more changes the answer.
#
# Output seen (year):
#   main thread: at once 2030, five calls deeper 2030
#   new thread:  at once not 2030, five calls deeper 2030
#   thread of a ThreadPoolExecutor: at once not 2030, five calls deeper 2030
#
# For a bot author: a deadline that one function stores and another compares is "expired" or "never" in a
# test with threads, although time stands still. Give the code its clock as a parameter. Emptying freezegun's
# `default_ignore_list` is no way out: `Queue.get(timeout=...)` then waits on the frozen clock.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'freezegun==1.5.5' 'python-dateutil==4.0.0' 'tzdata==2026.6'
"$work/venv/bin/python" - <<'PYTHON'
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import freezegun


def year():
    return time.gmtime(time.time()).tm_year


def deeper(levels):
    return year() if levels == 0 else deeper(levels - 1)


def both():
    return year(), deeper(5)


def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(both()))
    thread.start()
    thread.join()
    return found[0]


def in_pool():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(both).result()


with freezegun.freeze_time("2030-01-01"):
    seen = {"main thread:": both(), "new thread: ": in_thread(), "thread of a ThreadPoolExecutor:": in_pool()}
shown = {2030: "2030"}
for name, (at_once, deep) in seen.items():
    parts = [shown.get(found, "not 2030") for found in (at_once, deep)]
    print(f"{name} at once {parts[0]}, five calls deeper {parts[1]}")
frozen = [tuple(found == 2030 for found in pair) for pair in seen.values()]
if frozen != [(True, True), (False, True), (False, True)]:
    sys.exit("CHANGED: other calls see the frozen time")
PYTHON
