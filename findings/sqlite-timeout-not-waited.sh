#!/usr/bin/env bash
# "database is locked" at once, although the connection has timeout=30 and the file is not locked.
#
# Versions: SQLite 3.40.1 in CPython 3.11.7; the same with 3.13.0. No package is installed.
#
# Behaviour: a transaction that starts with a SELECT sees the database as it was then. If another connection
# commits before the first write, SQLite cannot let this transaction write any more, and says so with the
# same words as for a lock. It does not wait, because waiting would not help, and no lock exists. With BEGIN
# IMMEDIATE the second connection waits instead, and both succeed.
#
# Output seen:
#   BEGIN, SELECT, then another commit, then UPDATE: database is locked, waited less than 1 s of 30 s
#   another connection could write at that moment: yes
#   BEGIN IMMEDIATE, SELECT, then UPDATE: done, the other connection had to wait
#
# For a bot author: "read the counter, add one, write it" fails under load, and a longer timeout changes
# nothing. Begin every transaction that may write with BEGIN IMMEDIATE.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$work" <<'PYTHON'
import sqlite3
import sys
import time
from pathlib import Path

PATH = Path(sys.argv[1]) / "bot.db"
ADD = "UPDATE counter SET value = value + 1"


def add(db):
    try:
        db.execute(ADD)
    except sqlite3.OperationalError as error:
        return str(error)
    return "done"


handler = sqlite3.connect(PATH, timeout=30, isolation_level=None)
handler.execute("PRAGMA journal_mode = WAL")
handler.execute("CREATE TABLE counter (value INTEGER)")
handler.execute("INSERT INTO counter VALUES (0)")
other = sqlite3.connect(PATH, timeout=0, isolation_level=None)

handler.execute("BEGIN")
handler.execute("SELECT value FROM counter").fetchone()
before = add(other)
start = time.monotonic()
deferred = add(handler)
waited = time.monotonic() - start
beside = add(other)
handler.execute("ROLLBACK")
print(f"BEGIN, SELECT, then another commit, then UPDATE: {deferred}, waited", end=" ")
print(f"{'less than 1 s' if waited < 1 else 'longer'} of 30 s")
print("another connection could write at that moment:", "yes" if beside == "done" else "no")

handler.execute("BEGIN IMMEDIATE")
handler.execute("SELECT value FROM counter").fetchone()
kept_out = add(other)
immediate = add(handler)
handler.execute("COMMIT")
print(f"BEGIN IMMEDIATE, SELECT, then UPDATE: {immediate}, the other connection", end=" ")
print("had to wait" if kept_out == "database is locked" else "went on")
handler.close()
other.close()
if (before, deferred, beside) != ("done", "database is locked", "done") or waited >= 1:
    sys.exit("CHANGED: the transaction may write, or waits")
if (kept_out, immediate) != ("database is locked", "done"):
    sys.exit("CHANGED: BEGIN IMMEDIATE does not keep others out")
PYTHON
