"""Real web servers that run the bots of `web_bot`, and senders of updates for them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

import telesession
from support.clocks import PATIENCE
from support.processes import kill_program, start_program

TESTS = Path(__file__).parents[1]
GUNICORN = (
    *("-m", "gunicorn", "support.web_bot:application"),
    *("--no-control-socket", "--log-level", "warning", "--bind", "unix:{socket}"),
)
UWSGI = (
    *("-c", "import pyuwsgi; pyuwsgi.run()", "--module", "support.web_bot:application"),
    *("--need-app", "--disable-logging", "--http-socket", "{socket}"),
)


class WebServer:
    """
    A web server on a socket of its own, from entering to leaving it.

    Args:
        options: Of Python: the program, its application, and its options.
        together: How many updates it handles at the same time, at least.
        url: Of the server for bots with a `RedisStorage`.
        control: "greenlets" for the control in which greenlets have the number of their thread;
            for `support.effect_web` any text is the control without an inbox.
        postgres: The URL of the server for the bot with a `PostgresStorage`.
    """

    def __init__(
        self,
        options: Iterable[str],
        together: int,
        url: str,
        control: str = "",
        postgres: str = "",
    ) -> None:
        # Short, because the path of a socket has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="telesession-"))
        self.socket = self.folder / "socket"
        command = [option.format(socket=self.socket) for option in options]
        paths = [str(TESTS), str(Path(telesession.__file__).parents[1])]
        environment = {
            "WEB_BOT_FOLDER": str(self.folder),
            "WEB_BOT_SERVER": url,
            "WEB_BOT_POSTGRES": postgres,
            "WEB_BOT_TOGETHER": str(together),
            "WEB_BOT_CONTROL": control,
            "PYTHONPATH": os.pathsep.join(paths),
        }
        assignments = [f"{name}={value}" for name, value in environment.items()]
        self.command = ["env", *assignments, sys.executable, *command]

    def __enter__(self) -> Self:
        self.process = start_program(self.command, self.folder)
        return self

    def __exit__(self, *_: object) -> None:
        kill_program(self.process)
        shutil.rmtree(self.folder)

    def burst(self, name: str, count: int) -> list[int]:
        """Post updates of one user to a bot at the same time, and return the status of each."""
        with ThreadPoolExecutor(count) as senders:
            return list(senders.map(lambda number: self._post(name, number), range(1, count + 1)))

    def read(self, name: str) -> list[str]:
        """The lines that the bots have noted in a file."""
        with suppress(FileNotFoundError):
            return (self.folder / name).read_text().splitlines()
        return []

    def _post(self, name: str, number: int) -> int:
        user = {"id": 1, "is_bot": False, "first_name": "Ann"}
        chat = {"id": 1, "type": "private", "first_name": "Ann"}
        message = {"message_id": number, "from": user, "chat": chat, "date": 1, "text": "hi"}
        connection = HTTPConnection("localhost")
        connection.sock = self.connect()
        try:
            update = json.dumps({"update_id": number, "message": message})
            connection.request("POST", f"/{name}", update)
            return connection.getresponse().status
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """Connect to the server as soon as it listens, unless it has ended."""
        pause = threading.Event()
        for _ in range(PATIENCE * 200):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE)
            try:
                connection.connect(str(self.socket))
            # The file is not there, nobody listens yet, or too many wait to be accepted.
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                connection.close()
            else:
                return connection
            if self.process.poll() is not None:
                raise RuntimeError("".join(self.process.communicate()))
            pause.wait(0.005)
        raise TimeoutError(f"nobody listens on {self.socket}")
