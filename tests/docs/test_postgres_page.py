"""The statements in SQL on the page on storages, for PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.bots import ROOT
from support.pages import blocks_of
from support.postgres import OWNER
from support.postgres_storages import TABLE, make_storage
from telesession import Sessions
from telesession.storage.postgres_table import CREATE

if TYPE_CHECKING:
    from support.postgres import PostgresServer


def statement(word: str) -> str:
    """The block of SQL on the page that has a word."""
    (found,) = (
        block.code
        for block in blocks_of(ROOT / "docs" / "storages.md", "sql")
        if TABLE in block.code and word in block.code
    )
    return found


def test_the_table_is_the_one_that_a_storage_makes() -> None:
    """The documented statement is that of the storage, but for the ends of lines."""
    made = CREATE.format(table=TABLE, index=f"{TABLE}_expires")
    assert made.split() == statement("CREATE").split()


def test_a_table_made_by_the_statement_is_used(postgres: PostgresServer) -> None:
    """A role that may not make tables uses the one that was made for it, and SQL reads it."""
    with postgres.connect() as admin:
        admin.execute("REVOKE ALL ON SCHEMA public FROM pg_database_owner")
        admin.execute("GRANT USAGE ON SCHEMA public TO public")
        admin.execute(statement("CREATE"))
        admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO {OWNER}")
    with make_storage(postgres) as storage:
        for key in "12":
            with Sessions(storage=storage).open(key) as session:
                session.counter = int(key)
    assert 1.5 == postgres.ask(statement("SELECT avg"))
