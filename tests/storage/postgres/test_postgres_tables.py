"""The table of `PostgresStorage`: payloads, keys, pages, expired records, and its creation."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.counts import update
from support.postgres_backends import wait_for_waiting
from support.postgres_storages import TABLE, FrozenPostgresStorage, make_pool, make_storage
from support.storages import ENCRYPTED
from support.threads import began, in_threads
from telesession import (
    JSONCodec,
    PickleCodec,
    PostgresStorage,
    Sessions,
    StorageError,
)
from telesession.storage.base import Change
from telesession.storage.postgres_keys import key_of, spelled
from telesession.storage.postgres_table import CREATE
from telesession.testing.storage_suite import HOSTILE_KEYS

if TYPE_CHECKING:
    from freezegun.api import FrozenDateTimeFactory
    from psycopg import Connection

    from support.postgres import PostgresServer
    from telesession.codecs import Codec


# JSON that `jsonb` changes or refuses, and JSON that is larger than most.
TEXTS = [
    b'{"a":1e16,"b":-0.0,"c":1E400,"d":0.10}',
    b'{"z":1,"a":2,"z":3}',
    b'{ "spaces" :\t[ ] }',
    b'{"nul":"\\u0000","half":"\\ud800","\\u0000":1}',
    '{"ü":"\N{HOT BEVERAGE}\U0010ffff"}'.encode(),
    b'{"deep":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"large":"' + b"x" * 2**20 + b'"}',
    b"{}",
]
# Bytes that are no JSON of a record, so the column for bytes has them.
BYTES = [
    b"",
    b"null",
    b"[1]",
    b" {}",
    b'{"a":NaN}',
    b'{"a":1}{',
    b'{"a":"\xff"}',
    b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\n"}',
    b'{"a":"\0"}',
    b"{\0}",
    b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    bytes(range(256)),
]


def columns(admin: Connection[Any], key: str = "42") -> tuple[Any, ...]:
    """Whether the row of a key has its payload as JSON, and as bytes."""
    query = f"SELECT payload IS NOT NULL, payload_bytes IS NOT NULL FROM {TABLE} WHERE key = %s"
    return admin.execute(query, [key]).fetchone()


@pytest.mark.parametrize("is_json", [True, False], ids=["json", "bytes"])
def test_payloads_come_back_byte_by_byte(
    storage: PostgresStorage, admin: Connection[Any], is_json: bool
) -> None:
    """JSON is in the column of that type, and all else is in the column for bytes."""
    for payload in TEXTS if is_json else BYTES:
        storage.set("42", payload)
        with storage.hold("42") as held:
            seen = [storage.get("42"), held.get(), *(row.payload for row in storage.rows())]
        storage.commit([], [Change("42", payload, None)])

        assert ([payload] * 3, None) == (seen, storage.get("42"))
        storage.set("42", payload)
        assert (is_json, not is_json) == columns(admin)


def test_control_jsonb_changes_payloads(admin: Connection[Any]) -> None:
    """The type `jsonb` refuses some JSON, and gives other text back for most."""

    def roundtrip(text: bytes) -> bytes | None:
        try:
            return admin.execute("SELECT %s::jsonb::text", [text.decode()]).fetchone()[0].encode()
        except psycopg.DataError:
            return None

    assert [False] * 5 == [text == roundtrip(text) for text in TEXTS[:5]]


@pytest.mark.parametrize(
    ("codec", "expected"),
    [(JSONCodec(), (True, False)), (PickleCodec(), (False, True)), (ENCRYPTED, (False, True))],
    ids=["json", "pickle", "encrypted"],
)
def test_a_codec_decides_the_column(
    postgres: PostgresServer,
    admin: Connection[Any],
    codec: Codec,
    expected: tuple[bool, bool],
) -> None:
    """Records of `JSONCodec` are JSON for other programs, and those of other codecs are bytes."""
    with make_storage(postgres, codec=codec) as storage:
        counted = update(storage), update(storage)

    assert ((1, 2), expected) == (counted, columns(admin))


def test_other_programs_can_query_fields(storage: PostgresStorage, admin: Connection[Any]) -> None:
    """SQL finds the fields of a session, and its key as it is."""
    with Sessions(storage=storage).open("ada") as session:
        session.name = "Ada"
        session.visits = 3
    query = f"SELECT key FROM {TABLE} WHERE (payload->'fields'->>'visits')::int > 2"

    assert [("ada",)] == admin.execute(query).fetchall()


# Characters at the limits of the spelling of keys.
LIMITS = ["\0", "\x01", "\x02", "\x03", "a", "\ud7fe", "\ud7ff", "\ud800", "\udbff", "\udc00"]
LIMITS += ["\udfff", "\ue000", "\uffff", "\U00010000", "\U0010ffff"]
KEYS = sorted({*HOSTILE_KEYS[:-2], *LIMITS, *(one + two for one in LIMITS for two in LIMITS)})


def test_the_spelling_of_keys_keeps_their_order(storage: PostgresStorage) -> None:
    """Keys with NUL and halves of surrogate pairs come back, in the order of their characters."""
    with storage.hold("@") as held:
        storage.commit([held], [Change(key, None, b"{}") for key in KEYS])

    assert KEYS == list(storage.keys())
    assert KEYS == [key_of(spelled(key).encode()) for key in KEYS]
    assert KEYS == sorted(KEYS, key=spelled)
    for prefix in LIMITS:
        expected = [key for key in KEYS if key.startswith(prefix)]
        assert expected == list(storage.keys(prefix))
        assert expected[3:5] == storage.listed(prefix, expected[2], 2)


def plan(admin: Connection[Any], mode: str, statement: Any) -> str:
    """How the server finds the rows of a statement, with a plan for all values, or for these."""
    values = list(statement.values)
    admin.execute(f"SET plan_cache_mode = force_{mode}_plan")
    sql = statement.query.sql.decode()
    types = ", ".join({25: "text", 20: "bigint"}[oid] for oid in statement.query.oids)
    admin.execute(f"PREPARE listing ({types}) AS {sql}")
    literals = ", ".join("NULL" if value is None else f"'{value.decode()}'" for value in values)
    lines = admin.execute(f"EXPLAIN (ANALYZE, COSTS OFF) EXECUTE listing ({literals})").fetchall()
    return "\n".join(line for (line,) in lines)


@pytest.mark.parametrize("mode", ["generic", "custom"])
@pytest.mark.parametrize("after", [None, "b:050"])
def test_keys_are_found_by_the_index(
    storage: PostgresStorage, admin: Connection[Any], mode: str, after: str | None
) -> None:
    """A page of keys reads these keys only, whichever plan the server makes."""
    admin.execute(
        f"INSERT INTO {TABLE} SELECT letter || ':' || to_char(number, 'FM00000'), NULL, '{{}}', "
        "NULL, 1 FROM unnest('{a,b,c}'::text[]) letter, generate_series(1, 10000) number"
    )
    admin.execute(f"ANALYZE {TABLE}")
    table = storage.process_state.table
    text = plan(admin, mode, table.keys("b:", after, 100))

    assert f"Index Scan using {TABLE}_pkey" in text or f"Only Scan using {TABLE}_pkey" in text
    assert "rows=100" in text
    assert "Rows Removed" not in text


def test_keys_come_in_pages(storage: PostgresStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings of several pages give each key and each row once."""
    monkeypatch.setattr("telesession.storage.postgres._PAGE", 7)
    monkeypatch.setattr("telesession.storage.postgres._PAGE_OF_ROWS", 5)
    keys = [f"{number:03}" for number in range(70)]
    with storage.hold("@") as held:
        storage.commit([held], [Change(key, None, b"{}") for key in keys])

    assert (keys, keys) == (list(storage.keys()), [row.key for row in storage.rows()])


# Expired records.


def rows(admin: Connection[Any]) -> list[str]:
    """The keys of all rows, expired or not."""
    return [key for (key,) in admin.execute(f"SELECT key FROM {TABLE} ORDER BY key")]


def expire(admin: Connection[Any], count: int) -> None:
    """Put records there that have expired."""
    admin.execute(
        f"INSERT INTO {TABLE} SELECT 'old ' || n, now() - interval '1 s', '{{}}', NULL, 1 "
        f"FROM generate_series(1, {count}) n"
    )


def test_commits_remove_expired_records(
    storage: PostgresStorage, admin: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit removes a hundred, the next one another hundred, until the last are gone."""
    expire(admin, 250)
    left = []
    # As a minute later.
    monkeypatch.setattr(storage.process_state, "_purge_at", 0.0)
    for _ in range(5):
        update(storage, lifetime=1000)
        left.append(len(rows(admin)) - 1)
        expire(admin, 0)

    assert [150, 50, 0, 0, 0] == left


def test_commits_look_once_a_minute(
    frozen_storage: FrozenPostgresStorage, clock: FrozenDateTimeFactory, admin: Connection[Any]
) -> None:
    """Within a minute after a look, a commit leaves expired records in the table."""
    seen = []
    for number, seconds in enumerate((0, 61, 10, 49, 1)):
        frozen_storage.set(f"old {number}", b"{}", 1)
        clock.tick(max(seconds, 1))
        update(frozen_storage)
        seen.append(len(rows(admin)) - 1)

    assert [1, 0, 1, 2, 0] == seen


def test_purge_removes_all_expired_records(
    storage: PostgresStorage, admin: Connection[Any]
) -> None:
    """It says how many, in batches, and leaves rows that another program has locked."""
    expire(admin, 2500)
    storage.set("live", b"{}", 1000)
    with admin.transaction():
        admin.execute(f"SELECT FROM {TABLE} WHERE key = 'old 7' FOR UPDATE")
        removed = storage.purge()
        left = rows(admin)

    assert (2499, ["live", "old 7"]) == (removed, left)
    assert ([1, 0], ["live"]) == ([storage.purge(), storage.purge()], rows(admin))


# The creation of the table.


NAMES = {
    "sessions": "sessions",
    "public.sessions": "sessions",
    "Bot 2": "Bot 2",
    'a"b': 'a"b',
    "SELECT": "SELECT",
    "täble": "täble",
    "x" * 55: "x" * 55,
    "own schema.Sessions": "Sessions",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_table_may_have_any_name(
    postgres: PostgresServer, admin: Connection[Any], name: str
) -> None:
    """Upper case, quotes, a schema and words of SQL are taken as they are."""
    admin.execute('CREATE SCHEMA "own schema" AUTHORIZATION bot')
    try:
        with make_storage(postgres, table=name) as storage:
            counted = [update(storage)]
        with make_storage(postgres, table=name) as storage:
            counted += [update(storage)]
            query = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname = %s"

            assert [1, 2] == counted
            assert (NAMES[name],) == admin.execute(query, [NAMES[name]]).fetchone()
            assert 1 == storage.purge() + 1
    finally:
        admin.execute('DROP SCHEMA "own schema" CASCADE')


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a.b.c", "a\0b", "x" * 56])
def test_a_table_needs_a_name(name: str) -> None:
    """A name that PostgreSQL cannot have is refused at construction."""
    with pytest.raises(ValueError, match="takes the name of a table, or a schema and a table"):
        PostgresStorage("postgresql://", table=name)


def test_the_documented_statement_is_enough(
    postgres: PostgresServer, admin: Connection[Any]
) -> None:
    """A role that may only use the table uses one that a migration has made."""
    admin.execute(CREATE.format(table=TABLE, index=f"{TABLE}_expires"))
    admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLE} TO guest")
    with PostgresStorage(postgres.socket_conninfo("guest")) as storage:
        assert [1, 2, 0] == [update(storage), update(storage), storage.purge()]


def test_processes_may_make_the_table_at_the_same_time(postgres: PostgresServer) -> None:
    """Each of them has it, and none gets an error of the catalog."""
    for number in range(5):
        table = f"sessions_{number}"
        storages = [make_storage(postgres, table=table) for _ in range(4)]
        for storage in storages:
            storage.ping()
        in_threads([partial(update, storage) for storage in storages])
        counted = update(storages[0])
        for storage in storages:
            storage.close()

        assert 5 == counted


def make_beside(postgres: PostgresServer, lock: str) -> None:
    """Make the table while another program, which may have the lock for that, makes it, too."""
    with ExitStack() as making, make_storage(postgres) as storage:
        maker = making.enter_context(postgres.connect("bot"))
        making.enter_context(maker.transaction())
        maker.execute(lock)
        maker.execute(CREATE.format(table=TABLE, index=f"{TABLE}_expires"))
        with began(update, storage):
            wait_for_waiting(postgres)
            making.close()


def test_one_process_waits_until_another_has_made_the_table(postgres: PostgresServer) -> None:
    """The lock of the creation has the same number in all versions."""
    make_beside(postgres, "SELECT pg_advisory_xact_lock(8387229064030942067)")


def test_control_without_the_lock_the_creation_fails(postgres: PostgresServer) -> None:
    """Two transactions that make a table at the same time collide in the catalog."""
    with pytest.raises(StorageError, match="UniqueViolation"):
        make_beside(postgres, "SELECT 1")


def test_connections_may_differ_in_their_search_path(postgres: PostgresServer) -> None:
    """The table that the first connection has found is the one of all, by its schema."""
    postgres.ask("CREATE SCHEMA elsewhere AUTHORIZATION bot")
    try:
        paths = iter(["public", "elsewhere", "elsewhere"])

        def configure(connection: Connection[Any]) -> None:
            connection.execute(f"SET search_path = {next(paths, 'elsewhere')}")
            connection.commit()

        with (
            make_pool(postgres, min_size=1, configure=configure) as pool,
            PostgresStorage(pool) as storage,
        ):
            pool.wait()
            counted = [update(storage)]
            with Sessions(storage=storage).open("a"):
                counted += in_threads([partial(update, storage)])
            made = postgres.ask("SELECT to_regclass('elsewhere.telesession_sessions')")

        assert ([1, 2], None) == (counted, made)
    finally:
        postgres.ask("DROP SCHEMA elsewhere CASCADE")
