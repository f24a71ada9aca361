#!/usr/bin/env bash
# A cachetools `TTLCache` made under freezegun keeps the real clock, so nothing in it ever expires.
#
# Versions: cachetools 8.0.2, freezegun 1.5.5, python-dateutil 4.0.0, CPython 3.11.7.
#
# Behaviour: freezegun replaces the names of the clocks in every module. cachetools has its clock as the
# default of a parameter, which is no name of a module, so it stays the real one even for a cache that is
# made while time is frozen. A cache with timer=time.monotonic, written out in the test, follows.
#
# Output seen (key present at once, and after 61 frozen seconds, with ttl=60):
#   TTLCache(10, ttl=60): True, True
#   TTLCache(10, ttl=60, timer=time.monotonic), made while frozen: True, False
#   TTLCache(10, ttl=60, timer=lambda: time.monotonic()), made before: True, False
#
# For a bot author: the test "the code is gone after a minute" passes for the wrong reason or never. Give
# every cache timer=lambda: time.monotonic(), which looks the clock up when it is used.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'freezegun==1.5.5' 'python-dateutil==4.0.0' 'tzdata==2026.6' 'cachetools==8.0.2'
"$work/venv/bin/python" - <<'PYTHON'
import sys
import time

import freezegun
from cachetools import TTLCache

before = TTLCache(10, ttl=60, timer=lambda: time.monotonic())


def present(frozen, cache):
    cache["code"] = "1234"
    at_once = "code" in cache
    frozen.tick(61)
    return at_once, "code" in cache


with freezegun.freeze_time("2030-01-01") as frozen:
    seen = {
        "TTLCache(10, ttl=60)": present(frozen, TTLCache(10, ttl=60)),
        "TTLCache(10, ttl=60, timer=time.monotonic), made while frozen": present(
            frozen, TTLCache(10, ttl=60, timer=time.monotonic)
        ),
        "TTLCache(10, ttl=60, timer=lambda: time.monotonic()), made before": present(frozen, before),
    }
for name, (at_once, later) in seen.items():
    print(f"{name}: {at_once}, {later}")
if list(seen.values()) != [(True, True), (True, False), (True, False)]:
    sys.exit("CHANGED: other caches follow the frozen time")
PYTHON
