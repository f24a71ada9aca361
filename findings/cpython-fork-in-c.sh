#!/usr/bin/env bash
# A fork in C while another Python thread computes gives a child that may hang as soon as it starts a thread.
#
# Versions: CPython 3.11.7 (glibc 2.36), Linux.
#
# Behaviour: a thread that waits for the interpreter's lock (GIL) is a waiter of a condition variable. A child has
# the variable with that waiter, and not the thread. `os.fork()` makes a new lock in the child; a fork by C code,
# such as uWSGI's own, does not, and the child's next hand-over of the lock may wait for the thread that is not
# there. Where no other thread runs at that moment, nothing happens.
#
# Output seen (the number of forks until the first child that hangs differs from run to run):
#   os.fork: 0 of 100 children hang
#   fork of the C library: a child hangs
#
# For a bot author: start no thread before uWSGI forks, also none of a client or a library that does so at import, or
# load the bot in each worker (--lazy-apps).
set -euo pipefail

python3 - <<'PYTHON'
import ctypes
import os
import signal
import sys
import threading
import time
import warnings

# Later Pythons warn of forks where threads run; this is about what happens then.
warnings.simplefilter("ignore", DeprecationWarning)


def compute():
    while True:
        pass


def hangs(fork):
    """Whether a child that starts a thread of its own does not end within five seconds."""
    child = fork()
    if not child:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        os._exit(0)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


threading.Thread(target=compute, daemon=True).start()
by_python = sum(hangs(os.fork) for _ in range(100))
print(f"os.fork: {by_python} of 100 children hang")
by_c = any(hangs(ctypes.PyDLL(None).fork) for _ in range(1000))
print("fork of the C library:", "a child hangs" if by_c else "no child hangs")
if (by_python, by_c) != (0, True):
    print("CHANGED: other children hang")
sys.stdout.flush()
os._exit((by_python, by_c) != (0, True))
PYTHON
