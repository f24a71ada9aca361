"""
The longest waits of a bot's handlers while commands of operators run.

Run it with `python -m benchmarks.operators`. A bot of two processes with two threads each counts
updates of 1,000 users without a pause, while one command after the other runs. Servers are started
on the loopback interface.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import servers
from telesession import EncryptedCodec, JSONCodec, Sessions, SQLiteStorage
from telesession.cli.address import opened
from telesession.cli.codec import codec_from

if TYPE_CHECKING:
    from telesession.unit.events import UnitEvent

USERS, THREADS, PROCESSES = 1_000, 2, 2
# Seconds without a command.
ALONE = 3.0
RECORDS, EXPIRED = 10_000, 200_000
KEYS = (
    "w4sMkcOGQUQoanKeCjOBgXtH7RL5Fxoh_whG52pRxp4=",
    "uk5Oaupaa1C79lTpxSRrB9kQ0Rmnxml34CQEHKsfKUc=",
)
SETTINGS = {
    "TELESESSION_CODEC": "encrypted",
    "TELESESSION_KEYS": " ".join(KEYS),
    "TELESESSION_TARGET_CODEC": "encrypted",
    "TELESESSION_TARGET_KEYS": " ".join(KEYS[::-1]),
}
APP = """
import os
from telesession import Sessions
from telesession.cli.address import opened
from telesession.cli.codec import codec_from

opening = opened(os.environ["TELESESSION_STORAGE"], codec_from(os.environ))
sessions = Sessions(storage=opening.__enter__(), version=1, migrations={1: lambda fields: None})
"""


class Longest:
    """The longest times of the handlers of one process, gathered from its events."""

    def __init__(self) -> None:
        self.waited = self.total = 0.0
        self.updates = 0

    def note(self, event: UnitEvent) -> None:
        """Take the figures of one handler call."""
        self.waited = max(self.waited, event.waited)
        self.total = max(self.total, event.waited + event.held)
        self.updates += 1


def serve(url: str) -> None:
    """Be a process of the bot: print the longest times since the line before, for each line."""
    longest = Longest()
    is_stopped = False
    with opened(url, codec_from(os.environ)) as storage:
        sessions = Sessions(
            storage=storage, initial={"count": 0}, on_event=lambda event: longest.note(event)
        )

        def work(thread: int) -> None:
            rng = random.Random(f"{os.getpid()} {thread}")
            while not is_stopped:
                with sessions.open(rng.randrange(USERS)) as session:
                    session.count += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for _ in sys.stdin:
            seen, longest = longest, Longest()
            print(json.dumps([seen.waited, seen.total, seen.updates]), flush=True)
        is_stopped = True
        for thread in threads:
            thread.join()
    print(longest.updates, flush=True)


class Bot:
    """The processes of a bot."""

    def __init__(self, url: str) -> None:
        self.updates = 0
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.operators", "serve", url],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, **SETTINGS},
            )
            for _ in range(PROCESSES)
        ]
        self.longest()

    def longest(self) -> tuple[float, float, int]:
        """The longest wait, the longest update, and the updates since the last call."""
        for process in self._processes:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        answers = [json.loads(each.stdout.readline()) for each in self._processes]  # type: ignore[union-attr]
        waited, total, updates = zip(*answers, strict=True)
        self.updates += sum(updates)
        return max(waited), max(total), sum(updates)

    def stop(self) -> int:
        """End the processes, and return the number of all updates."""
        return self.updates + sum(int(each.communicate()[0]) for each in self._processes)


def run(arguments: list[str], folder: Path, **settings: str) -> None:
    """Run the command."""
    ran = subprocess.run(
        [sys.executable, "-m", "telesession", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, **settings},
        text=True,
        check=False,
    )
    # `doctor` finds that the servers have no persistence.
    if ran.returncode not in (0, 3):
        raise RuntimeError(f"{arguments[0]} failed: {ran.stderr}")


def fill(url: str) -> None:
    """Store the records, those of the users among them."""
    codec = EncryptedCodec(JSONCodec(), KEYS)
    with opened(url, codec, may_create=True) as storage:
        payloads = (
            (str(key), codec.encode({"fields": {"count": 0}}, str(key))) for key in range(RECORDS)
        )
        if isinstance(storage, SQLiteStorage):
            connection = sqlite3.connect(storage.database.path)
            rows = [(key, None, payload.decode()) for key, payload in payloads]
            rows += [(f"expired {key}", 1.0, "{}") for key in range(EXPIRED)]
            connection.executemany("INSERT INTO sessions VALUES (?, ?, ?)", rows)
            connection.commit()
            connection.close()
        else:
            for key, payload in payloads:
                storage.set(key, payload)


def total(url: str) -> int:
    """The sum of all counts."""
    with opened(url, EncryptedCodec(JSONCodec(), KEYS)) as storage:
        return sum(session["count"] for _, session in Sessions(storage=storage).items())


def measure_waits(name: str, url: str, target: str, folder: Path) -> None:
    """Print the longest times beside each command."""
    (folder / "app.py").write_text(APP)
    fill(url)
    bot = Bot(url)
    # The bot alone, for the first row.
    time.sleep(ALONE)
    rows = [("no command", ALONE, *bot.longest())]
    commands = [
        *(["keys"], ["stats"], ["doctor"], ["export"]),
        ["migrate", "--app", "app:sessions", "--dry-run"],
        ["copy", url, target],
        ["rekey"],
    ]
    if name == "SQLite":
        commands += [["backup", "backup.db"], ["purge"]]
    for arguments in commands:
        began = time.perf_counter()
        run(arguments, folder, TELESESSION_STORAGE=url, **SETTINGS)
        rows.append((arguments[0], time.perf_counter() - began, *bot.longest()))
    lost = bot.stop() - total(url)
    for command, seconds, waited, longest, updates in rows:
        print(
            f"| {name}, {command} | {seconds:.1f} s | {updates / seconds:,.0f} "
            f"| {waited * 1000:.0f} ms | {longest * 1000:.0f} ms |"
        )
    print(f"\n{name}: {lost} updates lost\n")


@contextmanager
def places(folder: Path) -> Iterator[list[tuple[str, str, str]]]:
    """Each storage: its name, its URL, and that of the target of a copy."""
    with servers.valkey() as port, servers.cluster() as node_port:
        server, node = (f"redis://127.0.0.1:{each}" for each in (port, node_port))
        node += "?cluster=yes"
        yield [
            ("SQLite", f"sqlite:///{folder}/bot.db", f"sqlite:///{folder}/copy.db"),
            ("Valkey", server, f"{server}?prefix=copy:"),
            ("cluster", node, f"{node}&prefix=copy:"),
        ]


def show_waits(folder: Path) -> None:
    """Print the table of waits."""
    with places(folder) as found:
        print("| beside a command | it took | updates a second | longest wait | longest update |")
        print("| --- | --- | --- | --- | --- |")
        for name, url, target in found:
            measure_waits(name, url, target, folder)


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
        return
    with tempfile.TemporaryDirectory() as folder:
        show_waits(Path(folder))


if __name__ == "__main__":
    main()
