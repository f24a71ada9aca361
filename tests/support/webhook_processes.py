"""Examples of webhooks in two processes each, to which a loopback Bot API posts updates."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from telebot import TeleBot

from support.bots import ROOT
from support.clocks import PATIENCE
from telesession.testing import BotAPI

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telesession import Storage

TOKEN = "1:webhook"
RUN = """
import runpy, sys
from telebot import apihelper

apihelper.API_URL = sys.argv[1]
apihelper.proxy = {"no_proxy": "127.0.0.1"}
runpy.run_path(sys.argv[2], run_name="__main__")
"""


@contextmanager
def two_workers(example: str, storage: Storage, **settings: str) -> Iterator[Workers]:
    """
    Two processes of an example.

    Args:
        example: Its name.
        storage: The storage that it has.
        settings: Variables of its environment, which name that storage.
    """
    with BotAPI() as api, ExitStack() as stack:
        queues = [stack.enter_context(_worker(api, example, settings)) for _ in range(2)]
        ports = [queue.get(timeout=PATIENCE) for queue in queues]
        assert 0 not in ports
        workers = Workers(api, storage, ports)
        workers.hold_back()
        yield workers


@contextmanager
def _worker(api: BotAPI, example: str, settings: dict[str, str]) -> Iterator[SimpleQueue[int]]:
    """A process of an example; its port, when it listens, and 0 when it ends."""
    settings = {"BOT_TOKEN": TOKEN, "PORT": "0", "WEBHOOK_URL": "http://127.0.0.1:1/", **settings}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, api.url, str(ROOT / "examples" / f"{example}.py")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **settings, "PYTHONPATH": str(ROOT)},
    ) as process:
        ports: SimpleQueue[int] = SimpleQueue()
        reader = threading.Thread(target=_find_port, args=(process.stderr, ports), daemon=True)
        reader.start()
        try:
            yield ports
        finally:
            process.kill()
            # Nobody may close the pipe that it reads.
            reader.join(PATIENCE)


def _find_port(log: Iterable[str], ports: SimpleQueue[int]) -> None:
    """Read all that a process says, for a pipe that nobody empties would stop it."""
    for line in log:
        if found := re.search(r"Running on http://127\.0\.0\.1:(\d+)", line):
            ports.put(int(found[1]))
    ports.put(0)


class Workers:
    """
    Two processes of an example, and a loopback Bot API that has updates for them.

    Args:
        api: The Bot API.
        storage: The storage that they have.
        ports: Their ports.
    """

    def __init__(self, api: BotAPI, storage: Storage, ports: list[int]) -> None:
        self.api = api
        self.ports = ports
        self.secret = api.calls_of("setWebhook")[0].params["secret_token"]
        self.storage = storage
        self._bot = TeleBot(TOKEN, threaded=False)

    def deliver_to(self, number: int) -> None:
        """Let the Bot API post to one of them, until `hold_back`."""
        url = f"http://127.0.0.1:{self.ports[number]}/"
        self._bot.set_webhook(url, secret_token=self.secret)

    def hold_back(self) -> None:
        self._bot.delete_webhook()

    def post(self, number: int, update: dict[str, Any], secret: str | None = None) -> int:
        """Post an update to one of them as Telegram does, and return the status."""
        headers = {"Content-Type": "application/json"}
        headers["X-Telegram-Bot-Api-Secret-Token"] = self.secret if secret is None else secret
        connection = HTTPConnection("127.0.0.1", self.ports[number], timeout=PATIENCE)
        connection.request("POST", "/", json.dumps(update), headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def wait_for_replies(self, user: int, count: int) -> None:
        self.api.wait_for(lambda: len(self.replies(user)) >= count, PATIENCE, what="replies")

    def replies(self, user: int) -> list[str]:
        return [message.text for message in self.api.messages if message.chat_id == user]
