"""The fixtures of all tests of Redis and Valkey."""

from __future__ import annotations

from support import redis_storages

admin = redis_storages.admin
frozen_storage = redis_storages.frozen_storage
lasting_reservations = redis_storages.lasting_reservations
other = redis_storages.other
server = redis_storages.server
storage = redis_storages.storage
wire = redis_storages.wire
