#!/usr/bin/env bash
# A process that reads its own open SQLite file loses its locks, and then its commits.
#
# Versions: SQLite 3.40.1 in CPython 3.11.7, Linux. No package is installed.
#
# Behaviour: SQLite marks an open database with POSIX locks. They belong to the process, and closing any
# descriptor of the file drops all of them. `open("bot.db", "rb").read()` in the bot does so. The bot then
# looks absent: the next process that opens the file, even for one SELECT, deletes the write-ahead log when
# it closes. The bot goes on writing into the deleted log: each commit succeeds, other processes see none of
# them, and a kill of the bot loses them all.
#
# Output seen (rows after 1 commit, a SELECT of another process, and 100 more commits):
#   bot does not read its file: bot sees 101, another process 101, after a kill of the bot 101
#   bot reads its file once:    bot sees 101, another process 1, after a kill of the bot 1
#
# For a bot author: `bot.send_document(chat, open("bot.db", "rb"))` is the usual `/backup` command, and a
# `sqlite3 bot.db` in a shell is enough afterwards. Copy with `sqlite3.Connection.backup` and send the copy.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/count.py" <<'PYTHON'
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT count(*) FROM updates").fetchone()[0])
db.close()
PYTHON
cat > "$work/bot.py" <<'PYTHON'
import os
import signal
import sqlite3
import subprocess
import sys

path, count, reads_itself = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
bot = sqlite3.connect(path)
bot.execute("PRAGMA journal_mode = WAL")
bot.execute("CREATE TABLE updates (number INTEGER)")
bot.execute("INSERT INTO updates VALUES (0)")
bot.commit()
if reads_itself:
    with open(path, "rb") as file:
        file.read()
subprocess.run([sys.executable, count, path], capture_output=True, check=True, timeout=20)
for number in range(1, 101):
    bot.execute("INSERT INTO updates VALUES (?)", (number,))
    bot.commit()
own = bot.execute("SELECT count(*) FROM updates").fetchone()[0]
beside = subprocess.run([sys.executable, count, path], capture_output=True, check=True, timeout=20)
print(own, int(beside.stdout), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
PYTHON
python3 - "$work" <<'PYTHON'
import subprocess
import sys
from pathlib import Path

work = Path(sys.argv[1])
seen = []
for name, reads_itself in (("bot does not read its file:", False), ("bot reads its file once:", True)):
    path, count = work / f"{reads_itself}.db", work / "count.py"
    command = [sys.executable, work / "bot.py", path, count, str(reads_itself)]
    bot = subprocess.run(command, capture_output=True, text=True, timeout=50)
    own, beside = map(int, bot.stdout.split())
    after = int(subprocess.run([sys.executable, count, path], capture_output=True, check=True).stdout)
    seen.append((own, beside, after))
    print(f"{name:27} bot sees {own}, another process {beside}, after a kill of the bot {after}")
if seen != [(101, 101, 101), (101, 1, 1)]:
    sys.exit("CHANGED: other commits survive")
PYTHON
