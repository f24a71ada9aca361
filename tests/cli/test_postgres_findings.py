"""The command `doctor` on a PostgreSQL server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.command import call, doctor, states
from support.counts import update
from support.postgres import GUEST, OWNER, PRIMARY, PostgresServer, Standby
from support.postgres_storages import TABLE, make_storage
from telesession.cli import postgres_checks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.bouncers import Bouncer
    from telesession import PostgresStorage

# Rows that are dead at once, and known to the statistics.
WASTE = f"""
INSERT INTO {TABLE} (key, payload, commit_token) VALUES ('42', '{{}}', 1);
DELETE FROM {TABLE};
SELECT pg_stat_force_next_flush()
"""
SOUND = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on"}


@pytest.fixture
def storage(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresStorage]:
    """An empty storage, whose table exists and whose server the environment names."""
    monkeypatch.setenv("TELESESSION_STORAGE", postgres.url())
    with make_storage(postgres) as storage:
        storage.get("42")
        yield storage


def alter(server: PostgresServer, change: str) -> None:
    """Change the table, as another tool could."""
    server.ask(f"ALTER TABLE {TABLE} {change}")


class TestServer:
    def test_a_server_with_safe_settings_is_fine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that keeps what it has confirmed, and the table of a storage, have no note."""
        with PostgresServer(**SOUND) as server, make_storage(server) as storage:
            update(storage)
            monkeypatch.setenv("TELESESSION_STORAGE", server.url())
            assert {"ok"} == states(doctor())

    def test_the_version_is_told(self, storage: PostgresStorage, postgres: PostgresServer) -> None:
        """The finding has the number that the server gives."""
        number = postgres.ask("SHOW server_version")
        assert ["ok", f"PostgreSQL {number}"] == doctor()["server"]

    def test_an_old_version_is_a_problem(
        self, storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that is older than promised is a problem."""
        monkeypatch.setattr(postgres_checks, "_OLDEST", 99)
        state, text = doctor()["server"]
        assert ("problem", True) == (state, text.endswith("; use 99 or later"))

    def test_a_standby_is_a_problem(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A standby is named as such, and its refusal to write is the last finding."""
        with PostgresServer(**PRIMARY) as primary:
            with make_storage(primary) as storage:
                update(storage)
            with Standby(primary) as standby:
                standby.catch_up()
                monkeypatch.setenv("TELESESSION_STORAGE", standby.url())
                found = doctor()
        assert ("problem", True) == (found["primary"][0], "a standby" in found["primary"][1])
        assert "problem" == found["failure"][0]

    def test_a_default_of_reading_only_is_a_problem(
        self, storage: PostgresStorage, postgres: PostgresServer
    ) -> None:
        """A setting that makes transactions read only is named."""
        with postgres.configured(default_transaction_read_only="on"):
            state, text = doctor()["primary"]
        assert ("problem", True) == (state, "default_transaction_read_only" in text)

    def test_settings_that_risk_records_are_told(
        self, storage: PostgresStorage, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Without fsync a power failure may damage the records, and without waiting undo some."""
        state, text = doctor()["persistence"]
        assert ("problem", True) == (state, "fsync and full_page_writes" in text)
        with PostgresServer(**SOUND) as server, make_storage(server) as sound:
            sound.get("42")
            monkeypatch.setenv("TELESESSION_STORAGE", server.url())
            with server.configured(synchronous_commit="off"):
                state, text = doctor()["persistence"]
        assert ("note", True) == (state, "undoes the last second" in text)

    def test_timeouts_are_noted(self, storage: PostgresStorage, postgres: PostgresServer) -> None:
        """Time-outs that end handlers or waits are listed in seconds."""
        assert "ok" == doctor()["time-outs"][0]
        settings = {"statement_timeout": "90s", "idle_in_transaction_session_timeout": "1h"}
        with postgres.configured(**settings):
            state, text = doctor()["time-outs"]
        listed = "statement_timeout 90 s, idle_in_transaction_session_timeout 3600 s; "
        assert ("note", True) == (state, text.startswith(listed))

    def test_connections_are_counted(
        self, storage: PostgresStorage, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Their number and limits are told, and a server that is nearly full is a note."""
        postgres.ask(f"ALTER ROLE {OWNER} CONNECTION LIMIT 50")
        state, text = doctor()["connections"]
        assert ("ok", True) == (state, text.endswith(" in use, and 50 at most for this role"))
        postgres.ask(f"ALTER ROLE {OWNER} CONNECTION LIMIT -1")
        monkeypatch.setattr(postgres_checks, "_BUSY", 0)
        assert "note" == doctor()["connections"][0]

    @pytest.mark.pgbouncer
    def test_a_pooler_is_seen(
        self,
        storage: PostgresStorage,
        postgres: PostgresServer,
        bouncer: Bouncer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A pgbouncer on the way to the server is told, and without one statements are prepared."""
        assert "none, and statements are prepared" == doctor()["pooler"][1]
        url = postgres.url().replace(f":{postgres.port}/", f":{bouncer.port}/")
        monkeypatch.setenv("TELESESSION_STORAGE", url)
        found = doctor()
        assert ("ok", True) == (found["pooler"][0], "pgbouncer" in found["pooler"][1])

    def test_a_long_transaction_is_noted(
        self, storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A handler that keeps its session open is a connection that idles in a transaction."""
        monkeypatch.setattr(postgres_checks, "_LONG", 0)
        assert "ok" == doctor()["transactions"][0]
        with storage.hold("42"):
            state, text = doctor()["transactions"]
        assert ("note", True) == (state, text.startswith("1 connection of this role idle"))


class TestTable:
    def test_missing_rights_are_a_problem(
        self, storage: PostgresStorage, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A role that may only read is told the rights that it lacks."""
        postgres.ask(f"GRANT SELECT ON {TABLE} TO {GUEST}")
        monkeypatch.setenv("TELESESSION_STORAGE", postgres.url(GUEST))
        ran = call("doctor")
        assert 3 == ran.code
        assert "the role lacks INSERT, UPDATE, DELETE on" in " ".join(ran.out.split())

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ("ALTER payload TYPE jsonb", "payload is jsonb and not json"),
            ('ALTER key TYPE text COLLATE "default"', "key has the collation default and not C"),
        ],
        ids=["jsonb", "collation"],
    )
    def test_other_columns_are_a_problem(
        self, storage: PostgresStorage, postgres: PostgresServer, change: str, text: str
    ) -> None:
        """A type that changes texts, and an order that leaves keys out, are problems."""
        assert "ok" == doctor()["columns"][0]
        alter(postgres, change)
        state, found = doctor()["columns"]
        assert ("problem", True) == (state, found.startswith(text))

    def test_missing_indexes_are_told(
        self, storage: PostgresStorage, postgres: PostgresServer
    ) -> None:
        """Without a unique index of the keys nothing can be written; the other one is a note."""
        postgres.ask(f"DROP INDEX {TABLE}_expires")
        found = [doctor()["indexes"][0]]
        alter(postgres, f"DROP CONSTRAINT {TABLE}_pkey")
        found.append(doctor()["indexes"][0])
        assert ["note", "problem"] == found

    def test_an_unlogged_table_is_a_problem(
        self, storage: PostgresStorage, postgres: PostgresServer
    ) -> None:
        """A table that a crash empties is a problem."""
        alter(postgres, "SET UNLOGGED")
        state, text = doctor()["persistence"]
        assert ("problem", True) == (state, "empties the table" in text)

    def test_dead_rows_are_told(
        self, storage: PostgresStorage, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that never removes them is a problem, and one that is late a note."""
        state, text = doctor()["vacuum"]
        assert ("problem", True) == (state, "set autovacuum to on" in text)
        with PostgresServer(autovacuum="on") as server, make_storage(server) as sound:
            sound.get("42")
            monkeypatch.setenv("TELESESSION_STORAGE", server.url())
            server.ask(f"VACUUM {TABLE}")
            assert ["ok", "0 dead rows beside 0, last vacuum 0 s ago"] == doctor()["vacuum"]
            monkeypatch.setattr(postgres_checks, "_DEAD", 0)
            server.ask(WASTE)
            assert "note" == doctor()["vacuum"][0]

    def test_expired_records_are_counted_and_purged(
        self, storage: PostgresStorage, postgres: PostgresServer
    ) -> None:
        """They are told with the way to remove them, and then they are gone."""
        storage.set("42", b"{}", 60)
        postgres.ask(f"UPDATE {TABLE} SET expires = now()")
        text = "1 expired record to remove; see `telesession purge`"
        assert ["ok", text] == doctor()["leftovers"]
        assert "removed 1 expired record\n" == call("purge").err
        assert 0 == postgres.ask(f"SELECT count(*) FROM {TABLE}")


def test_a_backup_names_the_tool(storage: PostgresStorage) -> None:
    """The server has a tool of its own for backups, and the refusal has its call."""
    ran = call("backup", "bot.db")
    assert (1, True) == (ran.code, f"`pg_dump --table={TABLE}`" in ran.err)


def test_a_password_is_shown_nowhere(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal of a wrong password names the remedy, and nothing of the URL."""
    monkeypatch.setenv("TELESESSION_STORAGE", postgres.url().replace("let%20me%20in", "hunter2"))
    ran = call("stats")
    assert (1, "", 1) == (ran.code, ran.out, len(ran.err.splitlines()))
    assert "the server does not accept the user or the password" in ran.err
    assert "hunter2" not in ran.err
