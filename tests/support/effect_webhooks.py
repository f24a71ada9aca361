"""
A run of the bot of `support.effect_bot` under gunicorn, whose worker processes are killed.

By hand: `python -m support.effect_webhooks URL`, with the URL of a server, in the folder `tests`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from support.clocks import PATIENCE
from support.effect_bot import Settings, open_place, read_logs
from support.effect_runs import SIGNS, SILENCE
from support.effects import ANY_ORDER, Report, Step, compare, expected_logs, make_script
from support.web_servers import WebServer

# The complaints go to a file, because nobody reads a pipe while the updates are sent.
GUNICORN = (
    *("-m", "gunicorn", "support.effect_web:application", "--workers", "2", "--no-control-socket"),
    *("--log-level", "warning", "--error-log", "complaints", "--capture-output"),
    *("--bind", "unix:{socket}"),
)
SENDERS = 4
# The share of the updates that are sent again although they were accepted.
AGAIN = 0.2


class Sender:
    """
    Sends updates as Telegram does: again until each is accepted, and some of them once more.

    Args:
        server: The web server.
        steps: The script.
        kills: How many worker processes are killed.
        seed: Of the random moments.
    """

    def __init__(self, server: WebServer, steps: list[Step], kills: int, seed: int) -> None:
        self.kills = 0
        self._server = server
        self._updates = [
            json.dumps({"update_id": number, **step.as_json()}).encode()
            for number, step in enumerate(steps, start=1)
        ]
        self._users = [step.user for step in steps]
        self._seed = seed
        rng = random.Random(f"kills {seed}")
        # The numbers of accepted requests after which a worker is killed.
        self._moments = set(rng.sample(range(1, len(steps)), kills))
        self._victims = rng
        self._accepted = 0
        self._mutex = threading.Lock()

    def send_all(self) -> None:
        """Send everything, in threads that have some of the users each."""
        threads = [
            threading.Thread(target=self._send_some, args=(number,), daemon=True)
            for number in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send_some(self, number: int) -> None:
        rng, sent = random.Random(f"sender {self._seed} {number}"), []
        for user, update in zip(self._users, self._updates, strict=True):
            if user % SENDERS != number:
                continue
            self._send(update)
            sent.append(update)
            if rng.random() < AGAIN:
                # The one that was just accepted, or an older one.
                self._send(rng.choice([update, *rng.choices(sent, k=2)]))

    def _send(self, update: bytes) -> None:
        """Send an update until it is accepted."""
        pause, deadline = threading.Event(), time.monotonic() + PATIENCE
        while not self._is_accepted(update):
            if time.monotonic() > deadline:
                raise TimeoutError("no worker accepts updates")
            pause.wait(0.01)
        with self._mutex:
            self._accepted += 1
            if self._accepted in self._moments:
                self._kill_worker()

    def _is_accepted(self, update: bytes) -> bool:
        connection = HTTPConnection("localhost", timeout=PATIENCE)
        # The killed worker has closed the connection, or no worker has accepted it yet.
        with suppress(OSError, HTTPException), closing(connection):
            connection.sock = self._server.connect()
            connection.request("POST", "/", update)
            return connection.getresponse().status == HTTPStatus.OK
        return False

    def _kill_worker(self) -> None:
        master = self._server.process.pid
        children = Path(f"/proc/{master}/task/{master}/children")
        while not (workers := children.read_text().split()):
            pass
        os.kill(int(self._victims.choice(workers)), signal.SIGKILL)
        self.kills += 1


def run_webhooks(
    url: str, updates: int = 5000, kills: int = 20, seed: int = 1, control: str = ""
) -> Report:
    """
    Send updates to two worker processes, kill these at random moments, and report the effects.

    The order of the effects is not reported, because two processes handle the updates of a user.

    Args:
        url: Of the server that has the sessions.
        updates: The number of updates.
        kills: The number of killed workers.
        seed: Of the random numbers.
        control: Any text for a bot without an inbox.
    """
    steps = make_script(updates, seed, ANY_ORDER)
    expected = expected_logs(steps)
    with open_place(Settings(url)) as storage, WebServer(GUNICORN, SENDERS, url, control) as server:
        sender = Sender(server, steps, kills, seed)
        sender.send_all()
        pause, silent_since, before = threading.Event(), time.monotonic(), -1
        while (report := compare(expected, read_logs(storage))).lost:
            if len(report.lost) != before:
                before, silent_since = len(report.lost), time.monotonic()
            elif time.monotonic() - silent_since > SILENCE:
                break
            pause.wait(0.05)
        # The workers finish first, because an effect that is there twice may come late.
        server.process.send_signal(signal.SIGTERM)
        server.process.communicate(timeout=2 * PATIENCE)
        report = compare(expected, read_logs(storage))
        report.complaints = [line for line in server.read("complaints") if line.startswith(SIGNS)]
    report.reordered, report.ends = [], sender.kills
    return report


def main() -> None:
    """Do a run and print its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the URL of an empty server")
    parser.add_argument("--updates", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", default="", help="any text for a bot without an inbox")
    given = parser.parse_args()
    report = run_webhooks(given.url, given.updates, given.kills, given.seed, given.control)
    sys.stdout.write(report.details())


if __name__ == "__main__":
    main()
