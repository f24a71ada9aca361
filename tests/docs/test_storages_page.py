"""The page on storages: its commands for backups bring the sessions back."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import telesession
from support.pages import ROOT, blocks_of
from support.postgres import ADMIN
from support.postgres_storages import make_storage
from support.processes import run_program
from telesession import RedisStorage, Sessions, SQLiteStorage, Storage

if TYPE_CHECKING:
    import pytest

    from support.postgres import PostgresServer
    from support.servers import Server

PAGE = ROOT / "docs" / "storages.md"
LINES = [block.code for block in blocks_of(PAGE, "shell")]
URL = "redis://localhost:6379/0"


def run(folder: Path, lines: str, programs: Path | None = None) -> None:
    """Run lines of the page in a folder, as a shell does."""
    package = Path(telesession.__file__).parents[1]
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    if programs is not None:
        paths.insert(0, str(programs))
    variables = [f"PATH={os.pathsep.join(paths)}", f"PYTHONPATH={package}"]
    code, _, complaints = run_program(["env", *variables, "sh", "-ec", lines], folder)
    assert 0 == code, complaints


def count(storage: Storage, user: int) -> int:
    """Count one more in the session of a user, and return the sum."""
    with Sessions(storage=storage, initial={"counter": 0}).open(user) as session:
        session.counter += 1
        return int(session.counter)


def test_every_command_is_tested() -> None:
    """The page has two commands for each of the three storages that outlive their process."""
    assert ["telesession", "rm", "telesession", "telesession", "pg_dump", "psql"] == [
        shlex.split(lines)[0] for lines in LINES
    ]


def test_a_file_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backup of a running bot has its sessions, and replaces a file and its log."""
    monkeypatch.chdir(tmp_path)
    with SQLiteStorage("bot.db") as storage:
        count(storage, 1)
        run(tmp_path, LINES[0])
        assert [2, 1] == [count(storage, 1), count(storage, 2)]
    # A bot that was killed has left a log.
    Path("bot.db-wal").touch()
    run(tmp_path, LINES[1])
    with SQLiteStorage("bot.db") as storage:
        assert [2, 1] == [count(storage, 1), count(storage, 2)]


def test_a_server_comes_back(tmp_path: Path, server: Server) -> None:
    """The copy of a server has its sessions, and fills an empty server."""
    with RedisStorage(server.url) as storage:
        count(storage, 1)
    run(tmp_path, LINES[2].replace(URL, server.url))
    with server.client() as client:
        client.flushall()
    run(tmp_path, LINES[3].replace(URL, server.url))
    with RedisStorage(server.url) as storage:
        assert [2, 1] == [count(storage, 1), count(storage, 2)]


def test_a_database_comes_back(tmp_path: Path, postgres: PostgresServer) -> None:
    """The dump of a table has its sessions, and replaces those that came later."""
    place = shlex.quote(postgres.socket_conninfo(ADMIN))
    dump, restore = (lines.replace(" bots\n", f" {place}\n") for lines in LINES[4:])
    with make_storage(postgres) as storage:
        count(storage, 1)
    run(tmp_path, dump, postgres._programs)
    with make_storage(postgres) as storage:
        count(storage, 1)
    run(tmp_path, restore, postgres._programs)
    with make_storage(postgres) as storage:
        assert [2, 1] == [count(storage, 1), count(storage, 2)]
