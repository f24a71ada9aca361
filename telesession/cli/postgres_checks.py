"""The findings of `doctor` about a PostgreSQL server and the table of the bot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from telesession.cli.checks import Check, State, leftovers
from telesession.cli.output import counted, sized, spelled

if TYPE_CHECKING:
    from telesession.storage.postgres import PostgresStorage
    from telesession.storage.postgres_server import PostgresServer

_OLDEST = 13
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_TYPES = MappingProxyType(
    {
        "key": "text",
        "expires": "timestamp with time zone",
        "payload": "json",
        "payload_bytes": "bytea",
        "commit_token": "bigint",
    }
)
# The collations that order texts by their characters.
_ORDERED = frozenset(("C", "POSIX", "ucs_basic"))
_TIMEOUTS = ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
# The share of the connections of the server that may be in use.
_BUSY = 0.8
# Dead rows that are worth a look, if they are more than the live ones.
_DEAD = 10_000
# Seconds after which a transaction is long.
_LONG = 10

_COLUMNS = """\
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), c.collname::text
FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped"""
_INDEXES = """\
SELECT a.attname::text, i.indisunique::text
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = $1::regclass AND i.indnkeyatts = 1 AND i.indisvalid"""
_CONNECTIONS = """\
SELECT (SELECT sum(numbackends) FROM pg_stat_database)::text, rolconnlimit::text
FROM pg_roles WHERE rolname = current_user"""
_SIZES = "SELECT pg_table_size($1::regclass)::text, pg_indexes_size($1::regclass)::text"
_ROWS = """\
SELECT n_live_tup::text, n_dead_tup::text,
extract(epoch FROM now() - greatest(last_autovacuum, last_vacuum))::text
FROM pg_stat_all_tables WHERE relid = $1::regclass"""
_TRANSACTIONS = """\
SELECT count(*)::text, max(extract(epoch FROM clock_timestamp() - xact_start))::text,
string_agg(pid::text, ', ')
FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user
AND state LIKE 'idle in transaction%' AND xact_start < clock_timestamp() - make_interval(secs => {})
"""
_EXPIRED = "SELECT count(*)::text FROM {} WHERE expires <= clock_timestamp()"


def postgres_checks(storage: PostgresStorage) -> Iterator[Check]:
    """
    The findings about the server, its settings for the role, and the table.

    Raises:
        StorageError: The server has no answer.
    """
    server = storage.process_state
    found = server.ask("read the settings", "SELECT name, setting FROM pg_settings")
    settings = {name: value for name, value in found}  # noqa: C416 -- tuples of any length
    yield _version(settings)
    yield _writes(server, settings)
    yield _pooler(server)
    yield _rights(server)
    yield _columns(server)
    yield _indexes(server)
    yield _persistence(server, settings)
    yield _timeouts(settings)
    yield _connections(server, settings)
    yield _size(server)
    yield _vacuum(server, settings)
    yield _transactions(server)
    ((number,),) = server.ask("check", _EXPIRED.format(server.table.name))
    yield leftovers(int(number))


def _version(settings: Mapping[str, str]) -> Check:
    text = f"PostgreSQL {settings['server_version']}"
    if int(settings["server_version_num"]) < _OLDEST * 10_000:
        return Check("server", State.PROBLEM, f"{text}; use {_OLDEST} or later")
    return Check("server", State.OK, text)


def _writes(server: PostgresServer, settings: Mapping[str, str]) -> Check:
    ((is_standby,),) = server.ask("check", "SELECT pg_is_in_recovery()::text")
    if is_standby == "true":
        text = "the server is a standby, which takes no writes; connect to the primary"
        return Check("primary", State.PROBLEM, text)
    if settings["transaction_read_only"] == "on":
        text = "transactions only read; see why default_transaction_read_only is on"
        return Check("primary", State.PROBLEM, text)
    return Check("primary", State.OK, "the server takes writes")


def _pooler(server: PostgresServer) -> Check:
    if server.is_direct():
        return Check("pooler", State.OK, "none, and statements are prepared")
    text = "there is one, such as pgbouncer; let it pool by transaction or by session"
    return Check("pooler", State.OK, text)


def _rights(server: PostgresServer) -> Check:
    columns = ", ".join(f"has_table_privilege($1, '{right}')::text" for right in _RIGHTS)
    (answers,) = server.ask("check", f"SELECT {columns}", server.table.name)
    missing = [right for right, answer in zip(_RIGHTS, answers, strict=True) if answer != "true"]
    if missing:
        text = f"the role lacks {', '.join(missing)} on {server.table.name}; grant them"
        return Check("rights", State.PROBLEM, text)
    return Check("rights", State.OK, "the role may read and write the table")


def _columns(server: PostgresServer) -> Check:
    found = server.ask("check", _COLUMNS, server.table.name)
    types = {name: kind for name, kind, _ in found}
    wrong = [
        f"{name} is {types[name]} and not {kind}"
        for name, kind in _TYPES.items()
        if types[name] != kind
    ]
    collation = next(collation for name, _, collation in found if name == "key")
    if collation not in _ORDERED:
        wrong.append(f"key has the collation {collation} and not C")
    if wrong:
        text = f"{', '.join(wrong)}; bring the table to the documented columns"
        return Check("columns", State.PROBLEM, text)
    return Check("columns", State.OK, "they are the documented ones")


def _indexes(server: PostgresServer) -> Check:
    found = server.ask("check", _INDEXES, server.table.name)
    if ("key", "true") not in found:
        text = "the column key has no unique index; make it the primary key"
        return Check("indexes", State.PROBLEM, text)
    if "expires" not in [name for name, _ in found]:
        text = "the column expires has no index, so the whole table is read for expired records"
        return Check("indexes", State.NOTE, text)
    return Check("indexes", State.OK, "they are the documented ones")


def _persistence(server: PostgresServer, settings: Mapping[str, str]) -> Check:
    sql = "SELECT relpersistence::text FROM pg_class WHERE oid = $1::regclass"
    ((kind,),) = server.ask("check", sql, server.table.name)
    if kind != "p":
        text = "a crash of the server empties the table; run ALTER TABLE ... SET LOGGED"
        return Check("persistence", State.PROBLEM, text)
    off = [name for name in ("fsync", "full_page_writes") if settings[name] == "off"]
    if off:
        text = f"a power failure may damage all records; set {' and '.join(off)} to on"
        return Check("persistence", State.PROBLEM, text)
    commit = settings["synchronous_commit"]
    if commit == "off":
        text = "synchronous_commit is off: a crash of the server undoes the last second"
        return Check("persistence", State.NOTE, text)
    return Check("persistence", State.OK, f"synchronous_commit is {commit}")


def _timeouts(settings: Mapping[str, str]) -> Check:
    # Old servers lack some of them.
    there = [(name, int(settings.get(name, 0)) / 1000) for name in _TIMEOUTS]
    found = ", ".join(f"{name} {seconds:g} s" for name, seconds in there if seconds)
    if not found:
        return Check("time-outs", State.OK, "none for a handler or a wait")
    text = f"{found}; a handler that takes longer, or waits longer for its session, fails"
    return Check("time-outs", State.NOTE, text)


def _connections(server: PostgresServer, settings: Mapping[str, str]) -> Check:
    ((used, limit),) = server.ask("check", _CONNECTIONS)
    most = int(settings["max_connections"])
    text = f"{int(used):,} of {most:,} in use"
    if int(limit) >= 0:
        text += f", and {int(limit):,} at most for this role"
    if int(used) > _BUSY * most:
        text += "; use a smaller pool or pgbouncer, or raise max_connections"
        return Check("connections", State.NOTE, text)
    return Check("connections", State.OK, text)


def _size(server: PostgresServer) -> Check:
    ((table, indexes),) = server.ask("check", _SIZES, server.table.name)
    return Check("size", State.OK, f"table {sized(int(table))}, indexes {sized(int(indexes))}")


def _vacuum(server: PostgresServer, settings: Mapping[str, str]) -> Check:
    ((live, dead, age),) = server.ask("check", _ROWS, server.table.name)
    last = f"{spelled(float(age))} ago" if age else "never"
    text = f"{counted(int(dead), 'dead row')} beside {int(live):,}, last vacuum {last}"
    if settings["autovacuum"] == "off":
        text += "; the table grows without end; set autovacuum to on"
        return Check("vacuum", State.PROBLEM, text)
    if int(dead) > max(_DEAD, int(live)):
        text += "; see whether a long transaction is open"
        return Check("vacuum", State.NOTE, text)
    return Check("vacuum", State.OK, text)


def _transactions(server: PostgresServer) -> Check:
    ((number, seconds, pids),) = server.ask("check", _TRANSACTIONS.format(_LONG))
    if int(number):
        text = (
            f"{counted(int(number), 'connection')} of this role idle in a transaction for up to "
            f"{spelled(float(seconds))} (process {pids}); a slow handler keeps its connection, so "
            "open its session only for a moment"
        )
        return Check("transactions", State.NOTE, text)
    return Check("transactions", State.OK, f"none is idle for more than {_LONG} s")
