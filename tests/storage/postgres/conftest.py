"""The fixtures of all tests of PostgreSQL."""

from __future__ import annotations

from support import postgres_storages

admin = postgres_storages.admin
frozen_storage = postgres_storages.frozen_storage
other = postgres_storages.other
storage = postgres_storages.storage
wire = postgres_storages.wire
