"""Real PostgreSQL servers for tests: one that is started and stopped, and its hot standby."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo

from support.clocks import PATIENCE
from support.polling import wait_until
from support.ports import free_ports
from support.postgres_program import Program

ADMIN = "postgres"
# The owner of the database, with the rights of a bot, and a role that may connect and no more.
OWNER = "bot"
GUEST = "guest"
PASSWORD = "let me in"  # noqa: S105
DATABASE = "bots"

# Settings of a server for tests: a crash of the machine may lose everything, so nothing is synced.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "dynamic_shared_memory_type": "mmap",
    "listen_addresses": "127.0.0.1",
    "log_line_prefix": "%p %e ",
    "max_connections": 100,
    "shared_buffers": "32MB",
    # Only what connections write is in the log of commits, so that tests can tell it by its length.
    "max_wal_senders": 0,
    "wal_level": "minimal",
}

# Waits for the end of the process that has started it, then stops the server and removes its folder.
GUARD = """
read -r line
kill -QUIT "$1"
while kill -0 "$1"; do sleep 0.1; done
rm -rf "$2"
"""

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgresServer:
    """
    A server on a loopback port and a Unix socket, started by `start` or by entering it.

    Connections by the port need the password, those by the socket need none. A server whose starter
    is killed stops, and its folder is removed.

    Args:
        settings: Settings for `postgresql.conf`. Those of `FAST` and `SETTINGS` are the defaults.
    """

    def __init__(self, **settings: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="telesession-"))
        self.settings = {**FAST, **SETTINGS, **settings}
        self.port = 0
        self._program = Program(self.folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """The log of the server since its first start."""
        return (self.folder / "log").read_text()

    def conninfo(self, user: str = OWNER, **options: Any) -> str:
        """Return a connection string for the database of the bots, by the port."""
        place = {"host": "127.0.0.1", "port": self.port, "password": PASSWORD, "dbname": DATABASE}
        return make_conninfo("", **{**place, "user": user, "connect_timeout": PATIENCE, **options})

    def socket_conninfo(self, user: str = OWNER, **options: Any) -> str:
        """Return a connection string for the same database, by the Unix socket."""
        return self.conninfo(user, **{"host": str(self.folder), "password": None, **options})

    def url(self, user: str = OWNER) -> str:
        """Return the URL of the database of the bots, by the port."""
        password = PASSWORD.replace(" ", "%20")
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def connect(self, user: str = ADMIN, **options: Any) -> psycopg.Connection[Any]:
        """Return a connection with autocommit, by the Unix socket."""
        return psycopg.connect(self.socket_conninfo(user, **options), autocommit=True)

    def ask(self, query: str, *values: object) -> Any:
        """Return the first column of the first row of a query of the administrator."""
        with self.connect() as connection:
            row = connection.execute(query, values).fetchone()
        return row and row[0]

    def start(self) -> None:
        """Start it: on any free port for the first time, on the same port later."""
        is_new = not self.port
        if is_new:
            self._make_data()
        for port in free_ports() if is_new else [self.port]:
            self.port = port
            self._launch()
            if self._is_ready():
                break
            self.stop()
        else:
            raise RuntimeError(f"no PostgreSQL server could be started:\n{self.log}")
        if is_new:
            self._prepare()

    def stop(self, mode: str = "immediate") -> None:
        """
        Stop it.

        Args:
            mode: `"smart"` waits for the ends of all connections. `"fast"` ends their transactions.
                `"immediate"` is a crash: the next start recovers from the log of commits.
        """
        if self._process is not None:
            self._process.send_signal(_SIGNALS[mode])
            self._process.wait(PATIENCE)
            self._guard.kill()
            self._guard.communicate()
            self._process = self._guard = None

    def restart(self, mode: str = "immediate") -> None:
        self.stop(mode)
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _make_data(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._program.run(
            "initdb",
            *("--pgdata", self._data, "--username", ADMIN, "--pwfile", password),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
            *("--wal-segsize", 1),
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _launch(self) -> None:
        settings = {"port": self.port, "unix_socket_directories": self.folder, **self.settings}
        options = [f"--{name}={value}" for name, value in settings.items()]
        command = [self._program.path("postgres"), "-D", str(self._data), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = self._program.start(command, stdout=log)
        guard = ["sh", "-c", GUARD, "guard", str(self._process.pid), str(self.folder)]
        self._guard = self._program.start(
            guard, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )

    def _is_ready(self) -> bool:
        """Wait until it is ready for connections, or has failed to start."""
        signs = self._data / "postmaster.pid"

        def is_known() -> bool:
            has_ended = self._process.poll() is not None
            return has_ended or (signs.exists() and signs.read_text().split()[-1:] == ["ready"])

        wait_until(is_known)
        return self._process.poll() is None

    def _prepare(self) -> None:
        """Make the roles and the database."""
        with self.connect(dbname="postgres") as connection:
            for role in (OWNER, GUEST):
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
