#!/usr/bin/env bash
# A time limit on one SQLite statement undoes the statements before it, and sqlite3 commits those behind it.
#
# Versions: SQLite 3.40.1 in CPython 3.11.7; the same with 3.12.1 and 3.13.0. No package is installed.
#
# Behaviour: a progress handler that returns true, or `Connection.interrupt()`, ends a statement with "interrupted". A
# constraint error undoes only its own statement, and so does an interrupted SELECT. An interrupted UPDATE, INSERT or
# DELETE undoes the whole transaction instead. Python's sqlite3 then begins a new transaction at the next UPDATE, and
# `commit()` succeeds. After an explicit BEGIN the next UPDATE commits itself, and COMMIT then fails.
#
# Output seen (a handler takes 5 coins from Ann, tries to renew a ranking, and gives 5 coins to Bob):
#   SELECT of the ranking interrupted: in transaction True, commit ok, Ann 5, Bob 5
#   UPDATE of the ranking breaks a constraint: in transaction True, commit ok, Ann 5, Bob 5
#   UPDATE of the ranking interrupted: in transaction False, commit ok, Ann 10, Bob 5
#   the same after an explicit BEGIN: in transaction False, commit OperationalError, Ann 10, Bob 5
#
# For a bot author: the handler that goes on without the ranking makes coins out of nothing, and no error says so. Look
# at `connection.in_transaction` after "interrupted", or let this error end the handler.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$work" <<'PYTHON'
import sqlite3
import sys
from pathlib import Path

PATH = Path(sys.argv[1]) / "bot.db"
SELECT = "SELECT count(*) FROM ranking AS a, ranking AS b WHERE a.points < b.points"
UPDATE = "UPDATE ranking SET points = points + 1"
BREAK = "UPDATE ranking SET points = -1 WHERE points = 7"


def handler(statement, is_limited, isolation_level=""):
    """What the handler and then another connection see."""
    setup = sqlite3.connect(PATH)
    setup.executescript(
        """
        DROP TABLE IF EXISTS coins;
        CREATE TABLE coins (name TEXT, number INTEGER);
        INSERT INTO coins VALUES ('Ann', 10), ('Bob', 0);
        DROP TABLE IF EXISTS ranking;
        CREATE TABLE ranking (points INTEGER CHECK (points >= 0));
        """
    )
    setup.executemany("INSERT INTO ranking VALUES (?)", [(number,) for number in range(2000)])
    setup.commit()
    setup.close()

    db = sqlite3.connect(PATH, isolation_level=isolation_level)
    if isolation_level is None:
        db.execute("BEGIN")
    db.execute("UPDATE coins SET number = number - 5 WHERE name = 'Ann'")
    if is_limited:
        # The limit counts instructions of SQLite instead of seconds: it is the same on each machine.
        db.set_progress_handler(lambda: True, 1000)
    try:
        db.execute(statement).fetchall()
        sys.exit("CHANGED: the statement ends without an error")
    except sqlite3.Error as error:
        if is_limited and str(error) != "interrupted":
            raise
    finally:
        db.set_progress_handler(None, 0)
    is_inside = db.in_transaction
    db.execute("UPDATE coins SET number = number + 5 WHERE name = 'Bob'")
    try:
        if isolation_level is None:
            db.execute("COMMIT")
        else:
            db.commit()
        committed = "ok"
    except sqlite3.Error as error:
        committed = type(error).__name__
    db.close()

    other = sqlite3.connect(PATH)
    coins = dict(other.execute("SELECT name, number FROM coins"))
    other.close()
    return is_inside, committed, coins["Ann"], coins["Bob"]


seen = {
    "SELECT of the ranking interrupted": handler(SELECT, True),
    "UPDATE of the ranking breaks a constraint": handler(BREAK, False),
    "UPDATE of the ranking interrupted": handler(UPDATE, True),
    "the same after an explicit BEGIN": handler(UPDATE, True, isolation_level=None),
}
for name, (is_inside, committed, ann, bob) in seen.items():
    print(f"{name}: in transaction {is_inside}, commit {committed}, Ann {ann}, Bob {bob}")
if list(seen.values()) != [
    (True, "ok", 5, 5),
    (True, "ok", 5, 5),
    (False, "ok", 10, 5),
    (False, "OperationalError", 10, 5),
]:
    sys.exit("CHANGED: another part of the transaction is kept")
PYTHON
