"""`PostgresStorage` on real servers: the promises of every storage, and its clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.postgres_storages import TABLE, FrozenPostgresStorage, make_storage
from support.storages import FrozenClockSuite, ServerClockSuite
from telesession import PostgresStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.postgres import PostgresServer
    from telesession import Storage


AGE = f"UPDATE {TABLE} SET expires = expires - make_interval(secs => %s)"


class TestThePromises(ServerClockSuite):
    """Every promise of a storage holds on a server, also behind pgbouncer, by its own clock."""

    margin = 900.0

    @pytest.fixture(params=["direct", pytest.param("pooled", marks=pytest.mark.pgbouncer)])
    def storage(
        self, request: pytest.FixtureRequest, postgres: PostgresServer
    ) -> Iterator[Storage]:
        if request.param == "direct":
            storage = make_storage(postgres)
        else:
            storage = PostgresStorage(request.getfixturevalue("bouncer").conninfo())
        with storage, postgres.connect() as self.admin:
            storage.get("42")
            yield storage

    def tick(self, seconds: float) -> None:
        """Let all records be so much older."""
        self.admin.execute(AGE, [seconds])


class TestAServerWhoseTimeStandsStill(FrozenClockSuite):
    """Tests that stop the time of a server do so without breaking a promise."""

    @pytest.fixture
    def storage(self, frozen_storage: FrozenPostgresStorage) -> Storage:
        return frozen_storage
