#!/usr/bin/env bash
# A `threading.local()` made before gevent's `patch_all` is shared by all greenlets.
#
# Versions: gevent 26.9.0, greenlet 3.5.6, CPython 3.11.7.
#
# Behaviour: `monkey.patch_all()` puts gevent's own class into `threading.local`. An object that exists
# already stays a local of the thread of the system, and under gevent all greenlets are in one such thread.
# One greenlet reads what another has written. A class that inherits from the old `threading.local` has the
# same fate, even if its objects are made after the patch.
#
# Output seen (values that greenlets 1 and 2 read after both have written their number):
#   made before patch_all:               [2, 2]
#   made after patch_all:                [1, 2]
#   of a class defined before patch_all: [2, 2]
#
# For a bot author: `gunicorn -k gevent --preload` imports the bot before it patches, so "the current user"
# of a module is the one of another request. Patch in the first line of the first module, do not preload, and
# key such values by `threading.get_ident()`, looked up at the moment of use.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'gevent==26.9.0' 'greenlet==3.5.6' 'zope.event==6.2' 'zope.interface==8.7'
"$work/venv/bin/python" - <<'PYTHON'
import sys
import threading

early = threading.local()


class Context(threading.local):
    pass


from gevent import monkey  # noqa: E402

monkey.patch_all()
import gevent  # noqa: E402

late = threading.local()


def read_by(local):
    def run(number):
        local.user = number
        gevent.sleep(0)  # hands over to the other greenlet
        return local.user

    return [greenlet.get() for greenlet in [gevent.spawn(run, number) for number in (1, 2)]]


seen = [read_by(early), read_by(late), read_by(Context())]
names = ("made before patch_all:", "made after patch_all:", "of a class defined before patch_all:")
for name, values in zip(names, seen):
    print(f"{name:36} {values}")
if seen != [[2, 2], [1, 2], [2, 2]]:
    sys.exit("CHANGED: other locals are shared")
PYTHON
