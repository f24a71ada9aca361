"""`PostgresStorage` on real servers: the promises of every storage, and its clock."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import pytest

import support.postgres_storages
from support.postgres_storages import TABLE, FrozenPostgresStorage, make_storage
from support.storages import FrozenClockSuite
from telesession import PostgresStorage
from telesession.storage import postgres_hold
from telesession.testing.storage_suite import FOR_AGES, StorageSuite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.postgres import PostgresServer
    from telesession import Storage

frozen_storage = support.postgres_storages.frozen_storage


AGE = f"UPDATE {TABLE} SET expires = expires - make_interval(secs => %s)"


class TestThePromises(StorageSuite):
    """Every promise of a storage holds on a server, also behind pgbouncer, by its own clock."""

    # So long that the time which a test takes does not matter, even if it takes minutes.
    second = 1000.0
    margin = 900.0
    ages = FOR_AGES / 2

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

    def test_a_commit_renews_a_record_that_has_just_expired(  # type: ignore[override]
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same; only the records get older, so no renewal would look late."""
        monkeypatch.setattr(postgres_hold, "_LATE", math.inf)
        super().test_a_commit_renews_a_record_that_has_just_expired(storage)

    def test_get_record_gives_the_rest_of_a_lifetime(  # type: ignore[override]
        self, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same by the time of the server itself, because the test lets none pass."""
        monkeypatch.setattr(self, "second", StorageSuite.second)
        monkeypatch.setattr(self, "tick", partial(StorageSuite.tick, self))
        super().test_get_record_gives_the_rest_of_a_lifetime(storage)


class TestAServerWhoseTimeStandsStill(FrozenClockSuite):
    """Tests that stop the time of a server do so without breaking a promise."""

    @pytest.fixture
    def storage(self, frozen_storage: FrozenPostgresStorage) -> Storage:
        return frozen_storage
