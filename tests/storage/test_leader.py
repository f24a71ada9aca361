"""The recipe of a leader for background jobs, with processes that are killed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.processes import PATIENCE
from telesession import LockTimeoutError, RedisStorage, SQLiteStorage, Storage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.servers import Server

LEADER = "@leader:reports"
PROGRAM = """
import sys
from telesession import RedisStorage, SQLiteStorage
place = sys.argv[1]
storage = RedisStorage(place) if "://" in place else SQLiteStorage(place)
with storage.hold("@leader:reports", 0):
    print("leads", flush=True)
    sys.stdin.read()
"""


def lead(storage: Storage, work: Callable[[], object]) -> bool:
    """The function of the recipe."""
    try:
        with storage.hold(LEADER, 0):
            work()
    except LockTimeoutError:
        return False
    return True


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_another_process_leads_after_the_leader_was_killed(
    kind: str, tmp_path: Path, server: Server
) -> None:
    """While a process leads, no other one does; SIGKILL frees the key."""
    place = server.url if kind == "redis" else str(tmp_path / "bot.db")
    storage: Storage = RedisStorage(place) if kind == "redis" else SQLiteStorage(place)
    done: list[int] = []
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with storage, program:
        assert program.stdout is not None
        assert "leads\n" == program.stdout.readline()
        before = lead(storage, lambda: done.append(1))
        program.kill()
        program.wait()
        if kind == "redis":
            # A short lease could end before the kill, on a busy machine.
            with server.client() as client:
                assert client.pexpire(f"{{telesession:{LEADER}}}:lock", 1)
        with storage.hold(LEADER, PATIENCE):
            pass
        after = lead(storage, lambda: done.append(2))
    assert (False, True, [2]) == (before, after, done)
