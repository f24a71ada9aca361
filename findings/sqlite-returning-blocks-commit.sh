#!/usr/bin/env bash
# `UPDATE ... RETURNING` with `fetchone()` makes the following `commit()` fail if two rows were changed.
#
# Versions: SQLite 3.40.1 in CPython 3.11.7; the same with 3.13.0. No package is installed.
#
# Behaviour: SQLite makes all changes before it gives the first row, but the statement is not done before its
# last row is fetched, and a transaction with a writing statement in progress cannot be committed. With one
# row, `fetchone()` reaches the end and all is well. With two, `commit()` raises, the write lock stays, and a
# second `commit()` raises as well, until the cursor is closed or freed. A SELECT in progress does no harm.
#
# Output seen:
#   SELECT, fetchone() of 2 rows: commit: yes, other connections can write: yes
#   UPDATE ... RETURNING, fetchone() of 1 row: commit: yes, other connections can write: yes
#   UPDATE ... RETURNING, fetchone() of 2 rows: commit: OperationalError, other connections can write: no
#   the same after cursor.close(): commit: yes, other connections can write: yes
#
# For a bot author: "take the next job" works until two rows match, and then stops all other writers. Use
# `fetchall()` after every RETURNING.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$work" <<'PYTHON'
import sqlite3
import sys
from pathlib import Path

PATH = Path(sys.argv[1]) / "bot.db"
TAKE = "UPDATE jobs SET taken = taken + 1 WHERE id <= ? RETURNING id"


def commit(db):
    try:
        db.commit()
    except sqlite3.OperationalError as error:
        return type(error).__name__
    return "yes"


def writable():
    other = sqlite3.connect(PATH, timeout=0)
    try:
        other.execute("INSERT INTO jobs (taken) VALUES (0)")
        other.rollback()
    except sqlite3.OperationalError:
        return "no"
    finally:
        other.close()
    return "yes"


def show(name, db):
    seen.append((commit(db), writable()))
    print(f"{name}: commit: {seen[-1][0]}, other connections can write: {seen[-1][1]}")


seen = []
db = sqlite3.connect(PATH)
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, taken INTEGER)")
db.executemany("INSERT INTO jobs (taken) VALUES (?)", [(0,)] * 3)
db.commit()

cursor = db.execute("SELECT id FROM jobs WHERE id <= 2")
cursor.fetchone()
db.execute("UPDATE jobs SET taken = 1 WHERE id = 3")
show("SELECT, fetchone() of 2 rows", db)
for rows, name in ((1, "1 row"), (2, "2 rows")):
    cursor = db.execute(TAKE, (rows,))
    cursor.fetchone()
    show(f"UPDATE ... RETURNING, fetchone() of {name}", db)
cursor.close()
show("the same after cursor.close()", db)
db.close()
if seen != [("yes", "yes"), ("yes", "yes"), ("OperationalError", "no"), ("yes", "yes")]:
    sys.exit("CHANGED: other transactions can be committed")
PYTHON
