"""Real pgbouncers for tests, in front of a real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
from typing import Any, Self

import psycopg

from support.daemons import Daemon
from support.polling import wait_until
from support.ports import free_ports
from support.postgres import DATABASE, OWNER, PASSWORD, PostgresServer

# Debian has it in a folder that the `PATH` of a plain user lacks.
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


class Bouncer:
    """
    A pgbouncer in transaction pooling on a loopback port, started by entering it.

    Args:
        server: A running server.
        settings: Settings of the section `[pgbouncer]`.

    Attributes:
        port: The port, 0 before the start.

    Raises:
        FileNotFoundError: There is no program `pgbouncer`.
    """

    def __init__(self, server: PostgresServer, **settings: object) -> None:
        program = shutil.which("pgbouncer", path=PATH)
        if program is None:
            raise FileNotFoundError("no pgbouncer: install the package pgbouncer of your system")
        self.port = 0
        self._program = program
        self._server = server
        self._settings = {
            "listen_addr": "127.0.0.1",
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": "users",
            "pool_mode": "transaction",
            **settings,
        }
        self._daemon = Daemon()

    def conninfo(self, user: str = OWNER, **options: Any) -> str:
        """Return a connection string for the database, through the pool."""
        return self._server.conninfo(user, **{"port": self.port, **options})

    def __enter__(self) -> Self:
        for self.port in free_ports():
            self._configure()
            self._daemon.start(self._program, "config")
            wait_until(lambda: not self._daemon.is_running or self._answers())
            if self._daemon.is_running:
                return self
            self._daemon.stop()
        raise RuntimeError(f"no pgbouncer could be started:\n{self._daemon.log}")

    def __exit__(self, *_: object) -> None:
        self._daemon.stop(signal.SIGTERM)
        self._daemon.remove()

    def _configure(self) -> None:
        settings = {"listen_port": self.port, **self._settings}
        lines = [
            "[databases]",
            f"{DATABASE} = host={self._server.folder} port={self._server.port}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        self._daemon.write("config", "\n".join([*lines, ""]))
        self._daemon.write("users", f'"{OWNER}" "{PASSWORD}"\n')

    def _answers(self) -> bool:
        with psycopg.connect(self.conninfo()):
            return True
