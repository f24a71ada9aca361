#!/usr/bin/env bash
# With one sqlite3 connection for all threads, one handler's rollback undoes another handler's half.
#
# Versions: SQLite 3.40.1 in CPython 3.11.7; the same with 3.13.0. No package is installed.
#
# Behaviour: check_same_thread=False lets all threads use one connection, and SQLite takes their calls one by
# one. But a connection has one transaction: `with db:` of two threads is the same one. Handler A takes 10
# from account 1. Handler B, in another thread, raises in its own `with db:`, which rolls A's change back.
# Handler A goes on, gives 10 to account 2, and commits without an error.
#
# Output seen (accounts 1 and 2 start with 100 each):
#   one connection for both threads: account 1 has 100, account 2 has 110
#   a connection for each thread:    account 1 has 90, account 2 has 110
#
# For a bot author: check_same_thread=False is the usual answer to sqlite3's complaint about telebot's
# threads, and it makes money out of nothing. Open a connection in each handler, or hold one lock around
# each whole transaction.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$work" <<'PYTHON'
import sqlite3
import sys
import threading
from pathlib import Path

WORK = Path(sys.argv[1])
ADD = "UPDATE accounts SET balance = balance + ? WHERE id = ?"


def connect(path):
    return sqlite3.connect(path, check_same_thread=False)


def run(path, shared):
    setup = connect(path)
    setup.execute("PRAGMA journal_mode = WAL")
    with setup:
        setup.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)")
        setup.executemany("INSERT INTO accounts VALUES (?, 100)", [(1,), (2,)])
    first = connect(path)
    second = first if shared else connect(path)
    taken, raised = threading.Event(), threading.Event()

    def transfer():
        with first:
            first.execute(ADD, (-10, 1))
            taken.set()
            raised.wait(20)
            first.execute(ADD, (10, 2))

    def mistake():
        taken.wait(20)
        try:
            with second:
                second.execute("SELECT balance FROM accounts").fetchall()
                raise ValueError("a mistake in the handler")
        except ValueError:
            raised.set()

    threads = [threading.Thread(target=target) for target in (transfer, mistake)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    balances = [balance for (balance,) in setup.execute("SELECT balance FROM accounts ORDER BY id")]
    for connection in (first, second, setup):
        connection.close()
    return balances


seen = []
for name, shared in (("one connection for both threads:", True), ("a connection for each thread:", False)):
    seen.append(run(WORK / f"{shared}.db", shared))
    print(f"{name:32} account 1 has {seen[-1][0]}, account 2 has {seen[-1][1]}")
if seen != [[100, 110], [90, 110]]:
    sys.exit("CHANGED: the accounts have other balances")
PYTHON
