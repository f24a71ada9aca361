"""`PostgresStorage` on real servers: the promises of every storage, and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import support.postgres_storages
from support.postgres_storages import FrozenPostgresStorage, make_storage
from support.storages import FrozenClockSuite
from telesession.testing.storage_suite import StorageSuite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.postgres import PostgresServer
    from telesession import Storage

frozen_storage = support.postgres_storages.frozen_storage


class TestThePromises(StorageSuite):
    """Every promise of a storage holds on a server, by its own clock."""

    second = 0.2

    @pytest.fixture
    def storage(self, postgres: PostgresServer) -> Iterator[Storage]:
        with make_storage(postgres) as storage:
            yield storage


class TestAServerWhoseTimeStandsStill(FrozenClockSuite):
    """Tests that stop the time of a server do so without breaking a promise."""

    @pytest.fixture
    def storage(self, frozen_storage: FrozenPostgresStorage) -> Storage:
        return frozen_storage
