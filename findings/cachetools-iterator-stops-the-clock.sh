#!/usr/bin/env bash
# A cachetools `TTLCache` stops its timer while an iterator over it waits: old items stay, and new ones expire early.
#
# Versions: cachetools 8.0.2, CPython 3.11.7.
#
# Behaviour: the iterator of a `TTLCache` freezes the timer of the whole cache while it gives out a key, and releases it
# when the next key is asked for. So the body of a `for` loop sees the time at which the step began, and an iterator
# that is kept stops the time of the cache until it is exhausted or freed. `get`, `in` and `len` then show expired
# items. A new item gets its deadline from the old time, so it expires when the iterator ends. `TLRUCache` does the
# same. The cache here has a ttl of 600 s and a timer that the script moves.
#
# Output seen:
#   TTLCache, no iterator, a day later: "Ann" in cache False, len 0
#   TTLCache, for loop, a day later in its body: "Ann" in cache True, len 2
#   TTLCache, kept iterator, a day later: "Ann" in cache True, len 2
#   TTLCache, item set at that moment, in cache after the iterator has ended: False
#   TLRUCache, no iterator, a day later: "Ann" in cache False, len 0
#   TLRUCache, for loop, a day later in its body: "Ann" in cache True, len 2
#   TLRUCache, kept iterator, a day later: "Ann" in cache True, len 2
#   TLRUCache, item set at that moment, in cache after the iterator has ended: False
#
# For a bot author: an admin's "next page" button that keeps `iter(sessions)` keeps every session alive. A loop that
# sends a message to each user shows the other handlers the time of its last step, also if a lock guards each access to
# the cache. Loop over `list(cache)`, which frees the timer at once.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps 'cachetools==8.0.2'
"$work/venv/bin/python" - <<'PYTHON'
import sys

from cachetools import TLRUCache, TTLCache

TTL, DAY = 600, 86400


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self):
        return self.now


def ttl_cache(clock):
    return TTLCache(100, TTL, timer=clock)


def tlru_cache(clock):
    return TLRUCache(100, lambda key, value, now: now + TTL, timer=clock)


def look(make, way):
    """Two users and a day later: is Ann there, how many are there, is a new user there after that."""
    clock = Clock()
    cache = make(clock)
    cache["Ann"] = cache["Bob"] = "logged in"
    if way == "for loop":
        for _ in cache:
            clock.now += DAY
            return "Ann" in cache, len(cache), None
    if way == "kept iterator":
        pages = iter(cache)
        next(pages)
    clock.now += DAY
    is_there, number = "Ann" in cache, len(cache)
    cache["Cid"] = "logged in"
    if way == "kept iterator":
        del pages
    return is_there, number, "Cid" in cache


seen = []
for make, name in ((ttl_cache, "TTLCache"), (tlru_cache, "TLRUCache")):
    plain, loop, kept = (look(make, way) for way in ("no iterator", "for loop", "kept iterator"))
    seen.append((plain, loop, kept))
    print(f'{name}, no iterator, a day later: "Ann" in cache {plain[0]}, len {plain[1]}')
    print(f'{name}, for loop, a day later in its body: "Ann" in cache {loop[0]}, len {loop[1]}')
    print(f'{name}, kept iterator, a day later: "Ann" in cache {kept[0]}, len {kept[1]}')
    print(f"{name}, item set at that moment, in cache after the iterator has ended: {kept[2]}")
if seen != [((False, 0, True), (True, 2, None), (True, 2, False))] * 2:
    sys.exit("CHANGED: an iterator leaves the time alone")
PYTHON
