#!/usr/bin/env bash
# A closed sqlite3 connection keeps its write lock as long as its error is kept.
#
# Versions: SQLite 3.40.1 in CPython 3.11.7; the same with 3.12.1 and 3.13.0. No package is installed.
#
# Behaviour: `Connection.close()` does not finish a SELECT whose cursor has rows left. SQLite then keeps the
# connection, with its transaction, until the cursor is freed. An exception keeps the frames of its traceback,
# and the frames keep the variable `cursor`. So a kept exception keeps the database locked, although the
# connection is closed.
#
# Output seen (can another connection write?):
#   handler raised and closed its connection: database is locked
#   the error is forgotten: yes
#   the same, with cursor.close() before db.close(): yes
#   the same, with db.rollback() before db.close(): yes
#
# For a bot author: telebot keeps the last error of a handler in `worker_pool.exception_info`, with a webhook
# for ever. Call `rollback()` before `close()`, or use `fetchall()`.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$work" <<'PYTHON'
import sqlite3
import sys
from pathlib import Path

PATH = Path(sys.argv[1]) / "bot.db"


def handler(before_close):
    db = sqlite3.connect(PATH)
    try:
        cursor = db.execute("SELECT id FROM items ORDER BY id")
        (first,) = cursor.fetchone()
        db.execute("UPDATE items SET sold = 1 WHERE id = ?", (first,))
        db.execute("INSERT INTO items (id) VALUES (?)", (first,))
        db.commit()
    finally:
        before_close(db, cursor)
        db.close()


def error_of(before_close):
    try:
        handler(before_close)
    except sqlite3.IntegrityError as error:
        return error
    sys.exit("CHANGED: the second item with one id was accepted")


def writable():
    other = sqlite3.connect(PATH, timeout=0)
    try:
        other.execute("UPDATE items SET sold = 0")
        other.commit()
    except sqlite3.OperationalError as error:
        return str(error)
    finally:
        other.close()
    return "yes"


setup = sqlite3.connect(PATH)
setup.execute("PRAGMA journal_mode = WAL")
setup.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, sold INTEGER DEFAULT 0)")
setup.executemany("INSERT INTO items (id) VALUES (?)", [(number,) for number in range(1, 10)])
setup.commit()
setup.close()

seen = {}
kept = error_of(lambda db, cursor: None)
seen["handler raised and closed its connection"] = writable()
del kept
seen["the error is forgotten"] = writable()
kept = error_of(lambda db, cursor: cursor.close())
seen["the same, with cursor.close() before db.close()"] = writable()
del kept
kept = error_of(lambda db, cursor: db.rollback())
seen["the same, with db.rollback() before db.close()"] = writable()
for name, answer in seen.items():
    print(f"{name}: {answer}")
if list(seen.values()) != ["database is locked", "yes", "yes", "yes"]:
    sys.exit("CHANGED: the lock ends at another time")
PYTHON
